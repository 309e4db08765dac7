"""Resolves model names: a local folder, a hub id, or a package that contains the weights.

`resolve_model` returns a local folder in Hugging Face layout.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from reflectioncoder.config.declarations import ModelConfig
from reflectioncoder.data.hub import hub_errors
from reflectioncoder.errors import UnreachableError, UsageError, require
from reflectioncoder.models.load import quiet_libraries
from reflectioncoder.models.packaged import PACKAGED_MODELS, from_package
from reflectioncoder.progress import say

# Packages used in this process, so that later calls neither wait for the hub nor repeat the message for each arm of an ablation.
_packages_in_use: set[str] = set()
_WEIGHTS_AND_TOKENIZER = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]


@dataclass(frozen=True)
class ModelSource:
    """A folder with weights and tokenizer, and its origin ("local", "hub", "package")."""

    path: Path
    origin: str

    def to_json(self) -> dict[str, str]:
        return {"path": str(self.path), "origin": self.origin}


def resolve_model(config: ModelConfig) -> ModelSource:
    """Return a local folder with the model.

    Raises:
        UsageError: `name` is neither a folder nor a hub id.
        MachineError: neither the hub nor a package with the model can be reached.
    """
    path = Path(config.name)
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise UsageError(f"{path} is not a model: it has no config.json")
        return ModelSource(path.resolve(), "local")
    if path.is_absolute() or config.name.startswith(".") or config.name.count("/") > 1:
        raise UsageError.for_value("no such model directory", "model.name", config.name, "a directory, or owner/name on the hub")
    package = PACKAGED_MODELS.get(config.name) if config.revision is None else None
    if package is None:
        return ModelSource(_from_hub(config), "hub")
    if package.name not in _packages_in_use:
        try:
            return ModelSource(_from_hub(config), "hub")
        except UnreachableError:
            say(f"{config.name}: the model hub cannot be reached; using the package {package.name} {package.version}")
            _packages_in_use.add(package.name)
    return ModelSource(from_package(package), "package")


def _from_hub(config: ModelConfig) -> Path:
    hub = require("huggingface_hub", "train")
    quiet_libraries()
    kwargs = {"revision": config.revision, "allow_patterns": _WEIGHTS_AND_TOKENIZER}
    if config.name in PACKAGED_MODELS:
        kwargs["etag_timeout"] = 5  # fail fast: the package is an alternative
    with hub_errors(f"model.name: {config.name}", config.name, config.revision, "model"):
        return Path(hub.snapshot_download(config.name, **kwargs))
