"""Loads models, configurations and tokenizers of a local folder with `transformers`."""

from __future__ import annotations

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
    """Silence progress bars and deprecation notes of other libraries between our own lines."""
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"(transformers|peft)\.")
    # It complains about a faster kernel for 4-bit weights on a CPU whenever it is imported, which peft always does.
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
    require("huggingface_hub.utils", "train").disable_progress_bars()
    require("transformers.utils.logging", "train").disable_progress_bar()


def pick_device(name: str) -> str:
    """Return the device for a name: "auto" is the GPU if there is one; with several processes (torchrun) each has its own.

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
    """Load a model, and return (model on its device, tokenizer).

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
