"""A partial repair: it makes the failing test pass, a later test fails, and only then the rest is repaired.

Real runs decide between three forms: one of several places is corrected, a condition gets one of its two cases, or one of two slips is
corrected.
"""

from __future__ import annotations

import ast
import difflib
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from reflectioncoder.builder.cells import Execution
from reflectioncoder.builder.executions import Executions
from reflectioncoder.builder.failures import read_failure
from reflectioncoder.builder.mutation import Mutation
from reflectioncoder.builder.mutation.diagnosis import failing_test
from reflectioncoder.builder.stories.edits import edits
from reflectioncoder.builder.stories.kinds.kind import StoryKind
from reflectioncoder.builder.stories.probes import place_of
from reflectioncoder.builder.stories.rounds import attempt_place, closed, corrections, look_place
from reflectioncoder.builder.stories.second_slips import with_second_slip
from reflectioncoder.builder.stories.story import Attempt, Draft, Saying, Story
from reflectioncoder.builder.stories.wording import CASES, Manner, failure_facts, fix, opening, quotable
from reflectioncoder.data.python_source import parse

_MAX_HALVES = 4  # programs run in one session
_MAX_OUTPUT_CHARS = 2000
_MAX_QUOTED_CHARS = 80
_SIGNS = ("<", "<=", ">", ">=")
_PIECE = re.compile(r"\w+|\s+|[<>=!]=|\*\*|//|\W")


class Partial(StoryKind):
    @property
    def min_rounds(self) -> int:
        return 2

    def draft(self, story: Story, execute: Executions, rng: random.Random, manner: Manner) -> Draft | None:
        *before, last = story.attempts
        if before:
            moves = len(before) == 1 and _moves_on(before[0].ran, last, story.tests)
            return corrections(story, execute, opening(story, rng), rng, ("", "failure.moved")) if moves else None
        if not last.test(story.tests):
            return None
        return _half_draft(story, execute, rng) or _two_slips_draft(story, execute, rng)


def _moves_on(earlier: Execution, later: Attempt, tests: Sequence[str]) -> bool:
    """Tell whether a later attempt fails at a later test than an earlier run, so that the earlier failing test passes."""
    before, after = failing_test(earlier.output, tuple(tests)), later.test(tests)
    return earlier.error == "AssertionError" and bool(before and after) and tests.index(str(before)) < tests.index(after)


def _two_slips_draft(story: Story, execute: Executions, rng: random.Random) -> Draft | None:
    chosen = with_second_slip(story, execute, rng, lambda ran, last: _moves_on(ran, last, story.tests))
    return chosen and corrections(chosen, execute, opening(chosen, rng), rng, ("", "failure.moved"))


@dataclass(frozen=True)
class _Half:
    """A half-repaired program.

    Attributes:
        done: sentence about the repaired half, with its facts.
        left: the slip that the second half repairs.
    """

    program: str
    done: Saying
    left: Mutation


def _half_draft(story: Story, execute: Executions, rng: random.Random) -> Draft | None:
    """Draft the story of a repair that first covers only one of two places or cases."""
    (first,) = story.attempts
    if first.slip is None or first.slip.operator == "syntax_slip":
        return None
    halves = [*_places(first, first.slip), *_cases(first, first.slip)][:_MAX_HALVES]
    found = _next_attempt(story, halves, execute)
    if found is None:
        return None
    half, second = found
    done = replace(half.done, facts={**failure_facts(first, story), **half.done.facts})
    closing = fix(second, story, place_of(story, second, execute))
    if half.done.symbol == "half.case":
        closing = [Saying("half.other_case", {**failure_facts(second, story), **half.done.facts})]
    places = [
        attempt_place(first, story, opening(story, rng)),
        look_place(first, story, execute),
        attempt_place(second, story, [done], "failure.moved"),
        look_place(second, story, execute),
    ]
    return closed(replace(story, attempts=(first,)), places, closing)


def _places(attempt: Attempt, slip: Mutation) -> Iterator[_Half]:
    """Yield the attempt with only one of its wrong lines corrected, or one of the wrong comparison signs in a single line."""
    ours, theirs = attempt.program.split("\n"), attempt.corrected.split("\n")
    changes = _changes(ours, theirs)
    if len(changes) == 1 and changes[0][1] - changes[0][0] == changes[0][3] - changes[0][2] == 1:
        at, other = changes[0][0], changes[0][2]
        pieces, right = _PIECE.findall(ours[at]), _PIECE.findall(theirs[other])
        is_of_signs = all(
            sign in _SIGNS for change in _changes(pieces, right) for sign in (*pieces[slice(*change[:2])], *right[slice(*change[2:])])
        )
        halves = _each(pieces, right) if is_of_signs else []
        programs = ["\n".join([*ours[:at], "".join(line), *ours[at + 1 :]]) for line in halves]
    else:
        programs = ["\n".join(lines) for lines in _each(ours, theirs)]
    for program in programs if len(programs) > 1 else []:
        done, left = edits(attempt.program, program), edits(program, attempt.corrected)
        if len(done) == len(left) == 1 and len(done[0].old) == len(done[0].new) == len(left[0].old) == len(left[0].new) == 1:
            facts = {"old": quotable(done[0].old[0].rstrip(":")), "new": quotable(done[0].new[0].rstrip(":"))}
            rest = Mutation(slip.operator, program, left[0].new[0].rstrip(":"), left[0].old[0].rstrip(":"))
            if parse(program) is not None and all(0 < len(text) <= _MAX_QUOTED_CHARS for text in facts.values()):
                yield _Half(program, Saying("half.place", facts), rest)


def _each(ours: Sequence[str], theirs: Sequence[str]) -> list[list[str]]:
    """Return, for each difference between two sequences, the first sequence with only that difference removed."""
    return [[*ours[:begin], *theirs[start:stop], *ours[end:]] for begin, end, start, stop in _changes(ours, theirs)]


def _changes(ours: Sequence[str], theirs: Sequence[str]) -> list[tuple[int, int, int, int]]:
    matcher = difflib.SequenceMatcher(None, ours, theirs, autojunk=False)
    return [(begin, end, start, stop) for tag, begin, end, start, stop in matcher.get_opcodes() if tag != "equal"]


def _cases(attempt: Attempt, slip: Mutation) -> Iterator[_Half]:
    """Yield the corrected program with only one operand of the `or` condition that the attempt lacks."""
    tree = parse(slip.correct.removeprefix("if ").removesuffix(":")) if slip.operator in CASES else None
    test = getattr(tree.body[0], "value", None) if tree is not None and tree.body else None
    if not isinstance(test, ast.BoolOp) or not isinstance(test.op, ast.Or) or attempt.corrected.count(slip.correct) != 1:
        return
    for value in test.values:
        half = ast.get_source_segment(slip.correct.removeprefix("if ").removesuffix(":"), value) or ""
        facts = {"half": quotable(half), "both": quotable(slip.correct)}
        if all(facts.values()):
            program = attempt.corrected.replace(slip.correct, half)
            yield _Half(program, Saying("half.case", facts), replace(slip, code=program, wrong=half))


def _next_attempt(story: Story, halves: Sequence[_Half], execute: Executions) -> tuple[_Half, Attempt] | None:
    """Return the first half that passes the attempt's failing test and fails a later one, with the attempt it makes."""
    first = story.attempts[0]
    cells = [first.cell_of(half.program) for half in halves]
    for half, cell, ran in zip(halves, cells, execute(cells) if cells else (), strict=True):
        if ran.error == "AssertionError" and len(ran.output) <= _MAX_OUTPUT_CHARS:
            failed = failing_test(ran.output, story.tests)
            if failed and story.tests.index(failed) > story.tests.index(first.test(story.tests)):
                failure = read_failure(cell, story.tests, ran, execute)
                return half, Attempt(half.program, story.reference, cell, ran, failure, half.left)
    return None
