"""The place where an attempt diverges from its reference, and the facts about it that a text may state."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from reflectioncoder.sandbox.runtime.showing import LEFT_OUT

TRACE_FORMAT = 1
"""Part of the log key: raise it when tracing finds other divergences in the same runs, so that older logs are not reused."""
MAX_STATED = 80  # characters of a quoted value

Kind = Literal[
    "value", "argument", "branch", "rounds", "path", "return", "yield", "exception", "output", "endless", "syntax", "outcome"
]
"""
How the attempt differs. value: a variable's value after the statement; argument: an argument of a call; branch: a condition's value;
rounds: a `for` loop continues in only one of the runs; path: another statement follows; return, yield: the returned or yielded value;
exception: an exception is raised in only one run, or differs; output: the printed text; endless: the attempt hangs in the statement;
syntax: the attempt does not parse; outcome: only the test itself distinguishes the runs.
"""


@dataclass(frozen=True)
class Divergence:
    """The place where an attempt diverges from its reference.

    Attributes:
        function: the attempt's function, `Class.method` for a method; "" at module level and in the test.
        line_attempt, line_reference: lines in the two sources; None where a program has no such statement.
        statement, statement_reference: source on one line; for a compound statement its header.
        variable: the variable; `name.attribute` for an attribute, `function(parameter)` for an argument, the condition for a branch.
        value_attempt, value_reference: reprs, with `…` for omitted parts; None if there is no value.
        iteration: iteration of the innermost loop at the statement, from 1; 0 outside loops.
        call_path: functions from the test to the place.
        inputs: names and values that the statement reads and its loop assigns, in the attempt before the statement runs.
        line_before: line of the attempt's last statement before the place; locates a statement that the attempt lacks.
        visits: executions of the attempt's statement (or that of `line_before`) in the traced part of the test.
        ends: whether the attempt finished within the tracer's limits.
    """

    kind: Kind
    function: str = ""
    line_attempt: int | None = None
    line_reference: int | None = None
    statement: str = ""
    statement_reference: str = ""
    variable: str = ""
    value_attempt: str | None = None
    value_reference: str | None = None
    iteration: int = 0
    call_path: tuple[str, ...] = ()
    inputs: tuple[tuple[str, str], ...] = ()
    line_before: int | None = None
    visits: int = 0
    ends: bool = True

    def to_json(self) -> dict[str, Any]:
        return {**vars(self)}

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> Divergence:
        inputs = tuple((name, value) for name, value in row["inputs"])
        return cls(**{**row, "call_path": tuple(row["call_path"]), "inputs": inputs})


@dataclass(frozen=True)
class Facts:
    """The facts of a divergence that a text may state: observed values that are complete and short.

    Attributes:
        observed: the attempt's variables before the statement, then the new value of `variable`.
        expected: the reference's value of `variable`.
        result, result_expected: the returned, yielded or printed values, or the values of the condition.
        error, error_expected: the exceptions.
    """

    kind: Kind
    function: str
    statement: str
    statement_reference: str
    iteration: int
    calls: tuple[str, ...]
    variable: str
    observed: tuple[tuple[str, str], ...] = ()
    expected: tuple[tuple[str, str], ...] = ()
    result: str | None = None
    result_expected: str | None = None
    error: str | None = None
    error_expected: str | None = None


def describe(divergence: Divergence) -> Facts:
    """Return the facts of a divergence that a text may state."""
    d = divergence
    ours, theirs = (value if value is not None and is_whole(value) else None for value in (d.value_attempt, d.value_reference))
    facts = Facts(
        d.kind, d.function, d.statement, d.statement_reference, d.iteration, d.call_path, d.variable,
        observed=tuple((name, value) for name, value in d.inputs if is_whole(value)),
    )  # fmt: skip
    if d.kind in ("value", "argument", "rounds"):
        after = tuple((d.variable, value) for value in (ours,) if value is not None)
        return replace(facts, observed=(*facts.observed, *after), expected=tuple((d.variable, value) for value in (theirs,) if value))
    if d.kind in ("exception", "syntax", "outcome"):
        return replace(facts, error=ours, error_expected=theirs)
    return replace(facts, result=ours, result_expected=theirs)


def is_whole(value: str) -> bool:
    """Tell whether a value's text is complete, on one line, and short enough to quote."""
    return LEFT_OUT not in value and len(value) <= MAX_STATED and "\n" not in value
