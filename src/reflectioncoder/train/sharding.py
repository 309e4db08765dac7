"""Shards parameters, gradients and optimizer state over the processes of a run through accelerate (FSDP2, DeepSpeed ZeRO).

accelerate is configured by environment variables, as its own launcher does it; variables that are already set take precedence, so a
custom configuration of `accelerate launch` does too.
"""

from __future__ import annotations

import os
import sys

from reflectioncoder.data.files import read_json
from reflectioncoder.errors import require

_FSDP2 = {
    "ACCELERATE_USE_FSDP": "true",
    "FSDP_VERSION": "2",
    "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
    "FSDP_RESHARD_AFTER_FORWARD": "true",
    "FSDP_STATE_DICT_TYPE": "SHARDED_STATE_DICT",
    # The first process of a machine reads the weights and broadcasts them.
    "FSDP_CPU_RAM_EFFICIENT_LOADING": "true",
    "FSDP_SYNC_MODULE_STATES": "true",
}
_ZERO = {
    "ACCELERATE_USE_DEEPSPEED": "true",
    "ACCELERATE_GRADIENT_CLIPPING": "auto",  # the Trainer's max_grad_norm
    "ACCELERATE_DEEPSPEED_ZERO3_SAVE_16BIT_MODEL": "true",
}
SETTINGS = {
    "none": {},
    "fsdp2": _FSDP2,
    "zero1": {**_ZERO, "ACCELERATE_DEEPSPEED_ZERO_STAGE": "1"},
    "zero3": {**_ZERO, "ACCELERATE_DEEPSPEED_ZERO_STAGE": "3"},
}


def set_up_sharding(sharding: str) -> None:
    """Set up accelerate's environment. Call it before creating any object of accelerate.

    Raises:
        MachineError: DeepSpeed is not installed.
    """
    if world_size() == 1:
        return
    if sharding.startswith("zero"):
        require("deepspeed", "deepspeed")
    for name, value in SETTINGS[sharding].items():
        os.environ.setdefault(name, value)


def world_size() -> int:
    """Return the number of training processes (ranks) that a launcher has started, this one among them."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def has_process_group() -> bool:
    """Tell whether this process already belongs to a process group of torch.distributed."""
    import torch.distributed as dist

    return dist.is_available() and dist.is_initialized()


def is_sharded() -> bool:
    """Tell whether the parameters themselves are sharded over several processes."""
    if world_size() == 1:
        return False
    return _is_on("FSDP") or (_is_on("DEEPSPEED") and _zero_stage() == 3)


def _zero_stage() -> int:
    """Return DeepSpeed's ZeRO stage from the configuration file given to accelerate's launcher, or from the environment."""
    path = os.environ.get("ACCELERATE_DEEPSPEED_CONFIG_FILE", "none")
    if path != "none":
        return int(read_json(path).get("zero_optimization", {}).get("stage", 0))
    return int(os.environ.get("ACCELERATE_DEEPSPEED_ZERO_STAGE", "2"))


def leave(code: int) -> None:
    """End one of several processes at once: in an orderly exit a leftover thread of the process groups may abort it."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _is_on(name: str) -> bool:
    return os.environ.get(f"ACCELERATE_USE_{name}", "false").lower() == "true"
