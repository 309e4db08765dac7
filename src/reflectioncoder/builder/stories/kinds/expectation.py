"""A wrong expectation: once the program is right, a test still fails because its expected value is wrong. The statement decides.

The wrong value is one that a program with a slip returns for the input. The test contains it from the first cell on; before the last
cell it is corrected to the value that the right program returns, which a cell prints.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from reflectioncoder import syntax
from reflectioncoder.builder.cells import Execution
from reflectioncoder.builder.executions import Executions
from reflectioncoder.builder.mutation import mutations
from reflectioncoder.builder.mutation.diagnosis import Failure, assertion_of, split_assertion
from reflectioncoder.builder.mutation.plausible import plausible
from reflectioncoder.builder.mutation.stated_words import StatedWords
from reflectioncoder.builder.stories.kinds.kind import StoryKind
from reflectioncoder.builder.stories.probes import place_of, printed_call
from reflectioncoder.builder.stories.rounds import attempt_place, closed, look_place
from reflectioncoder.builder.stories.statement import read_statement
from reflectioncoder.builder.stories.story import Attempt, Draft, Place, Round, Saying, Story
from reflectioncoder.builder.stories.values import difference, is_another_value
from reflectioncoder.builder.stories.wording import Manner, fix, opening, quotable

_MAX_PROGRAMS = 4  # programs besides the reference that supply wrong values, run in one session
_MAX_VALUE_CHARS = 60
_MARK = "value:"
_WITHOUT_VALUES = ("syntax_slip", "misspelt_name", "missing_import")


@dataclass(frozen=True)
class _Mistake:
    """A shown test, its call, the right expected value, and the wrong one that `wrong_test` expects."""

    test: str
    call: str
    right: str
    wrong: str

    @property
    def wrong_test(self) -> str:
        return assertion_of(self.call, self.wrong)


class Expectation(StoryKind):
    @property
    def min_rounds(self) -> int:
        return 3

    def draft(self, story: Story, execute: Executions, rng: random.Random, manner: Manner) -> Draft | None:
        failed = [attempt.test(story.tests) for attempt in story.attempts]
        if not all(failed):
            return None
        mistake = _mistake(story, max(map(story.tests.index, failed)) + 1, execute, rng)
        if mistake is None:
            return None
        tests = tuple(mistake.wrong_test if test == mistake.test else test for test in story.tests)
        wrong = replace(story, tests=tests)
        places, before = [], opening(story, rng)
        for attempt in story.attempts:
            changed = attempt.with_test(mistake.test, mistake.wrong_test)
            places += [attempt_place(changed, wrong, before, is_exact=False), look_place(changed, wrong, execute)]
            before = fix(attempt, wrong, place_of(wrong, changed, execute))
        places += _doubt(mistake, story, wrong, before)
        facts = _facts(mistake, story)
        return closed(story, places, [Saying("fix.expectation", facts), Saying("again.expectation", facts, is_extra=True)])


def _doubt(mistake: _Mistake, story: Story, wrong: Story, before: Sequence[Saying]) -> list[Place]:
    """Return two places: the right program failing the wrong test, and a cell that prints what it returns."""
    cell = story.last_cell.replace(mistake.test, mistake.wrong_test)
    failure = Failure("wrong_value", "AssertionError", mistake.wrong_test, mistake.call, mistake.wrong, mistake.right)
    attempt = Attempt(story.reference, story.reference, cell, Execution("failed", "", "AssertionError"), failure)
    facts = _facts(mistake, story)

    def read(output: str) -> Sequence[Saying] | None:
        return _explanation(mistake, story) if output == mistake.right else None

    question = Round("question", printed_call(mistake.call, mistake.right), [Saying("ask.expectation", facts)], read)
    return [
        attempt_place(attempt, wrong, before, "failure.doubtful", is_exact=False),
        Place((question,), is_needed=True),
    ]


def _facts(mistake: _Mistake, story: Story) -> dict[str, str]:
    return {"call": mistake.call, "right": mistake.right, "mistaken": mistake.wrong, "entry_point": story.entry_point}


def _explanation(mistake: _Mistake, story: Story) -> list[Saying]:
    facts = _facts(mistake, story)
    statement = read_statement(story.request)
    rule = _rule_for(mistake, statement.rules)
    said = [Saying("printed.expectation", facts)]
    if rule:
        said.append(Saying("reread.rule", facts | {"rule": rule}))
    elif statement.task:
        said.append(Saying("reread.task", facts | {"task": statement.task}))
    else:
        said.append(Saying("reread.plain", facts))
    found = difference(mistake.wrong, mistake.right)
    return [*said, *([Saying("difference.expectation", facts | {"difference": found}, is_extra=True)] if found else [])]


def _rule_for(mistake: _Mistake, rules: Sequence[str]) -> str:
    """Return the rule with the most words in common with the test, or the only rule; "" if no rule shares a word."""
    words = {word.strip("'\"[](),.:") for word in mistake.wrong_test.replace("_", " ").split()} - {"assert", "==", ""}
    words |= {"empty"} if any(pair in mistake.call for pair in ('""', "''", "[]", "{}", "()")) else set()
    scored = [(sum(word in rule.split() for word in words), -number, rule) for number, rule in enumerate(rules)]
    best = max(scored, default=(0, 0, ""))
    return best[2] if best[0] or len(rules) == 1 else ""


def _mistake(story: Story, first: int, execute: Executions, rng: random.Random) -> _Mistake | None:
    """Return a wrong value for one of the tests from index `first` on, as returned by a wrong program."""
    wanted = [(test, parts) for test in story.tests[first:] if (parts := _equality(test)) is not None]
    if not wanted:
        return None
    slips = [
        slip.code
        for slip in plausible(mutations(story.reference), StatedWords.of(story.request, story.reference))
        if slip.operator not in _WITHOUT_VALUES
    ]
    rng.shuffle(slips)
    programs = [story.reference, story.attempts[-1].program, *slips[: _MAX_PROGRAMS - 1]]
    calls = [parts[0] for _, parts in wanted]
    answers = [_answers(ran.output, calls) for ran in execute([_asking(program, story.setup, calls) for program in programs])]
    rng.shuffle(wanted)
    for values in answers[1:]:
        for test, (call, _) in wanted:
            right, found = answers[0].get(call, ""), values.get(call, "")
            if _is_plausible(found, right) and sum(test in other for other in story.tests) == 1:
                return _Mistake(test, call, right, found)
    return None


def _equality(test: str) -> tuple[str, str] | None:
    parts = split_assertion(test)
    return parts if parts is not None and "`" not in test and "\n" not in test and " is " not in test else None


def _asking(program: str, setup: str, calls: Sequence[str]) -> str:
    """Return a cell that prints each call's number and value; calls that raise print nothing."""
    lines = [
        f"try:\n    print({f'{_MARK}{number} '!r}, repr({call}), sep='')\nexcept Exception:\n    pass"
        for number, call in enumerate(calls)
    ]
    return "\n".join([program.rstrip(), setup, *lines])


def _answers(output: str, calls: Sequence[str]) -> dict[str, str]:
    found = re.findall(rf"^{_MARK}(\d+) (.*)$", output, re.MULTILINE)
    return {calls[int(number)]: value for number, value in found}


def _is_plausible(wrong: str, right: str) -> bool:
    """Tell whether a value can be quoted and is a near miss of the right one, so that words can describe the difference."""
    if not wrong or not right or max(len(wrong), len(right)) > _MAX_VALUE_CHARS or not quotable(wrong) or not quotable(right):
        return False
    ours, theirs = syntax.literal_or(wrong, None), syntax.literal_or(right, None)
    is_near = isinstance(ours, bool) or difference(wrong, right) != ""
    return type(ours) is type(theirs) and theirs is not None and is_another_value(wrong, right) and is_near
