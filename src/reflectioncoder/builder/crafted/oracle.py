"""Asks programs in the sandbox what they return: one process answers thousands of questions about a problem.

A program that kills the process, or takes too long for one question, is told apart from the others; a new process then goes on. What it
answers only chooses tests: each sample runs its tests in a session of its own.
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
_QUESTION_S = 2.0  # own time of a question; programs are limited by the lines that they run
_MAX_RESTARTS = 3
_LIMITS = Limits(wall_s=600.0, cpu_s=120.0, memory_bytes=2**28)


@dataclass(frozen=True)
class _LiveCalls(Calls):
    """Calls whose inputs come one by one from a queue; None ends them."""

    waiting: SimpleQueue[Any] = field(default_factory=SimpleQueue)

    def requests(self) -> Iterator[bytes]:
        while (request := self.waiting.get()) is not None:
            data = marshal.dumps([[request], {}], 2)
            yield len(data).to_bytes(4, "little") + data


class Oracle:
    """A reference in a process of its own, and what other programs do that it does not. A context manager.

    Args:
        max_lines: that the reference may run in a new call.

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
        """Return the reference's results as literals; "" where a test could not compare one, or it took too long."""
        return self._ask(["values", calls]) or [""] * len(calls)

    def use_tests(self, tests: list[str]) -> list[bool]:
        """Make these the tests in use; tell of each whether programs can be told apart by it."""
        self._first = [*self._first[:1], ["tests", tests]]
        return self._ask(self._first[1]) or [False] * len(tests)

    def failing(self, program: str) -> str | None:
        """Return a digit for each test in use, 1 if a program fails it; None if it cannot be told."""
        return self._ask(["failing", program])

    def parts(self, program: str, call: str) -> bool:
        """Tell whether the result of a call differs from the reference's; False if it cannot be told."""
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
    """A process that runs `_runner.py`, served by a thread of its own."""

    def __init__(self) -> None:
        self._calls = _LiveCalls(_RUNNER, "answer", inputs=b"", in_full=True, in_turn=True)
        self._answers: SimpleQueue[tuple[str, Any]] = SimpleQueue()
        self._has_ended = False
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def ask(self, request: list[Any]) -> Any:
        """Return the answer, None if the process is gone or could not give one."""
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
        except BaseException as error:  # noqa: BLE001 (raised where the question is asked)
            ended = error
        self._answers.put(("end", ended))

    def _take(self, letter: str, content: bytes) -> bool:
        if letter != "L":
            self._answers.put((letter, content))
        return True
