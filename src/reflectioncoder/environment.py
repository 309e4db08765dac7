"""Describes the versions and the hardware of this machine; imports nothing heavy."""

from __future__ import annotations

import importlib.metadata as metadata
import os
import platform
from typing import Any

from reflectioncoder import __version__


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
        "packages": versions,
    }
