"""Decodes the frames of `runtime.encoding` and the values in them. The sender is untrusted.

Values are in marshal's version-2 format, but read by a small decoder here, because `marshal.loads` is not safe on untrusted bytes. The
decoder builds only plain values, is bounded by frame size and depth, and refuses sets and dictionaries whose keys were chosen to
collide. Its errors are `BrokenAnswerError`, which counts against the program.
"""

from __future__ import annotations

import marshal
import re
import struct
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Any

MAX_FRAME_BYTES = 8 * 2**20
MAX_WHOLE_FRAME_BYTES = 33 * 2**20  # for answers requested in full
_MAX_DEPTH = 400
_MAX_NODES = 1_500_000  # a container counts as ten, a long integer by its digits
_MAX_LONG_DIGITS = 200_000  # digits of 15 bits
_MAX_COLLIDING = 50  # distinct keys with the same hash; honest data has hardly any
_MAX_COLLISION_STEPS = 200_000
_MAX_TREE_INT_BITS = 100_000
_MAX_TEXT_ARRAY_CHARS = 2**22
_MAX_INNER_ARRAY = 1000  # items of a nested array: comparing it with a row of the expected value takes their product
_NUMPY_TYPES = re.compile(r"(float(16|32|64)|u?int(8|16|32|64)|complex(64|128)|bool)")


class BrokenAnswerError(ValueError):
    """The received bytes are not in the sandbox's format."""


class Opaque:
    """A value of a type that no expected value has. It equals nothing, not even itself."""

    def __init__(self, type_name: str):
        self.type_name = type_name

    def __eq__(self, other: object) -> bool:
        return False

    __hash__ = object.__hash__


class Number:
    """A number of a class that is neither Python's nor numpy's. It equals exactly what its class declared equal in the sandbox.

    For instance, sympy's 3 equals the integer 3 but not the float 3.0.
    """

    def __init__(self, equal: tuple[Any, ...], approximate: float | None, hashes_alike: bool):
        self._equal = equal
        self._approximate = approximate
        self._hash = hash(equal[0]) if equal and hashes_alike else id(self)

    @property
    def plain(self) -> Any:
        """Return the Python number that equals this value; None if there is none."""
        return self._equal[0] if self._equal else None

    def __eq__(self, other: object) -> bool:
        return any(type(plain) is type(other) and plain == other for plain in self._equal)

    def __hash__(self) -> int:
        return self._hash

    def __float__(self) -> float:
        if self._approximate is None:
            raise TypeError("not a real number")
        return self._approximate

    def __sub__(self, other: Any) -> Any:
        return (float(self) if self.plain is None else self.plain) - other

    def __rsub__(self, other: Any) -> Any:
        return -(self - other)


class FrameReader:
    """Reads frames: bytes in, (letter, content) out."""

    def __init__(self, max_bytes: int = MAX_FRAME_BYTES) -> None:
        self._buffer = bytearray()
        self._max_bytes = max_bytes

    def feed(self, data: bytes) -> Iterator[tuple[str, bytes]]:
        self._buffer += data
        at, end = 0, len(self._buffer)
        try:
            while end - at >= 5:
                letter, length = chr(self._buffer[at]), int.from_bytes(self._buffer[at + 1 : at + 5], "little")
                if length > self._max_bytes:
                    raise BrokenAnswerError(f"an answer of {length} bytes")
                if end - at < 5 + length:
                    break
                yield letter, bytes(self._buffer[at + 5 : at + 5 + length])
                at += 5 + length
        finally:
            del self._buffer[:at]


def decode(data: bytes) -> Any:
    """Decode a plain value from marshal's version-2 format.

    Raises:
        BrokenAnswerError: the data is anything else.
    """
    reader = _Reader(data)
    try:
        value = reader.value(0)
    except BrokenAnswerError:
        raise
    except Exception as error:
        raise BrokenAnswerError(f"{type(error).__name__}: {error}") from error
    if reader.at != len(data) or value is _END:
        raise BrokenAnswerError("bytes after the answer")
    return value


_END = object()


class _Reader:
    def __init__(self, data: bytes):
        self.data = data
        self.at = 0
        self.left = _MAX_NODES

    def _take(self, length: int) -> bytes:
        if length < 0 or self.at + length > len(self.data):
            raise BrokenAnswerError("an answer cut off")
        self.at += length
        return self.data[self.at - length : self.at]

    def _int(self) -> int:
        return struct.unpack("<i", self._take(4))[0]

    def value(self, depth: int) -> Any:
        if depth > _MAX_DEPTH:
            raise BrokenAnswerError("an answer nested too deep")
        tag = self._take(1)
        self.left -= 10 if tag in _SEQUENCES or tag == b"{" else 1
        if self.left < 0:
            raise BrokenAnswerError("an answer of too many values")
        if tag in _CONSTANTS:
            return _CONSTANTS[tag]
        if tag == b"i":
            return self._int()
        if tag == b"g":
            return struct.unpack("<d", self._take(8))[0]
        if tag == b"y":
            return complex(*struct.unpack("<dd", self._take(16)))
        if tag == b"l":
            return self._long()
        if tag == b"s":
            return self._take(self._int())
        if tag == b"u":
            return self._take(self._int()).decode("utf-8", "surrogatepass")
        if tag in _SEQUENCES:
            count = self._int()
            if not 0 <= count <= len(self.data) - self.at:
                raise BrokenAnswerError("an answer cut off")
            return _SEQUENCES[tag]([self._item(depth) for _ in range(count)])
        if tag == b"{":
            return self._dict(depth)
        raise BrokenAnswerError(f"an answer with the tag {tag!r}")

    def _item(self, depth: int) -> Any:
        value = self.value(depth + 1)
        if value is _END:
            raise BrokenAnswerError("an end without a beginning")
        return value

    def _dict(self, depth: int) -> dict[Any, Any]:
        items = []
        while (key := self.value(depth + 1)) is not _END:
            items.append((key, self._item(depth)))
        _refuse_collisions(key for key, _ in items)
        return dict(items)

    def _long(self) -> int:
        count = self._int()
        if abs(count) > _MAX_LONG_DIGITS:
            raise BrokenAnswerError("an integer of too many digits")
        self.left -= abs(count) // 10
        # Safe here: marshal sees exactly one integer record. No Python loop is as fast.
        return marshal.loads(b"l" + struct.pack("<i", count) + self._take(2 * abs(count)))


def _refuse_collisions(items: Iterable[Any]) -> None:
    """Refuse keys that share a hash: building a table of n such keys takes n² steps."""
    items = list(items)
    if len(items) <= _MAX_COLLIDING:
        return
    by_hash: dict[int, Any] = {}
    unequal: Counter[int] = Counter()
    steps = 0
    for item in items:
        first = by_hash.setdefault(key := hash(item), item)
        if first is not item and first != item:
            unequal[key] += 1
            steps += unequal[key]
            if unequal[key] > _MAX_COLLIDING or steps > _MAX_COLLISION_STEPS:
                raise BrokenAnswerError("keys that collide")


def as_set(items: Iterable[Any]) -> set[Any]:
    """Return set(items), or refuse if building it would take quadratic time."""
    items = list(items)
    _refuse_collisions(items)
    return set(items)


_CONSTANTS: dict[bytes, Any] = {b"N": None, b"T": True, b"F": False, b"0": _END}
_SEQUENCES: dict[bytes, Callable[[list[Any]], Any]] = {
    b"[": list,
    b"(": tuple,
    b"<": as_set,
    b">": lambda items: frozenset(as_set(items)),
}


def rebuild(tree: Any) -> tuple[str, Any]:
    """Rebuild a value from the nodes of `runtime.encoding.portable`; return (type name, value with Python's own equality).

    Instances of subclasses become the built-in value inside them, whatever their class overrides, and never get the name of a built-in
    type, whatever they claim.

    Raises:
        BrokenAnswerError: `tree` does not have this form.
    """
    try:
        return _rebuild(tree, 0)
    except BrokenAnswerError:
        raise
    except Exception as error:
        raise BrokenAnswerError(f"{type(error).__name__}: {error}") from error


def _rebuild(tree: Any, depth: int) -> tuple[str, Any]:
    if depth > _MAX_DEPTH or not isinstance(tree, tuple) or not tree:
        raise BrokenAnswerError("a malformed tree")
    kind, *rest = tree
    build = _BUILDERS.get(kind) if isinstance(kind, str) else None
    if build is None:
        raise BrokenAnswerError(f"a node of the kind {kind!r:.40}")
    return build(*rest, depth=depth + 1)


def _scalar(value: Any, *, depth: int) -> tuple[str, Any]:
    if type(value) not in (int, float, bool, str, type(None), complex, bytes):
        raise BrokenAnswerError("not a scalar")
    if isinstance(value, int) and value.bit_length() > _MAX_TREE_INT_BITS:  # slow to compare with decimals and fractions
        raise BrokenAnswerError("an integer of too many digits")
    return type(value).__name__, value


def _sequence(name: str, make: Callable[[list[Any]], Any]) -> Callable[..., tuple[str, Any]]:
    return lambda nodes, *, depth: (name, make([_rebuild(node, depth)[1] for node in nodes]))


def _mapping(nodes: Any, *, depth: int) -> tuple[str, Any]:
    pairs = [(_rebuild(key, depth)[1], _rebuild(value, depth)[1]) for key, value in nodes]
    _refuse_collisions(key for key, _ in pairs)
    return "dict", dict(pairs)


def _counter(name: Any, node: Any, *, depth: int) -> tuple[str, Any]:
    _, value = _rebuild(node, depth)
    if type(value) is not dict:
        raise BrokenAnswerError("a counter that is no dictionary")
    return "collections.Counter" if name == "collections.Counter" else f"subclass {name!s:.200}", Counter(value)


def _fraction(numerator: Any, denominator: Any, *, depth: int) -> tuple[str, Any]:
    if type(numerator) is not int or type(denominator) is not int or (numerator * denominator).bit_length() > 100_000:
        raise BrokenAnswerError("a malformed fraction")
    return "subclass Fraction", Fraction(numerator, denominator)


def _decimal(text: Any, *, depth: int) -> tuple[str, Any]:
    if type(text) is not str or len(text) > 10_000:
        raise BrokenAnswerError("a malformed decimal")
    return "subclass Decimal", Decimal(text)


def _number(name: Any, equal: Any, approximate: Any, hashes_alike: Any, *, depth: int) -> tuple[str, Any]:
    if type(equal) is not list or type(approximate) not in (float, type(None)):
        raise BrokenAnswerError("a malformed number")
    for plain in equal:
        _scalar(plain, depth=depth)
        if isinstance(plain, str | bytes | None) or plain != equal[0]:
            raise BrokenAnswerError("more than one number")
    return f"number {name!s:.200}", Number(tuple(equal), approximate, bool(hashes_alike))


def _numpy_scalar(dtype: Any, value: Any, *, depth: int) -> tuple[str, Any]:
    import numpy as np

    _scalar(value, depth=depth)
    if isinstance(value, str):
        return "numpy.str_", np.str_(value)
    with np.errstate(all="ignore"):
        return f"numpy.{dtype}", _numpy_type(dtype)(value)


def _numpy_array(dtype: Any, shape: Any, node: Any, *, depth: int) -> tuple[str, Any]:
    import numpy as np

    _, items = _rebuild(node, depth)
    if type(items) is not list or type(shape) is not list or not all(type(length) is int and length >= 0 for length in shape):
        raise BrokenAnswerError("a malformed array")
    if depth > 1 and len(items) > _MAX_INNER_ARRAY:  # equals nothing: the comparison would raise, with several truth values
        return "object numpy.ndarray", Opaque("numpy.ndarray")
    if dtype == "object":
        flat = np.empty(len(items), dtype=object)
        for number, item in enumerate(items):
            flat[number] = item
    elif dtype == "str":
        if not all(isinstance(item, str) for item in items) or max(map(len, items), default=0) * len(items) > _MAX_TEXT_ARRAY_CHARS:
            raise BrokenAnswerError("a malformed array of texts")
        flat = np.array(items, dtype=str)
    else:
        with np.errstate(all="ignore"):
            flat = np.array(items, dtype=_numpy_type(dtype))
    return "numpy.ndarray", flat.reshape(shape)


def _numpy_type(name: Any) -> Any:
    import numpy as np

    if not isinstance(name, str) or not _NUMPY_TYPES.fullmatch(name):
        raise BrokenAnswerError(f"a numpy type {name!r:.40}")
    return np.dtype(name).type


_BUILDERS: dict[str, Callable[..., tuple[str, Any]]] = {
    "v": _scalar,
    "list": _sequence("list", list),
    "tuple": _sequence("tuple", tuple),
    "set": _sequence("set", as_set),
    "frozenset": _sequence("frozenset", lambda items: frozenset(as_set(items))),
    "iterator": _sequence("iterator", iter),
    "dict": _mapping,
    "subclass": lambda name, node, *, depth: (f"subclass {name!s:.200}", _rebuild(node, depth)[1]),
    "counter": _counter,
    "fraction": _fraction,
    "decimal": _decimal,
    "numpy": _numpy_scalar,
    "ndarray": _numpy_array,
    "number": _number,
    "object": lambda name, *, depth: (f"object {name!s:.200}", Opaque(str(name)[:200])),
}


def read_value(letter: str, content: bytes) -> tuple[str, Any]:
    """Return (type name, value) of a V or P frame."""
    value = decode(content)
    return rebuild(value) if letter == "P" else (type(value).__name__, value)
