"""Locates the user cache; everything in it can be rebuilt."""

from __future__ import annotations

import os
from pathlib import Path


def cache_dir() -> Path:
    """Return `$REFLECTIONCODER_CACHE`, else `reflectioncoder` in the user's cache directory."""
    base = os.environ.get("REFLECTIONCODER_CACHE")
    if base:
        return Path(base)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "reflectioncoder"


def is_offline() -> bool:
    """Tell whether `--offline` or the hub's own variable forbids downloads."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")
