"""Checks of single settings: each returns what is allowed if the value is not, else None."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Mapping
from typing import Any

from reflectioncoder.data.samples import BLOCK_TYPES

MAX_SECONDS = 1_000_000.0


def device(value: str) -> str | None:
    return None if re.fullmatch(r"auto|cpu|cuda(:\d{1,3})?", value) else "auto, cpu, cuda or cuda:N"


def folder_name(value: str) -> str | None:
    """Check that a run's name is one folder below `--runs-dir` on every file system: it leads nowhere else and is no device's name."""
    bad = re.search(r'[\x00-\x1f/\\<>:"|?*]|^[.\s-]|[.\s]$', value) or re.match(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\.|$)", value)
    return "the name of a folder, without a path" if bad or not 1 <= len(value.encode()) <= 200 else None


def day(value: str) -> str | None:
    """Check a day of the calendar; empty is none."""
    try:
        is_day = not value or datetime.date.fromisoformat(value).isoformat() == value
    except ValueError:
        is_day = False
    return None if is_day else "a day, YYYY-MM-DD"


def each_block_type_once(value: tuple[str, ...]) -> str | None:
    return None if sorted(value) == sorted(BLOCK_TYPES) else f"{', '.join(BLOCK_TYPES)}, each once, in any order"


def not_empty(value: tuple[str, ...]) -> str | None:
    return None if value else "at least one; [none] hides nothing"


def shares_of(names: tuple[str, ...]) -> Callable[[Mapping[str, Any]], str | None]:
    """Return a check of a mapping from some of the names to shares that add up to 1."""

    def check(value: Mapping[str, Any]) -> str | None:
        shares = [share for share in value.values() if isinstance(share, int | float) and not isinstance(share, bool) and share >= 0]
        if value.keys() <= set(names) and len(shares) == len(value) and abs(sum(shares) - 1) <= 0.01:
            return None
        return f"a share from 0 to 1 for some of {', '.join(names)}, 1 in all"

    return check
