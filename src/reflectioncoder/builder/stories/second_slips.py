"""Adds a second slip to an attempt, to be repaired first, such that the two failures have a given relation."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection
from dataclasses import replace

from reflectioncoder.builder.cells import Execution
from reflectioncoder.builder.executions import Executions
from reflectioncoder.builder.failures import read_failure
from reflectioncoder.builder.mutation import Mutation, mutations
from reflectioncoder.builder.mutation.plausible import is_plausible_failure, plausible
from reflectioncoder.builder.mutation.stated_words import StatedWords
from reflectioncoder.builder.stories.edits import are_apart
from reflectioncoder.builder.stories.story import Attempt, Story

_MAX_TRIED = 5  # slips run in one session
_MAX_OUTPUT_CHARS = 2000


def with_second_slip(
    story: Story,
    execute: Executions,
    rng: random.Random,
    fits: Callable[[Execution, Attempt], bool],
    preferred: Collection[str] = (),
) -> Story | None:
    """Return the story of a single attempt with an attempt with two slips before it; None if no drawn slip fits.

    Args:
        fits: tells whether the run with both slips fits before the attempt with one.
        preferred: kinds of slips that are likely to fit, tried first.
    """
    *others, last = story.attempts
    if others or last.slip is None or last.slip.operator == "syntax_slip":
        return None
    words = StatedWords.of(story.request, story.reference)
    slips = [
        slip
        for slip in plausible(mutations(last.program), words)
        if _is_another(slip, last.slip) and are_apart(story.reference, last.program, slip.code)
    ]
    rng.shuffle(slips)
    slips = sorted(_of_different_kinds(slips), key=lambda slip: slip.operator not in preferred)[:_MAX_TRIED]
    if not slips:
        return None
    cells = [last.cell_of(slip.code) for slip in slips]
    for slip, cell, ran in zip(slips, cells, execute(cells), strict=True):
        is_usable = _is_failure(ran, last) and fits(ran, last)
        if is_usable and (first := _attempt(slip, cell, ran, last, story, execute)) is not None:
            return replace(story, attempts=(first, last))
    return None


def _is_another(slip: Mutation, real: Mutation) -> bool:
    return slip.operator not in (real.operator, "syntax_slip") and slip.correct != real.wrong and real.wrong in slip.code


def _of_different_kinds(slips: list[Mutation]) -> list[Mutation]:
    """Order the slips so that the first of each kind come first, then the second of each, and so on."""
    seen: dict[str, int] = {}
    ranked = []
    for slip in slips:
        seen[slip.operator] = seen.get(slip.operator, 0) + 1
        ranked.append((seen[slip.operator], slip))
    return [slip for _, slip in sorted(ranked, key=lambda item: item[0])]


def _is_failure(ran: Execution, last: Attempt) -> bool:
    return ran.status == "failed" and len(ran.output) <= _MAX_OUTPUT_CHARS and ran.output != last.ran.output


def _attempt(slip: Mutation, cell: str, ran: Execution, last: Attempt, story: Story, execute: Executions) -> Attempt | None:
    failure = read_failure(cell, story.tests, ran, execute)
    is_usable = failure != last.failure and is_plausible_failure(slip.operator, failure.error)
    return Attempt(slip.code, last.program, cell, ran, failure, slip) if is_usable else None
