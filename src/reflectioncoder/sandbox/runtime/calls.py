"""Runs a solution inside the sandbox, calls its entry point with each argument list, and sends the answers.

The trusted side owns inputs, expected values and the comparison; this process knows no expected values, and only the inputs that it has
received so far. Whatever a hostile solution does here, it can only change its answers.

Requests come on their own descriptor: the length as 4 bytes little endian, then marshal of [arguments, keyword arguments]. The next one
is sent after the answer to the previous one. End of file ends the program.

Frames on the channel: one letter, the length as 4 bytes little endian, the content:
    L  loaded: the solution ran, its entry point exists
    C  does not compile; E  the solution or the entry point raised (text: exception type and first line)
    X  [instead of E for a call, with `arguments_wanted`] JSON: the exception's name, nearest built-in class, first line, arguments
    V, D, P  an answer (see `runtime.encoding`)
    T  [for a reference, at the end] CPU seconds of each call and of sending its answer
With `arguments_wanted`, a frame with the arguments after the call follows each answer.

A solution runs with empty globals and closed stdin. The caller chooses which names and modules are absent and the stack depth of calls,
to reproduce another harness's environment for equal verdicts. Protection is left to the kernel.
"""

from __future__ import annotations

import builtins
import contextlib
import importlib
import io
import json
import marshal
import os
import struct
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

from reflectioncoder.sandbox.runtime.encoding import MARSHAL_VERSION, encode_answer

CHANNEL_FD, REQUEST_FD = 4, 5
FLUSH_BYTES, FLUSH_S = 32768, 0.002
_READ_BYTES = 65536


class ClosedInput(io.StringIO):
    """A stdin that accepts writes and refuses reads."""

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


def describe_error(error: BaseException) -> bytes:
    try:
        text = "".join(str(error).splitlines()[:1])[:400]
    except BaseException:
        text = ""
    name = type(error).__name__
    return (f"{name}: {text}" if text else name).encode("utf-8", "replace")


def error_in_parts(error: BaseException) -> bytes:
    """Return the parts from which a similar error can be raised elsewhere; the arguments are null unless all are plain and short."""
    name, _, text = describe_error(error).decode().partition(": ")
    kind = next((known.__name__ for known in type(error).__mro__ if _BUILTINS.get(known.__name__) is known), "Exception")
    arguments = error.args
    plain = all(type(argument) in (str, int, float, bool, type(None)) for argument in arguments)
    try:
        sent = json.dumps(list(arguments)) if plain else "null"
    except ValueError:  # an integer with too many digits
        sent = "null"
    return json.dumps([name, kind, text, json.loads(sent if len(sent) <= _MAX_ARGUMENTS else "null")]).encode()


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


_BUILTINS = dict(vars(builtins))
_MAX_ARGUMENTS = 4000
# Bound here, so that a solution that patches the modules does not affect them.
_clock, _read, _write, _size = time.perf_counter, os.read, os.write, len


def serve_calls(payload: dict[str, Any]) -> None:
    """Serve calls to a program's function. `payload`: the fields of `sandbox.functions.Calls`, without its inputs."""
    channel = Channel()
    in_full, arguments_wanted = payload["in_full"], payload["arguments_wanted"]
    _take_away(payload["absent_names"], payload["absent_modules"])
    _align_stack(payload["stack_depth"])
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
            if arguments_wanted:
                channel.send(b"X", error_in_parts(error))
            else:
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
    """Yield [arguments, keyword arguments] of each call. Flushes the answers before waiting for more input."""
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


def _take_away(names: Sequence[str], modules: Sequence[str]) -> None:
    """Set names such as `os.kill` to None, and make modules unimportable."""
    for module, _, name in [path.rpartition(".") for path in names]:
        setattr(importlib.import_module(module), name, None)
    for module in modules:
        sys.modules[module] = None  # type: ignore[assignment]


def _align_stack(depth: int) -> None:
    """Set the recursion limit so that the solution has as much of 1000 frames left as if called at stack depth `depth`."""
    if depth:
        frame, own = sys._getframe(1), 0
        while frame is not None:
            own, frame = own + 1, frame.f_back
        sys.setrecursionlimit(1000 + own - depth)
