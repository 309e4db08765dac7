"""Loads models, configurations and tokenizers from a local folder with `transformers`."""

from __future__ import annotations

import gc
import logging
import os
import warnings
from pathlib import Path
from typing import Any

from reflectioncoder.config.declarations import ModelConfig
from reflectioncoder.data.files import read_json
from reflectioncoder.errors import MachineError, UsageError, require

_SPECIAL_IDS = ("bos_token_id", "eos_token_id", "pad_token_id")


def quiet_libraries() -> None:
    """Silence progress bars and deprecation warnings of other libraries."""
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"(transformers|peft)\.")
    # Importing it (peft always does) logs a warning that a faster kernel for 4-bit weights on a CPU is missing.
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
    require("huggingface_hub.utils", "train").disable_progress_bars()
    require("transformers.utils.logging", "train").disable_progress_bar()


def give_memory_back() -> None:
    """Return the memory of unreferenced models to the GPU, so that other processes can use it too."""
    torch = require("torch", "train")
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def pick_device(name: str) -> str:
    """Return the device for a name: "auto" is the GPU if there is one; with several processes (torchrun) each gets its own GPU.

    Raises:
        MachineError: a GPU is required and there is none.
    """
    torch = require("torch", "train")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and "LOCAL_RANK" in os.environ:
        name = f"cuda:{os.environ['LOCAL_RANK']}"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise MachineError(f"model.device is {name}, but torch {torch.__version__} sees no GPU\n  hint:    --set model.device=cpu")
    return name


def weight_dtype(config: ModelConfig, *, on_gpu: bool, for_training: bool = False) -> str:
    """Return the name of the dtype that a model's weights are loaded in."""
    if config.dtype in ("auto", "mixed"):
        return "bfloat16" if on_gpu and not for_training else "float32"
    return config.dtype


def autocast_dtype(config: ModelConfig) -> Any:
    """Return the torch dtype of the products in training, or None where it is that of the weights.

    A CPU without AMX has to emulate bfloat16, or gains little by it; there "mixed" is float32.

    Raises:
        MachineError: a GPU is required and there is none.
    """
    torch = require("torch", "train")
    on_gpu = pick_device(config.device).startswith("cuda")
    if config.dtype == "mixed":
        return torch.bfloat16 if on_gpu or has_amx() else None
    return torch.bfloat16 if on_gpu and config.dtype == "auto" else None


def has_amx() -> bool:
    """Tell whether the processor has matrix units for bfloat16, which torch uses by itself; older torch does not say."""
    torch = require("torch", "train")
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("amx_bf16"))


def load_tokenizer(path: Path) -> Any:
    """Load a folder's tokenizer, with left padding.

    Raises:
        UsageError: the folder has no tokenizer, or it cannot be read.
    """
    transformers = require("transformers", "train")
    try:
        return transformers.AutoTokenizer.from_pretrained(path, padding_side="left")
    except Exception as error:
        raise UsageError(f"cannot load a tokenizer from {path}: {_reason(error)}") from error


def load_config(path: Path) -> Any:
    """Load a model's `transformers` configuration.

    Raises:
        UsageError: it cannot be read, or transformers does not know the architecture.
    """
    transformers = require("transformers", "train")
    quiet_libraries()
    try:
        return transformers.AutoConfig.from_pretrained(path)
    except Exception as error:
        raise UsageError(f"cannot read the configuration of the model {path}: {_reason(error)}") from error


def plain_generation_config(path: Path) -> Any:
    """Return a generation configuration with nothing but the model's special token ids.

    A base model's `generation_config.json` may contain penalties, beams, time limits and settings that fail to load: generation here
    must depend on this package's settings only.
    """
    transformers = require("transformers", "train")
    said: dict[str, Any] = {}
    for name in ("config.json", "generation_config.json"):  # the second file takes precedence
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
    """Load a model and return (model on its device, tokenizer).

    `sharded`: leave the model where it was loaded, since it may not fit on one device. `quantized`: linear layers in 4 bits (NF4).

    The dtype is that of `weight_dtype`; of training, `autocast_dtype` says in which one products are computed.

    Raises:
        UsageError: the folder has no causal language model.
        MachineError: a GPU is required and there is none.
    """
    transformers, torch = require("transformers", "train"), require("torch", "train")
    quiet_libraries()
    device = pick_device(config.device)
    dtype = weight_dtype(config, on_gpu=device != "cpu", for_training=for_training)
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
