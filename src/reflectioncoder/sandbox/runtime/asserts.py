"""Runs tests that are programs (`assert f(1) == 2`) inside the sandbox, in another process than the solution that they test.

The entry point's name is bound to a proxy that sends each call's arguments to the solution's process (`runtime.calls`, by request) and
returns the answer as plain data. Expected values, the comparison and the verdict stay in this process, where no code of the solution
runs.

Descriptors: 4 the verdicts (JSON lines), 5 the solution's answers, 6 the requests to it.
"""

from __future__ import annotations

import builtins
import contextlib
import json
import marshal
import os
from typing import Any, NoReturn

from reflectioncoder.sandbox.answers import MAX_WHOLE_FRAME_BYTES, BrokenAnswerError, FrameReader, Opaque, read_value
from reflectioncoder.sandbox.precision import as_python_numbers

VERDICT_FD, ANSWER_FD, CALL_FD = 4, 5, 6
_MARSHAL_VERSION = 2
_ENDS = (StopIteration, StopAsyncIteration, GeneratorExit)


class SolutionLost(BaseException):  # not an Exception, so that no test catches it as an expected error
    """The solution's process ended before it answered, or sent a malformed answer."""


class Solution:
    """Proxy for the solution in the other process; called like the function."""

    def __init__(self) -> None:
        self._reader = FrameReader(MAX_WHOLE_FRAME_BYTES)
        self._frames: list[tuple[str, bytes]] = []
        self.lost = ""
        self.opaque_type = ""  # of an object in an answer, of a class that is not known here

    def next_frame(self) -> tuple[str, bytes]:
        while not self._frames:
            data = os.read(ANSWER_FD, 1 << 18)
            if not data:
                self.lose("the program ended before its tests did")
            try:
                self._frames += self._reader.feed(data)
            except BrokenAnswerError as error:
                self.lose(str(error))
        return self._frames.pop(0)

    def lose(self, reason: str) -> NoReturn:
        self.lost = self.lost or reason
        raise SolutionLost(self.lost)

    def _value(self, letter: str, content: bytes) -> Any:
        if letter not in ("V", "P"):
            self.lose("an answer that is none, or too long")
        try:
            value = as_python_numbers(read_value(letter, content)[1])
        except BrokenAnswerError as error:
            self.lose(str(error))
        if letter == "P":
            self.opaque_type = self.opaque_type or _opaque_type_in(value)
        return value

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        if self.lost:
            self.lose(self.lost)
        request = marshal.dumps([list(arguments), keywords], _MARSHAL_VERSION)
        data = memoryview(len(request).to_bytes(4, "little") + request)
        while data:
            try:
                data = data[os.write(CALL_FD, data) :]
            except BrokenPipeError:
                self.lose("the program ended before its tests did")
        letter, content = self.next_frame()
        after = self._value(*self.next_frame())
        if not isinstance(after, list) or len(after) != len(arguments):
            self.lose("not the arguments of the call")
        _put_back(arguments, after)
        if letter == "X":
            try:
                error = _error_of(content)
            except (ValueError, TypeError, RecursionError):
                self.lose("an error that is none")
            raise error
        return self._value(letter, content)


def _error_of(content: bytes) -> BaseException:
    """Return an error like the solution's: of the same class if that is built in, else of a new class with its name and base.

    Raises:
        ValueError, TypeError, RecursionError: the content does not have the form of `calls.error_in_parts`.
    """
    name, base, text, arguments = json.loads(content)
    said = f"{name}: {text}" if text else str(name)
    kind = getattr(builtins, base, None)
    # StopIteration and the like would end the tests' own loops.
    if not (isinstance(kind, type) and issubclass(kind, BaseException)) or issubclass(kind, _ENDS):
        return RuntimeError(said)
    if name == kind.__name__ and isinstance(arguments, list):
        with contextlib.suppress(Exception):
            return kind(*arguments)
    with contextlib.suppress(Exception):  # some classes need specific arguments, such as UnicodeDecodeError
        error = type(name, (kind,), {"__str__": lambda _: text, "__module__": "builtins"})
        raised = error.__new__(error)
        raised.args = tuple(arguments) if isinstance(arguments, list) else (text,)
        return raised
    return RuntimeError(said)


def _opaque_type_in(value: Any) -> str:
    """Return the type of an opaque object in a value of a P frame, whose depth is bounded; "" if it holds none."""
    if isinstance(value, dict):
        return next(filter(None, (_opaque_type_in(item) for pair in value.items() for item in pair)), "")
    if isinstance(value, list | tuple | set | frozenset):
        return next(filter(None, map(_opaque_type_in, value)), "")
    return (value.type_name or "object") if isinstance(value, Opaque) else ""


def _put_back(arguments: tuple[Any, ...], after: list[Any]) -> None:
    """Copy the call's changes to its arguments back, so that tests of in-place changes see them."""
    for before, now in zip(arguments, after, strict=True):
        if type(before) is not type(now) or before == now:
            continue
        if isinstance(before, list):
            before[:] = now
        elif isinstance(before, dict | set):
            before.clear()
            before.update(now)


def _describe(error: BaseException) -> str:
    text = "".join(str(error).splitlines()[:1])[:400]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def serve_asserts(payload: dict[str, Any]) -> None:
    """Run tests. `payload`: entry_point, tests, and setup (code that runs before the tests).

    Rows: {"compile_error"} or {"load_error"}; for each test {"test": number, "passed", "detail"}, and "opaque", the object's type, if
    it failed after an answer with an object that is not known here; {"done"} in the end.
    """

    def report(**row: object) -> None:
        os.write(VERDICT_FD, json.dumps(row).encode() + b"\n")

    solution = Solution()
    try:
        letter, content = solution.next_frame()
    except SolutionLost:
        return
    if letter != "L":
        report(**{"compile_error" if letter == "C" else "load_error": content.decode("utf-8", "replace")})
        return
    scope: dict[str, Any] = {"__name__": "tests"}
    exec(compile(payload["setup"], "setup", "exec", dont_inherit=True), scope)
    scope[payload["entry_point"]] = solution
    for number, test in enumerate(payload["tests"]):
        try:
            exec(compile(test, "test", "exec", dont_inherit=True), scope)
            error = None
        except BaseException as caught:
            error = caught
        if solution.lost:  # even if the test swallowed the error
            report(test=number, passed=False, detail=solution.lost)
            return
        opaque = {"opaque": solution.opaque_type} if error and solution.opaque_type else {}
        report(test=number, passed=error is None, detail=_describe(error) if error else "", **opaque)
    report(done=True)
