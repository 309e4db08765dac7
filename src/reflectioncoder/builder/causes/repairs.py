"""Repairs an attempt with as few statements of its reference as possible: the first candidate that passes all tests."""

from __future__ import annotations

import ast
import difflib
import itertools
from collections.abc import Callable, Iterator

from reflectioncoder import syntax
from reflectioncoder.builder.causes.cause import Cause, Repair
from reflectioncoder.builder.causes.edits import Edit, apply, edits_between, overlap

_MAX_EDITS = 6  # edits from the attempt to the reference; with more the attempt is not close enough
_MAX_PAIRS = 10
_MIN_ALIKE = 0.5  # similarity of an invalid line to its replacement


def minimal_repair(attempt: str, reference: str, passes: Callable[[str], bool]) -> Repair | None:
    """Return the attempt with one or two edits towards the reference, if that passes; the reference itself if both parse alike.

    Args:
        passes: tells whether a program passes all tests of the problem.
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
    """Return the line (from 0) of the syntax error; -1 if the parser reports none."""
    try:
        syntax.parse(program)
    except SyntaxError as error:
        return (error.lineno or 0) - 1
    except (ValueError, RecursionError, MemoryError):
        pass
    return -1


def _of_syntax(attempt: str, reference: str) -> Iterator[Edit]:
    """Yield edits that replace the line of the syntax error, or the line before it, by a similar line of the reference."""
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
