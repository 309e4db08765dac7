"""Defines the place at which an attempt parts from its reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

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
        variable: the variable, `name.attribute` of an attribute; of a branch its condition.
        value_attempt, value_reference: as `repr` writes them, with `…` where something is left out; None: there is none.
        iteration: the round of the innermost loop around the statement (or that the statement is), from 1; 0 outside of loops.
        call_path: the functions from the test to the place.
        inputs: what the statement reads, by name, as it was in the attempt before it was executed.
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

    def to_json(self) -> dict[str, Any]:
        return {**vars(self)}
