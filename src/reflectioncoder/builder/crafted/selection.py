"""Chooses the few tests that a sample shows: they detect its own slips and as many others as possible; named cases are preferred."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from reflectioncoder.builder.crafted.cases import EXAMPLE, ORDINARY
from reflectioncoder.builder.mutation.diagnosis import as_people_write

_NAMED = 0.5  # bonus in detected slips for a named case: breaks ties
_OWN = 0.3  # likewise for the problem's own tests
_ANOTHER = "another ordinary input"
UNNAMED = (ORDINARY, _ANOTHER)
"""Cases without a name."""
_EDGE = re.compile(r"(?:an empty (?!result)|a single )|.*\b(?:at|above|below) the limit\b")
"""Cases worth naming although no attempt fails there."""
_SPREAD = 0.1  # spread of random weights, so that a problem's samples differ in their tests


@dataclass(frozen=True)
class CraftedTest:
    """A test of a problem.

    Attributes:
        text: the assertion.
        cases: cases that its input covers, most informative first.
        failing: one digit per slip of the problem, 1 if the test detects it.
        is_own: whether it is one of the problem's own tests.
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
    """The assertions that a sample shows, with the case of each for texts; no cases if the tests were not chosen by cases."""

    tests: tuple[str, ...]
    cases: tuple[str, ...] = ()

    @property
    def lines(self) -> tuple[str, ...]:
        """Return the tests for a cell, with named cases as comments."""
        if not self.cases:
            return self.tests
        pairs = zip(self.tests, self.cases, strict=True)
        return tuple(test if "\n" in test or case in UNNAMED else f"{test}  # {_plain(case)}" for test, case in pairs)

    @property
    def about(self) -> dict[str, Any]:
        """Return the tests' entries for a sample's metadata."""
        return {"shown_tests": list(self.tests), **({"test_cases": list(map(_plain, self.cases))} if self.cases else {})}


def _plain(case: str) -> str:
    return case.replace("`", "")


def choose(tests: Sequence[CraftedTest], attempts: Sequence[str], count: int, rng: random.Random) -> ShownTests:
    """Choose up to `count` tests.

    Args:
        attempts: for each attempt one digit per test, 1 if the attempt fails it; one failed test per attempt is chosen first.
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
    """Return a case for each chosen test: the decisive case if an attempt fails it, else an edge case; unnamed if there is none."""
    chosen: list[str] = []
    for number in numbers:
        failing = next((failing for failing in attempts if failing[number] == "1"), "")
        cases = [case for case in tests[number].cases if (_decides(case, tests, failing) if failing else _EDGE.match(case))]
        others = {case for other in numbers if other != number for case in tests[other].cases}
        own = [case for case in cases if case not in others] or [case for case in cases if case not in chosen]
        chosen.append(own[0] if own else _ANOTHER if ORDINARY in chosen else ORDINARY)
    return tuple(chosen)


def _decides(case: str, tests: Sequence[CraftedTest], failing: str) -> bool:
    """Tell whether a case is decisive for an attempt: it fails all tests of the case and passes most others."""
    within, without = (
        [digit for test, digit in zip(tests, failing, strict=True) if (case in test.cases) is has] for has in (True, False)
    )
    return "0" not in within and 2 * without.count("0") > len(without)
