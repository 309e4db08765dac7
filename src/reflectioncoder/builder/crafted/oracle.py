"""Runs programs in the sandbox to compare their results: one process answers thousands of questions about a problem.

If a program kills the process or takes too long for a question, that question has no answer, and a new process continues. The answers
only serve to choose tests: each sample runs its tests in its own session.
"""

from __future__ import annotations

import marshal
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Any

from reflectioncoder.sandbox.answers import BrokenAnswerError, decode
from reflectioncoder.sandbox.detect import detect_isolation
from reflectioncoder.sandbox.functions import Calls, call
from reflectioncoder.sandbox.limits import Limits

_RUNNER = (Path(__file__).parent / "_runner.py").read_text(encoding="utf-8")
_QUESTION_S = 2.0  # backstop per question; the limit on lines usually stops programs first
_MAX_RESTARTS = 3
_LIMITS = Limits(wall_s=600.0, cpu_s=120.0, memory_bytes=2**28)


@dataclass(frozen=True)
class _LiveCalls(Calls):
    """Calls whose inputs arrive one by one from a queue; None ends the calls."""

    waiting: SimpleQueue[Any] = field(default_factory=SimpleQueue)

    def requests(self) -> Iterator[bytes]:
        while (request := self.waiting.get()) is not None:
            data = marshal.dumps([[request], {}], 2)
            yield len(data).to_bytes(4, "little") + data


class Oracle:
    """Holds a reference in a separate process and compares other programs with it. A context manager.

    Args:
        max_lines: maximum number of lines that the reference may run in a new call.

    Raises (from questions):
        SandboxUnavailableError: the sandbox failed, not a program.
    """

    def __init__(self, reference: str, setup: str, max_lines: int = 0):
        self._first: list[list[Any]] = [["reference", reference, setup, max_lines]]
        self._process: _Process | None = None
        self._num_starts = 0

    def __enter__(self) -> Oracle:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._process is not None:
            self._process.close()

    def values(self, calls: list[str]) -> list[str]:
        """Return the reference's results as literals; "" where a test could not compare the result, or the call took too long."""
        return self._ask(["values", calls]) or [""] * len(calls)

    def use_tests(self, tests: list[str]) -> list[bool]:
        """Set the tests in use; tell for each whether it is usable, that is, whether the reference passes it."""
        self._first = [*self._first[:1], ["tests", tests]]
        return self._ask(self._first[1]) or [False] * len(tests)

    def failing(self, program: str) -> str | None:
        """Return one digit per test in use, 1 if a program fails it; None if there is no answer."""
        return self._ask(["failing", program])

    def parts(self, program: str, call: str) -> bool:
        """Tell whether a program's result for a call differs from the reference's; False if there is no answer."""
        return bool(self._ask(["parts", program, call]))

    def _ask(self, request: list[Any]) -> Any:
        if self._process is None:
            if self._num_starts > _MAX_RESTARTS:
                return None
            self._num_starts += 1
            self._process = _Process()
            for first in self._first:
                if first is not request:
                    self._process.ask(first)
        answer = self._process.ask(request)
        if answer is None:
            self._process.close()
            self._process = None
        return answer


class _Process:
    """A process that runs `_runner.py`, served by its own thread."""

    def __init__(self) -> None:
        self._calls = _LiveCalls(_RUNNER, "answer", inputs=b"", in_full=True, in_turn=True)
        self._answers: SimpleQueue[tuple[str, Any]] = SimpleQueue()
        self._has_ended = False
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def ask(self, request: list[Any]) -> Any:
        """Return the answer; None if the process has ended or gave none."""
        if self._has_ended:
            return None
        self._calls.waiting.put(request)
        letter, content = self._answers.get()
        if letter == "end":
            self._has_ended = True
            if isinstance(content, BaseException):
                raise content
            return None
        try:
            return decode(content) if letter == "V" else None
        except BrokenAnswerError:
            return None

    def close(self) -> None:
        self._calls.waiting.put(None)
        self._thread.join()

    def _serve(self) -> None:
        ended: BaseException | None = None
        try:
            call(self._calls, _LIMITS, detect_isolation(), self._take, lambda _: _QUESTION_S)
        except BaseException as error:  # noqa: BLE001 (reraised in `ask`)
            ended = error
        self._answers.put(("end", ended))

    def _take(self, letter: str, content: bytes) -> bool:
        if letter != "L":
            self._answers.put((letter, content))
        return True
