"""Resolves model names: a local directory, the model hub, or a package that carries the weights.

`resolve_model` gives a local directory in the usual Hugging Face layout.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from reflectioncoder.config.declarations import ModelConfig
from reflectioncoder.data.files import content_hash
from reflectioncoder.data.hub import hub_errors
from reflectioncoder.errors import MachineError, UsageError, require
from reflectioncoder.models.load import quiet_libraries
from reflectioncoder.models.packaged import PACKAGED_MODELS, from_package
from reflectioncoder.progress import say

_NUM_PIECES, _PIECE_BYTES = 32, 2**16
# Packages that were used in this process: the hub is not waited for again, and it is not said again for each arm of an ablation.
_HUB_WAS_UNREACHABLE_FOR: set[str] = set()
_WEIGHTS_AND_TOKENIZER = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]


@dataclass(frozen=True)
class ModelSource:
    """A directory with weights and tokenizer, and its origin ("local", "hub", "package")."""

    path: Path
    origin: str

    def to_json(self) -> dict[str, str]:
        return {"path": str(self.path), "origin": self.origin}


def resolve_model(config: ModelConfig) -> ModelSource:
    """Return a local directory for the model.

    Raises:
        UsageError: `name` is neither a directory nor a hub id.
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
    if package.name not in _HUB_WAS_UNREACHABLE_FOR:
        try:
            return ModelSource(_from_hub(config), "hub")
        except MachineError:
            say(f"{config.name}: the model hub cannot be reached; using the package {package.name} {package.version}")
            _HUB_WAS_UNREACHABLE_FOR.add(package.name)
    return ModelSource(from_package(package), "package")


def _from_hub(config: ModelConfig) -> Path:
    hub = require("huggingface_hub", "train")
    quiet_libraries()
    kwargs = {"revision": config.revision, "allow_patterns": _WEIGHTS_AND_TOKENIZER}
    if config.name in PACKAGED_MODELS:
        kwargs["etag_timeout"] = 5  # another source is at hand: do not wait long
    with hub_errors(f"model.name: {config.name}", config.name, config.revision, "model"):
        return Path(hub.snapshot_download(config.name, **kwargs))


def model_hash(path: Path) -> str:
    """Identify weights and tokenizer by names, sizes, times and pieces of the files, so that no large file is read as a whole."""
    files = [file for file in sorted(path.iterdir()) if file.is_file()]
    return content_hash([(file.name, file.stat().st_size, file.stat().st_mtime_ns, _pieces_hash(file)) for file in files])


def _pieces_hash(file: Path) -> str:
    """Hash pieces that are spread evenly over a file; of a small one they are all of it."""
    size, digest = file.stat().st_size, hashlib.sha256()
    with open(file, "rb") as handle:
        for number in range(_NUM_PIECES):
            handle.seek(max(number * size // _NUM_PIECES, 0))
            digest.update(handle.read(min(_PIECE_BYTES, -(-size // _NUM_PIECES))))
    return digest.hexdigest()
