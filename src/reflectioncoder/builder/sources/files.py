"""Reads problem files in this package's form and others, as JSON Lines (optionally gzipped) or one JSON array."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from reflectioncoder.builder.sources.draft import Draft, Dropped
from reflectioncoder.builder.sources.forms import Origin, Row, draft_from
from reflectioncoder.data.files import read_json, read_jsonl
from reflectioncoder.data.problems import iter_problems
from reflectioncoder.errors import UsageError


def from_bundle(split: str) -> Iterator[Draft | Dropped]:
    for problem in iter_problems([f"bundled:{split}"]):
        yield Draft(problem)


def from_file(path: str | Path) -> Iterator[Draft | Dropped]:
    """Yield the drafts in a file; UsageError with file and line if it is missing, not JSON, or has rows of an unknown form."""
    path = Path(path)
    origin = Origin(path.name.partition(".")[0], path.name)
    for number, row in _read_array(path) if path.suffix == ".json" else read_jsonl(path):
        yield draft_from(row, number, f"{path}:{number}", origin)


def _read_array(path: Path) -> Iterator[tuple[int, Row]]:
    rows = read_json(path)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise UsageError(f"{path}: expected an array of JSON objects")
    return enumerate(rows, start=1)
