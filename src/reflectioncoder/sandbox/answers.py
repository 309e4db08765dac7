"""Reading what `runtime.calls` sends: frames, and the values in them. The sender is untrusted.

The values are marshal's version-2 format, read by a small decoder of our own: `marshal.loads` is not safe on foreign bytes. It
builds plain values only, is bounded by the size of the frame and by a depth, and refuses sets and dictionaries whose keys were
chosen to collide. Errors are `BrokenAnswerError`: the program's fault.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable, Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Any

MAX_FRAME_BYTES = 64 * 2**20
_MAX_DEPTH = 400
_MAX_COLLIDING = 1000


class BrokenAnswerError(ValueError):
    """What came is not what `runtime.calls` sends."""


class Opaque:
    """A value of a type that no expected value has: equal to nothing, not even to itself."""

    def __init__(self, type_name: str):
        self.type_name = type_name

    def __eq__(self, other: object) -> bool:
        return False

    __hash__ = object.__hash__


class FrameReader:
    """Bytes in, (letter, content) out."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[str, bytes]]:
        self._buffer += data
        at, end = 0, len(self._buffer)
        try:
            while end - at >= 5:
                letter, length = chr(self._buffer[at]), int.from_bytes(self._buffer[at + 1 : at + 5], "little")
                if length > MAX_FRAME_BYTES:
                    raise BrokenAnswerError(f"an answer of {length} bytes")
                if end - at < 5 + length:
                    break
                yield letter, bytes(self._buffer[at + 5 : at + 5 + length])
                at += 5 + length
        finally:
            del self._buffer[:at]


def decode(data: bytes) -> Any:
    """A plain value from marshal's version-2 format.

    Raises:
        BrokenAnswerError: anything else.
    """
    reader = _Reader(data)
    try:
        value = reader.value(0)
    except BrokenAnswerError:
        raise
    except (struct.error, IndexError, UnicodeDecodeError, TypeError, RecursionError, OverflowError, MemoryError) as error:
        raise BrokenAnswerError(str(error)) from error
    if reader.at != len(data):
        raise BrokenAnswerError("bytes after the answer")
    return value


_END = object()


class _Reader:
    def __init__(self, data: bytes):
        self.data = data
        self.at = 0

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
        _refuse_collisions([key for key, _ in items])
        return dict(items)

    def _long(self) -> int:
        count = self._int()
        digits = struct.unpack(f"<{abs(count)}H", self._take(2 * abs(count)))
        if any(digit >> 15 for digit in digits):
            raise BrokenAnswerError("a malformed integer")
        # 15 bits each: through a binary text in linear time, where shifting and adding would be quadratic.
        number = int("".join(f"{digit:015b}" for digit in reversed(digits)) or "0", 2)
        return -number if count < 0 else number


def _refuse_collisions(keys: list[Any]) -> None:
    """A table of n keys with one hash takes n² steps to build."""
    if (
        len(keys) > _MAX_COLLIDING
        and len(set(map(hash, keys))) < len(keys) - _MAX_COLLIDING
        and len(set(map(hash, keys))) < len(keys) / 2
    ):
        raise BrokenAnswerError("keys that collide")


def _as_set(items: list[Any]) -> set[Any]:
    _refuse_collisions(items)
    return set(items)


_CONSTANTS: dict[bytes, Any] = {b"N": None, b"T": True, b"F": False, b"0": _END}
_SEQUENCES: dict[bytes, Callable[[list[Any]], Any]] = {
    b"[": list,
    b"(": tuple,
    b"<": _as_set,
    b">": lambda items: frozenset(_as_set(items)),
}


def rebuild(tree: Any, depth: int = 0) -> tuple[str, Any]:
    """A value from the nodes of `runtime.calls.portable`: (its type's name, the value with Python's own equality).

    Instances of subclasses come back as the built-in value inside them, whatever their class overrides.

    Raises:
        BrokenAnswerError: not such a tree.
    """
    try:
        return _rebuild(tree, depth)
    except BrokenAnswerError:
        raise
    except (TypeError, ValueError, IndexError, KeyError, ArithmeticError, AttributeError) as error:
        raise BrokenAnswerError(str(error)) from error


def _rebuild(tree: Any, depth: int) -> tuple[str, Any]:
    if depth > _MAX_DEPTH or not isinstance(tree, tuple) or not tree:
        raise BrokenAnswerError("a malformed tree")
    kind, *rest = tree
    if kind == "v":
        return type(rest[0]).__name__, rest[0]
    if kind in ("list", "tuple", "set", "frozenset"):
        items = [_rebuild(node, depth + 1)[1] for node in rest[0]]
        build = {"list": list, "tuple": tuple, "set": _as_set, "frozenset": lambda items: frozenset(_as_set(items))}[kind]
        return kind, build(items)
    if kind == "dict":
        pairs = [(_rebuild(key, depth + 1)[1], _rebuild(value, depth + 1)[1]) for key, value in rest[0]]
        _refuse_collisions([key for key, _ in pairs])
        return kind, dict(pairs)
    if kind == "subclass":
        name, value = str(rest[0]), _rebuild(rest[1], depth + 1)[1]
        return name, Counter(value) if name == "collections.Counter" else value
    if kind == "fraction":
        return "fractions.Fraction", Fraction(rest[0], rest[1])
    if kind == "decimal":
        return "decimal.Decimal", Decimal(rest[0])
    if kind == "numpy":
        return f"numpy.{rest[0]}", _numpy_dtype(rest[0]).type(rest[1])
    if kind == "ndarray":
        import numpy as np

        return "numpy.ndarray", np.array(_rebuild(rest[1], depth + 1)[1], dtype=_numpy_dtype(rest[0]))
    if kind == "iterator":
        return str(rest[0]), iter([_rebuild(node, depth + 1)[1] for node in rest[1]])
    if kind == "object":
        return str(rest[0]), Opaque(str(rest[0]))
    raise BrokenAnswerError(f"a node of the kind {kind!r:.40}")


def _numpy_dtype(name: Any) -> Any:
    import numpy as np

    dtype = np.dtype(str(name)[:20])
    if dtype.hasobject or dtype.names or dtype.kind not in "biufcUS":
        raise BrokenAnswerError(f"a numpy type {name!r:.40}")
    return dtype


def read_value(letter: str, content: bytes) -> tuple[str, Any]:
    """(type name, value) of a V or P frame."""
    value = decode(content)
    return rebuild(value) if letter == "P" else (type(value).__name__, value)
