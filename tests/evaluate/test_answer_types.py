"""Values of other types than the plain ones arrive as data or not at all, whatever the objects do and whatever tree is sent."""

from __future__ import annotations

import builtins
import marshal
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from collections.abc import Callable, Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from reflectioncoder.sandbox.answers import BrokenAnswerError, Opaque, read_value, rebuild
from reflectioncoder.sandbox.runtime.encoding import _plain_kinds, encode_answer, portable
from tests.evaluate.plain_values import PLAIN_TYPES, is_plain_by_the_book, often, plain_values, texts
from tests.tiers import examples

pytestmark = pytest.mark.filterwarnings("ignore")  # of numpy, about numbers that overflow


# Other types


class Whole(int):
    pass


class Words(str):
    __slots__ = ()


class Real(float):
    pass


class Items(list):
    __hash__ = None


class Named(dict):
    pass


class Sealed(tuple):
    __slots__ = ()


Point = namedtuple("Point", "x y")
odd_leaves = st.one_of(
    st.integers(-(2**63), 2**63 - 1).map(np.int64),
    st.integers(0, 255).map(np.uint8),
    st.floats(allow_nan=False).map(np.float64),
    st.floats(width=32, allow_nan=False).map(np.float32),
    st.booleans().map(np.bool_),
    st.text("abé", max_size=4).map(np.str_),
    st.fractions(),
    st.decimals(allow_nan=False),
    st.integers().map(Whole),
    texts.map(Words),
    st.floats(allow_nan=False).map(Real),
    st.tuples(st.integers(), st.integers()).map(lambda pair: Point(*pair)),
    st.lists(st.integers()).map(Sealed),
    st.frozensets(st.integers()),
)
odd_hashables = odd_leaves | st.integers() | texts | st.tuples(odd_leaves, st.integers())
odd_values = st.recursive(
    odd_hashables,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.tuples(inner, inner),
        st.lists(inner, max_size=4).map(Items),
        st.dictionaries(odd_hashables, inner, max_size=4),
        st.dictionaries(odd_hashables, inner, max_size=4).map(Named),
        st.dictionaries(odd_hashables, inner, max_size=4).map(OrderedDict),
        st.dictionaries(odd_hashables, inner, max_size=4).map(lambda items: defaultdict(list, items)),
        st.sets(odd_hashables, max_size=4),
        st.dictionaries(odd_hashables, st.integers(), max_size=4).map(Counter),
    ),
    max_leaves=12,
)


@often
@given(odd_values)
def test_values_of_other_honest_types_are_equal_after_the_way(value):
    letter, content = encode_answer(value, False, True, False)
    name, read = read_value(letter.decode(), content)
    assert read == value
    assert value == read
    assert (letter == b"V") == is_plain_by_the_book(value)
    if type(value) in PLAIN_TYPES:
        assert name == type(value).__name__
    else:
        assert name.endswith(type(value).__name__)
        assert name not in vars(builtins)


@often
@given(odd_values)
def test_a_value_is_plain_if_everything_in_it_is_of_a_built_in_type(value):
    assert (_plain_kinds(value) is not None) == is_plain_by_the_book(value)


@often
@given(plain_values)
def test_plain_values_are_plain(value):
    assert _plain_kinds(value) is not None


@pytest.mark.parametrize(
    "value",
    [
        object(), ..., range(3), deque(), bytearray(b"a"), memoryview(b"a"), {}.keys(), iter([]), print, int, type, NotImplemented,
        [1, [2, [3, {4: [Whole(5)]}]]], {Whole(1): 1}, {1: Whole(1)}, {Whole(1)}, frozenset([Whole(1)]), (1, (2, (np.int64(3),))),
        [[1], Counter()], [{}, Named()], {"a": [1, {"b": (2, {3: None, 4: Point(1, 2)})}]},
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_one_other_type_inside_makes_a_value_not_plain(value):
    assert _plain_kinds(value) is None


@pytest.mark.parametrize("array", [np.zeros(0), np.array(1), np.array([1.5, -0.0]), np.array([[1, 2], [3, 4]]), np.array([True]),
                                   np.array(["a", "bcd"]), np.array([1j]), np.arange(5, dtype=np.uint8), np.zeros((2, 0))])  # fmt: skip
def test_an_array_is_the_same_array_after_the_way(array):
    name, read = read_value(*_sent(array))
    assert name == "numpy.ndarray"
    assert read.dtype == array.dtype
    assert read.shape == array.shape
    assert (read == array).all()


def _sent(value: Any, as_set: bool = False) -> tuple[str, bytes]:
    letter, content = encode_answer(value, False, True, as_set)
    return letter.decode(), content


# Hostile objects


def _class(name: str, bases: tuple[type, ...] = (), **members: Any) -> type:
    return type(name, bases, members)


def _fails(*_: Any, **__: Any) -> Any:
    raise RuntimeError("hostile")


def _exits(*_: Any, **__: Any) -> Any:
    raise SystemExit(0)


def _fraction(numerator: Any, denominator: Any) -> Any:
    return _class("Fraction", __module__="fractions", numerator=numerator, denominator=denominator)()


def _hostile_meta() -> Any:
    meta = type("Meta", (type,), {"__getattribute__": _fails})
    return meta("Hostile", (), {})()


HOSTILE: dict[str, Callable[[], Any]] = {
    "a class that is not what it says": lambda: _class("C", __class__=property(lambda self: int))(),
    "a class that says it is a list": lambda: _class("C", __class__=property(lambda self: list))(),
    "no attribute at all": lambda: _class("C", __getattribute__=_fails)(),
    "an exit at each attribute": lambda: _class("C", __getattribute__=_exits)(),
    "a type that raises": _hostile_meta,
    "a list that cannot be walked": lambda: _class("C", (list,), __iter__=_fails, __len__=_fails, __getitem__=_fails)([1, 2]),
    "a dictionary that hides": lambda: _class("C", (dict,), items=_fails, keys=_fails, __iter__=_fails)({1: 2}),
    "an endless dictionary": lambda: _class("C", (dict,), items=lambda self: iter(int, 1))({1: 2}),
    "a string that fails": lambda: _class("C", (str,), __str__=_fails, __repr__=_fails, __format__=_fails)("x"),
    "a number that fails": lambda: _class("C", (int,), __add__=_fails, __int__=_fails, __index__=_fails)(5),
    "equal to everything": lambda: _class("C", __eq__=lambda self, other: True, __hash__=lambda self: 0)(),
    "a name of a built-in type": lambda: _class("float", __module__="", __qualname__="float")(),
    "a float's name": lambda: _class("float", (list,), __module__="builtins")([]),
    "a module that is no text": lambda: _class("C", (list,), __module__=5)([]),
    "a counter's name": lambda: _class("Counter", (dict,), __module__="collections")({1: [2]}),
    "a fraction of texts": lambda: _fraction("1", "2"),
    "a fraction by nothing": lambda: _fraction(1, 0),
    "a fraction of objects": lambda: _fraction(object(), object()),
    "a decimal that is none": lambda: _class("Decimal", __module__="decimal", __str__=lambda self: "five")(),
    "a decimal without a text": lambda: _class("Decimal", __module__="decimal", __str__=_fails)(),
    "a list in itself": lambda: (items := [], items.append(items))[0],
    "a dictionary in itself": lambda: (items := {}, items.update({1: items}))[0],
    "an array of objects": lambda: np.array([object()], dtype=object),
    "an array with fields": lambda: np.array([(1, 2)], dtype="i4,i4"),
    "a subclass of an array": lambda: _class("C", (np.ndarray,), tolist=_fails)((2,)),
    "a subclass of a numpy float": lambda: _class("C", (np.float64,), item=lambda self: 1e9)(0.5),
    "a subclass of a numpy float that fails": lambda: _class("C", (np.float64,), item=_fails)(0.5),
    "items of no equality": lambda: {1: {2}.__class__([3])}.items(),
    "a generator that fails": lambda: (_fails() for _ in range(2)),
}


@pytest.mark.parametrize("as_set", [False, True])
@pytest.mark.parametrize("make", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_object_arrives_as_data_or_not_at_all(make, as_set):
    value = make()
    try:
        tree = portable(value)
        letter, content = _sent(value, as_set)
    except BaseException:
        return  # the program's error
    assert is_plain_by_the_book(tree)
    try:
        name, read = read_value(letter, content)
    except BrokenAnswerError:
        return
    assert type(name) is str
    assert type(read) in PLAIN_TYPES | {Opaque, Counter, Fraction, Decimal, np.ndarray} or isinstance(read, np.generic)
    for wanted in (0.25, 7, "expected", None, [1.5], {"expected"}):
        assert not (type(read) is not np.ndarray and read == wanted)


@pytest.mark.parametrize("other", [0, None, "", [], {}, Opaque("x"), float("nan")])
def test_an_unknown_object_equals_nothing(other):
    thing = read_value(*_sent(object()))[1]
    assert thing != other
    assert other != thing
    assert not thing.__eq__(thing)
    assert [thing] != [other]
    assert {1: thing} != {1: other}


kinds = st.one_of(
    st.sampled_from(["v", "list", "tuple", "set", "frozenset", "dict", "subclass", "fraction", "decimal", "numpy", "ndarray"]),
    st.sampled_from(["iterator", "object", "", "none", 5, None, b"v", ("v",)]),
)
small = st.one_of(st.none(), st.booleans(), st.integers(-1000, 1000), st.floats(), texts, st.binary(max_size=5))
type_names = st.one_of(
    texts,
    st.sampled_from(["int64", "float32", "bool", "<U3", "U", "S", "complex128", "object", "datetime64[D]", "V8", "i4,i4", "(2,)i4"]),
    st.sampled_from(["float", "int", "list", "str", "set", "collections.Counter", "builtins.C"]),
    st.text("<>=|?biufcmMOSUVgdlq0123456789,()[]{}':", max_size=5),
)
trees = st.recursive(
    st.one_of(small, st.tuples(st.just("v"), small), st.tuples(st.just("object"), texts)),
    lambda inner: st.one_of(
        st.tuples(kinds, inner),
        st.tuples(kinds, type_names, inner),
        st.tuples(kinds, st.lists(inner, max_size=4)),
        st.tuples(kinds, type_names, st.lists(inner, max_size=4)),
        st.tuples(kinds, st.lists(st.tuples(inner, inner), max_size=4)),
        st.tuples(kinds),
        st.lists(inner, max_size=3).map(tuple),
    ),
    max_leaves=15,
)


@settings(often, max_examples=examples(400))
@given(trees)
@example(("numpy", ",", 1))
@example(("ndarray", "i,", ("list", [])))
@example(("numpy", "i4", 2**31))
@example(("decimal", "five"))
@example(("fraction", 1, 0))
def test_a_tree_of_any_shape_is_rebuilt_or_refused(tree):
    try:
        name, _ = rebuild(tree)
    except BrokenAnswerError:
        return
    assert type(name) is str


@settings(often, max_examples=examples(400))
@given(trees)
@example(("subclass", "float", ("v", [])))
@example(("subclass", "int", ("numpy", "int64", 5)))
@example(("subclass", "list", ("v", 5)))
@example(("subclass", "str", ("ndarray", "float64", ("list", []))))
def test_the_name_of_a_built_in_type_comes_with_a_value_of_it_only(tree):
    """The comparison goes by the name: `numpy.allclose([], 1.5)` is true."""
    try:
        name, value = rebuild(tree)
    except BrokenAnswerError:
        return
    # An object or iterator is close to nothing, whatever its name.
    if name in {kind.__name__ for kind in PLAIN_TYPES} and not isinstance(value, Opaque | Iterator):
        assert type(value).__name__ == name


@often
@given(odd_values, st.data())
def test_a_damaged_tree_is_rebuilt_or_refused(value, data):
    damaged = bytearray(marshal.dumps(portable(value), 2))
    for _ in range(data.draw(st.integers(1, 3))):
        # Not the upper bytes of a length or number: what those can do is below.
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.sampled_from([*b"vNTF0[({sui\x00\x01\x02\x05"]))
    try:
        name, _ = read_value("P", bytes(damaged))
    except BrokenAnswerError:
        return
    assert type(name) is str
