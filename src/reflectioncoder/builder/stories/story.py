"""The data of a story: failing attempts and their corrections, rounds, and the sentences about them.

A round is a cell run before the passing one. The sentences after it depend on its output.
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
    """A sentence: a grammar symbol with the facts that it may use. `is_extra`: it is optional."""

    symbol: str
    facts: Facts = field(default_factory=dict)
    is_extra: bool = False


@dataclass(frozen=True)
class Attempt:
    """A failing attempt.

    Attributes:
        corrected: the program that repairs this one: the next attempt, or the reference.
        slip: the slip that the correction repairs; None if `corrected` is an unrelated program.
        causes: causes to state instead of the slip.
    """

    program: str
    corrected: str
    cell: str
    ran: Execution
    failure: Failure
    slip: Mutation | None = None
    causes: tuple[Cause, ...] = ()

    def test(self, tests: Sequence[str]) -> str:
        """Return the assertion that fails or raises an exception; "" if there is none."""
        return self.failure.test or failing_test(self.ran.output, tuple(tests)) or ""

    def cell_of(self, program: str) -> str:
        """Return the attempt's cell with its program replaced."""
        return program.rstrip() + self.cell.removeprefix(self.program.rstrip())

    def with_test(self, test: str, other: str) -> Attempt:
        """Return the attempt with one test replaced; the test must come after the failing one."""
        return replace(self, cell=self.cell.replace(test, other))


@dataclass(frozen=True)
class Story:
    """The attempts at a problem, and the passing cell.

    Attributes:
        setup: code that the tests need besides the program.
        cases: the case that each test covers, if known.
        short_looks: whether looks avoid repeating a function definition.
        relation: how the slips of two attempts interact; "" if unknown (`authors.slip_pairs`).
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
        """Return the code that cells run before a test: the setup and the preceding tests."""
        return "\n".join([self.setup, *self.tests[: self.tests.index(test)]])


Reading = Callable[[str], Sequence[Saying] | None]
"""Returns the sentences about an output; None if it does not show what the cell is meant to show."""


@dataclass(frozen=True)
class Round:
    """A cell, the sentences before it, and the function that reads its output.

    Attributes:
        kind: "attempt", "look", "hypothesis" or "question".
    """

    kind: str
    cell: str
    before: Sequence[Saying]
    read: Reading


@dataclass(frozen=True)
class Place:
    """A slot for one of several candidate rounds, best first; a slot that is not needed may stay empty."""

    candidates: tuple[Round, ...]
    is_needed: bool


@dataclass(frozen=True)
class Draft:
    """A planned story that has not been run as a whole.

    Attributes:
        slips: the attempts' slips in the order of their correction.
        closing: sentences before the passing cell.
    """

    places: tuple[Place, ...]
    closing: Sequence[Saying]
    last_cell: str
    last_output: str
    slips: tuple[Mutation, ...]
