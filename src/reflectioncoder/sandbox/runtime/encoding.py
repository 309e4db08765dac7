"""Encodes answers inside the sandbox as bytes that hold everything the comparison needs and run no code on the other side.

Frames of an answer, by letter:
    V  plain values: marshal version 2 (deterministic, no references)
    D  a plain value too long to send: its `digest`, then marshal of (type name, length, all floats, equal to itself)
    P  values of other types: marshal of a tree of (kind, ...) nodes, see `portable`

`sandbox.answers` reads them.
"""

from __future__ import annotations

import contextlib
import hashlib
import marshal
import re
import sys
from collections import ChainMap, Counter, UserDict, UserList, UserString
from collections.abc import ItemsView, Iterator, KeysView
from decimal import Decimal
from fractions import Fraction
from itertools import chain, islice
from types import MappingProxyType
from typing import Any

MARSHAL_VERSION = 2
MAX_PLAIN_BYTES, MAX_WHOLE_BYTES = 4096, 32 * 2**20
CHUNK = 4096
MAX_NODES = 200_000
_SCALARS = frozenset((int, float, bool, str, type(None), complex, bytes))
_SEQUENCES = frozenset((list, tuple, set, frozenset))
_CONTAINERS = _SEQUENCES | {dict}
_MAX_DEPTH, _MAX_TREE_DEPTH = 200, 100
_NAN_BYTES = re.compile(rb"[\xf0-\xff][\x7f\xff]")


def _plain_kinds(value: object) -> set[type] | None:
    """Return all types inside a plain value, None for other values. Works on whole levels at C speed, without storing the last one."""
    kinds = {type(value)}
    found = set(kinds)
    level: list[Any] = [value]
    for _ in range(_MAX_DEPTH):
        containers = kinds - _SCALARS
        if not containers:
            return found
        if not containers <= _CONTAINERS:
            return None
        if len(kinds) > len(containers):
            level = [item for item in level if type(item) in containers]
        if dict in containers:
            level = [chain(item.keys(), item.values()) if type(item) is dict else item for item in level]
            level = [list(item) for item in level]
        kinds = set(map(type, chain.from_iterable(level)))
        found |= kinds
        if kinds - _SCALARS:
            level = list(chain.from_iterable(level))
    return None


class TooLargeError(Exception):
    pass


class _Tree:
    """Converts a value of any type into plain nodes; hostile types can only raise, which makes the value opaque."""

    def __init__(self, exhaust: bool) -> None:
        self._left = MAX_NODES
        self._exhaust = exhaust

    def node(self, value: Any, depth: int = 0) -> tuple[Any, ...]:
        self._left -= 1
        if self._left < 0 or depth > _MAX_TREE_DEPTH:
            raise TooLargeError
        kind = type(value)
        if kind in _SCALARS:
            return ("v", value)
        if kind in _SEQUENCES:
            return (kind.__name__, [self.node(item, depth + 1) for item in value])
        if kind is dict:
            return ("dict", [(self.node(k, depth + 1), self.node(v, depth + 1)) for k, v in value.items()])
        return self._other(value, kind, depth)

    def _other(self, value: Any, kind: type, depth: int) -> tuple[Any, ...]:
        name = _name_of(kind)
        numpy = sys.modules.get("numpy")
        if numpy is not None and isinstance(value, numpy.ndarray):
            return self._array(value, name, numpy, depth)
        if numpy is not None and isinstance(value, numpy.generic) and value.dtype.kind in "biufcU":
            return _numpy_scalar(value, name)
        if isinstance(value, (KeysView, ItemsView)):
            return ("set", [self.node(item, depth + 1) for item in frozenset(value)])
        if isinstance(value, Counter):
            return ("counter", name, self.node(dict(dict.items(value)), depth + 1))
        if isinstance(value, Fraction):
            return ("fraction", value.numerator, value.denominator)
        if isinstance(value, Decimal):
            return ("decimal", str(value))
        for base, plain in (*_BASES.items(), *_EQUALS.items()):
            if isinstance(value, base):
                return ("subclass", name, self.node(plain(value), depth + 1))
        if self._exhaust and isinstance(value, (Iterator, range)):
            return ("iterator", [self.node(item, depth + 1) for item in islice(value, MAX_NODES)])
        if (number := _number(value, kind)) is not None:
            return ("number", name, *number)
        if (plain := _container(value, kind)) is not None:
            return ("subclass", name, self.node(plain, depth + 1))
        return ("object", name)

    def _array(self, value: Any, name: str, numpy: Any, depth: int) -> tuple[Any, ...]:
        """Encode the flattened items and the shape; items of numpy's own number and text types keep their dtype, others are objects."""
        if value.size > MAX_NODES or (isinstance(value, numpy.ma.MaskedArray) and numpy.ma.is_masked(value)):
            return ("object", name)
        array = numpy.asarray(value)
        shape, flat = list(map(int, array.shape)), array.ravel()
        if array.dtype.kind in "biufcU" and not _is_long_double(array.dtype):
            dtype = "str" if array.dtype.kind == "U" else str(array.dtype)
            return ("ndarray", dtype, shape, self.node(flat.tolist(), depth + 1))
        return ("ndarray", "object", shape, self.node(list(flat), depth + 1))


def _name_of(kind: type) -> str:
    """Return module and name of a class; a class made by `type(...)` in a program's globals has no module."""
    name = type.__dict__["__qualname__"].__get__(kind)
    try:
        return f"{type.__dict__['__module__'].__get__(kind)}.{name}"
    except AttributeError:
        return name


def _is_long_double(dtype: Any) -> bool:
    return dtype.itemsize > {"f": 8, "c": 16}.get(dtype.kind, dtype.itemsize)


def _numpy_scalar(value: Any, name: str) -> tuple[Any, ...]:
    if not _is_long_double(value.dtype):
        return ("numpy", "str" if value.dtype.kind == "U" else str(value.dtype), value.item())
    if value.imag == 0:
        try:
            return ("fraction", *value.real.as_integer_ratio())
        except (OverflowError, ValueError):  # infinity or NaN
            return ("subclass", name, ("v", float(value.real)))
    plain = complex(value)
    return ("subclass", name, ("v", plain)) if plain == value else ("object", name)


def _number(value: Any, kind: type) -> tuple[list[Any], float | None, bool] | None:
    """Describe an object of another class (sympy, mpmath) as a number: the Python numbers that it claims to equal, its float, and
    whether its hash matches theirs. Whatever its class claims here, the decoded object is a single number.
    """
    candidates: list[Any] = []
    for convert, method in ((bool, "__bool__"), (int, "__int__"), (float, "__float__"), (complex, "__complex__")):
        if hasattr(kind, method):
            with contextlib.suppress(Exception):  # it does not convert to this type
                candidates.append(convert(value))
    if not candidates:
        return None
    approximate = next((plain for plain in candidates if type(plain) is float), None)
    candidates += [plain.real for plain in candidates if type(plain) is complex and not plain.imag]
    candidates += [int(plain) for plain in candidates if type(plain) is float and plain.is_integer()]
    candidates += [bool(plain) for plain in candidates if plain in (0, 1)]
    equal: list[Any] = []
    for plain in candidates:
        with contextlib.suppress(Exception):
            if value == plain and plain == (equal or [plain])[0] and type(plain) not in map(type, equal):
                equal.append(plain)
    if not equal and approximate is None:
        return None
    hashes_alike = False
    with contextlib.suppress(Exception):
        hashes_alike = bool(equal) and hash(value) == hash(equal[0])
    return equal, approximate, hashes_alike


def _container(value: Any, kind: type) -> Any:
    """Return the built-in container that an object of another class (sympy's Tuple) claims to equal; None if there is none."""
    if not (hasattr(kind, "__len__") and hasattr(kind, "__iter__")) or len(value) > MAX_NODES:
        return None
    for convert in (list, tuple, set, dict):
        with contextlib.suppress(Exception):  # it does not convert to this container
            plain = convert(value) if convert is dict else convert(islice(value, MAX_NODES))
            if value == plain:
                return plain
    return None


# Functions that get the built-in value out of an instance of a subclass, whatever the subclass overrides.
_BASES: dict[type, Any] = {
    int: lambda v: int.__add__(v, 0),
    float: lambda v: float.__add__(v, 0.0),
    complex: lambda v: complex.__add__(v, 0),
    str: lambda v: str.__add__(v, ""),
    bytes: lambda v: bytes.__add__(v, b""),
    list: lambda v: list(list.__iter__(v)),
    tuple: lambda v: tuple(tuple.__iter__(v)),
    dict: lambda v: dict(dict.items(v)),
    set: lambda v: set(set.__iter__(v)),
    frozenset: lambda v: frozenset(frozenset.__iter__(v)),
}


# Types of the standard library whose instances equal built-in values without being instances of a built-in type.
_EQUALS: dict[type, Any] = {
    ChainMap: dict,
    UserDict: dict,
    MappingProxyType: dict,
    UserList: list,
    UserString: str,
}


def portable(value: object, exhaust: bool = False) -> tuple[Any, ...]:
    """Convert a value into plain nodes. `exhaust`: include the items of an iterator."""
    try:
        return _Tree(exhaust).node(value)
    except BaseException:
        return ("object", type(value).__name__)


def all_floats(value: object) -> bool:
    """Tell whether a value is a float or a list or tuple of floats, as EvalPlus's `is_floats` does."""
    if isinstance(value, float):
        return True
    return isinstance(value, (list, tuple)) and bool(value) and all(isinstance(item, float) for item in value)


def digest(value: Any) -> bytes | None:
    """Return a 16-byte hash of a plain value's marshal bytes; None if the value is not plain.

    Hashes a long sequence in chunks, to save memory.
    """
    return _digest_and_kinds(value)[0]


def _digest_and_kinds(value: Any) -> tuple[bytes | None, set[type]]:
    state, found = hashlib.blake2b(digest_size=16), set[type]()
    if _is_long(value):
        state.update(f"{type(value).__name__} {len(value)}".encode())
    for part in _parts(value):
        kinds = _plain_kinds(part)
        if kinds is None:
            return None, found
        found |= kinds
        state.update(marshal.dumps(part, MARSHAL_VERSION))
    return state.digest(), found


def _is_long(value: Any) -> bool:
    return type(value) in (list, tuple) and len(value) > CHUNK


def _parts(value: Any) -> Iterator[Any]:
    return (value[at : at + CHUNK] for at in range(0, len(value), CHUNK)) if _is_long(value) else iter((value,))


def encode_answer(value: Any, reference: bool, in_full: bool, as_set: bool, exhaust: bool = False) -> tuple[bytes, bytes]:
    """Return (letter, content) of the frame for an answer."""
    max_bytes = MAX_WHOLE_BYTES if in_full else MAX_PLAIN_BYTES
    mark = None
    if _is_long(value) and len(value) > max_bytes:  # each item takes at least a byte
        mark, kinds = _digest_and_kinds(value)
    elif (kinds := _plain_kinds(value)) is not None:
        data = marshal.dumps(value, MARSHAL_VERSION)
        if len(data) <= max_bytes:
            return b"V", data
        mark = digest(value) if _is_long(value) else hashlib.blake2b(data, digest_size=16).digest()
    if mark is None:
        tree = portable(value, exhaust)
        if as_set and tree[0] == "object":  # such as a generator, which EvalPlus's set(out) consumes
            tree = portable(frozenset(value))
        return b"P", marshal.dumps(tree, MARSHAL_VERSION)
    length = len(value) if hasattr(value, "__len__") else 0
    equals_itself = not reference or kinds is None or kinds.isdisjoint((float, complex)) or _equals_itself(value)
    summary = (type(value).__name__, length, all_floats(value), equals_itself)
    return b"D", mark + marshal.dumps(summary, MARSHAL_VERSION)


def _equals_itself(value: Any) -> bool:
    """Tell whether a value equals its copy. One with a NaN does not, which Python's identity shortcut would hide."""
    encoded = (marshal.dumps(part, MARSHAL_VERSION) for part in _parts(value))
    return all(marshal.loads(data) == marshal.loads(data) for data in encoded if may_hold_nan(data))


def may_hold_nan(data: bytes) -> bool:
    """Tell whether the upper bytes of a NaN (or infinity) occur; checking every value would take far longer."""
    return _NAN_BYTES.search(data) is not None
