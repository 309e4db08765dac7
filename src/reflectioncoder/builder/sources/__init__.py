"""Problem sources: data sets, packages and files yield drafts, which `verify` turns into problems or drops with a reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from reflectioncoder.builder.sources.codeio import from_reasoning_gym
from reflectioncoder.builder.sources.doctests import from_doctests
from reflectioncoder.builder.sources.draft import Draft, Dropped
from reflectioncoder.builder.sources.files import from_bundle, from_file
from reflectioncoder.builder.sources.hub import from_hub
from reflectioncoder.errors import UsageError

SOURCES: dict[str, Callable[[str], Iterator[Draft | Dropped]]] = {
    "bundled": from_bundle,
    "hub": from_hub,
    "reasoning-gym": from_reasoning_gym,
    "doctest": from_doctests,
}


def read_source(source: str) -> Iterator[Draft | Dropped]:
    """Yield the drafts of a source: `KIND:REST` for a kind in SOURCES, or the path of a file.

    Raises (also during iteration):
        UsageError: an unknown kind, a missing file, or rows of an unknown form.
        MachineError: a package or the network is missing.
    """
    kind, colon, rest = source.partition(":")
    if kind in SOURCES and colon:
        return SOURCES[kind](rest)
    if colon and not Path(source).exists():
        raise UsageError.for_value("unknown kind of source", "source", kind, SOURCES)
    return from_file(source)
