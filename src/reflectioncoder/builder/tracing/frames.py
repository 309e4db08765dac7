"""Runs a program under the tracer and parses the tracer's rows into calls and their steps."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from reflectioncoder.sandbox.detect import detect_isolation
from reflectioncoder.sandbox.limits import Limits
from reflectioncoder.sandbox.process import Traced, run_traced

LIMITS = Limits(wall_s=1.5, cpu_s=2.0, output_bytes=4096)


@dataclass
class Step:
    """An execution of a statement, with its effects.

    Attributes:
        changes: new values of variables, as text.
        error: the exception that propagated through it.
    """

    statement: int
    changes: dict[str, str] = field(default_factory=dict)
    gone: list[str] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    yielded: list[str] = field(default_factory=list)
    printed: str = ""
    error: str = ""


@dataclass
class Call:
    """A call of a program's function (or its module, or the test). `end`: "return", "leave" (an exception), or "cut" (unfinished)."""

    function: int
    arguments: dict[str, str]
    steps: list[Step] = field(default_factory=list)
    end: str = "cut"
    value: str = ""

    def all_calls(self) -> Iterator[Call]:
        """Yield this call and all nested calls."""
        waiting = [self]
        while waiting:
            call = waiting.pop()
            yield call
            waiting += [below for step in call.steps for below in step.calls]


@dataclass(frozen=True)
class Trace:
    """A record of a run: the call of its module, the call of the test (None if not reached), and how the run ended.

    Attributes:
        reason: "done"; "limit" (of the tracer); "killed" (by a sandbox limit or by itself); or an exception outside the test.
    """

    module: Call | None
    test: Call | None
    reason: str

    def visits(self, statement: int) -> int:
        """Count the executions of a statement during the test; for a definition, the calls of its function."""
        calls = list(self.test.all_calls()) if self.test else []
        num_calls = sum(call.function == statement for call in calls)
        return num_calls or sum(step.statement == statement for call in calls for step in call.steps)


def trace(source: str, test: str, before: str = "", limits: Limits = LIMITS) -> Trace:
    """Run a program, then `before` untraced and `test` traced, with bounds on events, bytes and time.

    Raises:
        SandboxUnavailableError: the sandbox failed, not the program.
    """
    traced = Traced(source, before, test)
    _, rows = run_traced(traced, limits, detect_isolation())
    found = read_trace(rows)
    if found.reason == "killed":  # it hung in native code or ended itself: rerun unbuffered to keep the last rows
        _, rows = run_traced(replace(traced, is_buffered=False), limits, detect_isolation())
        found = read_trace(rows)
    return found


def read_trace(rows: bytes) -> Trace:
    """Parse the tracer's rows; a malformed row (truncated, or forged by the program) ends the trace."""
    reader = _Reader()
    with contextlib.suppress(ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError):
        for line in rows.split(b"\n")[:-1]:
            reader.read(json.loads(line))
    return Trace(reader.roots.get(0), reader.roots.get(-1), reader.reason)


class _Reader:
    def __init__(self) -> None:
        self.roots: dict[int, Call] = {}
        self.reason = "killed"
        self._calls: dict[int, Call] = {}

    def read(self, row: list[Any]) -> None:
        kind, number, *rest = row
        if kind == "end":
            self.reason = str(number)
            return
        if kind == "call":
            self._open(number, *rest)
            return
        call = self._calls[number]
        if kind == "step":
            call.steps.append(Step(int(rest[0])))
        elif kind in ("return", "leave"):
            call.end, call.value = kind, str(rest[0]) if kind == "return" else call.steps[-1].error
        elif not call.steps:
            call.arguments.update(rest[0] if kind == "set" else {})
        else:
            self._note(call.steps[-1], kind, rest[0])

    def _open(self, number: int, function: int, caller: int, arguments: dict[str, str]) -> None:
        call = self._calls[number] = Call(function, arguments)
        if caller:
            self._calls[caller].steps[-1].calls.append(call)
        else:
            self.roots.setdefault(function, call)

    def _note(self, step: Step, kind: str, value: Any) -> None:
        if kind == "set":
            step.changes.update(value)
        elif kind == "gone":
            step.gone += value
        elif kind == "out":
            step.printed += value
        elif kind == "raise":
            step.error = step.error or value
        elif kind == "yield":
            step.yielded.append(value)
