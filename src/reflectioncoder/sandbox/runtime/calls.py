"""Inside the sandbox: run a solution, call its entry point with each argument list, send the answers.

The trusted side owns inputs, expected values and the comparison; this process knows none of the expected values, and of the inputs
only those that it has been called with. Whatever a hostile solution does here, it can only send other answers.

A request, on a descriptor of its own: the length as 4 bytes little endian, marshal of [arguments, keyword arguments]. The next one
is sent when the answer to the last one has come. Their end ends the program.

Frames on the channel: one letter, the length as 4 bytes little endian, the content:
    L  loaded: the solution ran, its entry point exists
    C  does not compile; E  the solution or the entry point raised (text: exception type and first line)
    V  an answer of plain values: marshal version 2 (deterministic, no references)
    D  the same, too long to send: its `digest`, then marshal of (type name, length, all floats, equal to itself)
    P  an answer with other types: marshal of a tree of (kind, ...) nodes, see `portable`
    T  [of a reference, at the end] CPU seconds of each call and of sending its answer
Where `arguments_wanted`, a frame with the arguments after the call follows each answer.

The world of a solution is made equal to EvalPlus's (evalplus 0.3.1, `unsafe_execute` and `reliability_guard`): empty globals,
closed stdin, the same names absent, the same depth of stack. That is for equal verdicts; protection is the kernel's business.
"""

from __future__ import annotations

import builtins
import contextlib
import hashlib
import io
import marshal
import os
import re
import shutil
import struct
import subprocess
import sys
import time
from collections import ChainMap, Counter, UserDict, UserList, UserString
from collections.abc import ItemsView, Iterator, KeysView
from decimal import Decimal
from fractions import Fraction
from itertools import chain, islice
from types import MappingProxyType
from typing import Any

CHANNEL_FD, REQUEST_FD = 4, 5
MARSHAL_VERSION = 2
MAX_PLAIN_BYTES, MAX_WHOLE_BYTES = 4096, 32 * 2**20
CHUNK = 4096
MAX_NODES = 200_000
FLUSH_BYTES, FLUSH_S = 32768, 0.002
_READ_BYTES = 65536
_SCALARS = frozenset((int, float, bool, str, type(None), complex, bytes))
_SEQUENCES = frozenset((list, tuple, set, frozenset))
_CONTAINERS = _SEQUENCES | {dict}
_MAX_DEPTH, _MAX_TREE_DEPTH = 200, 100
_NAN_BYTES = re.compile(rb"[\xf0-\xff][\x7f\xff]")

# Set to None by EvalPlus's guard.
_ABSENT = {
    os: "kill system putenv remove removedirs rmdir fchdir setuid fork forkpty killpg rename renames truncate replace unlink fchmod "
    "fchown chmod chown chroot lchflags lchmod lchown getcwd chdir",
    shutil: "rmtree move chown",
    subprocess: "Popen",
    builtins: "exit quit open help",
}
_ABSENT_MODULES = ("ipdb", "joblib", "resource", "psutil", "tkinter")


class ClosedInput(io.StringIO):
    """Takes what is written and refuses to be read."""

    def read(self, *args: object, **kwargs: object) -> str:
        raise OSError

    readline = readlines = read  # type: ignore[assignment]

    def readable(self) -> bool:
        return False


@contextlib.contextmanager
def closed_streams() -> Iterator[None]:
    stream = ClosedInput()
    old = sys.stdin, sys.stdout, sys.stderr
    sys.stdin = sys.stdout = sys.stderr = stream
    try:
        yield
    finally:
        sys.stdin, sys.stdout, sys.stderr = old


def is_plain(value: object) -> bool:
    """Only built-in types, exactly, all the way down."""
    return _plain_kinds(value) is not None


def _plain_kinds(value: object) -> set[type] | None:
    """All types inside a plain value, None of another one. At C speed: whole levels at a time, and the last one is never held."""
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
    """Turns a value of any type into plain nodes; hostile types can only raise, which counts as an opaque object."""

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
        name = f"{kind.__module__}.{kind.__qualname__}"
        numpy = sys.modules.get("numpy")
        if numpy is not None and isinstance(value, (numpy.generic, numpy.ndarray)):
            return self._numpy(value, kind, name, numpy, depth)
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
        return ("object", name)

    def _numpy(self, value: Any, kind: type, name: str, numpy: Any, depth: int) -> tuple[Any, ...]:
        letter = value.dtype.kind
        if kind is numpy.ndarray:
            if value.size > MAX_NODES or letter not in "biufcU" or value.dtype.itemsize > 16:
                return ("object", name)
            return ("ndarray", "str" if letter == "U" else str(value.dtype), self.node(value.tolist(), depth + 1))
        if isinstance(value, numpy.ndarray) or letter not in "biufcU":
            return ("object", name)
        if letter in "fc" and value.dtype.itemsize > {"f": 8, "c": 16}[letter]:  # long double
            return ("subclass", name, ("v", float(value) if letter == "f" else complex(value)))
        return ("numpy", str(value.dtype), value.item())


# The built-in value inside an instance of a subclass, whatever the subclass overrides.
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


# Types of the standard library that equal a built-in value without being one.
_EQUALS: dict[type, Any] = {
    ChainMap: dict,
    UserDict: dict,
    MappingProxyType: dict,
    UserList: list,
    UserString: str,
}


def portable(value: object, exhaust: bool = False) -> tuple[Any, ...]:
    """`exhaust`: of an iterator send the items."""
    try:
        return _Tree(exhaust).node(value)
    except BaseException:
        return ("object", type(value).__name__)


def all_floats(value: object) -> bool:
    """EvalPlus's `is_floats`."""
    if isinstance(value, float):
        return True
    return isinstance(value, (list, tuple)) and bool(value) and all(isinstance(item, float) for item in value)


def describe_error(error: BaseException) -> bytes:
    try:
        text = "".join(str(error).splitlines()[:1])[:400]
    except BaseException:
        text = ""
    name = type(error).__name__
    return (f"{name}: {text}" if text else name).encode("utf-8", "replace")


class Channel:
    def __init__(self) -> None:
        self._buffer = bytearray()
        self._last = 0.0

    def send(self, letter: bytes, content: bytes) -> None:
        self._buffer += letter + struct.pack("<I", len(content)) + content
        now = _clock()
        if len(self._buffer) > FLUSH_BYTES or now - self._last > FLUSH_S:
            self.flush()
            self._last = now

    def flush(self) -> None:
        data = memoryview(bytes(self._buffer))
        self._buffer.clear()
        while data:
            data = data[_write(CHANNEL_FD, data) :]


# By names that a solution does not replace.
_clock, _read, _write, _size = time.perf_counter, os.read, os.write, len


def digest(value: Any) -> bytes | None:
    """16 bytes for a plain value, the same for equal bytes of marshal; None if it is not plain. Holds little of a long sequence."""
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
    """(letter, content) of an answer's frame."""
    most = MAX_WHOLE_BYTES if in_full else MAX_PLAIN_BYTES
    mark = None
    if _is_long(value) and len(value) > most:  # each item takes at least a byte
        mark, kinds = _digest_and_kinds(value)
    elif (kinds := _plain_kinds(value)) is not None:
        data = marshal.dumps(value, MARSHAL_VERSION)
        if len(data) <= most:
            return b"V", data
        mark = digest(value) if _is_long(value) else hashlib.blake2b(data, digest_size=16).digest()
    if mark is None:
        tree = portable(value, exhaust)
        if as_set and tree[0] == "object":  # a generator, say: what EvalPlus's set(out) makes of it
            tree = portable(frozenset(value))
        return b"P", marshal.dumps(tree, MARSHAL_VERSION)
    length = len(value) if hasattr(value, "__len__") else 0
    equals_itself = not reference or kinds is None or kinds.isdisjoint((float, complex)) or _equals_itself(value)
    summary = (type(value).__name__, length, all_floats(value), equals_itself)
    return b"D", mark + marshal.dumps(summary, MARSHAL_VERSION)


def _equals_itself(value: Any) -> bool:
    """Not with a NaN inside, which Python's comparison by identity would hide."""
    encoded = (marshal.dumps(part, MARSHAL_VERSION) for part in _parts(value))
    return all(marshal.loads(data) == marshal.loads(data) for data in encoded if may_hold_nan(data))


def may_hold_nan(data: bytes) -> bool:
    """Whether the upper bytes of a NaN (or of an infinity) occur; a real look at every value would take far longer."""
    return _NAN_BYTES.search(data) is not None


def serve_calls(payload: dict[str, Any]) -> None:
    """`payload`: the fields of `sandbox.functions.Calls`, without its inputs."""
    channel = Channel()
    in_full, arguments_wanted = payload["in_full"], payload["arguments_wanted"]
    if payload["guard"]:
        _take_away()
    _align_stack(payload["depth"])
    scope: dict[str, Any] = {}
    try:
        with closed_streams():
            source = payload["source"].decode("utf-8", "surrogatepass")
            code = compile(source, "<string>", "exec", dont_inherit=True)
            exec(code, scope)
        function = scope[payload["entry_point"]]
    except BaseException as error:
        compiles = isinstance(error, (SyntaxError, ValueError)) and "code" not in locals()
        channel.send(b"C" if compiles else b"E", describe_error(error))
        channel.flush()
        return
    channel.send(b"L", b"")
    channel.flush()
    times: list[float] = []
    for arguments, keywords in _requests(channel):
        began = time.process_time()
        try:
            with closed_streams():
                answer = function(*arguments, **keywords)
            frame = encode_answer(answer, payload["reference"], in_full, payload["as_set"], payload["exhaust"])
        except BaseException as error:
            channel.send(b"E", describe_error(error))
        else:
            channel.send(*frame)
            times.append(time.process_time() - began)
        if arguments_wanted:
            channel.send(*encode_answer(arguments, False, True, False))
    if payload["reference"]:
        channel.send(b"T", marshal.dumps(times, MARSHAL_VERSION))
    channel.flush()


def _requests(channel: Channel) -> Iterator[list[Any]]:
    """[arguments, keyword arguments] of each call. What has been answered is sent before more is waited for."""
    buffer = bytearray()
    while True:
        length = 4 + int.from_bytes(buffer[:4], "little")
        while _size(buffer) < length:
            channel.flush()
            data = _read(REQUEST_FD, _READ_BYTES)
            if not data:
                return
            buffer += data
            length = 4 + int.from_bytes(buffer[:4], "little")
        request = marshal.loads(bytes(buffer[4:length]))
        del buffer[:length]
        yield request
        del request


def _take_away() -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    for module, names in _ABSENT.items():
        for name in names.split():
            setattr(module, name, None)
    for name in _ABSENT_MODULES:
        sys.modules[name] = None  # type: ignore[assignment]


def _align_stack(depth: int) -> None:
    """Leave the solution as much of the recursion limit of 1000 as it has when it is called with `depth` frames on the stack."""
    if depth:
        frame, own = sys._getframe(1), 0
        while frame is not None:
            own, frame = own + 1, frame.f_back
        sys.setrecursionlimit(1000 + own - depth)
