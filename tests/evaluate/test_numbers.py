"""Numbers of other packages: as EvalPlus decides about them, and by the default rules at full precision."""

from __future__ import annotations

import contextlib
import itertools
import math
import subprocess
import sys
import warnings
from collections.abc import Iterator
from fractions import Fraction
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from reflectioncoder.evaluate.benchmarks import Benchmark
from reflectioncoder.evaluate.judges.base import Task
from reflectioncoder.evaluate.judges.evalplus.benchmark import EvalPlusJudge
from reflectioncoder.evaluate.judges.evalplus.data import function_tests
from reflectioncoder.evaluate.judges.evalplus.oracles import matches
from reflectioncoder.evaluate.judges.programs import ProgramsJudge, ProgramTests, request_for
from reflectioncoder.evaluate.score import Scorer
from reflectioncoder.sandbox.answers import BrokenAnswerError, Number, read_value, rebuild
from reflectioncoder.sandbox.detect import probe
from reflectioncoder.sandbox.isolation import ISOLATIONS
from reflectioncoder.sandbox.precision import as_python_numbers, holds_numpy
from reflectioncoder.sandbox.runtime.encoding import encode_answer
from tests.evaluate import test_oracles
from tests.evaluate.test_answer_bombs import costs
from tests.evaluate.test_oracles import PRELUDE, SCOPE, World, ours, verdicts_of_evalplus
from tests.tiers import examples

evalplus = test_oracles.evalplus
often = settings(max_examples=examples(300), deadline=None, database=None)

MORE = """
import fractions, types
try:
    import mpmath, sympy
    from sympy.abc import x
except ImportError:
    mpmath = sympy = None

class Ratio:
    "A number of the program's own, as complete as one writes it."
    def __init__(self, value): self.value = fractions.Fraction(value)
    def __eq__(self, other): return self.value == getattr(other, "value", other)
    def __hash__(self): return hash(self.value)
    def __float__(self): return float(self.value)
    def __int__(self): return int(self.value)

class Row:
    "A sequence of the program's own."
    def __init__(self, *items): self.items = items
    def __len__(self): return len(self.items)
    def __iter__(self): return iter(self.items)
    def __eq__(self, other): return list(self.items) == other

def made(base, *arguments, **members): return type("Made", (base,), members)(*arguments)
def bare(base, *arguments): return eval("type('Bare', (base,), {})", {"base": base})(*arguments)
"""

# Each answer of a group with each expected value of its last line.
GROUPS = """
sympy.Integer(3) | sympy.Rational(6, 2) | sympy.sqrt(9) | sympy.Float(3) | sympy.Integer(4) | sympy.true | sympy.oo | x
    for 3 | 3.0 | True | 'x'
sympy.S.One | sympy.S.Zero | sympy.true | sympy.false | sympy.Float(1) | sympy.Eq(x, x)
    for 1 | True | 0 | False | 1.0 | None
sympy.Float(0.1) | sympy.Float('0.1', 40) | sympy.Rational(1, 10) | sympy.Float(0.1) * 1 | sympy.nan | -sympy.oo
    for 0.1 | 0.1 + 1e-12 | -inf | nan
sympy.sqrt(2) | sympy.sqrt(2).evalf() | sympy.pi | sympy.I | 1 + 2 * sympy.I | sympy.zoo
    for 2**0.5 | math.pi | 1j | 1 + 2j
sympy.factorial(30) | sympy.Integer(10)**40 | sympy.Integer(2)**64 | sympy.Integer(2)**53 + 1
    for 2**53 + 1 | 2**64 | 10**40 | 2.0**53 | 2.0**64
[sympy.Integer(3), 4] | (sympy.Integer(3),) | {sympy.Integer(3)} | {sympy.Integer(3): 1} | sympy.Tuple(3, 4)
    for [3, 4] | (3,) | {3} | {3: 1} | (3, 4)
sympy.FiniteSet(3) | sympy.Dict({3: 1}) | sympy.Matrix([3, 4]) | sympy.Matrix([3, 4]).tolist() | sympy.Tuple()
    for {3} | {3: 1} | [3, 4] | [[3], [4]] | ()
mpmath.mpf(3) | mpmath.mpc(3) | mpmath.mpf('3.5') | mpmath.mpf(1) | mpmath.mpi(3, 3) | mpmath.mpf('nan') | mpmath.inf
    for 3 | 3.0 | True | 3 + 0j | inf | nan
mpmath.mpf('0.1') | mpmath.mpf(1) / 10 | mpmath.pi | +mpmath.pi | mpmath.mpc(1, 2) | mpmath.mpf(2)**70 | mpmath.mpf(2)**53
    for 0.1 | math.pi | 1 + 2j | 2**70 | 2**53 + 1
[mpmath.mpf(2)] | mpmath.matrix([2]) | mpmath.matrix([2]).tolist() | {mpmath.mpf(2)}
    for [2] | [2.0] | {2} | 2
np.array([3], dtype=object) | np.array(3, dtype=object) | np.array([[3]], dtype=object) | np.array([4], dtype=object)
    for 3 | [3] | 3.0 | [[3]]
np.array([Fraction(3)], dtype=object) | np.array([sympy.Integer(3)]) | np.array(['3'], dtype=object) |
np.array([[3], [4, 5]], dtype=object)
    for 3 | [3] | '3' | [[3], [4, 5]]
np.array('a') | np.array(['a']) | np.array([['a']]) | np.array('b') | np.array('') | np.array(['a', 'b']) |
np.char.array(['a'])
    for 'a' | ['a'] | 'b' | ['a', 'b'] | ''
np.array(b'a') | np.bytes_(b'a') | np.array(['a'], dtype='T') | np.array([None, None]) | np.array(None)
    for 'a' | None | [None, None] | b'a'
np.matrix([[3]]) | np.ma.array([3]) | np.ma.array([3], mask=[True]) | np.ma.masked | np.array([3], dtype=np.longdouble) |
np.longdouble(3)
    for 3 | [3] | [[3]] | 3.0
np.longdouble(0.1) | np.longdouble('0.1') | np.longdouble(2)**63 + 1 | np.clongdouble(1 + 2j) | np.longdouble('inf')
    for 0.1 | 2**63 | 2**63 + 1 | 1 + 2j | inf
made(int, 3) | bare(int, 3) | bare(float, 3.0) | bare(str, '3') | bare(bool) | made(object) | bare(object) | made(complex, 3)
    for 3 | 3.0 | '3' | True
bare(list, [3]) | bare(tuple, (3,)) | bare(dict, {3: 1}) | bare(set, {3}) | [bare(int, 3)] | {bare(int, 3): bare(int, 1)}
    for [3] | (3,) | {3: 1} | {3}
types.new_class('N', (int,))(3) | made(int, 3, __module__=5) | made(int, 3, __qualname__='int') |
made(int, 3, __module__='builtins')
    for 3 | 3.0 | 4
Ratio(3) | Ratio('1/2') | Ratio('1/3') | [Ratio(3)] | {Ratio(3)} | Row(1, 2) | Row() | np.timedelta64(3) |
np.datetime64(3, 'D')
    for 3 | 0.5 | 1 / 3 | [3] | {3} | [1, 2] | []
types.SimpleNamespace(a=1) | types.MappingProxyType({3: 1}) | memoryview(b'a') | bytearray(b'3') | slice(3) | range(3, 4)
    for 3 | {3: 1} | 'a' | [3]
"""


def _pairs(groups: str) -> Iterator[tuple[str, str]]:
    answers: list[str] = []
    for line in groups.strip().splitlines():
        values = [value.strip() for value in line.strip().removeprefix("for ").split(" | ")]
        if not line.startswith("    for "):
            answers += [value.rstrip(" |") for value in values]
            continue
        yield from itertools.product(answers, values)
        answers = []


PAIRS = list(_pairs(GROUPS))
# (answer, our verdict): where ours is another than EvalPlus's, and why.
DELIBERATE = {
    # A number of numpy's that is not sent as such equals no list of one number.
    ("np.longdouble(3)", False),
    ("np.timedelta64(3)", False),
    ("np.ma.array([3])", False),  # as an array without a mask is no number for `math.pow`
    # There the comparison raises before the oracle looks.
    ("mpmath.matrix([2])", True),
    ("np.char.array(['a'])", True),
}
WORLDS = [
    World("humaneval", "f"),
    World("humaneval", "f", 1e-6),
    World("humaneval", "find_zero", 1e-4, ([-3.0, 1.0],)),
    World("mbpp", "f"),
    World("mbpp", "f", 1e-4),
    World("mbpp", "similar_elements"),
    World("mbpp", "sum_div", 0.0, (8,)),
    World("mbpp", "surface_Area", 0.0, (3, 4)),
    World("mbpp", "check_str"),
]


@pytest.fixture
def scope() -> Iterator[None]:
    exec(MORE, SCOPE)
    with mock.patch.object(test_oracles, "PRELUDE", PRELUDE + MORE):
        yield


@pytest.mark.parametrize("world", WORLDS, ids=str)
def test_numbers_and_containers_of_other_classes_are_judged_as_by_evalplus(evalplus, scope, world):
    pytest.importorskip("sympy")
    pairs = [pair for pair in PAIRS if _can_be_expected(world, pair[1])]
    found = verdicts_of_evalplus(evalplus, pairs, world) if world.entry_point != "find_zero" else {}
    if world.entry_point == "find_zero":  # 0.3.1 records what it refuses only
        for pair in pairs:
            found[pair] = test_oracles.theirs(evalplus, world, [pair[0]], [0.0]) == []
    different = {pair: theirs for pair, theirs in found.items() if ours(world, *pair) != theirs}
    assert {pair: theirs for pair, theirs in different.items() if (pair[0], not theirs) not in DELIBERATE} == {}
    assert len(set(found.values())) == 2


def _can_be_expected(world: World, expected: str) -> bool:
    with contextlib.suppress(TypeError):
        return world.entry_point != "similar_elements" or isinstance(set(eval(expected, SCOPE)), set)
    return False


# Forging


@pytest.mark.parametrize(
    "node",
    [
        ("number", "x", [3, 4], None, True),
        ("number", "x", [3, 3.5], 3.0, True),
        ("number", "x", [float("nan")], None, True),
        ("number", "x", ["3"], None, True),
        ("number", "x", [None], None, True),
        ("number", "x", [[3]], None, True),
        ("number", "x", (3,), None, True),
        ("number", "x", [3], 3, True),
        ("number", "x", [3], "3", True),
        ("number", "x", [2**200_000], None, True),
        ("number", "x"),
        ("ndarray", "object", [2], ("list", [("v", 1)])),
        ("ndarray", "object", [-1], ("list", [("v", 1)])),
        ("ndarray", "object", [True], ("list", [("v", 1)])),
        ("ndarray", "object", [1] * 100, ("list", [("v", 1)])),
        ("ndarray", "object", 1, ("list", [("v", 1)])),
        ("ndarray", "object", [2**40, 2**40, 0], ("list", [("v", 1)])),
        ("ndarray", "str", [1], ("list", [("v", 1)])),
        ("ndarray", "float64", [2**62, 0], ("v", 1)),
    ],
)
def test_an_object_that_is_more_than_one_value_or_none_is_refused(node):
    with pytest.raises(BrokenAnswerError):
        rebuild(node)


def test_a_class_that_equals_everything_is_one_number_when_it_has_travelled():
    class Any3:
        __eq__ = lambda self, other: True  # noqa: E731
        __hash__ = lambda self: 3  # noqa: E731
        __int__ = __index__ = lambda self: 3
        __float__ = lambda self: 5.5  # noqa: E731
        __bool__ = lambda self: False  # noqa: E731

    value = _sent(Any3())[1]
    assert isinstance(value, Number)
    equal = [candidate for candidate in (False, True, 0, 1, 3, 3.0, 5.5, "3", None, [], 3 + 0j) if value == candidate]
    assert len({complex(candidate) for candidate in equal}) <= 1


HUGE = 3**60_000
BOMBS = {
    "a column in a list": lambda: [np.arange(100_000).reshape(-1, 1)],
    "a column in an array": lambda: _array_of(np.arange(100_000).reshape(-1, 1)),
    "columns in an array": lambda: _array_of(*[np.arange(900).reshape(-1, 1)] * 30),
    "a column of objects": lambda: np.arange(100_000).reshape(-1, 1).astype(object),
}


def _array_of(*items: Any) -> Any:
    array = np.empty(len(items), dtype=object)
    for number, item in enumerate(items):
        array[number] = item
    return array


@pytest.mark.parametrize("make", BOMBS.values(), ids=BOMBS)
@pytest.mark.parametrize("wrap", [lambda row: [row], lambda row: row, lambda row: [row] * 200], ids=["a row", "a flat row", "rows"])
def test_an_array_in_an_answer_is_compared_at_a_reasonable_price(make, wrap):
    answer, expected = _sent(make()), wrap(list(range(20_000)))
    outcome, seconds, mebibytes = costs(lambda: matches("humaneval", "f", [], answer, ("list", expected), 0.0))
    assert outcome == "read"
    assert seconds < 10
    assert mebibytes < 256


@pytest.mark.parametrize(
    "content",
    [
        ("list", [("number", "x", [HUGE, HUGE], 1.5, True)] * 30),
        ("set", [("number", "x", [5 + (2**61 - 1) * n], None, True) for n in range(20_000)]),
        ("set", [("number", "x", [], float(n), True) for n in range(20_000)]),
        ("ndarray", "object", [1000, 1000, 0], ("list", [])),
        ("ndarray", "object", [100_000], ("list", [("number", "x", [1], None, True)] * 100_000)),
    ],
    ids=["huge", "colliding", "without a value", "empty", "many"],
)
def test_numbers_of_other_packages_are_read_or_refused_at_a_reasonable_price(content):
    outcome, seconds, mebibytes = costs(lambda: rebuild(content))
    assert outcome in ("read", "refused")
    assert seconds < 10
    assert mebibytes < 128


# Precision


def _sent(value: Any) -> tuple[str, Any]:
    letter, content = encode_answer(value, False, True, False)
    return read_value(letter.decode(), content)


def takes(answer: Any, expected: Any, atol: float = 0.0, rules: Any = "strict", entry_point: str = "f", arguments: Any = ()) -> bool:
    wanted = (type(expected).__name__, expected)
    family = "mbpp" if entry_point != "f" else "humaneval"
    return matches(family, entry_point, arguments, _sent(answer), wanted, atol, rules)


REALS = (np.float16, np.float32, np.float64, np.longdouble)
INTEGERS = (np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64)
COMPLEX = (np.complex64, np.complex128, np.clongdouble)
WRAPS = {
    "itself": lambda value: value,
    "no dimensions": np.array,
    "a list": lambda value: [value],
    "a tuple": lambda value: (value, 1),
    "nested": lambda value: [(1, {"a": [value]})],
    "a dictionary's value": lambda value: {1: value},
    "a dictionary's key": lambda value: {value: 1},
    "a set": lambda value: {value},
    "an array of objects": lambda value: np.array([value], dtype=object),
}


def _wrapped(how: str, value: Any) -> Any:
    if how in ("no dimensions", "itself"):
        return value
    return [value] if how == "an array of objects" else WRAPS[how](value)


def _exact(number: Any) -> Any:
    if isinstance(number, np.integer | np.complexfloating):
        return number.item() if isinstance(number, np.integer) else complex(number)
    return Fraction(*number.as_integer_ratio()) if np.isfinite(number) else float(number)


numbers = st.one_of(
    st.integers(-(2**70), 2**70),
    st.integers(-300, 70_000),
    st.floats(allow_nan=False),
    st.sampled_from([float("inf"), -float("inf"), 65504, 65505, 65536, 2**24 + 1, 2**53 + 1, 314159, -314159, 0.1, 1e-8, 1e308]),
)


@often
@given(numbers, st.sampled_from(REALS + INTEGERS + COMPLEX), st.sampled_from(sorted(WRAPS)), st.sampled_from([0.0, 1e-6]))
@example(70_000, np.float16, "itself", 0.0)
@example(314159, np.float16, "a set", 0.0)
@example(2**53 + 1, np.float64, "a list", 0.0)
@example(2**24 + 1, np.complex64, "nested", 0.0)
def test_a_number_of_numpys_passes_only_where_pythons_number_of_the_same_value_does(expected, kind, how, atol):
    """In whatever precision numpy would have compared them, and wherever it stands in the answer."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            answer = kind(expected)
        except (OverflowError, TypeError, ValueError):
            with np.errstate(all="ignore"):
                answer = kind(0) if kind in INTEGERS else kind(np.float64(expected))
    exact = _exact(answer)
    wanted = _wrapped(how, expected)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        passed = takes(WRAPS[how](answer), wanted, atol)
    assert caught == []
    if passed and exact != expected:
        # EvalPlus's tolerance for floats, between Python's numbers.
        assert isinstance(expected, float) or atol
        assert np.allclose(complex(answer), expected, rtol=1e-7, atol=1e-6)
        assert how not in ("a set", "a dictionary's key")


@often
@given(numbers, st.sampled_from(REALS + INTEGERS + COMPLEX), st.sampled_from(sorted(WRAPS)), st.sampled_from([0.0, 1e-6]))
def test_strict_takes_nothing_that_evalplus_refuses(expected, kind, how, atol):
    with contextlib.suppress(OverflowError, TypeError, ValueError), np.errstate(all="ignore"):
        answer = WRAPS[how](kind(expected))
        wanted = _wrapped(how, expected)
        assert takes(answer, wanted, atol, "evalplus-head") or not takes(answer, wanted, atol)


@pytest.mark.parametrize("kind", REALS + INTEGERS + COMPLEX)
@pytest.mark.parametrize("how", WRAPS)
@pytest.mark.parametrize("number", [0, 1, 100])
def test_a_right_answer_passes_in_every_type_of_numpys(kind, how, number):
    for rules in ("strict", "evalplus-head"):
        assert takes(WRAPS[how](kind(number)), _wrapped(how, number), rules=rules)


@pytest.mark.parametrize(
    ("answer", "expected", "entry_point", "arguments"),
    [
        (np.int8(-28), 33, "surface_Area", (3, 4)),  # the oracle's value is 100: -28 - 100 wraps to -128, whose absolute value is -128
        (np.float16("inf"), 70_000, "digit_distance_nums", (1, 2)),
        (np.float16(2049), 2049, "f", ()),
        ([np.float16("inf")], [314159], "similar_elements", ()),
        ({"a": np.float32(2**24)}, {"a": 2**24 + 1}, "f", ()),
    ],
)
def test_what_evalplus_passes_for_lack_of_precision_fails_by_default(answer, expected, entry_point, arguments):
    with mock.patch("reflectioncoder.evaluate.judges.evalplus.oracles.pyramid_surface", return_value=100):
        assert takes(answer, expected, rules="evalplus-head", entry_point=entry_point, arguments=arguments)
        assert not takes(answer, expected, entry_point=entry_point, arguments=arguments)


@pytest.mark.parametrize(
    ("answer", "expected", "passes"),
    [
        (np.float32(0.1), 0.1, True),  # within the tolerance for floats, as Python's number would be
        (np.float16(0.1), 0.1, False),
        ([np.float32(0.1)], [0.1], True),
        (np.float64(0.1), 0.1, True),
        (np.bool_(True), True, True),
        (np.bool_(True), False, False),
        (np.str_("a"), "a", True),
    ],
)
def test_a_rounded_float_is_right_within_the_tolerance(answer, expected, passes):
    assert takes(answer, expected) is passes


@often
@given(numbers, st.sampled_from(REALS + INTEGERS), st.sampled_from(sorted(WRAPS)))
def test_nothing_of_numpys_is_left_among_pythons_numbers(number, kind, how):
    with contextlib.suppress(OverflowError, ValueError), np.errstate(all="ignore"):
        value = as_python_numbers(_sent(WRAPS[how](kind(number)))[1])
        assert type(value) is np.ndarray or not holds_numpy(value)
        assert type(value) is not np.ndarray or not any(map(holds_numpy, value.tolist()))


def test_floats_of_other_packages_with_few_bits_are_numbers_of_full_precision():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    for number in (1, 256, 257, 70_000):
        answer = ml_dtypes.bfloat16(number)
        assert takes(answer, number) == (float(answer) == number)
        assert takes([answer], [number]) == (float(answer) == number)


# The same verdict at every tier and by both kinds of tests

PROGRAMS = {
    "def f(x): return 2 * x": True,
    "import numpy as np\ndef f(x): return np.int64(2 * x)": True,
    "import numpy as np\ndef f(x): return np.float64(2 * x)": True,
    "import numpy as np\ndef f(x): return np.float32(2 * x)": False,
    "import numpy as np\ndef f(x): return np.float16('inf')": False,
    "import numpy as np\ndef f(x): return np.array(2 * x)": True,
    "import numpy as np\ndef f(x): return np.array([2 * x])": True,
    "import numpy as np\ndef f(x): return np.array([2 * x, 2 * x])": False,
    "import numpy as np\ndef f(x): return np.array([2 * x], dtype=object)": True,
    "import numpy as np\ndef f(x): return np.longdouble(2 * x)": True,
    "import pandas as pd\ndef f(x): return pd.Series([2 * x]).sum()": True,
    "import pandas as pd\ndef f(x): return pd.Series([2 * x])": False,
    "def f(x): return type('N', (int,), {})(2 * x)": True,
    "def f(x): return type('N', (int,), {})(2 * x + 1)": False,
    "from fractions import Fraction\ndef f(x): return Fraction(2 * x)": True,
    "from decimal import Decimal\ndef f(x): return Decimal(2 * x)": True,
    "def f(x): return object()": False,
}
JUDGE = EvalPlusJudge(("base",))
ANSWERS = {"task_id": "t/0", "prompt": "", "canonical_solution": "def f(x): return 2 * x\n", "atol": 0, "plus_input": []}


@pytest.mark.parametrize("name", ISOLATIONS)
@pytest.mark.parametrize("source", PROGRAMS)
def test_a_program_gets_the_same_verdict_at_every_tier(source, name, monkeypatch, tmp_path):
    monkeypatch.setenv("REFLECTIONCODER_CACHE", str(tmp_path))
    if reason := probe(ISOLATIONS[name]):
        pytest.skip(reason)
    numbers = (2, 2**24 + 1)  # twice the second is no number of 32 bits
    answers = function_tests("humaneval", {**ANSWERS, "base_input": [[number] for number in numbers]})
    for tests, judge in (
        (ProgramTests(tuple(f"assert f({number}) == {2 * number}" for number in numbers)), ProgramsJudge()),
        (answers, JUDGE),
    ):
        task = Task("t/0", "", "f", tests)
        verdict = Scorer(Benchmark("t", "1", "", (task,), judge, request_for), isolation=ISOLATIONS[name], floor=0).judge(task, source)
        assert (verdict.status == "passed") == PROGRAMS[source], (judge, verdict)


FRESH = """
import threading
from reflectioncoder.evaluate.judges.evalplus.oracles import matches
from reflectioncoder.sandbox.answers import rebuild
assert "numpy" not in __import__("sys").modules
start, failed = threading.Barrier(8), []

def compare(number):
    start.wait()
    try:
        for _ in range(20):
            if number % 2:
                answer = rebuild(("numpy", "float16", float("inf")))
                assert matches("humaneval", "f", [], answer, ("int", 70_000), 0.0, "evalplus-head")
                assert not matches("humaneval", "f", [], answer, ("int", 70_000), 0.0)
            else:
                assert not matches("humaneval", "f", [], ("list", [1e308]), ("list", [-1e308]), 0.0)
    except BaseException as error:
        failed.append(repr(error))

threads = [threading.Thread(target=compare, args=(number,)) for number in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(failed)
"""


def test_threads_that_are_the_first_to_need_numpy_compare_rightly_and_without_warnings():
    done = subprocess.run([sys.executable, "-W", "always", "-c", FRESH], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")


USERS_OF_NUMPY = {
    "from sympy import lambdify\nfrom sympy.abc import x as y\ndef f(x): return 2 * int(lambdify(y, y, 'numpy')(x))": "sympy",
    "import networkx as nx\ndef f(x): return 2 * x * int(nx.to_numpy_array(nx.path_graph(2))[0, 1])": "networkx",
    "from scipy import special\ndef f(x): return 2 * x * int(special.comb(3, 3))": "scipy",
    "import sklearn.utils\ndef f(x): return 2 * x": "sklearn",
}


@pytest.mark.parametrize("source", USERS_OF_NUMPY)
def test_packages_that_use_numpy_find_it_after_the_guard(source):
    pytest.importorskip(USERS_OF_NUMPY[source])
    task = Task("t/0", "", "f", function_tests("humaneval", {**ANSWERS, "base_input": [[1], [2]]}))
    verdict = Scorer(Benchmark("t", "1", "", (task,), JUDGE, request_for)).judge(task, source)
    assert verdict.status == "passed", verdict


def test_numpys_warnings_do_not_reach_the_terminal(capfd):
    program = "import numpy as np\ndef f(x): return np.float16('inf') if x else [np.float32('inf')]"
    tests = function_tests("humaneval", {**ANSWERS, "canonical_solution": "def f(x): return 10**30", "base_input": [[1], [0]]})
    task = Task("t/0", "", "f", tests)
    for rules in ("strict", "evalplus-head", "evalplus-0.3.1"):
        Scorer(Benchmark("t", "1", "", (task,), JUDGE, request_for), rules=rules).judge(task, program)
    assert math.isinf(np.float16("inf"))
    assert capfd.readouterr() == ("", "")
