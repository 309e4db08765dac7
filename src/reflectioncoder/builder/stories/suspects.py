"""Finds what a person would suspect first, and wrongly: a change near the place of the failure, of a kind that the failure suggests."""

from __future__ import annotations

import ast
import random
from collections.abc import Sequence
from dataclasses import dataclass

from reflectioncoder.builder.mutation import Mutation, mutations
from reflectioncoder.builder.mutation.plausible import plausible
from reflectioncoder.builder.stories.edits import edits
from reflectioncoder.builder.stories.story import Attempt
from reflectioncoder.builder.stories.wording import quotable
from reflectioncoder.builder.tracing import Divergence
from reflectioncoder.data.python_source import parse

_MAX_CHARS = 60  # of an expression that is suspected
_BOUNDS = ("off_by_one_range", "off_by_one_index", "wrong_comparison")
_BY_TYPE: dict[type, tuple[str, ...]] = {
    bool: ("wrong_comparison", "wrong_operator", "off_by_one_range", "off_by_one_index"),
    int: ("wrong_operator", "wrong_division", "wrong_initial_value", *_BOUNDS),
    float: ("wrong_operator", "wrong_division", "wrong_initial_value", *_BOUNDS),
    str: ("inverted_comparison", *_BOUNDS),
    list: ("inverted_comparison", *_BOUNDS),
    tuple: ("inverted_comparison", *_BOUNDS),
    set: ("inverted_comparison", *_BOUNDS),
    dict: ("wrong_initial_value", "inverted_comparison", *_BOUNDS),
}
_BY_ERROR = {"IndexError": ("off_by_one_range", "wrong_comparison")}


@dataclass(frozen=True)
class Suspect:
    """A change that would be the repair if the suspicion were right: `slip.correct` is what is there, `slip.wrong` what is tried."""

    slip: Mutation
    line: int


def suspects_of(attempt: Attempt, real: Sequence[Mutation], divergence: Divergence | None, rng: random.Random) -> list[Suspect]:
    """Return changes that a person would try, in a random order, those in the line where the failure is seen first.

    Args:
        real: what is wrong in fact.
    """
    kinds = _kinds(attempt)
    if not kinds or divergence is None or divergence.line_attempt is None:
        return []
    near = _lines_near(attempt.program, divergence.line_attempt)
    found = []
    for slip in plausible(mutations(attempt.program)) if near else []:
        changes = edits(attempt.program, slip.code)
        if slip.operator in kinds and len(changes) == 1 and changes[0].line in near and _is_possible(slip, attempt, real):
            found.append(Suspect(slip, changes[0].line - 1))
    rng.shuffle(found)
    return sorted(found, key=lambda suspect: suspect.line + 1 != divergence.line_attempt)


def _kinds(attempt: Attempt) -> tuple[str, ...]:
    failure = attempt.failure
    if failure.kind == "exception":
        return _BY_ERROR.get(failure.error.partition(":")[0], ())
    actual, expected = value_of(failure.actual), value_of(failure.expected)
    return _BY_TYPE.get(type(actual), ()) if failure.kind == "wrong_value" and type(actual) is type(expected) else ()


def _is_possible(slip: Mutation, attempt: Attempt, real: Sequence[Mutation]) -> bool:
    """Tell whether a change is short and leaves the real faults in."""
    if not slip.wrong or not slip.correct or slip.code.strip() == attempt.corrected.strip():
        return False
    if not quotable(slip.wrong) or not quotable(slip.correct) or max(len(slip.wrong), len(slip.correct)) > _MAX_CHARS:
        return False
    if any(sign in slip.correct for sign in (" == ", " != ", " in ")) and slip.operator == "inverted_comparison":
        return False
    if slip.operator == "off_by_one_index" and ":" not in slip.correct:  # of a slice it is a bound, which is soon suspected
        return False
    return not any(slip.wrong == other.correct or (other.wrong and other.wrong not in slip.code) for other in real)


def _lines_near(program: str, line: int) -> set[int]:
    """Return a line, the headers of the blocks that it stands in, and the lines of its function that give values to what it reads."""
    tree = parse(program)
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)] if tree is not None else []
    around = [node for node in functions if node.lineno <= line <= (node.end_lineno or 0)]
    if not around:
        return set()
    function = max(around, key=lambda node: node.lineno)
    nodes = [node for node in ast.walk(function) if isinstance(node, ast.stmt | ast.expr)]
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
    """Return the value of a literal, None if it is none."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None


def is_worth_trying(actual: str, got: str, expected: str) -> bool:
    """Tell whether a trial gave a value of the right type that is not further off than before: nobody tries what makes it worse."""
    before, after, wanted = value_of(actual), value_of(got), value_of(expected)
    if after is None or type(after) is not type(wanted):
        return False
    if isinstance(after, int | float) and isinstance(before, int | float) and isinstance(wanted, int | float):
        return abs(after - wanted) <= abs(before - wanted)
    if isinstance(after, str | list | tuple | set | dict):
        sizes = [len(value) for value in (before, after, wanted) if isinstance(value, str | list | tuple | set | dict)]
        return len(sizes) == 3 and abs(sizes[1] - sizes[2]) <= abs(sizes[0] - sizes[2])
    return True
