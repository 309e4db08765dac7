"""Makes the rounds shared by all kinds of stories: attempts, looks and trial corrections."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

from reflectioncoder.builder.executions import Executions
from reflectioncoder.builder.stories.probes import Probe, check, is_shown, place_of, probes
from reflectioncoder.builder.stories.story import Attempt, Draft, Place, Round, Saying, Story
from reflectioncoder.builder.stories.wording import announcement, explanation, failure_sayings, fix

_CHECKED_SHARE = 0.4  # probability of trying out a correction first


def attempt_place(attempt: Attempt, story: Story, before: Sequence[Saying], symbol: str = "", *, is_exact: bool = True) -> Place:
    """Return the place of an attempt that must fail as before; `is_exact`: with exactly the same output."""

    def read(output: str) -> Sequence[Saying] | None:
        same = output == attempt.ran.output.rstrip("\n") if is_exact else f"\n    {attempt.test(story.tests)}\n" in output
        return failure_sayings(attempt, story, symbol) if same else None

    return Place((Round("attempt", attempt.cell, before, read),), is_needed=True)


def look_place(attempt: Attempt, story: Story, execute: Executions, *, with_call: bool = True, seen: str = "") -> Place:
    """Return the place of a look at an attempt.

    Args:
        with_call: whether the failing call's value is still unknown.
        seen: an expression whose value is already known.
    """
    found = [probe for probe in probes(story, attempt, execute, seen) if with_call or probe.form != "call"]
    return Place(tuple(_look(probe, attempt, story) for probe in found), is_needed=False)


def _look(probe: Probe, attempt: Attempt, story: Story) -> Round:
    def read(output: str) -> Sequence[Saying] | None:
        seen = replace(probe, output=output)
        return explanation(seen, attempt, story) if is_shown(seen, attempt) else None

    return Round("look", probe.cell, announcement(probe, attempt, story), read)


def check_place(attempt: Attempt, story: Story, execute: Executions) -> Place:
    """Return the place of a trial correction: it evaluates only the corrected expression, with the values of the failing test."""
    checked = check(story, attempt, execute)
    if checked is None:
        return Place((), is_needed=False)
    facts = checked.facts | ({"wanted": attempt.failure.expected} if checked.is_result else {})
    kind = "return" if checked.is_result else "value"

    def read(output: str) -> Sequence[Saying] | None:
        return [Saying(f"checked.{kind}", facts | {"better": checked.value})] if output == checked.value else None

    return Place((Round("look", checked.cell, [Saying(f"check.{kind}", facts)], read),), is_needed=False)


def corrections(story: Story, execute: Executions, opening: Sequence[Saying], rng: random.Random, symbols: Sequence[str] = ()) -> Draft:
    """Return the draft in which a look and a correction follow each attempt.

    Args:
        symbols: grammar symbols for the attempts' failures, where they differ from the default.
    """
    places, before = [], opening
    for number, attempt in enumerate(story.attempts):
        symbol = symbols[number] if number < len(symbols) else ""
        places += [attempt_place(attempt, story, before, symbol), look_place(attempt, story, execute)]
        if rng.random() < _CHECKED_SHARE:
            places.append(check_place(attempt, story, execute))
        before = fix(attempt, story, place_of(story, attempt, execute))
    return closed(story, places, before)


def closed(story: Story, places: Sequence[Place], closing: Sequence[Saying]) -> Draft:
    slips = tuple(attempt.slip for attempt in story.attempts if attempt.slip is not None)
    return Draft(tuple(places), closing, story.last_cell, story.last_output.rstrip("\n"), slips)
