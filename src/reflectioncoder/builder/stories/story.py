"""Defines what a story is told of: failing attempts and what corrects them; and its parts: rounds, and what is said about them.

A round is a cell that is run before the one that passes. What is said after it depends on what it prints.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from reflectioncoder.builder.causes import Cause
from reflectioncoder.builder.cells import Execution
from reflectioncoder.builder.mutation import Mutation
from reflectioncoder.builder.mutation.diagnosis import Failure, failing_test

Facts = Mapping[str, str]


@dataclass(frozen=True)
class Saying:
    """A symbol of the grammar with the facts that it may use. `is_extra`: it may be left out."""

    symbol: str
    facts: Facts = field(default_factory=dict)
    is_extra: bool = False


@dataclass(frozen=True)
class Attempt:
    """A failing attempt.

    Attributes:
        corrected: a program that is right where this one is wrong; the next attempt, or the reference.
        slip: what the correction repairs, None if `corrected` is another program altogether.
        causes: what is said to be wrong, where it is not the slip.
    """

    program: str
    corrected: str
    cell: str
    ran: Execution
    failure: Failure
    slip: Mutation | None = None
    causes: tuple[Cause, ...] = ()

    def test(self, tests: Sequence[str]) -> str:
        """Return the assertion that fails, or in which an exception arises; "" if none is to blame."""
        return self.failure.test or failing_test(self.ran.output, tuple(tests)) or ""

    def cell_of(self, program: str) -> str:
        """Return the attempt's cell with another program in it."""
        return program.rstrip() + self.cell.removeprefix(self.program.rstrip())

    def with_test(self, test: str, other: str) -> Attempt:
        """Return the attempt with another test in the place of one of its tests, which is not run before the failing one."""
        return replace(self, cell=self.cell.replace(test, other))


@dataclass(frozen=True)
class Story:
    """The attempts at a problem and the cell that passes.

    Attributes:
        setup: what the tests need beside the program.
        cases: what each test is there for, if that is known.
        short_looks: no look repeats a function.
        relation: how the slips of two attempts act on each other, "" if that was not asked (`authors.slip_pairs`).
    """

    request: str
    entry_point: str
    setup: str
    tests: tuple[str, ...]
    attempts: tuple[Attempt, ...]
    last_cell: str
    last_output: str
    cases: tuple[str, ...] = ()
    relation: str = ""
    short_looks: bool = False

    @property
    def reference(self) -> str:
        return self.attempts[-1].corrected

    def before(self, test: str) -> str:
        """Return what the cells run before a test: the setup and the tests above it."""
        return "\n".join([self.setup, *self.tests[: self.tests.index(test)]])


Reading = Callable[[str], Sequence[Saying] | None]
"""Returns what is to be said of an output; None if it does not show what the cell is for."""


@dataclass(frozen=True)
class Round:
    """A cell, what is said before it, and how its output is read.

    Attributes:
        kind: "attempt", "look", "hypothesis" or "question".
    """

    kind: str
    cell: str
    before: Sequence[Saying]
    read: Reading


@dataclass(frozen=True)
class Place:
    """A place for one of several rounds, the best first; one that is not needed may be left out."""

    candidates: tuple[Round, ...]
    is_needed: bool


@dataclass(frozen=True)
class Draft:
    """A story that is planned and has not been run as a whole.

    Attributes:
        slips: what the attempts lack, in the order of the corrections.
        closing: what is said before the cell that passes.
    """

    places: tuple[Place, ...]
    closing: Sequence[Saying]
    last_cell: str
    last_output: str
    slips: tuple[Mutation, ...]
