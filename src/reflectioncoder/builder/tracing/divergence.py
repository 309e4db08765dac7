"""Defines the place at which an attempt parts from its reference."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from reflectioncoder.sandbox.runtime.showing import LEFT_OUT

MAX_STATED = 80  # characters of a value that is stated

Kind = Literal[
    "value", "argument", "branch", "rounds", "path", "return", "yield", "exception", "output", "endless", "syntax", "outcome"
]
"""
value: a variable has another value after the statement; argument: a function is called with another one; branch: a condition comes out
differently; rounds: a `for` loop goes on in one of the runs only; path: another statement follows; return, yield: a function gives
another value; exception: one is raised, or another; output: something else is printed; endless: the attempt hangs in the statement;
syntax: the attempt is no program; outcome: the test alone tells the runs apart.
"""


@dataclass(frozen=True)
class Divergence:
    """The place where an attempt parts from its reference.

    Attributes:
        function: the function of the attempt, `Class.method` of a method; "" at module level and in the test.
        line_attempt, line_reference: lines of the two sources; None where one has no such statement.
        statement, statement_reference: as they are written, on one line; of a compound statement the header.
        variable: the variable, `name.attribute` of an attribute; of an argument `function(parameter)`; of a branch its condition.
        value_attempt, value_reference: as `repr` writes them, with `…` where something is left out; None: there is none.
        iteration: the round of the innermost loop around the statement (or that the statement is), from 1; 0 outside of loops.
        call_path: the functions from the test to the place.
        inputs: what the statement reads and what the loop around it assigns, by name, as it was in the attempt before it was executed.
        line_before: the line of the attempt's last statement up to there: where a missing one is missing, what comes before it.
        visits: how often the attempt's statement (or that of `line_before`) is executed during the test, as far as it was traced.
        ends: the attempt came to an end within the tracer's limits.
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
    """The facts that may be stated of a divergence: values that were seen and are complete and short.

    Attributes:
        observed: variables of the attempt before the statement, and what it did to `variable`.
        expected: what the reference has in the place of the last of them.
        result, result_expected: what the function returned or yielded, or how the condition came out.
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
    """Return what may be stated of a divergence."""
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
    """Tell whether the text of a value is all of it, and short enough to be stated."""
    return LEFT_OUT not in value and len(value) <= MAX_STATED and "\n" not in value
