"""Finds plausible but wrong first suspicions: changes near the failure, of a kind that the failure suggests."""

from __future__ import annotations

import ast
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from reflectioncoder import syntax
from reflectioncoder.builder.mutation import Mutation, mutations
from reflectioncoder.builder.mutation.plausible import plausible
from reflectioncoder.builder.mutation.stated_words import StatedWords
from reflectioncoder.builder.stories.edits import edits
from reflectioncoder.builder.stories.story import Attempt
from reflectioncoder.builder.stories.wording import quotable
from reflectioncoder.builder.tracing import Divergence
from reflectioncoder.data.python_source import parse

_MAX_CHARS = 60  # of a suspected expression
BOUNDS = ("off_by_one_range", "off_by_one_index", "wrong_comparison")
_CONDITIONS = ("inverted_comparison", "negated_condition", "wrong_operator")
_BY_TYPE: dict[type, tuple[str, ...]] = {
    bool: (*BOUNDS, *_CONDITIONS),
    int: BOUNDS,
    float: BOUNDS,
    **dict.fromkeys((str, list, tuple, set, dict), (*BOUNDS, *_CONDITIONS)),
}
_MAX_SHORT_LINES = 8  # in a function this short, any line may be suspected
_BY_ERROR = {"IndexError": ("off_by_one_range", "wrong_comparison")}


@dataclass(frozen=True)
class Suspect:
    """A change that would be the repair if the suspicion were right: `slip.correct` is the present code, `slip.wrong` the tried one.

    Attributes:
        line: line of the change, counted from 0.
        is_at_place: whether the failure shows in that line.
    """

    slip: Mutation
    line: int
    is_at_place: bool


def suspects_of(
    attempt: Attempt, real: Sequence[Mutation], divergence: Divergence | None, words: StatedWords, rng: random.Random
) -> list[Suspect]:
    """Return changes that a person would try, in random order, those in the line that shows the failure first.

    Args:
        real: the real slips.
    """
    kinds = _kinds(attempt)
    if not kinds or divergence is None or divergence.line_attempt is None:
        return []
    near = _lines_near(attempt.program, divergence.line_attempt)
    found = []
    for slip in plausible(mutations(attempt.program), words) if near else []:
        changes = edits(attempt.program, slip.code)
        if slip.operator in kinds and len(changes) == 1 and changes[0].line in near and _is_possible(slip, attempt, real):
            found.append(Suspect(slip, changes[0].line - 1, changes[0].line == divergence.line_attempt))
    rng.shuffle(found)
    return sorted(found, key=lambda suspect: not suspect.is_at_place)


def _kinds(attempt: Attempt) -> tuple[str, ...]:
    failure = attempt.failure
    if failure.kind == "exception":
        return _BY_ERROR.get(failure.error.partition(":")[0], ())
    actual, expected = value_of(failure.actual), value_of(failure.expected)
    return _BY_TYPE.get(type(actual), ()) if failure.kind == "wrong_value" and type(actual) is type(expected) else ()


def _is_possible(slip: Mutation, attempt: Attempt, real: Sequence[Mutation]) -> bool:
    """Tell whether a change is short, fits the failure, and keeps the real slips."""
    if not slip.wrong or not slip.correct or slip.code.strip() == attempt.corrected.strip():
        return False
    if not quotable(slip.wrong) or not quotable(slip.correct) or max(len(slip.wrong), len(slip.correct)) > _MAX_CHARS:
        return False
    if any(sign in slip.correct for sign in (" == ", " != ", " in ")) and slip.operator == "inverted_comparison":
        return False
    if slip.operator == "off_by_one_index" and not re.search(r":|\[-?\d+\]$", slip.correct):  # neither a slice nor a fixed position
        return False
    is_number = type(value_of(attempt.failure.expected)) in (int, float)
    if slip.operator == "wrong_operator" and not is_number and not re.search(r" (and|or) ", slip.correct):
        return False  # arithmetic does not yield a string or a list
    if slip.operator in ("off_by_one_range", "wrong_comparison") and _widening(slip) * _too_little(attempt) < 0:
        return False
    return not any(slip.wrong == other.correct or (other.wrong and other.wrong not in slip.code) for other in real)


def _widening(slip: Mutation) -> int:
    """Return a positive number if the tried range is longer or the comparison looser, negative if the reverse, 0 if unknown."""
    if slip.operator == "wrong_comparison":
        return slip.wrong.count("=") - slip.correct.count("=")
    calls = [value.args for value in (_call(slip.correct), _call(slip.wrong)) if value is not None]
    if len(calls) < 2 or not all(calls):
        return 0
    (start, stop), (tried_start, tried_stop) = (
        ("0", ast.unparse(args[0])) if len(args) == 1 else (ast.unparse(args[0]), ast.unparse(args[1])) for args in calls
    )
    return _step(stop, tried_stop) - _step(start, tried_start)


def _call(text: str) -> ast.Call | None:
    tree = parse(text)
    value = getattr(tree.body[0], "value", None) if tree is not None and tree.body else None
    return value if isinstance(value, ast.Call) else None


def _step(before: str, after: str) -> int:
    numbers = [value_of(before), value_of(after)]
    if isinstance(numbers[0], int) and isinstance(numbers[1], int):
        return (numbers[1] > numbers[0]) - (numbers[1] < numbers[0])
    is_more, is_less = after == f"{before} + 1" or before == f"{after} - 1", after == f"{before} - 1" or before == f"{after} + 1"
    return is_more - is_less


def _too_little(attempt: Attempt) -> int:
    """Return 1 if the failing call's value is too small or too short, -1 if it is too large or too long, else 0; exceptions (an index
    out of range) count as too large.
    """
    if attempt.failure.kind == "exception":
        return -1
    actual, expected = (
        len(value) if isinstance(value, str | list | tuple | set | dict) else value
        for value in map(value_of, (attempt.failure.actual, attempt.failure.expected))
    )
    if not isinstance(actual, int | float) or not isinstance(expected, int | float):
        return 0
    return (expected > actual) - (expected < actual)


def _lines_near(program: str, line: int) -> set[int]:
    """Return a line, the headers of its enclosing blocks, and the lines of its function that assign the variables it reads; for a short
    function, all its lines.
    """
    tree = parse(program)
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)] if tree is not None else []
    around = [node for node in functions if node.lineno <= line <= (node.end_lineno or 0)]
    if not around:
        return set()
    function = max(around, key=lambda node: node.lineno)
    nodes = [node for node in ast.walk(function) if isinstance(node, ast.stmt | ast.expr)]
    if (function.end_lineno or 0) - function.lineno <= _MAX_SHORT_LINES:
        return set(range(function.lineno + 1, (function.end_lineno or 0) + 1))
    read = {node.id for node in nodes if isinstance(node, ast.Name) and node.lineno == line}
    found = {line}
    for node in nodes:
        match node:
            case ast.For() | ast.While() | ast.If():
                targets = [node.target] if isinstance(node, ast.For) else []
                if node.lineno <= line <= (node.end_lineno or 0) or read & _names(targets):
                    found.add(node.lineno)
            case ast.Assign(targets=targets):
                found |= {node.lineno} if read & _names(targets) else set()
            case ast.AugAssign(target=target) | ast.AnnAssign(target=target):
                found |= {node.lineno} if read & _names([target]) else set()
    return found


def _names(targets: Sequence[ast.expr]) -> set[str]:
    return {node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)}


def value_of(text: str) -> object:
    """Return the value of a literal; None if the text is not a literal."""
    return syntax.literal_or(text, None)


def is_worth_trying(actual: str, got: str, expected: str) -> bool:
    """Tell whether a trial changed the value to one of the right type that is no further from the expected value."""
    before, after, wanted = value_of(actual), value_of(got), value_of(expected)
    if before == after:
        return False
    if after is None or type(after) is not type(wanted):
        return False
    if isinstance(after, int | float) and isinstance(before, int | float) and isinstance(wanted, int | float):
        return abs(after - wanted) <= abs(before - wanted)
    if isinstance(after, str | list | tuple | set | dict):
        far = [_distance(value, wanted) for value in (before, after)]
        return far[1] <= far[0]
    return True


def _distance(value: object, wanted: object) -> tuple[int, int]:
    """Return the difference in size between a collection and the wanted one, and the number of differing positions."""
    if not isinstance(value, str | list | tuple | set | dict) or not isinstance(wanted, str | list | tuple | set | dict):
        return 0, 0
    items = zip(value, wanted, strict=False) if isinstance(value, str | list | tuple) else ()
    return abs(len(value) - len(wanted)), sum(one != other for one, other in items)
