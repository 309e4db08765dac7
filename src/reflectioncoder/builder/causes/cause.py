"""The cause of a failure, as stated in a diagnosis."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Cause:
    """A fault of an attempt, derived from the diff to a passing program, from the attempt itself, or from its run.

    Attributes:
        kind: name of its clauses in the grammar, `cause.KIND`.
        wrong, correct: the replaced code and its replacement, on one line each; "" for none.
        facts: fields of its clauses.
        is_of_result: whether it concerns the failing call's value, which the sample must show first.
    """

    kind: str
    wrong: str = ""
    correct: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    is_of_result: bool = False


@dataclass(frozen=True)
class Repair:
    """A passing program made from an attempt and as few statements of its reference as possible. `causes`: one per statement."""

    program: str
    causes: tuple[Cause, ...]
