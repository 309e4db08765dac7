"""A wrong hypothesis first: another cause is suspected and tried in a run, which refutes it; then the place is looked at."""

from __future__ import annotations

import difflib
import random
from collections.abc import Sequence
from dataclasses import dataclass

from reflectioncoder.builder.executions import Executions
from reflectioncoder.builder.grammar import traced_grammar
from reflectioncoder.builder.mutation import Mutation, mutations
from reflectioncoder.builder.mutation.diagnosis import error_line, failing_test
from reflectioncoder.builder.stories.kinds.kind import StoryKind
from reflectioncoder.builder.stories.rounds import attempt_place, closed, look_place
from reflectioncoder.builder.stories.story import Attempt, Draft, Place, Round, Saying, Story
from reflectioncoder.builder.stories.values import difference, is_another_value
from reflectioncoder.builder.stories.wording import Manner, failure_facts, fix, opening, quotable
from reflectioncoder.data.python_source import first_line, parse

_MAX_TRIALS = 4  # of which one has to be refuted
_MAX_VALUE_CHARS = 80
_MAX_CHARS = 60  # of an expression that is suspected
_NOT_SUSPECTED = ("NameError", "UnboundLocalError", "ImportError", "ModuleNotFoundError", "SyntaxError", "IndentationError")
_TELLING = ("IndexError", "KeyError", "ValueError", "ZeroDivisionError", "RecursionError")  # others show that the trial was silly


class Hypothesis(StoryKind):
    @property
    def min_rounds(self) -> int:
        return 2

    def draft(self, story: Story, execute: Executions, rng: random.Random, manner: Manner) -> Draft | None:
        first = story.attempts[0]
        trials = _trials(first, story, rng)
        if not trials:
            return None
        places, before = [], opening(story, rng)
        for attempt in story.attempts:
            places.append(attempt_place(attempt, story, before))
            if attempt is first:
                places.append(Place(tuple(trials), is_needed=True))
            places.append(look_place(attempt, story, execute, with_call=attempt is not first))
            before = fix(attempt, story)
        return closed(story, places, before)


@dataclass(frozen=True)
class _Suspect:
    """A change that would be the repair if the suspicion were right: `slip.correct` is what is there, `slip.wrong` what is tried."""

    slip: Mutation
    line: int


def _trials(attempt: Attempt, story: Story, rng: random.Random) -> list[Round]:
    """Return cells that try other causes than the real one, the nearest and most plausible first."""
    if attempt.failure.kind not in ("wrong_value", "assertion", "exception") or not attempt.test(story.tests):
        return []
    if attempt.failure.error.partition(":")[0] in _NOT_SUSPECTED:
        return []
    real = [other.slip for other in story.attempts if other.slip is not None]
    suspects = [suspect for slip in mutations(attempt.program) if (suspect := _suspect(slip, attempt, real)) is not None]
    place = _first_change(attempt.program, attempt.corrected)
    rng.shuffle(suspects)
    nearest = sorted(suspects, key=lambda suspect: abs(suspect.line - place))[: 2 * _MAX_TRIALS]
    rng.shuffle(nearest)
    return [_trial(suspect, attempt, story, is_short=rng.random() < 0.6) for suspect in nearest[:_MAX_TRIALS]]


def _suspect(slip: Mutation, attempt: Attempt, real: Sequence[Mutation]) -> _Suspect | None:
    """Return a slip of the attempt as a suspicion: of a kind that people suspect, and that leaves the real faults in."""
    if f"suspect.{slip.operator}" not in traced_grammar() or not slip.wrong or slip.code.strip() == attempt.corrected.strip():
        return None
    if not quotable(slip.wrong) or not quotable(slip.correct) or max(len(slip.wrong), len(slip.correct)) > _MAX_CHARS:
        return None
    if any(slip.wrong == other.correct or (other.wrong and other.wrong not in slip.code) for other in real):
        return None
    return _Suspect(slip, _first_change(attempt.program, slip.code))


def _first_change(program: str, other: str) -> int:
    """Return the first line (from 0) in which two programs differ."""
    matcher = difflib.SequenceMatcher(None, program.split("\n"), other.split("\n"), autojunk=False)
    return next((start for tag, start, *_ in matcher.get_opcodes() if tag != "equal"), 0)


def _trial(suspect: _Suspect, attempt: Attempt, story: Story, *, is_short: bool) -> Round:
    facts = failure_facts(attempt, story) | {
        "operator": suspect.slip.operator,
        "kept": quotable(suspect.slip.correct),
        "tried": quotable(suspect.slip.wrong),
    }
    facts = {name: value for name, value in facts.items() if name not in ("wrong", "correct")}
    before = [Saying(f"suspect.{suspect.slip.operator}", facts), Saying("try_it", facts, is_extra=True)]
    function = _definition_at(suspect.slip.code, suspect.line)
    if is_short and function and attempt.failure.kind == "wrong_value":
        cell = f"{function}\n\nprint(repr({attempt.failure.call}))"
        return Round("hypothesis", cell, before, lambda output: _read_value(output, attempt, facts))
    cell = attempt.cell_of(suspect.slip.code)
    return Round("hypothesis", cell, before, lambda output: _read_tests(output, attempt, story, facts))


def _definition_at(program: str, line: int) -> str:
    """Return the definition at module level that a line (from 0) stands in, "" if there is none."""
    tree = parse(program)
    for node in tree.body if tree is not None else []:
        if first_line(node) - 1 <= line < (node.end_lineno or 0):
            return "\n".join(program.split("\n")[first_line(node) - 1 : node.end_lineno])
    return ""


def _read_value(output: str, attempt: Attempt, facts: dict[str, str]) -> Sequence[Saying] | None:
    """Return how the value of the failing call refutes the suspicion, None if it does not."""
    expected = attempt.failure.expected
    if "\n" in output or not 0 < len(output) <= _MAX_VALUE_CHARS or "`" in output or output == expected or "0x" in output:
        return None
    if not is_another_value(output, expected):  # the same value in other words, or none that can be compared
        return None
    said = [Saying("refuted.value", facts | {"got": output})]
    if found := difference(output, expected):
        said.append(Saying("difference", {"difference": found}, is_extra=True))
    return [*said, Saying("put_back", facts)]


def _read_tests(output: str, attempt: Attempt, story: Story, facts: dict[str, str]) -> Sequence[Saying] | None:
    """Return how the tests refute the suspicion: the same one fails again, or one before it."""
    test = attempt.test(story.tests)
    failed = failing_test(output, story.tests)
    if failed is None or story.tests.index(failed) > story.tests.index(test):
        return None
    error = quotable(error_line(output))
    if not error.startswith("AssertionError"):
        is_news = error != attempt.failure.error
        if is_news and error.partition(":")[0] not in _TELLING:
            return None
        return [Saying("refuted.crash" if is_news else "refuted.same_crash", facts | {"error": error}), Saying("put_back", facts)]
    symbol = "refuted.same" if failed == test else "refuted.earlier"
    return [Saying(symbol, facts | {"failed": failed}), Saying("put_back", facts)]
