"""Inside the sandbox: tests that are programs (`assert f(1) == 2`), in another process than the solution that they test.

The entry point's name is bound to a stand-in that sends each call's arguments to the solution's process (`runtime.calls`, by
request) and hands back the answer as plain data. Expected values, the comparison and the verdict are in this process, where
nothing of the solution runs.

Descriptors: 4 the verdicts (JSON lines), 5 the answers of the solution, 6 the requests to it.
"""

from __future__ import annotations

import builtins
import json
import marshal
import os
from typing import Any

from reflectioncoder.sandbox.answers import BrokenAnswerError, FrameReader, read_value

VERDICT_FD, ANSWER_FD, CALL_FD = 4, 5, 6
_MARSHAL_VERSION = 2


class SolutionEndedError(Exception):
    """The solution's process ended before it had answered."""


class Solution:
    """The solution on the other side; called like the function that it stands for."""

    def __init__(self) -> None:
        self._reader = FrameReader()
        self._frames: list[tuple[str, bytes]] = []

    def next_frame(self) -> tuple[str, bytes]:
        while not self._frames:
            data = os.read(ANSWER_FD, 1 << 18)
            if not data:
                raise SolutionEndedError("the program ended before its tests did")
            self._frames += self._reader.feed(data)
        return self._frames.pop(0)

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        data = memoryview(marshal.dumps([list(arguments), keywords], _MARSHAL_VERSION))
        while data:
            try:
                data = data[os.write(CALL_FD, data) :]
            except BrokenPipeError:
                raise SolutionEndedError("the program ended before its tests did") from None
        letter, content = self.next_frame()
        _put_back(arguments, read_value(*self.next_frame())[1])
        if letter == "E":
            name, _, text = content.decode("utf-8", "replace").partition(": ")
            kind = getattr(builtins, name, None)
            if isinstance(kind, type) and issubclass(kind, Exception):
                raise kind(text)
            raise RuntimeError(f"{name}: {text}")
        return read_value(letter, content)[1]


def _put_back(arguments: tuple[Any, ...], after: Any) -> None:
    """What the call has changed in its arguments, so that tests of changes in place see it."""
    if not isinstance(after, list) or len(after) != len(arguments):
        raise BrokenAnswerError("not the arguments of the call")
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
    """`payload`: entry_point, tests, and setup (what the tests find defined beside the entry point)."""

    def report(**row: object) -> None:
        os.write(VERDICT_FD, json.dumps(row).encode() + b"\n")

    solution = Solution()
    try:
        letter, content = solution.next_frame()
    except (SolutionEndedError, BrokenAnswerError):
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
        except (SolutionEndedError, BrokenAnswerError) as error:
            report(test=number, passed=False, detail=str(error))
            return
        except BaseException as error:
            report(test=number, passed=False, detail=_describe(error))
        else:
            report(test=number, passed=True, detail="")
    report(done=True)
