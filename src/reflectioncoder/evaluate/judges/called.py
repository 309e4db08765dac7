"""Judges a function by its answers to a sequence of inputs; expected values and the comparison stay in this process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from reflectioncoder.evaluate.judges.base import TAIL_CHARS, Status, Verdict
from reflectioncoder.sandbox.answers import read_value
from reflectioncoder.sandbox.functions import CallEnd, Calls, call
from reflectioncoder.sandbox.isolation import Isolation
from reflectioncoder.sandbox.limits import Limits
from reflectioncoder.sandbox.precision import as_python_numbers

_END_STATUS: dict[CallEnd, Status] = {
    "ended": "failed",
    "broken": "failed",
    "timeout": "timeout",
    "memory": "memory",
    "crashed": "crashed",
}


def equals(answer: Any, expected: Any) -> bool:
    """Tell whether `answer == expected` as an assertion would; an error in the comparison counts as unequal."""
    if type(answer).__name__ == "ndarray" and answer.size > 1:  # it has no truth value, and may be costly to compare
        return False
    try:
        return bool(answer == expected)
    except Exception:  # noqa: BLE001 (a comparison may raise anything)
        return False


@dataclass
class _Taken:
    """The answers received so far, up to the first wrong one."""

    expected: Sequence[Any]
    is_right: Callable[[Any, Any], bool]
    num_right: int = -1  # not loaded yet
    failure: tuple[Status, str] | None = None

    def __call__(self, letter: str, content: bytes) -> bool:
        if letter in "CE":
            detail = content.decode("utf-8", "replace")
            is_memory = detail.startswith("MemoryError")
            self.failure = ("compile_error" if letter == "C" else "memory" if is_memory else "failed"), detail
        elif letter in "VP" and 0 <= self.num_right < len(self.expected):
            if not self.is_right(as_python_numbers(read_value(letter, content)[1]), self.expected[self.num_right]):
                self.failure = "failed", f"wrong answer to input {self.num_right}"
            self.num_right += 1
        elif letter == "L" and self.num_right < 0:
            self.num_right = 0
        else:
            self.failure = "failed", "an answer that is none, or too long"
        return self.failure is None and self.num_right < len(self.expected)


def judge_calls(
    calls: Calls,
    expected: Sequence[Any],
    limits: Limits,
    isolation: Isolation,
    max_call_s: float,
    is_right: Callable[[Any, Any], bool] = equals,
) -> Verdict:
    """Call the function with each input and compare its answers; the first wrong answer decides the verdict.

    Args:
        calls: the calls, with `in_full`, and one input per expected value.
        max_call_s: limit in seconds of the program's own time, for loading and for each call.

    Raises:
        SandboxUnavailableError: the sandbox failed.
    """
    taken = _Taken(expected, is_right)
    report = call(calls, limits, isolation, taken, lambda _: max_call_s)
    if taken.failure is None and taken.num_right == len(expected):
        return Verdict("passed", "passed", duration_s=report.duration_s)
    status, detail = taken.failure or (_END_STATUS[report.end], report.detail)
    on_limit = status == "timeout"
    return Verdict(status, status, duration_s=report.duration_s, detail=detail[-TAIL_CHARS:], hit_time_limit=on_limit)
