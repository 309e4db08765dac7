"""Checks single settings: each function returns None for an allowed value, else a description of what is allowed."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Mapping
from typing import Any

from reflectioncoder.data.samples import BLOCK_TYPES

MAX_SECONDS = 1_000_000.0
MAX_AT_ONCE = 2**16  # requests, or completions of a batch
MAX_BYTES = 2**46
MAX_RETRIES = 1000
MAX_SAMPLES = 10_000
MAX_WORKERS = 4096
MIN_SHARE = 0.001  # of the tokens: with less of reflection samples an epoch over them has no end
MAX_SEED = 2**32 - 1  # numpy's


def device(value: str) -> str | None:
    return None if re.fullmatch(r"auto|cpu|cuda(:\d{1,3})?", value) else "auto, cpu, cuda or cuda:N"


def folder_name(value: str) -> str | None:
    """Check that a run's name is a single folder below `--runs-dir` on every file system, and not a device name."""
    bad = re.search(r'[\x00-\x1f/\\<>:"|?*]|^[.\s-]|[.\s]$', value) or re.match(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\.|$)", value)
    return "the name of a folder, without a path, of at most 200 bytes" if bad or not 1 <= len(value.encode()) <= 200 else None


def day(value: str) -> str | None:
    """Check a calendar day; the empty string means no day."""
    try:
        is_day = not value or datetime.date.fromisoformat(value).isoformat() == value
    except ValueError:
        is_day = False
    return None if is_day else "a day, YYYY-MM-DD"


def each_block_type_once(value: tuple[str, ...]) -> str | None:
    return None if sorted(value) == sorted(BLOCK_TYPES) else f"{', '.join(BLOCK_TYPES)}, each once, in any order"


def seeds(value: tuple[int, ...]) -> str | None:
    return None if all(0 <= seed <= MAX_SEED for seed in value) else f"seeds from 0 to {MAX_SEED}"


def useful_share(value: float | None) -> str | None:
    return f"0, or {MIN_SHARE} to 1" if value and value < MIN_SHARE else None


def not_empty(value: tuple[str, ...]) -> str | None:
    return None if value else "at least one; [none] hides nothing"


def shares_of(names: tuple[str, ...]) -> Callable[[Mapping[str, Any]], str | None]:
    """Return a check for a mapping from some of the names to shares that add up to 1."""

    def check(value: Mapping[str, Any]) -> str | None:
        shares = [share for share in value.values() if isinstance(share, int | float) and not isinstance(share, bool) and share >= 0]
        if value.keys() <= set(names) and len(shares) == len(value) and abs(sum(shares) - 1) <= 0.01:
            return None
        return f"a share from 0 to 1 for some of {', '.join(names)}, 1 in all"

    return check


def pass_rates(value: Mapping[str, Any]) -> str | None:
    """Check a mapping from names, each one line, to mappings from benchmarks to percentages."""

    def is_percentage(rate: Any) -> bool:
        return isinstance(rate, int | float) and not isinstance(rate, bool) and 0 <= rate <= 100

    def is_allowed(whose: str, rates: Any) -> bool:
        return whose.isprintable() and isinstance(rates, Mapping) and all(map(is_percentage, rates.values()))

    if all(is_allowed(whose, rates) for whose, rates in value.items()):
        return None
    return "names, each with benchmarks and percentages from 0 to 100, {the paper: {humaneval+: 68.9}}"
