"""Parses and compares benchmark names: `NAME` or `file:PATH`, either with `:N` for its first N tasks. Knows no benchmark."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from reflectioncoder.errors import UsageError

_COUNT = re.compile(r"[0-9]{1,18}")
OWN = "file:"
"""Prefix that names a problem file of the user's own as a benchmark."""


def split_spec(spec: str) -> tuple[str, int | None]:
    """Split a name from the number of tasks after it; None: all tasks.

    Raises:
        UsageError: the number is not a positive integer; a file without a name.
    """
    own = spec.startswith(OWN)
    base, colon, count = spec.removeprefix(OWN).rpartition(":") if own else spec.partition(":")
    if own and not (base and re.fullmatch(r"[0-9]+", count)):  # the colon belongs to the path
        base, colon = spec.removeprefix(OWN), ""
    if colon and (not _COUNT.fullmatch(count) or not int(count)):
        raise UsageError.for_value("malformed number of tasks", "--benchmark", spec, "name:N with N from 1, at most 18 digits")
    if own and not _stem(Path(base)):
        raise UsageError.for_value("no file is named", "--benchmark", spec, "file:PATH or file:PATH:N")
    return (f"{OWN}{base}" if own else base), int(count) if colon else None


def own_path(base: str) -> Path | None:
    """Return the file that the first part of `split_spec` names; None if it names a benchmark."""
    return Path(base.removeprefix(OWN)) if base.startswith(OWN) else None


def name_of(spec: str) -> str:
    """Return the benchmark's name, also that of its results folder: `humaneval:40` is `humaneval`, `file:a/own.jsonl` is `file/own`."""
    base = split_spec(spec)[0]
    path = own_path(base)
    return base if path is None else own_name(path)


def own_name(path: Path) -> str:
    """Return the benchmark name of a user's file, also the name of its results folder: `a/own.jsonl` is `file/own`."""
    return f"file/{_stem(path)}"


def with_absolute_path(spec: str) -> str:
    """Return the same benchmark for processes that work in another folder."""
    path = own_path(split_spec(spec)[0])
    return spec if path is None else _named(path.absolute(), spec)


def without_folder(spec: str) -> str:
    """Return the same benchmark without the place of a user's file."""
    path = own_path(split_spec(spec)[0])
    return spec if path is None else _named(Path(path.name), spec)


def known_results(known: Mapping[str, Mapping[str, float]], spec: str) -> dict[str, float]:
    """Return what a recipe's `evaluate.known` says of a benchmark: whose result → pass@1 as a share."""
    wanted = with_absolute_path(spec)
    return {whose: rate / 100 for whose, rates in known.items() for name, rate in rates.items() if with_absolute_path(name) == wanted}


def _named(path: Path, spec: str) -> str:
    limit = split_spec(spec)[1]
    return f"{OWN}{path}" + (f":{limit}" if limit else "")


def _stem(path: Path) -> str:
    stem = re.sub(r"\.(?:jsonl|json|gz)(?=\.|$)", "", path.name)
    return re.sub(r"[^\w.+-]+", "_", stem).strip(".")
