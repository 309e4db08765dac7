"""Answers are judged by EvalPlus 0.3.1 and by our rules of comparison, in every kind of task (see WORLDS)."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy  # noqa: F401 (before a fork: each of EvalPlus's processes would import it anew)

from reflectioncoder.evaluate.judges.evalplus.data import Family
from reflectioncoder.evaluate.judges.evalplus.oracles import NOT_NONE_ENTRY_POINTS, SET_ENTRY_POINTS, matches
from reflectioncoder.sandbox.answers import BrokenAnswerError, read_value
from reflectioncoder.sandbox.runtime.encoding import encode_answer
from tests.evaluate.container_pairs import CONTAINER_PAIRS
from tests.evaluate.number_pairs import NUMBER_PAIRS

# What answers and expected values are made with; part of every solution.
PRELUDE = '''
import array, collections, decimal, enum, fractions, itertools, math, types
import numpy as np
from collections import Counter, OrderedDict, defaultdict, deque
from decimal import Decimal
from fractions import Fraction

nan, inf = float("nan"), float("inf")
Point = collections.namedtuple("Point", "x y")
Color = enum.IntEnum("Color", "RED GREEN")

class Int(int): pass
class Str(str): pass
class Float(float): pass
class List(list): pass
class Tuple(tuple): pass
class Count(Counter): pass
class Ratio(Fraction): pass
class Amount(Decimal): pass
class Text(str, enum.Enum): AB = "ab"
class Dict(dict): pass
class Set(set): pass

class Yes:
    """Equal to everything."""
    __eq__ = lambda self, other: True
    __ne__ = lambda self, other: False
    __hash__ = lambda self: 1
class YesInt(Yes, int): pass
class YesStr(Yes, str): pass
class YesFloat(Yes, float): pass
class YesList(Yes, list): pass
class YesTuple(Yes, tuple): pass
class YesDict(Yes, dict): pass

class No:
    __eq__ = lambda self, other: False
    __hash__ = lambda self: 1
class NoInt(No, int): pass
class NoList(No, list): pass

class Number:
    """Compares as one would wish, but by code of the program."""
    def __init__(self, value): self.value = value
    __eq__ = lambda self, other: self.value == other
    __hash__ = lambda self: hash(self.value)

class Raises:
    def __eq__(self, other): raise ValueError("not to be compared")
    __hash__ = lambda self: 1

class Spoofed:
    """Says that it is an int."""
    __class__ = property(lambda self: int)

class Shown(list):
    """Iterates over other items than it has."""
    __iter__ = lambda self: iter([1, 2, 3])

def fail(error): raise error
def same(value, count): return [value] * count
def steps(count, shift=0.0): return [number / 7 + shift for number in range(count)]
def nested(depth, item=()):
    value = item
    for _ in range(depth): value = [value]
    return value
def generated(*items): yield from items
'''

# (answer, expected), both as source. Each pair is judged in every world (see WORLDS).
PAIRS: list[tuple[str, str]] = list(dict.fromkeys([*NUMBER_PAIRS, *CONTAINER_PAIRS]))


@dataclass(frozen=True, eq=False)
class World:
    """A kind of task that answers are compared in. `arguments`: of the call."""

    family: Family
    entry_point: str
    atol: float = 0.0
    arguments: tuple[Any, ...] = ()

    def __str__(self) -> str:
        atol = f" atol={self.atol:g}" if self.atol else ""
        return f"{self.family} {self.entry_point}{atol}"


WORLDS = (
    World("humaneval", "f"),
    World("humaneval", "f", 1e-6),
    World("humaneval", "f", 1e-3),
    World("mbpp", "f"),
    World("mbpp", "f", 1e-4),
    World("mbpp", "find_zero", 0.0, ([1.0, 2.0],)),
    World("mbpp", "are_equivalent", 0.0, (36, 57)),
    World("mbpp", "are_equivalent", 1e-3, (36, 57)),
    World("mbpp", "sum_div", 0.0, (8,)),
    World("mbpp", "sum_div", 1e-3, (8,)),
    World("mbpp", "surface_Area", 0.0, (1, 0)),
    World("mbpp", "surface_Area", 0.5, (3, 4)),
    World("mbpp", "digit_distance_nums", 0.0, (1, 2)),
    World("mbpp", "digit_distance_nums", 1e-3, (12, 2)),
    *(World("mbpp", name) for name in sorted(SET_ENTRY_POINTS)),
    World("mbpp", "similar_elements", 1e-3),
    *(World("mbpp", name) for name in sorted(NOT_NONE_ENTRY_POINTS)),
    World("mbpp", "check_str", 1e-3),
)


SCOPE: dict[str, Any] = {}
exec(PRELUDE, SCOPE)


@functools.cache
def value_of(source: str) -> Any:
    return eval(source, SCOPE)


def solution(entry_point: str, answers: Sequence[str]) -> str:
    """A program whose nth call gives the nth answer; `arguments` are there for the asking."""
    functions = "".join(f"    lambda *arguments: {answer},\n" for answer in answers)
    return f"{PRELUDE}\n_answers = iter([\n{functions}])\ndef {entry_point}(*arguments):\n    return next(_answers)(*arguments)\n"


def expected_of(entry_point: str, source: str) -> Any:
    """What EvalPlus compares with: of some tasks only whether there is an answer."""
    value = value_of(source)
    return value is not None if entry_point in NOT_NONE_ENTRY_POINTS else value


def theirs(
    evalplus: Any,
    world: World,
    answers: Sequence[str],
    expected: Sequence[Any],
    arguments: Sequence[Sequence[Any]] | None = None,
    *,
    fast: bool = False,
) -> list[bool]:
    """EvalPlus's verdicts on the answers of one process, up to the first wrong one if `fast`.

    `arguments`: of each call, where they are not the world's.
    """
    count = len(answers)
    status, details = evalplus.untrusted_check(
        world.family,
        solution(world.entry_point, answers),
        [list(items) for items in arguments or [world.arguments] * count],
        world.entry_point,
        expected=expected,
        atol=world.atol,
        ref_time=[0.1] * count,
        fast_check=fast,
        min_time_limit=1.0,
    )
    assert status in ("pass", "fail")
    verdicts = [bool(detail) for detail in details]
    assert (status == "pass") == (verdicts == [True] * count)
    return verdicts


@functools.cache
def _answer(source: str, as_set: bool) -> tuple[str, Any] | None:
    """The answer when it has travelled, in full; None if there is none."""
    try:
        value = eval(source, SCOPE)
        letter, content = encode_answer(value, False, False, as_set)
        if letter == b"D":
            letter, content = encode_answer(value, False, True, as_set)
    except BaseException:
        return None
    with contextlib.suppress(BrokenAnswerError):
        return read_value(letter.decode(), content)


@functools.cache
def _wanted(entry_point: str, source: str) -> tuple[str, Any]:
    letter, content = encode_answer(expected_of(entry_point, source), True, True, False)
    return read_value(letter.decode(), content)


def ours(world: World, answer: str, expected: str) -> bool:
    """Our verdict on an answer that has travelled as it does from the sandbox, without a process around it."""
    read = _answer(answer, world.entry_point in SET_ENTRY_POINTS)
    wanted = _wanted(world.entry_point, expected)
    return read is not None and matches(world.family, world.entry_point, world.arguments, read, wanted, world.atol, "evalplus-head")


def verdicts_of_evalplus(evalplus: Any, pairs: Sequence[tuple[str, str]], world: World) -> dict[tuple[str, str], bool]:
    """In one process. Floats as expected value would set a tolerance for the pairs after them: these come last."""
    expected = {pair: expected_of(world.entry_point, pair[1]) for pair in pairs}
    ordered = sorted(pairs, key=lambda pair: evalplus.is_floats(expected[pair]))
    found = theirs(evalplus, world, [answer for answer, _ in ordered], [expected[pair] for pair in ordered])
    return dict(zip(ordered, found, strict=True))
