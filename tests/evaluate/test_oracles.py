"""Our rules of comparison against EvalPlus 0.3.1 itself: each answer is judged by both, in every kind of task.

EvalPlus judges in its own process, where answer and expected value meet as objects. Here an answer travels as bytes first; that
must change no verdict. The deliberate exceptions are in `DELIBERATE`, with their reasons.
"""

from __future__ import annotations

import functools
import gzip
import importlib.util
import json
import marshal
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy  # noqa: F401 (before a fork: each of EvalPlus's processes would import it anew)
import pytest

from reflectioncoder.evaluate.benchmarks import Benchmark, Task
from reflectioncoder.evaluate.evalplus import Family, FunctionTests, Part, restore_inputs
from reflectioncoder.evaluate.judge import FunctionJudge, PartVerdict
from reflectioncoder.evaluate.oracles import NOT_NONE_ENTRY_POINTS, SET_ENTRY_POINTS, Rules, is_floats, matches
from reflectioncoder.evaluate.score import Scorer
from reflectioncoder.sandbox.answers import BrokenAnswerError, read_value
from reflectioncoder.sandbox.isolation import detect_isolation
from reflectioncoder.sandbox.runtime.calls import encode_answer

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

class Raises:
    def __eq__(self, other): raise ValueError("not to be compared")
    __hash__ = lambda self: 1

class Spoofed:
    """Says that it is an int."""
    __class__ = property(lambda self: int)

class YesList2(list):
    """A list with other items than it iterates over."""
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
    *[(f"{answer}", f"{answer}") for answer in ("2**15 - 1", "2**15", "-2**15", "2**30", "-2**31", "-2**31 - 1", "2**60", "-3**5000", "7**9000")],
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
        np.array(["1", "2"])
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
        YesList2([1, 2])
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
        'OrderedDict(a=1, b=2)',
        '{("a", 1), ("b", 2)}',
        '["a", "b"]',
    ),
    ("OrderedDict(b=2, a=1)", "OrderedDict(a=1, b=2)"),
    *_spread(
        """
        "ab"
        "ba"
        "ab\\x00"
        "AB"
        Str("ab")
        YesStr("ba")
        np.str_("ab")
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
    ("list(map(np.int64, range(66_000)))", "list(range(66_000))"),
    ("np.arange(200_001)", "list(range(200_001))"),
]  # fmt: skip


@dataclass(frozen=True, eq=False)
class World:
    """A kind of task that answers are compared in. `arguments`: of the call."""

    family: Family
    entry_point: str
    atol: float = 0.0
    arguments: tuple[Any, ...] = ()
    rules: Rules = "evalplus-head"

    def __str__(self) -> str:
        atol = f" atol={self.atol:g}" if self.atol else ""
        return f"{self.family} {self.entry_point}{atol}{' as in 0.3.1' if self.rules == 'evalplus-0.3.1' else ''}"


ROOT = World("humaneval", "find_zero", 1e-4, ([1.0, 2.0],))
WORLDS = (
    World("humaneval", "f"),
    World("humaneval", "f", 1e-6),
    World("humaneval", "f", 1e-3),
    World("mbpp", "f"),
    World("mbpp", "f", 1e-4),
    World("mbpp", "find_zero", 0.0, ([1.0, 2.0],)),
    World("humaneval", "similar_elements"),
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

_FORGED = "an answer's own __eq__ (or __iter__) is not asked"
_OPAQUE = "of a foreign object only the name of its type is sent, which no expected value equals"
# (answer, its expected values or None for any, our verdict, reason): ours where the two differ. It must be needed.
DELIBERATE: list[tuple[str, str | None, bool, str]] = [
    *(
        (answer, None, False, _FORGED)
        for answer in ("Yes()", "YesInt(2)", "YesFloat(2.0)", "YesList([3])", "YesTuple((3,))", "YesDict()")
    ),
    *((answer, None, False, _FORGED) for answer in ("[Yes(), Yes()]", "[YesInt(5), YesInt(6)]", "YesList()", "[Yes()] * 3000")),
    *((answer, None, False, _FORGED) for answer in ('YesStr("ba")', '{"a": Yes(), "b": Yes()}')),
    *((answer, None, True, _FORGED) for answer in ("NoInt(1)", "NoList([1, 2])")),
    ("YesList2([1, 2])", None, True, _FORGED),
    ("Raises()", None, True, _FORGED),
]


def _reason(answer: str, expected: str, ours: bool) -> str | None:
    for known_answer, known_expected, verdict, reason in DELIBERATE:
        if known_answer == answer and known_expected in (None, expected) and verdict == ours:
            return reason
    return None


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


def theirs(evalplus: Any, world: World, answers: Sequence[str], expected: Sequence[Any], fast: bool = False) -> list[bool]:
    """EvalPlus's verdicts on the answers of one process, up to the first wrong one if `fast`."""
    count = len(answers)
    status, details = evalplus.untrusted_check(
        world.family,
        solution(world.entry_point, answers),
        [list(world.arguments)] * count,
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


def ours(world: World, answer: Callable[[], Any], expected: Any) -> bool:
    """Our verdict on an answer that has travelled as it does from the sandbox, without a process around it."""
    try:
        value = answer()
        letter, content = encode_answer(value, False, False, world.entry_point in SET_ENTRY_POINTS)
        if letter == b"D":
            letter, content = encode_answer(value, False, True, world.entry_point in SET_ENTRY_POINTS)
    except BaseException:
        return False
    wanted = read_value(*_text(encode_answer(expected, True, True, False)))
    try:
        read = read_value(*_text((letter, content)))
    except BrokenAnswerError:
        return False
    return matches(world.family, world.entry_point, world.arguments, read, wanted, world.atol, world.rules)


def _text(frame: tuple[bytes, bytes]) -> tuple[str, bytes]:
    return frame[0].decode(), frame[1]


@pytest.fixture(scope="module")
def evalplus_verdicts(evalplus: Any) -> dict[tuple[str, str], dict[World, bool]]:
    """Of every pair in every world; one process a world.

    Floats as expected value would set a tolerance for the pairs after them: these come last.
    """
    verdicts: dict[tuple[str, str], dict[World, bool]] = {pair: {} for pair in PAIRS}
    for world in WORLDS:
        expected = {pair: expected_of(world.entry_point, pair[1]) for pair in verdicts}
        ordered = sorted(verdicts, key=lambda pair: evalplus.is_floats(expected[pair]))
        found = theirs(evalplus, world, [answer for answer, _ in ordered], [expected[pair] for pair in ordered])
        for pair, verdict in zip(ordered, found, strict=True):
            verdicts[pair][world] = verdict
    return verdicts


@pytest.mark.parametrize("answer", list(dict.fromkeys(answer for answer, _ in PAIRS)))
def test_an_answer_is_judged_as_by_evalplus_in_every_kind_of_task(evalplus_verdicts, answer):
    function = eval(f"lambda: {answer}", SCOPE)
    disagreements = []
    reasons = set()
    for pair in dict.fromkeys(pair for pair in PAIRS if pair[0] == answer):
        for world, their_verdict in evalplus_verdicts[pair].items():
            our_verdict = ours(world, function, expected_of(world.entry_point, pair[1]))
            if our_verdict != their_verdict:
                reason = _reason(*pair, our_verdict)
                reasons.add(reason)
                if reason is None:
                    disagreements.append(f"{world}, expected {pair[1]}: EvalPlus {their_verdict}, ours {our_verdict}")
    assert disagreements == []
    assert reasons == {known[3] for known in DELIBERATE if known[0] == answer}, "a difference that is none any more"
