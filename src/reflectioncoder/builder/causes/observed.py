"""Derives causes from an attempt's run, text and result, for attempts too unlike their reference for a diff."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from reflectioncoder.builder.causes.cause import Cause
from reflectioncoder.builder.causes.changes import GENERAL
from reflectioncoder.builder.causes.errors import cause_of_error
from reflectioncoder.builder.causes.results import cause_of_result
from reflectioncoder.builder.causes.structure import Shape, cause_of_shape, endless_loop, lacking
from reflectioncoder.builder.mutation.diagnosis import Failure
from reflectioncoder.data.python_source import bindings, definition, parse

_OUT_OF_MEMORY = r"(?:MemoryError|OverflowError)"


@dataclass(frozen=True)
class Observed:
    """A failing attempt with its reference and the failure of its run."""

    attempt: str
    reference: str
    entry_point: str
    failure: Failure


def observed_causes(seen: Observed) -> Iterator[Cause]:
    """Yield the certain causes, most informative first."""
    yield from _telling(seen)
    if seen.failure.kind == "wrong_value":
        yield from _some(cause_of_result(seen.failure.actual, seen.failure.expected))
    if shapes := _shapes(seen):
        yield from _some(lacking(*shapes))


def refined(causes: tuple[Cause, ...], seen: Observed) -> tuple[Cause, ...]:
    """Return the causes of a repair; a first cause of a general kind takes the more informative kind that the run or attempt shows."""
    first, *others = causes
    if first.kind not in GENERAL:
        return causes
    found = next(_telling(seen), None)
    return causes if found is None else (replace(first, kind=found.kind, facts=found.facts), *others)


def _telling(seen: Observed) -> Iterator[Cause]:
    """Yield the causes that the error message or the attempt's text shows."""
    failure, ours = seen.failure, parse(seen.attempt)
    if failure.kind == "syntax":
        yield from _some(cause_of_error(failure.error, frozenset(), seen.entry_point, frozenset()))
    if ours is None:
        return
    if failure.kind == "timeout" or re.match(_OUT_OF_MEMORY, failure.error):  # an endless loop can cause either
        yield from _some(endless_loop(ours))
    if failure.kind == "exception":
        theirs = parse(seen.reference)
        yield from _some(_raised(ours, failure.error))
        yield from _some(cause_of_error(failure.error, _names(ours), seen.entry_point, _imported(theirs) if theirs else frozenset()))
    if shapes := _shapes(seen):
        yield from _some(cause_of_shape(*shapes))


def _shapes(seen: Observed) -> tuple[Shape, Shape] | None:
    found = []
    for program in (seen.attempt, seen.reference):
        tree = parse(program)
        function = definition(tree, seen.entry_point) if tree is not None else None
        if not isinstance(function, ast.FunctionDef):
            return None
        found.append(Shape(function))
    return found[0], found[1]


def _some(cause: Cause | None) -> Iterator[Cause]:
    if cause is not None:
        yield cause


def _raised(tree: ast.Module, error: str) -> Cause | None:
    """Return the cause "raises_itself" if a `raise` in the attempt may have raised the exception."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and node.exc is not None:
            name = ast.unparse(node.exc.func if isinstance(node.exc, ast.Call) else node.exc)
            if name == error.partition(":")[0] and name != "NotImplementedError":
                return Cause("raises_itself")
    return None


def _names(tree: ast.Module) -> frozenset[str]:
    stored = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    stored |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    return frozenset(stored | {name for name, _ in bindings(tree.body)})


def _imported(tree: ast.Module) -> frozenset[str]:
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    return frozenset((alias.asname or alias.name).partition(".")[0] for node in imports for alias in node.names)
