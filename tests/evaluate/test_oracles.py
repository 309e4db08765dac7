"""Our rules of comparison against EvalPlus 0.3.1 itself: each answer is judged by both, in every kind of task.

EvalPlus judges in its own process, where answer and expected value meet as objects. Here an answer travels as bytes first; that
must change no verdict. The deliberate exceptions are in `DELIBERATE`, with their reasons.
"""

from __future__ import annotations

import contextlib
import functools
import gzip
import importlib.util
import itertools
import json
import marshal
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy  # noqa: F401 (before a fork: each of EvalPlus's processes would import it anew)
import pytest

from reflectioncoder.choices import Rules
from reflectioncoder.evaluate.benchmarks import Benchmark
from reflectioncoder.evaluate.data_files import look_up
from reflectioncoder.evaluate.judges.base import Task
from reflectioncoder.evaluate.judges.evalplus.benchmark import EvalPlusJudge
from reflectioncoder.evaluate.judges.evalplus.data import Family, FunctionTests, Part, restore_inputs
from reflectioncoder.evaluate.judges.evalplus.judge import FunctionJudge, PartVerdict
from reflectioncoder.evaluate.judges.evalplus.oracles import NOT_NONE_ENTRY_POINTS, SET_ENTRY_POINTS, matches
from reflectioncoder.evaluate.judges.programs import request_for
from reflectioncoder.evaluate.score import Scorer
from reflectioncoder.sandbox.answers import BrokenAnswerError, read_value
from reflectioncoder.sandbox.functions import CallReport, Calls
from reflectioncoder.sandbox.isolation import RLIMITS
from reflectioncoder.sandbox.runtime.encoding import encode_answer

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

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


def _spread(answers: str, *expected: str) -> list[tuple[str, str]]:
    """Each answer (one a line) with each expected value."""
    return [(answer.strip(), wanted) for wanted in expected for answer in answers.strip().splitlines()]


# (answer, expected), both as source. Each pair is judged in every world (see WORLDS).
PAIRS: list[tuple[str, str]] = [
    *_spread(
        """
        1
        True
        1.0
        1 + 0j
        "1"
        [1]
        (1,)
        None
        0
        False
        2
        -1
        1.0000001
        1.00001
        np.int64(1)
        np.int8(1)
        np.uint64(1)
        np.float64(1)
        np.float32(1)
        np.float16(1)
        np.complex128(1)
        np.bool_(True)
        np.longdouble(1)
        np.clongdouble(1)
        np.timedelta64(1)
        np.datetime64("1970-01-02", "D")
        np.int64(2)
        np.array(1)
        np.array([1])
        np.array([[1]])
        np.array([1.0000001])
        np.array([])
        np.array([1, 1])
        np.array([1, 2])
        Int(1)
        Int(2)
        Float(1)
        Color.RED
        Fraction(1)
        Fraction(2, 2)
        Fraction(1, 2)
        Decimal(1)
        Decimal("1.0")
        Decimal("1.1")
        Decimal("sNaN")
        Ratio(1)
        Amount(1)
        Number(1)
        b"1"
        range(1)
        generated(1)
        lambda: 1
        int
        object()
        ...
        NotImplemented
        math
        Yes()
        YesInt(2)
        YesFloat(2.0)
        NoInt(1)
        Raises()
        Spoofed()
        fail(ValueError())
        fail(SystemExit(0))
        fail(KeyboardInterrupt())
        fail(GeneratorExit())
        fail(StopIteration())
        fail(AssertionError())
        """,
        "1",
        "True",
        "1.0",
    ),
    *_spread(
        """
        0
        False
        0.0
        -0.0
        0j
        -0j
        ""
        []
        None
        1e-7
        1e-6
        1.1e-6
        9e-4
        np.int64(0)
        np.float64(-0.0)
        np.float32(1e-7)
        np.bool_(False)
        np.array(0)
        np.array([0])
        np.array([])
        np.array([0, 0])
        Fraction(0)
        Decimal("-0")
        """,
        "0",
        "0.0",
        "False",
    ),
    *_spread(
        """
        None
        False
        True
        0
        1
        ""
        "a"
        []
        nan
        object()
        generated()
        generated(1)
        np.bool_(False)
        np.bool_(True)
        np.array([])
        np.array([None])
        Yes()
        lambda: None
        """,
        "None",
        "False",
        "True",
    ),
    *_spread(
        """
        nan
        -nan
        math.nan
        inf
        -inf
        1e308
        1e309
        0.0
        np.float64("nan")
        np.float32("inf")
        np.float64("inf")
        Decimal("inf")
        Decimal("nan")
        10**400
        complex(nan, 0)
        [nan]
        None
        """,
        "nan",
        "inf",
        "-inf",
    ),
    *_spread(
        """
        0.1 + 0.2
        0.3
        0.3 + 1e-6
        0.3 - 1e-6
        0.3 + 1.03e-6
        0.3 + 1.02e-6
        0.3 + 1.04e-6
        0.3 + 9.9e-5
        0.3 + 1.1e-4
        0.299999
        np.float64(0.3)
        np.float32(0.3)
        np.float64(0.1) + 0.2
        Fraction(3, 10)
        Decimal("0.3")
        Float(0.3)
        Float(0.30000001)
        0.3 + 0j
        complex(0.3, 1e-9)
        [0.3]
        [0.3, 0.3]
        [[]]
        []
        "0.3"
        """,
        "0.3",
        "[0.3]",
        "(0.3,)",
    ),
    *_spread(
        """
        1e10
        1e10 + 1
        1e10 + 999
        1e10 + 1001
        1e10 * (1 + 1e-7)
        1e10 * (1 + 1.01e-7)
        10**10
        10**10 + 1
        10**10 + 1001
        np.int64(10**10)
        """,
        "1e10",
        "10**10",
    ),
    *_spread(
        """
        10**30
        10**30 + 1
        1e30
        2**63
        2**63 - 1
        -2**63
        2**64
        2**31
        np.uint64(2**63)
        np.float64(2**63)
        Int(10**30)
        Decimal(10)**30
        """,
        "10**30",
        "2**63",
        "2**31",
    ),
    *[(whole, whole) for whole in ("2**15 - 1", "2**15", "-2**15", "2**30", "-2**31", "-2**31 - 1", "2**60", "-3**5000", "7**9000")],
    ("7**9000 + 1", "7**9000"),
    ("-(7**9000)", "7**9000"),
    *_spread(
        """
        [1, 2]
        (1, 2)
        {1, 2}
        {1: 2}
        [2, 1]
        [1, 2, 3]
        [1]
        []
        [1.0, 2.0]
        [True, 2]
        [1, 2.0000001]
        [1.0, 2.0000001]
        (1.0, 2.0000001)
        ["1", "2"]
        "12"
        [[1, 2]]
        [np.int64(1), np.int64(2)]
        [np.float64(1), np.float32(2)]
        (np.int64(1), 2)
        [np.array(1), np.array([2])]
        [np.array([1, 1]), 2]
        np.array([1, 2])
        np.array([1.0, 2.0])
        np.array([1, 2.0000001])
        np.array([[1], [2]])
        np.array([[1, 2]])
        np.array([1, 2, 3])
        np.array([1, 2, 2])
        np.array([1, 2], dtype=object)
        np.array([1, 2], dtype="datetime64[D]")
        np.array([(1, 2)], dtype="i4,i4")
        np.array(["1", "2"])
        np.array([True, False])
        np.array([1, 2], dtype=np.longdouble)
        np.unique([2, 1, 2])
        np.ma.array([1, 2])
        np.matrix([1, 2])
        List([1, 2])
        List([1.0, 2.0000001])
        Tuple((1, 2))
        Point(1, 2)
        Point(1.0, 2.0000001)
        YesList([3])
        YesTuple((3,))
        NoList([1, 2])
        Shown([1, 2])
        [Yes(), Yes()]
        [YesInt(5), YesInt(6)]
        [Int(1), Float(2)]
        [Fraction(1), Decimal(2)]
        [Fraction(1), Fraction(20000001, 10000000)]
        deque([1, 2])
        array.array("i", [1, 2])
        collections.UserList([1, 2])
        range(1, 3)
        generated(1, 2)
        generated(2, 1, 1)
        map(int, "12")
        filter(None, [1, 2])
        zip([1, 2])
        iter([1, 2])
        reversed([2, 1])
        enumerate([1, 2])
        dict.fromkeys([1, 2])
        dict.fromkeys([1, 2]).keys()
        {1: 1, 2: 2}.values()
        {1: 2}.items()
        OrderedDict.fromkeys([1, 2]).keys()
        Counter([1, 2])
        frozenset({1, 2})
        b"\\x01\\x02"
        bytearray(b"\\x01\\x02")
        memoryview(b"\\x01\\x02")
        types.SimpleNamespace(a=1)
        [[1], [2]]
        ([1], [2])
        generated([1], [2])
        [1, [2]]
        {1, 2, 3}
        """,
        "[1, 2]",
        "(1, 2)",
        "{1, 2}",
        "[1.0, 2.0]",
        "(1.0, 2.0)",
        "[1, 2.0]",
        "{1: 2}",
    ),
    *_spread(
        """
        []
        ()
        set()
        frozenset()
        {}
        ""
        b""
        [[]]
        [()]
        np.array([])
        np.array([], dtype=int)
        np.zeros((0, 3))
        np.array([[]])
        deque()
        range(0)
        generated()
        iter(())
        Counter()
        Counter(a=0)
        defaultdict(list)
        OrderedDict()
        {}.keys()
        {}.values()
        types.MappingProxyType({})
        List()
        None
        """,
        "[]",
        "()",
        "set()",
        "{}",
        '""',
    ),
    *_spread(
        """
        {"a": 1, "b": 2}
        {"b": 2, "a": 1}
        {"a": 1}
        {"a": 1, "b": 3}
        {"a": 1.0, "b": True + 1}
        {"a": 1, "b": 2.0000001}
        {"a": np.int64(1), "b": np.float64(2)}
        {np.str_("a"): 1, Str("b"): 2}
        {Str("a"): Int(1), "b": 2}
        {YesStr("c"): 1, "d": 2}
        {"a": Yes(), "b": Yes()}
        Counter(a=1, b=2)
        Counter(a=1, b=2, c=0)
        Counter("abb")
        Count("abb")
        Count(a=1, b=2, c=0)
        OrderedDict(a=1, b=2)
        OrderedDict(b=2, a=1)
        defaultdict(int, a=1, b=2)
        Dict(a=1, b=2)
        YesDict()
        collections.ChainMap({"a": 1}, {"b": 2})
        collections.UserDict(a=1, b=2)
        types.MappingProxyType({"a": 1, "b": 2})
        [("a", 1), ("b", 2)]
        {"a": 1, "b": 2}.items()
        {"a": 1, "b": 2}.keys()
        ["a", "b"]
        {"a": [1], "b": 2}.items()
        np.array(["a", "b"])
        """,
        '{"a": 1, "b": 2}',
        "Counter(a=1, b=2)",
        '{("a", 1), ("b", 2)}',
        '["a", "b"]',
    ),
    *_spread(
        """
        "ab"
        "ba"
        "ab\\x00"
        "AB"
        Str("ab")
        YesStr("ba")
        np.str_("ab")
        Text.AB
        np.array("ab")
        np.array(["ab"])
        b"ab"
        bytearray(b"ab")
        np.bytes_(b"ab")
        collections.UserString("ab")
        ["a", "b"]
        ("a", "b")
        {"a", "b"}
        None
        """,
        '"ab"',
        '["a", "b"]',
    ),
    *[(text, text) for text in ('"é漢😀"', '"\\ud800"', '"\\x00"', '"x" * 5000', '"é" * 5000', '"\\ud800" * 3000')],
    ('"x" * 4999 + "y"', '"x" * 5000'),
    ('"x" * 5001', '"x" * 5000'),
    ('"e\\u0301"', '"é"'),
    ('Str("x" * 5000)', '"x" * 5000'),
    *_spread(
        """
        1j
        complex(0, 1)
        complex(-0.0, 1)
        complex(1e-9, 1)
        complex(0, nan)
        np.complex64(1j)
        1
        "1j"
        """,
        "1j",
        "(1j, 2.0)",
        "complex(0, nan)",
    ),
    *_spread(
        """
        [(1, 2.5), (3, 4.5)]
        [[1, 2.5], [3, 4.5]]
        ((1, 2.5), (3, 4.5))
        [(1, 2.5000001), (3, 4.5)]
        [(3, 4.5), (1, 2.5)]
        np.array([[1, 2.5], [3, 4.5]])
        [np.array([1, 2.5]), np.array([3, 4.5])]
        [Point(1, 2.5), Point(3, 4.5)]
        {1: 2.5, 3: 4.5}
        {1: 2.5, 3: 4.5}.items()
        zip([1, 3], [2.5, 4.5])
        [(1, 2.5), (3, None)]
        """,
        "[(1, 2.5), (3, 4.5)]",
        "[[1, 2.5], [3, 4.5]]",
        "{(1, 2.5), (3, 4.5)}",
    ),
    *[(f"nested({depth})", f"nested({depth})") for depth in (10, 90, 150)],
    ("nested(10, 1)", "nested(10, 1.0)"),
    ("nested(9)", "nested(10)"),
    ("nested(90, Int(1))", "nested(90, 1)"),
    ("nested(190, Int(1))", "nested(190, 1)"),
    ("nested(5000)", "[[]]"),
    ("(lambda items: items.append(items) or items)([])", "[[]]"),
    # Long ones: only a digest is sent at first.
    *_spread(
        """
        steps(3000)
        tuple(steps(3000))
        steps(3000, 1e-9)
        steps(3000, 1e-5)
        steps(2999)
        steps(3001)
        [*steps(2999), 428.4285714]
        [*steps(2999), 429.0]
        [*steps(2999), nan]
        [-0.0, *steps(3000)[1:]]
        [0, *steps(3000)[1:]]
        [1e-7, *steps(3000)[1:]]
        [None, *steps(3000)[1:]]
        ["0.0", *steps(3000)[1:]]
        [[0.0], *steps(3000)[1:]]
        [Fraction(0), *steps(3000)[1:]]
        [np.float64(0), *steps(3000)[1:]]
        [np.float64(1e-7), *steps(3000)[1:]]
        np.array(steps(3000))
        np.array(steps(3000, 1e-9))
        list(np.array(steps(3000)))
        List(steps(3000))
        set(steps(3000))
        dict.fromkeys(steps(3000))
        deque(steps(3000))
        (x for x in steps(3000))
        YesList()
        [Yes()] * 3000
        []
        0.0
        """,
        "steps(3000)",
        "tuple(steps(3000))",
        "set(steps(3000))",
        "[1, *steps(3000)[1:]]",
    ),
    ("steps(9000)", "steps(9000)"),
    ("steps(9000, 1e-9)", "steps(9000)"),
    ("steps(9000)[::-1]", "steps(9000)"),
    ("[*steps(9000)[:-1], np.float64(8999 / 7)]", "steps(9000)"),
    ("[nan, *steps(3000)]", "[nan, *steps(3000)]"),
    ("[[nan, 1.0], *steps(3000)]", "[[nan, 1.0], *steps(3000)]"),
    ("{nan: 1}", "{nan: 1}"),
    ("[nan]", "[nan]"),
    ("(nan, 1.0)", "(nan, 1.0)"),
    ("[None, nan]", "[None, nan]"),
    ("list(range(5000))", "list(range(5000))"),
    ("list(map(float, range(5000)))", "list(range(5000))"),
    ("list(map(np.int64, range(5000)))", "list(range(5000))"),
    ("[True, *range(2, 5000)]", "list(range(1, 5000))"),
    ("list(range(5000))[::-1]", "list(range(5000))"),
    ("range(5000)", "list(range(5000))"),
    ("np.arange(5000)", "list(range(5000))"),
    ("tuple(range(5000))", "list(range(5000))"),
    ("set(range(5000))", "set(range(5000))"),
    ("set(range(4999, -1, -1))", "set(range(5000))"),
    ("frozenset(range(5000))", "set(range(5000))"),
    ("{str(n) for n in range(2000)}", "{str(n) for n in range(2000)}"),
    ("dict.fromkeys(range(4000))", "dict.fromkeys(range(3999, -1, -1))"),
    ("{n: n + 1 for n in range(4000)}", "{n: n for n in range(4000)}"),
    ("Counter(range(2000))", "Counter(range(2000))"),
    ("dict(Counter(range(2000)))", "Counter(range(2000))"),
    ("Counter(range(2001))", "Counter(range(2000))"),
    ("dict.fromkeys(range(2000), 1)", "Counter(range(2000))"),
    ("Counter(range(2000))", "dict.fromkeys(range(2000), 1)"),
    ("same(0.5, 3000)", "same(0.5, 3000)"),
    ("same(0.5, 3000)", "same(0.50000001, 3000)"),
    ("same('a', 3000)", "same('b', 3000)"),
]  # fmt: skip
PAIRS = list(dict.fromkeys(PAIRS))


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

_OWN = "an answer's own __eq__ or __iter__ is not asked: it could say anything"
_CAP = "of 200,000 values that are not plain nothing is sent"
# (answer, our verdict, reason): where ours is another than EvalPlus's. Each must be needed.
DELIBERATE: list[tuple[str, bool, str]] = [
    # Answers that no task has: they are sent as objects, which equal nothing and raise nothing.
    ('np.array([(1, 2)], dtype="i4,i4")', True, "a type that is not sent; there its comparison raises"),
    ("nested(190, Int(1))", False, "nested deeper than is sent for types that are not plain"),
    ('{"a": [1], "b": 2}.items()', True, "unhashable items are not sent; there the comparison raises"),
    *((answer, False, _OWN) for answer in ("Yes()", "YesInt(2)", "YesFloat(2.0)", "YesList([3])", "YesTuple((3,))", "YesDict()")),
    *((answer, False, _OWN) for answer in ("[Yes(), Yes()]", "[YesInt(5), YesInt(6)]", "YesList()", "[Yes()] * 3000", "Number(1)")),
    *((answer, False, _OWN) for answer in ('YesStr("ba")', '{"a": Yes(), "b": Yes()}')),
    *((answer, True, _OWN) for answer in ("NoInt(1)", "NoList([1, 2])", "Shown([1, 2])", "Raises()")),
    ("list(map(np.int64, range(200_001)))", False, _CAP),
]


SCOPE: dict[str, Any] = {}
exec(PRELUDE, SCOPE)


@functools.cache
def _value(source: str) -> Any:
    return eval(source, SCOPE)


def solution(entry_point: str, answers: Sequence[str]) -> str:
    """A program whose nth call gives the nth answer; `arguments` are there for the asking."""
    functions = "".join(f"    lambda *arguments: {answer},\n" for answer in answers)
    return f"{PRELUDE}\n_answers = iter([\n{functions}])\ndef {entry_point}(*arguments):\n    return next(_answers)(*arguments)\n"


def expected_of(entry_point: str, source: str) -> Any:
    """What EvalPlus compares with: of some tasks only whether there is an answer."""
    value = _value(source)
    return value is not None if entry_point in NOT_NONE_ENTRY_POINTS else value


@pytest.fixture(scope="module")
def evalplus() -> Iterator[Any]:
    module = pytest.importorskip("evalplus.eval", reason="evalplus 0.3.1 is not installed")
    with pytest.MonkeyPatch.context() as patch:
        # Its limit is on the address space that the forked process already has.
        patch.setenv("EVALPLUS_MAX_MEMORY_BYTES", "-1")
        yield module


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


@pytest.fixture(scope="module")
def all_verdicts(evalplus: Any) -> dict[World, dict[tuple[str, str], bool]]:
    return {world: verdicts_of_evalplus(evalplus, PAIRS, world) for world in WORLDS}


@dataclass(frozen=True)
class Difference:
    answer: str
    expected: str
    world: World
    ours: bool


def assert_same(differences: Iterable[Difference]) -> None:
    """None but the deliberate ones."""
    unknown: dict[str, list[str]] = {}
    for different in differences:
        if (different.answer, different.ours) not in [known[:2] for known in DELIBERATE]:
            verdicts = f"EvalPlus {not different.ours}, ours {different.ours}"
            unknown.setdefault(f"{different.answer} for {different.expected}: {verdicts}", []).append(str(different.world))
    if unknown:
        pytest.fail("\n".join(f"{case} in {len(worlds)}: {', '.join(worlds[:3])}" for case, worlds in unknown.items()), pytrace=False)


@pytest.mark.parametrize("answer", dict.fromkeys(answer for answer, _ in PAIRS))
def test_an_answer_is_judged_as_by_evalplus_in_every_kind_of_task(all_verdicts, answer):
    differences = [
        Difference(*pair, world, verdict)
        for pair in PAIRS
        if pair[0] == answer
        for world, verdicts in all_verdicts.items()
        if (verdict := ours(world, *pair)) != verdicts[pair]
    ]
    assert_same(differences)
    known = {verdict for other, verdict, _ in DELIBERATE if other == answer}
    assert {different.ours for different in differences} >= known, "a difference that is none any more"


@pytest.mark.parametrize(
    ("answer", "expected", "world"),
    [
        ("list(map(np.int64, range(200_001)))", "list(range(200_001))", WORLDS[0]),
        ("np.arange(50_000)", "list(range(50_000))", World("mbpp", "Diff")),
        ("list(range(500_000))", "list(range(500_000))", WORLDS[0]),
        ("[*range(499_999), 499_999.0]", "list(range(500_000))", WORLDS[0]),
        ("[*range(499_999), 499_998]", "list(range(500_000))", World("mbpp", "Diff")),
    ],
)
def test_very_long_answers_are_judged_as_by_evalplus(evalplus, answer, expected, world):
    (their_verdict,) = verdicts_of_evalplus(evalplus, [(answer, expected)], world).values()
    verdict = ours(world, answer, expected)
    assert_same([Difference(answer, expected, world, verdict)] if verdict != their_verdict else [])


# Tasks whose oracle looks at the arguments. Of a box (base, height) the expected value takes the height as slant.
BOXES = ((1, 1), (3, 4), (4, 5), (1, 2), (0, 0), (0, 5), (7, 0), (-3, 4), (3, -4), (2.5, 1.5), (5, 12), (8, 15), (99, 101), (10**9, 7))
BOXES += ((1e-200, 1.0), (2**53 + 1, 3), (10**154, 10**154), (10**200, 1), (1e154, 1e153), (float("inf"), 1.0), (float("nan"), 1.0))
SURFACES = (
    "b**2 + 2 * b * h",
    "true(b, h)",
    "true(b, h) + 1",
    "true(b, h) - 1",
    "true(b, h) + 0.4",
    "float(true(b, h))",
    "np.float64(true(b, h))",
    "np.array([float(true(b, h))])",
    "Fraction(true(b, h))",
    "Decimal(true(b, h))",
    "Int(true(b, h))",
    "complex(true(b, h))",
    "str(true(b, h))",
    "[true(b, h)]",
    "None",
    "nan",
    "b * b + 2 * b * math.sqrt((b / 2) ** 2 + h * h)",
)
NUMBERS = (
    (1, 2),
    (23, 56),
    (123, 256),
    (0, 0),
    (9, 10),
    (100, 7),
    (7, 100),
    (-5, 5),
    (5, -5),
    (1.5, 2),
    (10**30, 10**29 - 1),
    (True, 1),
)
DISTANCES = (
    "sum(map(int, str(abs(a - b))))",
    "padded(a, b)",
    "padded(a, b) + 1",
    "float(padded(a, b))",
    "padded(a, b) + 1e-7",
    "np.int64(padded(a, b))",
    "np.array(padded(a, b))",
    "np.array([padded(a, b), 0])",
    "str(padded(a, b))",
    "padded(a, b) == 1",
    "None",
)
HELPERS = """
def true(b, h):
    return round(b**2 + 4 * (b * math.sqrt((b / 2) ** 2 + h**2)) / 2)

def padded(a, b):
    a, b = str(a), str(b)
    length = max(len(a), len(b))
    return sum(abs(int(x) - int(y)) for x, y in zip(a.zfill(length), b.zfill(length)))
"""
exec(HELPERS, SCOPE)


@pytest.mark.parametrize("atol", [0.0, 0.5])
@pytest.mark.parametrize(
    ("entry_point", "names", "inputs", "answers", "canonical"),
    [
        ("surface_Area", "b, h", BOXES, SURFACES, SURFACES[0]),
        ("digit_distance_nums", "a, b", NUMBERS, DISTANCES, DISTANCES[0]),
    ],
    ids=["surface_Area", "digit_distance_nums"],
)
def test_an_oracle_with_a_second_opinion_takes_it_for_the_same_inputs(evalplus, entry_point, names, inputs, answers, canonical, atol):
    def attempt(source: str, arguments: Sequence[Any]) -> Any:
        return eval(f"(lambda {names}: {source})", SCOPE)(*arguments)

    cases = []
    for arguments in inputs:
        with contextlib.suppress(ArithmeticError, ValueError):  # of the canonical solution
            cases += [(arguments, answer, attempt(canonical, arguments)) for answer in answers]
    cases.sort(key=lambda case: evalplus.is_floats(case[2]))
    world = World("mbpp", entry_point, atol)
    programs = [f"(lambda {names}: {answer})(*arguments)" for _, answer, _ in cases]
    with mock.patch(f"{__name__}.PRELUDE", PRELUDE + HELPERS):
        verdicts = theirs(evalplus, world, programs, [case[2] for case in cases], [case[0] for case in cases])
    differences = []
    for (arguments, answer, expected), their_verdict in zip(cases, verdicts, strict=True):
        try:
            letter, content = encode_answer(attempt(answer, arguments), False, True, False)
            read = read_value(letter.decode(), content)
        except (ArithmeticError, ValueError, TypeError):
            our_verdict = False
        else:
            wanted = (type(expected).__name__, expected)
            our_verdict = matches("mbpp", entry_point, arguments, read, wanted, atol, "evalplus-head")
        if our_verdict != their_verdict:
            differences.append((arguments, answer, expected, their_verdict, our_verdict))
    assert differences == []
    assert len(cases) > 100
    assert len(set(verdicts)) == 2


# Answers to find_zero of 1 + 2 x, atol 1e-4.
ROOTS = (
    *("-0.5", "-0.5 + 4e-5", "-0.5 + 6e-5", "-0.5 - 4.9e-5", "0", "nan", "inf", "-inf", "1e308", "10**400", "None", '"-0.5"', "[-0.5]"),
    *("np.float64(-0.5)", "np.float32(-0.5)", "np.array(-0.5)", "np.array([-0.5])", "np.array([-0.5, 1])", "Fraction(-1, 2)"),
    *(
        'Decimal("-0.5")',
        "Float(-0.5)",
        "-0.5 + 0j",
        "False",
        "Yes()",
        "generated(-0.5)",
        "fail(ValueError())",
        "arguments[0].clear() or 0",
    ),
)


@pytest.mark.parametrize("answer", ROOTS)
def test_a_root_is_right_where_the_polynomial_is_nearly_zero_but_never_by_the_rules_of_0_3_1(evalplus, answer):
    """0.3.1 records failures only: what its oracle lets through is in no list, and so the whole has failed."""
    world = World("humaneval", "find_zero", 1e-4, ([1.0, 2.0],))
    verdicts = theirs(evalplus, world, [answer], [-0.5])
    assert verdicts in ([], [False])
    tests = FunctionTests("humaneval", solution("find_zero", ["-0.5"]), part_of([([1.0, 2.0],)]), part_of([]), 1e-4)
    program = solution("find_zero", [answer])
    head = judge_in_process(tests, "find_zero", program, "evalplus-head")
    if answer == "arguments[0].clear() or 0":  # it deletes its argument, which EvalPlus's oracle then looks at
        assert verdicts == []
        assert head.status == "failed"
    else:
        assert (head.status == "passed") == (verdicts == [])
    assert judge_in_process(tests, "find_zero", program, "evalplus-0.3.1").status == "failed"


def part_of(inputs: Sequence[Sequence[Any]]) -> Part:
    return Part(marshal.dumps([list(items) for items in inputs], 2), len(inputs))


def call_in_process(
    calls: Calls, limits: object, isolation: object, consume: Callable[[str, bytes], bool], limit: object
) -> CallReport:
    """What `sandbox.functions.call` does, with neither process nor limits."""
    scope = dict(SCOPE)
    ended = CallReport("ended", 0.0, 0.0)
    stopped = CallReport("stopped", 0.0, 0.0)
    try:
        exec(calls.source.removeprefix(PRELUDE), scope)
        if not consume("L", b""):
            return stopped
        inputs = marshal.loads(calls.inputs)
        for arguments in inputs:
            try:
                answer = scope[calls.entry_point](*arguments)
                letter, content = encode_answer(answer, calls.reference, calls.in_full, calls.as_set)
            except BaseException as error:
                letter, content = b"E", repr(error).encode()
            if not consume(letter.decode(), content):
                return stopped
        if calls.reference:
            consume("T", marshal.dumps([0.0] * len(inputs), 2))
    except BrokenAnswerError as error:
        return CallReport("broken", 0.0, 0.0, str(error))
    return ended


def judge_in_process(tests: FunctionTests, entry_point: str, program: str, rules: Rules = "evalplus-head") -> PartVerdict:
    """The whole judge on the base part, expected values from the canonical solution and all."""
    with (
        mock.patch("reflectioncoder.evaluate.judges.evalplus.judge.call", call_in_process),
        mock.patch("reflectioncoder.evaluate.judges.evalplus.reference.call", call_in_process),
        mock.patch("reflectioncoder.evaluate.judges.evalplus.reference.write_atomic"),
    ):
        judge = FunctionJudge(RLIMITS, rules, Path("/nonexistent"))
        return judge.judge_part("t/0", entry_point, tests, "base", program, alone=True)


def is_possible(world: World, expected: str) -> bool:
    """Not as a set what cannot be hashed; and a long value where only its presence counts is in a test of its own."""
    if world.entry_point in NOT_NONE_ENTRY_POINTS:
        return len(repr(_value(expected))) < 2000
    with contextlib.suppress(TypeError):
        return world.entry_point not in SET_ENTRY_POINTS or isinstance(set(_value(expected)), set)
    return False


@pytest.mark.parametrize("answer", dict.fromkeys(answer for answer, _ in PAIRS))
def test_the_judge_with_its_short_cuts_comes_to_the_verdict_of_the_rules(answer):
    """Equal bytes, digests, summaries: what is decided without a look at the values is decided as with one."""
    differences = []
    for number, pair in enumerate(PAIRS):
        if pair[0] != answer:
            continue
        for world in (WORLDS[2 * (number % 2)], WORLDS[number % len(WORLDS)]):
            if not is_possible(world, pair[1]):
                continue
            inputs = part_of([world.arguments])
            tests = FunctionTests(world.family, solution(world.entry_point, [pair[1]]), inputs, part_of([]), world.atol)
            verdict = judge_in_process(tests, world.entry_point, solution(world.entry_point, [answer]))
            if (verdict.status == "passed") != ours(world, *pair):
                differences.append((str(world), pair[1], verdict))
    assert differences == []


# Parts of several inputs: (family, atol, answers, expected). A float among the expected values makes later ones tolerant.
PARTS: list[tuple[Family, float, list[str], list[str]]] = [
    ("humaneval", 0.0, ["1.0", "100_000_001"], ["1.0", "100_000_000"]),
    ("humaneval", 0.0, ["100_000_001", "1.0"], ["100_000_000", "1.0"]),
    ("humaneval", 0.0, ["1", "100_000_001"], ["1", "100_000_000"]),
    ("mbpp", 0.0, ["1.0", "100_000_001"], ["1.0", "100_000_000"]),
    ("mbpp", 0.0, ["1.0", "100_000_001.0"], ["1.0", "100_000_000"]),
    ("mbpp", 0.0, ["1.0", "np.int64(100_000_001)"], ["1.0", "100_000_000"]),
    ("mbpp", 0.0, ["1", "100_000_001"], ["1.0", "100_000_000"]),
    ("mbpp", 0.0, ["1.0000001", "100_000_001"], ["1.0", "100_000_000"]),
    ("mbpp", 0.0, ["1.0", "100_000_011"], ["1.0", "100_000_000"]),
    ("mbpp", 0.0, ["[1.0, 2.0]", "[100_000_001]"], ["[1.0, 2.0]", "[100_000_000]"]),
    ("mbpp", 0.0, ["[1.0, 2]", "[100_000_001]"], ["[1.0, 2]", "[100_000_000]"]),
    ("mbpp", 0.0, ["()", "100_000_001"], ["()", "100_000_000"]),
    ("mbpp", 0.0, ["(1.0,)", "1", "[[1.0, 2.0000001]]"], ["(1.0,)", "1", "[[1.0, 2.0]]"]),
    ("mbpp", 0.0, ["[[1.0]]", "1", "[[1.0, 2.0000001]]"], ["[[1.0]]", "1", "[[1.0, 2.0]]"]),
    ("mbpp", 0.0, ["1", "0.5", "True"], ["1", "0.5", "True"]),
    ("mbpp", 0.0, ["0.5", "True"], ["0.5", "1"]),
    ("mbpp", 0.0, ["0.5", "0.9999999"], ["0.5", "1"]),
    ("mbpp", 0.0, ["0.5", "False"], ["0.5", "True"]),
    ("mbpp", 0.0, ["0.5", '"ab"'], ["0.5", '"ab"']),
    ("mbpp", 0.0, ["0.5", '"ac"'], ["0.5", '"ab"']),
    ("mbpp", 0.0, ["0.5", "None"], ["0.5", "None"]),
    ("mbpp", 0.0, ["0.5", "{1: 100_000_001}"], ["0.5", "{1: 100_000_000}"]),
    ("mbpp", 0.0, ["0.5", "(1, None)"], ["0.5", "(1, 2)"]),
    ("mbpp", 0.0, ["0.5", "[]"], ["0.5", "[1]"]),
    ("mbpp", 0.0, ["0.5", "[[]]"], ["0.5", "[1]"]),
    ("mbpp", 0.0, ["nan", "100_000_001"], ["nan", "100_000_000"]),
    ("mbpp", 0.0, ["inf", "100_000_001"], ["inf", "100_000_000"]),
    ("mbpp", 0.0, ["0.5", "list(range(10**8, 10**8 + 2000))"], ["0.5", "list(range(10**8 + 1, 10**8 + 2001))"]),
    ("mbpp", 0.0, ["1", "list(range(10**8, 10**8 + 2000))"], ["1", "list(range(10**8 + 1, 10**8 + 2001))"]),
    ("mbpp", 0.0, ["steps(3000, 1e-9)", "steps(2000, 1e-9)", "7"], ["steps(3000)", "steps(2000)", "7"]),
    ("mbpp", 0.0, ["steps(3000)", "steps(2000, 1e-9)", "list(np.array(steps(1000)))"], ["steps(3000)", "steps(2000)", "steps(1000)"]),
    ("mbpp", 0.0, ["steps(3000)", "100_000_001"], ["steps(3000)", "100_000_000"]),
    ("mbpp", 0.0, ["[1, *steps(3000)]", "100_000_001"], ["[1, *steps(3000)]", "100_000_000"]),
    ("mbpp", 1e-9, ["0.5", "0.5000001", "1"], ["0.5", "0.5", "1"]),
    ("mbpp", 1e-3, ["1", "0.5001", "10_000_001"], ["1", "0.5", "10_000_002"]),
    ("mbpp", 10.0, ["1"], ["9"]),
    ("humaneval", 0.0, ["np.float64(0.5)", "100_000_001"], ["0.5", "100_000_000"]),
    ("humaneval", 0.0, ["1", "2", "3", "fail(ValueError())"], ["1", "2", "3", "4"]),
    ("humaneval", 0.0, ["1", "2", "3"], ["1", "2", "3"]),
]


@pytest.mark.parametrize(("family", "atol", "answers", "expected"), PARTS)
def test_the_inputs_of_a_part_are_judged_together_as_by_evalplus(evalplus, scorer, family, atol, answers, expected):
    world = World(family, "f", atol)
    their_verdicts = theirs(evalplus, world, answers, [_value(source) for source in expected], fast=True)
    inputs = [(number,) for number in range(len(answers))]
    tests = FunctionTests(family, table(expected), part_of(inputs), part_of(inputs[:1]), atol)
    verdict = scorer.judge(Task(next(TASK_IDS), "", "f", tests), solution("f", answers))
    assert (verdict.base_status == "passed") == (their_verdicts == [True] * len(answers)), (verdict, their_verdicts)
    if verdict.base_status == "failed":
        assert verdict.failed_inputs["base"] == len(their_verdicts) - 1
    assert judge_in_process(tests, "f", solution("f", answers)).status == verdict.base_status


def table(expected: Sequence[str]) -> str:
    """A canonical solution: the nth expected value for n."""
    rows = "".join(f"    lambda: {source},\n" for source in expected)
    return f"{PRELUDE}\n_expected = [\n{rows}]\ndef f(number):\n    return _expected[number]()\n"


TASK_IDS = (f"t/{number}" for number in itertools.count())


@pytest.fixture(scope="module")
def scorer(tmp_path_factory) -> Iterator[Scorer]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REFLECTIONCODER_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield Scorer(Benchmark("t", "1", "", (), EvalPlusJudge(("base", "plus")), request_for))


SOME = [(pair, world) for pair, world in zip(PAIRS, itertools.cycle(WORLDS), strict=False) if is_possible(world, pair[1])][::29]


@pytest.mark.parametrize(("pair", "world"), SOME)
def test_in_the_sandbox_an_answer_is_judged_as_by_the_same_code_outside(scorer, pair, world):
    tests = FunctionTests(world.family, solution(world.entry_point, [pair[1]]), part_of([world.arguments]), part_of([]), world.atol)
    program = solution(world.entry_point, [pair[0]])
    verdict = scorer.judge(Task(next(TASK_IDS), "", world.entry_point, tests), program)
    assert verdict.base_status == judge_in_process(tests, world.entry_point, program).status, verdict


@pytest.mark.parametrize(("entry_point", "answer", "expected"), [("Diff", "generated(1)", "{1}"), ("check_str", "5", "6")])
def test_the_names_of_mbpp_tasks_mean_nothing_in_humaneval(evalplus, entry_point, answer, expected):
    world = World("humaneval", entry_point)
    tests = FunctionTests("humaneval", solution(entry_point, [expected]), part_of([()]), part_of([]), 0.0)
    assert theirs(evalplus, world, [answer], [_value(expected)]) == [False]
    assert judge_in_process(tests, entry_point, solution(entry_point, [answer])).status == "failed"


def test_a_set_of_what_cannot_be_hashed_is_never_right_even_where_bytes_are_equal(evalplus):
    world = World("mbpp", "Diff")
    tests = FunctionTests("mbpp", solution("Diff", ["[[1]]"]), part_of([()]), part_of([]), 0.0)
    assert theirs(evalplus, world, ["[[1]]"], [[[1]]]) == [False]
    assert judge_in_process(tests, "Diff", solution("Diff", ["[[1]]"])).status == "failed"


def test_a_long_expected_value_is_there_where_only_its_presence_counts(evalplus):
    tests = FunctionTests("mbpp", solution("check_str", ["'x' * 5000"]), part_of([()]), part_of([]), 0.0)
    assert theirs(evalplus, World("mbpp", "check_str"), ["5"], [True]) == [True]
    assert judge_in_process(tests, "check_str", solution("check_str", ["5"])).status == "passed"


def frame(letter: bytes, value: Any, before: bytes = b"") -> bytes:
    content = before + marshal.dumps(value, 2)
    return letter + struct.pack("<I", len(content)) + content


# What a program may write into the channel itself, to pass or to bring down the judge. The expected value is 0.5.
FORGERIES = {
    "nothing under the name of a float": frame(b"P", ("subclass", "float", ("list", []))),
    "no float under the name of a float": frame(b"P", ("subclass", "float", ("numpy", "float64", 0.5 + 1e-8))),
    "an empty array under the name of a float": frame(b"P", ("subclass", "float", ("ndarray", "float64", ("list", [])))),
    "a malformed summary": frame(b"D", (1, 2), bytes(16)),
    "a summary that is none": frame(b"D", 5, bytes(16)),
    "a digest and no summary": b"D" + struct.pack("<I", 16) + bytes(16),
    "a list as its own summary": frame(b"D", ("list", 3000, True, True), bytes(16)),
    "too large an array": frame(b"P", ("ndarray", "U536870911", ("list", [("v", "a")] * 5000))),
    "the type of an array that cannot be parsed": frame(b"P", ("numpy", ",", 1)),
    "too large a string": frame(b"P", ("numpy", "S", 10**15)),
    "no letter at all": b"\xff" + struct.pack("<I", 0),
    "a second beginning": frame(b"L", 0),
    "the times": frame(b"T", [0.0]),
    "too long a frame": b"V" + struct.pack("<I", 2**32 - 1) + b"x" * 100,
    "an end of nothing": b"V" + struct.pack("<I", 1) + b"0",
    "a tree without nodes": frame(b"P", ()),
    "a value of no kind": frame(b"P", ("v",)),
}


@pytest.mark.parametrize("forgery", FORGERIES.values(), ids=FORGERIES)
def test_what_a_program_writes_into_the_channel_neither_passes_nor_breaks_the_judge(scorer, forgery):
    tests = FunctionTests("humaneval", "def f():\n    return 0.5\n", part_of([()]), part_of([()]), 0.0)
    program = f"import os\ndef f():\n    os.write(4, {forgery!r})\n    os._exit(0)\n"
    task = Task(next(TASK_IDS), "", "f", tests)
    verdict = scorer.judge(task, program)
    assert verdict.status in ("failed", "memory", "crashed"), verdict
    honest = "import os\ndef f():\n    return 0.5\n"
    assert scorer.judge(task, honest).status == "passed"


def typed(value: Any) -> Any:
    """With the types of everything in it, NaN equal to NaN."""
    if isinstance(value, dict):
        return dict, [(typed(key), typed(item)) for key, item in value.items()]
    if isinstance(value, list | tuple):
        return type(value), [typed(item) for item in value]
    if isinstance(value, set | frozenset):
        return type(value), sorted(map(repr, value))
    return type(value), repr(value)


def test_inputs_are_restored_as_by_evalplus(evalplus, data_dir):
    """All of MBPP+. Its module is loaded by path: the package around it wants what is not installed, for downloads."""
    path = Path(evalplus.__file__).parent.parent / "data" / "mbpp.py"
    with mock.patch.dict("sys.modules", {"wget": mock.Mock(), "evalplus.data.utils": mock.Mock()}):
        spec = importlib.util.spec_from_file_location("evalplus_mbpp", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    with gzip.open(look_up("MbppPlus*.jsonl.gz", str(data_dir)), "rt") as handle:
        rows = [json.loads(line) for line in handle]
    changed = 0
    for row in rows:
        for part in ("base_input", "plus_input"):
            wanted = module.mbpp_deserialize_inputs(row["task_id"], row[part])
            restored = restore_inputs(row["task_id"], list(row[part]))
            assert typed(restored) == typed(list(wanted)), row["task_id"]
            changed += typed(restored) != typed(list(row[part]))
    assert len(rows) == 378
    assert changed > 100
