"""Reads how benchmarks are named: `NAME`, `file:PATH`, and `:N` behind either for the first N tasks. Knows no benchmark."""

from __future__ import annotations

import re
from pathlib import Path

from reflectioncoder.errors import UsageError

OWN = "file:"
"""Begins the name of a benchmark that is a problem file of the user's own."""


def split_spec(spec: str) -> tuple[str, int | None]:
    """Split a name from the number of tasks behind it; None: all of them.

    Raises:
        UsageError: no number from 1; a file without a name.
    """
    own = spec.startswith(OWN)
    base, colon, count = spec.removeprefix(OWN).rpartition(":") if own else spec.partition(":")
    if own and not (base and re.fullmatch(r"[0-9]+", count)):  # the colon belongs to the path
        base, colon = spec.removeprefix(OWN), ""
    if colon and (not re.fullmatch(r"[0-9]+", count) or not int(count)):
        raise UsageError.for_value("malformed number of tasks", "--benchmark", spec, "name:N with N from 1")
    if own and not _stem(Path(base)):
        raise UsageError.for_value("no file is named", "--benchmark", spec, "file:PATH or file:PATH:N")
    return (f"{OWN}{base}" if own else base), int(count) if colon else None


def own_path(base: str) -> Path | None:
    """Return the file that the first part of `split_spec` names; None if that is the name of a benchmark."""
    return Path(base.removeprefix(OWN)) if base.startswith(OWN) else None


def own_name(path: Path) -> str:
    """Return the name of a user's file as a benchmark, which is that of its results' folder: `a/own.jsonl` is `file/own`."""
    return f"file/{_stem(path)}"


def with_absolute_path(spec: str) -> str:
    """Return the same benchmark for processes that work in another folder."""
    base, limit = split_spec(spec)
    path = own_path(base)
    return spec if path is None else f"{OWN}{path.absolute()}" + (f":{limit}" if limit else "")


def _stem(path: Path) -> str:
    stem = re.sub(r"\.(?:jsonl|json|gz)(?=\.|$)", "", path.name)
    return re.sub(r"[^\w.+-]+", "_", stem).strip(".")
