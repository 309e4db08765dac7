"""A wrong hypothesis: a run refutes another suspected cause, and then a look shows where the attempt goes wrong."""

from __future__ import annotations

import ast
import random
from collections.abc import Sequence

from reflectioncoder.builder.executions import Executions
from reflectioncoder.builder.mutation.diagnosis import error_line, failing_test
from reflectioncoder.builder.mutation.stated_words import StatedWords
from reflectioncoder.builder.stories.crashes import values_before
from reflectioncoder.builder.stories.kinds.kind import StoryKind
from reflectioncoder.builder.stories.parts import parts_of, right_values
from reflectioncoder.builder.stories.probes import divergence_of, place_of, printed_call, stands_in
from reflectioncoder.builder.stories.rounds import attempt_place, closed, look_place
from reflectioncoder.builder.stories.story import Attempt, Draft, Place, Round, Saying, Story
from reflectioncoder.builder.stories.suspects import Suspect, is_worth_trying, suspects_of
from reflectioncoder.builder.stories.values import difference, is_another_value
from reflectioncoder.builder.stories.wording import Manner, failure_facts, fix, opening, quotable
from reflectioncoder.builder.tracing import print_probe, value_cell
from reflectioncoder.data.python_source import first_line, parse

_MAX_TRIALS = 4  # one must be refuted
_MAX_VALUE_CHARS = 80


class Hypothesis(StoryKind):
    @property
    def min_rounds(self) -> int:
        return 2

    def draft(self, story: Story, execute: Executions, rng: random.Random, manner: Manner) -> Draft | None:
        first = story.attempts[0]
        checked = _right_value(first, story, execute)
        trials = [_check(checked, first, story, execute)] if checked else _trials(first, story, execute, rng)
        if not trials:
            return None
        places, before = [], opening(story, rng)
        for attempt in story.attempts:
            places.append(attempt_place(attempt, story, before))
            if attempt is first:
                places.append(Place(tuple(trials), is_needed=True))
            is_known = attempt is first and any("def " in trial.cell for trial in trials)  # such cells print the call's value
            places.append(look_place(attempt, story, execute, with_call=not is_known, seen=checked if attempt is first else ""))
            before = fix(attempt, story, place_of(story, attempt, execute))
        return closed(story, places, before)


def _right_value(attempt: Attempt, story: Story, execute: Executions) -> str:
    """Return a suspicious expression that the failing call computes correctly before it goes wrong; "" if there is none."""
    divergence = divergence_of(story, attempt, execute)
    if attempt.failure.kind != "wrong_value":
        return ""
    parts = parts_of(divergence, attempt.program, attempt.corrected)
    found = [*(parts.operands if parts is not None else ()), *right_values(divergence, attempt.program, attempt.corrected)]
    return next(filter(_can_be_wrong, found), "")


def _can_be_wrong(expression: str) -> bool:
    """Tell whether an expression is complex enough to be suspected: a variable, a method call, or several operations."""
    tree = parse(expression)
    nodes = list(ast.walk(tree)) if tree is not None else []
    is_method = any(isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) for node in nodes)
    return expression.isidentifier() or is_method or sum(isinstance(node, ast.Call | ast.BinOp | ast.Subscript) for node in nodes) > 1


def _check(expression: str, attempt: Attempt, story: Story, execute: Executions) -> Round:
    """Return the round that prints a suspected value, which turns out to be right."""
    divergence = divergence_of(story, attempt, execute)
    assert divergence is not None
    facts = failure_facts(attempt, story) | {"part": expression}
    test = attempt.test(story.tests)
    alone = value_cell(divergence, (expression,)) if stands_in(divergence, test) else ""
    cell = alone or print_probe(divergence, attempt.program, test, shown=(expression,))

    def read(output: str) -> Sequence[Saying] | None:
        values = values_before(output, (expression,)) if cell else None
        if not values:
            return None
        actual = output.rsplit("\n", 1)[-1]
        said = [Saying("refuted.right", facts | {"value": values[expression]})]
        return [*said, Saying("refuted.result", facts | {"actual": actual})] if actual == attempt.failure.actual else said

    return Round("hypothesis", cell, [Saying("suspect.part", facts)], read)


def _trials(attempt: Attempt, story: Story, execute: Executions, rng: random.Random) -> list[Round]:
    """Return rounds that try wrong causes, those at the place of the failure first."""
    real = [other.slip for other in story.attempts if other.slip is not None]
    if not attempt.test(story.tests):
        return []
    found = suspects_of(attempt, real, divergence_of(story, attempt, execute), StatedWords.of(story.request, story.reference), rng)
    return [_trial(suspect, attempt, story) for suspect in found[:_MAX_TRIALS]]


def _trial(suspect: Suspect, attempt: Attempt, story: Story) -> Round:
    facts = failure_facts(attempt, story) | {
        "operator": suspect.slip.operator,
        "kept": quotable(suspect.slip.correct),
        "tried": quotable(suspect.slip.wrong),
    }
    facts = {name: value for name, value in facts.items() if name not in ("wrong", "correct")}
    before = [Saying(f"suspect.{suspect.slip.operator}", facts), Saying("try_it", facts, is_extra=True)]
    function = _definition_at(suspect.slip.code, suspect.line)
    if function and attempt.failure.kind == "wrong_value":
        cell = f"{function}\n\n{printed_call(attempt.failure.call, attempt.failure.expected)}"
        return Round(
            "hypothesis",
            cell,
            before,
            lambda output: _read_value(output, attempt, facts),
        )
    cell = attempt.cell_of(suspect.slip.code)
    return Round("hypothesis", cell, before, lambda output: _read_tests(output, attempt, story, facts))


def _definition_at(program: str, line: int) -> str:
    """Return the source of the module-level statement that contains a line (counted from 0); "" if there is none."""
    tree = parse(program)
    for node in tree.body if tree is not None else []:
        if first_line(node) - 1 <= line < (node.end_lineno or 0):
            return "\n".join(program.split("\n")[first_line(node) - 1 : node.end_lineno])
    return ""


def _read_value(output: str, attempt: Attempt, facts: dict[str, str]) -> Sequence[Saying] | None:
    """Return sentences on how the value of the failing call refutes the suspicion; None if it does not."""
    expected = attempt.failure.expected
    if "\n" in output or not 0 < len(output) <= _MAX_VALUE_CHARS or "`" in output or output == expected or "0x" in output:
        return None
    if not is_another_value(output, expected):  # equal or not comparable
        return None
    if not is_worth_trying(attempt.failure.actual, output, expected):
        return None
    said = [Saying("refuted.value", facts | {"got": output})]
    if found := difference(output, expected):
        said.append(Saying("difference", {"difference": found}, is_extra=True))
    return [*said, Saying("put_back", facts)]


def _read_tests(output: str, attempt: Attempt, story: Story, facts: dict[str, str]) -> Sequence[Saying] | None:
    """Return sentences on how the tests refute the suspicion (the same test fails in the same way); None if they do not."""
    test = attempt.test(story.tests)
    if failing_test(output, story.tests) != test:
        return None
    error = quotable(error_line(output))
    if error.startswith("AssertionError") and attempt.failure.kind != "exception":
        return [Saying("refuted.same", facts | {"failed": test}), Saying("put_back", facts)]
    return (
        [Saying("refuted.same_crash", facts | {"error": error}), Saying("put_back", facts)] if error == attempt.failure.error else None
    )
