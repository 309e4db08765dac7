"""Chooses the tests that a sample shows: few, that notice the sample's own slips and as many others as they can, named ones first."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from reflectioncoder.builder.crafted.cases import EXAMPLE, ORDINARY
from reflectioncoder.builder.mutation.diagnosis import as_people_write

_NAMED = 0.5  # a named case is worth half a slip: it decides between tests that notice equally many
_OWN = 0.3  # and so is a test that somebody has thought of
_ANOTHER = "another ordinary input"
UNNAMED = (ORDINARY, _ANOTHER)
"""Cases of which there is nothing to say."""
_EDGE = re.compile(r"(?:an empty (?!result)|a single )|.*\b(?:at|above|below) the limit\b")
"""Cases that are worth a word although nothing fails there."""
_SPREAD = 0.1  # of the drawn weights, so that a problem's samples differ in their tests


@dataclass(frozen=True)
class CraftedTest:
    """A test of a problem.

    Attributes:
        text: the assertion.
        cases: what is special about its input, the most telling first.
        failing: a digit for each slip of the problem, 1 if the test notices it.
        is_own: the problem has it.
    """

    text: str
    cases: tuple[str, ...]
    failing: str
    is_own: bool = True

    @property
    def is_named(self) -> bool:
        return self.cases[0] not in (ORDINARY, EXAMPLE)

    def to_json(self) -> dict[str, Any]:
        return {"text": self.text, "cases": list(self.cases), "failing": self.failing, "is_own": self.is_own}

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> CraftedTest:
        return cls(row["text"], tuple(row["cases"]), row["failing"], row["is_own"])


@dataclass(frozen=True)
class ShownTests:
    """The assertions that a sample shows, and the case of each as it stands in a text; no cases if nobody chose them for theirs."""

    tests: tuple[str, ...]
    cases: tuple[str, ...] = ()

    @property
    def lines(self) -> tuple[str, ...]:
        """Return the tests as they stand in a cell: with the case as a comment, if it has a name."""
        if not self.cases:
            return self.tests
        pairs = zip(self.tests, self.cases, strict=True)
        return tuple(test if "\n" in test or case in UNNAMED else f"{test}  # {_plain(case)}" for test, case in pairs)

    @property
    def about(self) -> dict[str, Any]:
        """Return what a sample's metadata says of them."""
        return {"shown_tests": list(self.tests), **({"test_cases": list(map(_plain, self.cases))} if self.cases else {})}


def _plain(case: str) -> str:
    return case.replace("`", "")


def choose(tests: Sequence[CraftedTest], attempts: Sequence[str], count: int, rng: random.Random) -> ShownTests:
    """Choose up to `count` tests.

    Args:
        attempts: for each attempt a digit for each test, 1 if the test notices it; of each attempt one test is chosen that does.
    """
    chosen: list[int] = []
    left = set(range(len(tests)))
    missed = {slip for test in tests for slip, digit in enumerate(test.failing) if digit == "1"}
    weights = [1 + _SPREAD * rng.random() for _ in tests]

    def take(among: set[int]) -> None:
        best = max(sorted(among), key=lambda number: weights[number] * _worth(tests[number], missed))
        chosen.append(best)
        left.discard(best)
        missed.difference_update(slip for slip in set(missed) if tests[best].failing[slip] == "1")

    for failing in attempts:
        noticing = {number for number in left if failing[number] == "1"}
        if noticing and len(chosen) < count and not any(failing[number] == "1" for number in chosen):
            take(noticing)
    while left and len(chosen) < count:
        take(left)
    chosen.sort(key=lambda number: (len(tests[number].text), number))
    return ShownTests(tuple(as_people_write(tests[number].text) for number in chosen), _cases(chosen, tests, attempts))


def _worth(test: CraftedTest, missed: set[int]) -> float:
    return sum(test.failing[slip] == "1" for slip in missed) + _NAMED * test.is_named + _OWN * test.is_own


def _cases(numbers: Sequence[int], tests: Sequence[CraftedTest], attempts: Sequence[str]) -> tuple[str, ...]:
    """Return a case for each chosen test: of one that an attempt fails the case that decides it, of another one an edge; else none."""
    chosen: list[str] = []
    for number in numbers:
        failing = next((failing for failing in attempts if failing[number] == "1"), "")
        cases = [case for case in tests[number].cases if (_decides(case, tests, failing) if failing else _EDGE.match(case))]
        others = {case for other in numbers if other != number for case in tests[other].cases}
        own = [case for case in cases if case not in others] or [case for case in cases if case not in chosen]
        chosen.append(own[0] if own else _ANOTHER if ORDINARY in chosen else ORDINARY)
    return tuple(chosen)


def _decides(case: str, tests: Sequence[CraftedTest], failing: str) -> bool:
    """Tell whether a case makes an attempt fail: it fails all tests of the case, and passes most of the others."""
    within, without = (
        [digit for test, digit in zip(tests, failing, strict=True) if (case in test.cases) is has] for has in (True, False)
    )
    return "0" not in within and 2 * without.count("0") > len(without)
