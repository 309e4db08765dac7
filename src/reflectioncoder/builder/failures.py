"""Extracts from a failing Python cell the facts that a diagnosis is built from."""

from __future__ import annotations

from reflectioncoder.builder.cells import Execution, Executor
from reflectioncoder.builder.mutation.diagnosis import Failure, error_line, failing_test, split_assertion

_MAX_VALUE_CHARS = 80


def read_failure(cell: str, shown_tests: tuple[str, ...], ran: Execution, execute: Executor) -> Failure:
    """Return the facts of a cell's failing execution; for a failed equality also the call's actual value."""
    error = error_line(ran.output)
    if ran.status == "timeout":
        return Failure("timeout", error)
    if ran.error in ("SyntaxError", "IndentationError", "TabError"):
        return Failure("syntax", error)
    if ran.error != "AssertionError":
        return Failure("exception", error)
    test = failing_test(ran.output, shown_tests) or ""
    parts = split_assertion(test) if test else None
    if parts is None:
        return Failure("assertion" if test else "exception", error, test)
    actual = _actual_value(cell, test, parts[0], execute)
    if actual is None or actual == parts[1]:
        return Failure("assertion", error, test)
    return Failure("wrong_value", error, test, call=parts[0], expected=parts[1], actual=actual)


def _actual_value(cell: str, test: str, call: str, execute: Executor) -> str | None:
    """Return the repr of the call's value, found by rerunning the cell with a print in place of the failing assertion.

    None if that run fails or the value is not a short line.
    """
    before = cell[: cell.rindex(test)]
    asked = execute([f"{before}print(repr({call}))"])[0]
    actual = asked.output.rstrip("\n").rsplit("\n", 1)[-1]
    return actual if asked.passed and len(actual) <= _MAX_VALUE_CHARS and "`" not in actual else None
