"""Describes the versions and the hardware of this machine; imports nothing heavy."""

from __future__ import annotations

import importlib.metadata as metadata
import os
import platform
from pathlib import Path
from typing import Any

from reflectioncoder import __version__

_NVIDIA_GPUS = Path("/proc/driver/nvidia/gpus")


def environment() -> dict[str, Any]:
    """Return the versions and the hardware that a result depends on."""
    versions = {}
    for name in ("torch", "transformers", "peft", "accelerate", "tokenizers", "libcst"):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    return {
        "reflectioncoder": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "gpus": _gpus(),
        "packages": versions,
    }


def _gpus() -> list[str]:
    """Return the names of the NVIDIA GPUs as the driver lists them; empty without that driver."""
    try:
        told = [file.read_text(errors="replace") for file in sorted(_NVIDIA_GPUS.glob("*/information"))]
    except OSError:
        return []
    lines = [line for text in told for line in text.splitlines() if line.startswith("Model:")]
    return [line.partition(":")[2].strip() for line in lines]
