"""A partial repair: it makes the failing test pass, then the next one fails, and only then comes the right one.

Three forms, of which one is taken that real runs allow: another wrong program in the same place; a branch for the failing input alone;
a second slip, whose correction moves the failure to another test.
"""

from __future__ import annotations

import ast
import random
from collections.abc import Sequence
from dataclasses import replace

from reflectioncoder.builder.cells import Execution
from reflectioncoder.builder.executions import Executions
from reflectioncoder.builder.failures import read_failure
from reflectioncoder.builder.mutation import Mutation, mutations
from reflectioncoder.builder.mutation.diagnosis import failing_test
from reflectioncoder.builder.stories.kinds.kind import StoryKind
from reflectioncoder.builder.stories.rounds import attempt_place, closed, corrections, look_place
from reflectioncoder.builder.stories.second_slips import with_second_slip
from reflectioncoder.builder.stories.story import Attempt, Draft, Saying, Story
from reflectioncoder.builder.stories.wording import Manner, failure_facts, fix, opening, quotable
from reflectioncoder.data.python_source import definition, parse

_MAX_OTHERS = 4  # programs that are run, in one session
_MAX_OUTPUT_CHARS = 2000
_MAX_BRANCH_CHARS = 110


class Partial(StoryKind):
    @property
    def min_rounds(self) -> int:
        return 2

    def draft(self, story: Story, execute: Executions, rng: random.Random, manner: Manner) -> Draft | None:
        *before, last = story.attempts
        if before:
            moves = len(before) == 1 and _moves_on(before[0].ran, last, story.tests)
            return corrections(story, execute, opening(story, rng), ("", "failure.moved")) if moves else None
        if not last.test(story.tests):
            return None
        forms = [_half_draft, _branch_draft, _two_slips_draft]
        rng.shuffle(forms)
        return next((draft for form in forms if (draft := form(story, execute, rng)) is not None), None)


def _moves_on(earlier: Execution, later: Attempt, tests: Sequence[str]) -> bool:
    """Tell whether a later attempt fails at a later test than an earlier run: what the earlier one failed at passes."""
    before, after = failing_test(earlier.output, tuple(tests)), later.test(tests)
    return earlier.error == "AssertionError" and bool(before and after) and tests.index(str(before)) < tests.index(after)


def _two_slips_draft(story: Story, execute: Executions, rng: random.Random) -> Draft | None:
    chosen = with_second_slip(story, execute, rng, lambda ran, last: _moves_on(ran, last, story.tests))
    return chosen and corrections(chosen, execute, opening(chosen, rng), ("", "failure.moved"))


def _half_draft(story: Story, execute: Executions, rng: random.Random) -> Draft | None:
    """Draft the story of a correction in the right place that is another slip."""
    first = story.attempts[0]
    if first.slip is None or not first.slip.wrong or not quotable(first.slip.wrong):
        return None
    others = [slip for slip in mutations(story.reference) if _is_in_its_place(slip, first.slip)]
    rng.shuffle(others)
    second = _next_attempt(story, [(slip.code, slip) for slip in others[:_MAX_OTHERS]], execute)
    if second is None or second.slip is None:
        return None
    facts = failure_facts(first, story) | {"half": quotable(second.slip.wrong)}
    return _draft(story, execute, rng, second, [Saying("fix.half", facts)], fix(second, story))


def _is_in_its_place(other: Mutation, slip: Mutation) -> bool:
    return other.correct == slip.correct and other.code != slip.code and bool(quotable(other.wrong)) and other.operator != "syntax_slip"


def _branch_draft(story: Story, execute: Executions, rng: random.Random) -> Draft | None:
    """Draft the story of a branch that returns what the failing test wants."""
    first = story.attempts[0]
    if first.failure.kind != "wrong_value":
        return None
    found = _with_branch(first.program, story.entry_point, first.failure.call, first.failure.expected)
    second = found and _next_attempt(story, [(found[0], first.slip)], execute)
    if not found or not second:
        return None
    facts = failure_facts(first, story) | {"branch": found[1]}
    after = [Saying("fix.unbranched", failure_facts(second, story) | {"branch": found[1]}), *fix(second, story)]
    return _draft(story, execute, rng, second, [Saying("fix.branch", facts)], after)


def _draft(
    story: Story, execute: Executions, rng: random.Random, second: Attempt, repair: Sequence[Saying], closing: Sequence[Saying]
) -> Draft:
    """Draft the story of a repair that was not looked into, and of a second one that was."""
    first = story.attempts[0]
    places = [
        attempt_place(first, story, opening(story, rng)),
        attempt_place(second, story, repair, "failure.moved"),
        look_place(second, story, execute),
    ]
    return closed(replace(story, attempts=(first,)), places, closing)


def _next_attempt(story: Story, programs: Sequence[tuple[str, Mutation | None]], execute: Executions) -> Attempt | None:
    """Return the first of some programs that passes the test at which the attempt fails, and fails at a later one."""
    first = story.attempts[0]
    cells = [first.cell_of(program) for program, _ in programs]
    if not cells:
        return None
    for (program, slip), cell, ran in zip(programs, cells, execute(cells), strict=True):
        if ran.error == "AssertionError" and len(ran.output) <= _MAX_OUTPUT_CHARS:
            failed = failing_test(ran.output, story.tests)
            if failed and story.tests.index(failed) > story.tests.index(first.test(story.tests)):
                failure = read_failure(cell, story.tests, ran, execute)
                return Attempt(program, story.reference, cell, ran, failure, slip)
    return None


def _with_branch(program: str, entry_point: str, call: str, expected: str) -> tuple[str, str] | None:
    """Return the program with a branch for a call, and the condition of the branch; None if that is not short."""
    tree, called = parse(program), parse(call)
    node = definition(tree, entry_point) if tree is not None else None
    expression = called.body[0] if called is not None and called.body else None
    if not isinstance(node, ast.FunctionDef) or not isinstance(expression, ast.Expr) or not isinstance(expression.value, ast.Call):
        return None
    arguments, parameters = expression.value, node.args
    if arguments.keywords or ast.unparse(arguments.func) != entry_point or len(arguments.args) != len(parameters.args):
        return None
    if parameters.vararg or parameters.kwonlyargs or parameters.kwarg or any(isinstance(part, ast.Starred) for part in arguments.args):
        return None
    pairs = zip(parameters.args, arguments.args, strict=True)
    condition = " and ".join(f"{parameter.arg} == {ast.unparse(value)}" for parameter, value in pairs)
    if not 0 < len(condition) <= _MAX_BRANCH_CHARS or "`" in condition or node.body[0].lineno == node.lineno:
        return None
    lines = program.split("\n")
    at = node.body[0].lineno - 1
    indent = lines[at][: len(lines[at]) - len(lines[at].lstrip())]
    branch = [f"{indent}if {condition}:", f"{indent}    return {expected}"]
    return "\n".join([*lines[:at], *branch, *lines[at:]]), condition
