"""Challenges programs: tests prove something only if the program fails exactly those that are wrong on purpose.

An exit code of 0 proves little. A program can exit before its tests end, disable the assertions, learn from them what they expect, or
return an object that equals everything. So each program is challenged first: each run draws anew which assertions get a wrong
expectation, every assertion is evaluated and records whether it held, and the outcomes must match the draw. Nothing in the program's
process tells right expectations from wrong ones: the program may read its source and memory and write the outcomes itself, but to
write matching ones it must know which expectations are right. A second run uses the complement of the draw, so that no constant answer
matches both; guessing succeeds with a probability of at most 1/1000 (`num_pairs`).

The outcomes go to a separate file, which the program's output cannot overflow: one line per assertion, its number and whether it held.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random, SystemRandom
from typing import Literal

from reflectioncoder.evaluate.judges.multipl_e.assertions import Assertion, assertions_of, wrong_shape
from reflectioncoder.languages.language import Language, Recorder
from reflectioncoder.sandbox.execution import OUTCOMES_VARIABLE

Missed = Literal["early exit", "unchecked"]

_GUESSED_BITS = 10  # 1 of 1024


@dataclass(frozen=True)
class Challenge:
    """A challenge. `program`: solution and tests in one file; `drawn`: for each assertion, whether its expectation is right."""

    program: str
    drawn: tuple[bool, ...]

    def missed_by(self, outcomes: str) -> Missed | None:
        """Return how the outcomes of the run deviate from the draw, "early exit" or "unchecked"; None if they match.

        An assertion in a loop records several outcomes.
        """
        said: dict[str, set[str]] = {}
        for line in outcomes.splitlines():
            row, _, held = line.partition(" ")
            said.setdefault(row, set()).add(held.lower())
        rows = [said.pop(str(row), set()) for row in range(len(self.drawn))]
        if any(held - _HELD[right] for held, right in zip(rows, self.drawn, strict=True)) or said:
            return "unchecked"
        return None if all(rows) else "early exit"


_HELD = {True: {"1", "true"}, False: {"0", "false"}}


def num_pairs(num_assertions: int) -> int:
    """Return how many pairs of challenges it takes until guessing succeeds with a probability of at most 1/1000."""
    return math.ceil(_GUESSED_BITS / (2 * num_assertions))


def challenges(solution: str, tests: str, language: Language, random: Random | None = None) -> Iterator[Challenge]:
    """Yield all challenges that a program must pass besides its tests.

    Raises:
        MachineError: the tests do not have this language's form.
    """
    yield from challenges_of(solution, tests, assertions_of(tests, language), language.multipl_e.recorder, wrong_shape, random)


def challenges_of(
    solution: str,
    tests: str,
    assertions: Sequence[Assertion],
    recorder: Recorder,
    wrong: Callable[[int, Sequence[Assertion], Random], str],
    random: Random | None = None,
) -> Iterator[Challenge]:
    """Yield all challenges for tests with parsed assertions; `wrong` makes a wrong shape for one of them."""
    random = random or SystemRandom()
    for _ in range(num_pairs(len(assertions))):
        drawn = tuple(random.random() < 0.5 for _ in assertions)
        for right in (drawn, tuple(not held for held in drawn)):
            name = f"rc_{random.getrandbits(40):010x}"
            shapes = [
                own.shape if held else wrong(row, assertions, random)
                for row, (own, held) in enumerate(zip(assertions, right, strict=True))
            ]
            yield Challenge(_recorded(solution, tests, recorder, assertions, shapes, name), right)


def _recorded(solution: str, tests: str, recorder: Recorder, assertions: Sequence[Assertion], shapes: Sequence[str], name: str) -> str:
    """Return the program with tests that record their outcomes."""
    words = {"name": name, "file": OUTCOMES_VARIABLE}
    parts, at = [], 0
    for row, (assertion, shape) in enumerate(zip(assertions, shapes, strict=True)):
        indent = re.match(r"\s*", tests[assertion.start : assertion.end])
        parts += [tests[at : assertion.start], indent[0] if indent else ""]
        parts += [recorder.row.format(condition=assertion.condition(shape), row=row, **words)]
        at = assertion.end
    text = "".join([*parts, tests[at:]])
    before = re.search(recorder.insert_before, tests, re.MULTILINE) if recorder.insert_before else None
    place = before.start() if before else tests.rfind("\n", 0, assertions[0].start + 1) + 1
    text = f"{text[:place]}{recorder.start.format(**words)}\n{text[place:]}"
    for pattern, replacement in recorder.edits:
        text = re.sub(pattern.format(**words), replacement.format(**words), text)
    if recorder.program_edit:
        pattern, replacement = recorder.program_edit
        solution = re.sub(pattern, replacement.format(**words), solution, count=1, flags=re.MULTILINE)
    return f"{solution}\n{text}"
