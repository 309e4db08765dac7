"""Defines the cause of a failure, as a diagnosis names it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Cause:
    """Names what is wrong with an attempt: seen in the difference to a program that passes, in the attempt itself, or in its run.

    Attributes:
        kind: the name of its clauses in the grammar, `cause.KIND`.
        wrong, correct: what is replaced in the attempt and by what, on one line each; "" where nothing is.
        facts: fields of its clauses.
        is_of_result: it is about the value that the failing call gave, which has to be seen before.
    """

    kind: str
    wrong: str = ""
    correct: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    is_of_result: bool = False


@dataclass(frozen=True)
class Repair:
    """A program that passes, made of an attempt and of as few statements of its reference as possible. `causes`: one for each."""

    program: str
    causes: tuple[Cause, ...]
