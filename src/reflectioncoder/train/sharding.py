"""Spreading parameters, gradients and optimizer state over the processes of a run, through accelerate (FSDP2).

accelerate is told by environment variables, as its own launcher would; variables that are set already win, so that
`accelerate launch` with a configuration of one's own does too.
"""

from __future__ import annotations

import os

_FSDP2 = {
    "ACCELERATE_USE_FSDP": "true",
    "FSDP_VERSION": "2",
    "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
    "FSDP_RESHARD_AFTER_FORWARD": "true",
    "FSDP_STATE_DICT_TYPE": "SHARDED_STATE_DICT",
    # The weights are read by the first process of a machine and handed on.
    "FSDP_CPU_RAM_EFFICIENT_LOADING": "true",
    "FSDP_SYNC_MODULE_STATES": "true",
}


def set_up_sharding(sharding: str) -> None:
    """Before anything of accelerate is made."""
    if sharding == "fsdp2" and num_processes() > 1:
        for name, value in _FSDP2.items():
            os.environ.setdefault(name, value)


def num_processes() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_sharded() -> bool:
    """Whether the parameters are spread over several processes."""
    return num_processes() > 1 and os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true"
