"""Protects samples already in a build folder: one author's samples never overwrite another's."""

from __future__ import annotations

import contextlib
import itertools
from pathlib import Path
from typing import Any

from reflectioncoder.data.files import read_json, read_jsonl
from reflectioncoder.errors import UsageError
from reflectioncoder.progress import say

OUTPUTS = ("reflections.jsonl", "rejected.jsonl", "build.json")


def require_same_author(output_dir: Path, author: str, hybrid: bool, model: str | None, *, fork: bool) -> None:
    """Refuse a folder with samples of another author or model; with `fork`, move them into `earlier-N` instead.

    Raises:
        UsageError: the samples are of another author or model.
    """
    found = _begun_by(output_dir)
    own = {"author": author, "hybrid": hybrid, "model": model}
    differing = [name for name, value in found.items() if own[name] != value]
    if not differing:
        return
    if not fork:
        lines = [f"  {name + ':':8} {found[name]!r}, now {own[name]!r}" for name in differing]
        raise UsageError(
            "\n".join([f"{output_dir} holds the samples of another author", *lines])
            + "\n  hint:    another name for the run, or build --fork to put them aside"
        )
    aside = next(folder for number in itertools.count(1) if not (folder := output_dir / f"earlier-{number}").exists())
    aside.mkdir()
    for name in OUTPUTS:
        if (output_dir / name).exists():
            (output_dir / name).rename(aside / name)
    say(f"build: the samples of the author {found['author']} were moved to {aside}")


def _begun_by(output_dir: Path) -> dict[str, Any]:
    """Return author, hybrid and model of the samples in the folder, as far as known; {} without samples."""
    samples = output_dir / "reflections.jsonl"
    if not samples.is_file():
        return {}
    with contextlib.suppress(UsageError):
        build = read_json(output_dir / "build.json")
        return {name: build[name] for name in ("author", "hybrid", "model") if name in build}
    with contextlib.suppress(UsageError, StopIteration, AttributeError, TypeError):
        metadata = next(iter(read_jsonl(samples)))[1].get("metadata") or {}
        if "author" in metadata and "model" not in metadata:  # this author uses no model
            return {"author": metadata["author"]}
        return {"model": metadata.get("model") or None}
    return {}
