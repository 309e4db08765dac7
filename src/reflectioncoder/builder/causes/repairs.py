"""Repairs an attempt with as few statements of its reference as possible: the first program that passes all tests of the problem."""

from __future__ import annotations

import ast
import difflib
import itertools
from collections.abc import Callable, Iterator

from reflectioncoder import syntax
from reflectioncoder.builder.causes.cause import Cause, Repair
from reflectioncoder.builder.causes.edits import Edit, apply, edits_between, overlap

_MAX_EDITS = 6  # that lead from the attempt to the reference: beyond it the attempt is not close to right
_MAX_PAIRS = 10
_MIN_ALIKE = 0.5  # of a line that is no Python and the one that takes its place


def minimal_repair(attempt: str, reference: str, passes: Callable[[str], bool]) -> Repair | None:
    """Return the attempt with one or two statements of the reference, if that passes; the reference itself if it comes to the same.

    Args:
        passes: runs a program with all tests of the problem.
    """
    edits = edits_between(attempt, reference) if _parses(attempt) else list(_of_syntax(attempt, reference))
    if len(edits) > _MAX_EDITS:
        return None
    pairs = [pair for pair in itertools.combinations(edits, 2) if not overlap(*pair)][:_MAX_PAIRS]
    known = {attempt.strip()}
    for chosen in (*((edit,) for edit in edits), *pairs):
        program = apply(chosen, attempt)
        if program.strip() in known or not _parses(program):
            continue
        known.add(program.strip())
        if passes(program):
            is_reference = ast.dump(syntax.parse(program)) == ast.dump(syntax.parse(reference))
            return Repair(reference if is_reference else program, tuple(edit.cause for edit in chosen))
    return None


def _parses(program: str) -> bool:
    try:
        syntax.parse(program)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def _line_of_error(program: str) -> int:
    """Return the line (from 0) at which the parser stops, -1 if it names none."""
    try:
        syntax.parse(program)
    except SyntaxError as error:
        return (error.lineno or 0) - 1
    except (ValueError, RecursionError, MemoryError):
        pass
    return -1


def _of_syntax(attempt: str, reference: str) -> Iterator[Edit]:
    """Yield edits of the line at which the parser stops, and of the one before it: the most similar line of the reference."""
    at = _line_of_error(attempt)
    lines, others = attempt.split("\n"), [line.strip() for line in reference.split("\n") if line.strip()]
    for number in (at, at - 1):
        if not 0 <= number < len(lines) or not lines[number].strip():
            continue
        line = lines[number]
        indent = line[: len(line) - len(line.lstrip())]
        for other in difflib.get_close_matches(line.strip(), others, 2, _MIN_ALIKE):
            if other != line.strip():
                yield Edit(number, number + 1, (f"{indent}{other}",), Cause("broken_line", line.strip(), other))
