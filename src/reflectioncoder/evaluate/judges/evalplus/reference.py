"""Computes expected values: the canonical solution's answers and run times, run once in the sandbox and cached by content.

Short answers are stored in full. A longer answer is stored as its type, its length and 16 bytes of BLAKE2b, which suffice to
recognise it; if an inexact match needs the value itself, it is computed again (`answer_in_full`).
"""

from __future__ import annotations

import contextlib
import hashlib
import marshal
import platform
import time
import zlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from reflectioncoder.data.files import content_hash, remember
from reflectioncoder.errors import MachineError
from reflectioncoder.evaluate.judges.evalplus.data import FunctionTests, PartName
from reflectioncoder.evaluate.judges.evalplus.oracles import NOT_NONE_ENTRY_POINTS, is_floats
from reflectioncoder.sandbox.answers import BrokenAnswerError, read_value
from reflectioncoder.sandbox.functions import Calls, call
from reflectioncoder.sandbox.isolation import Isolation
from reflectioncoder.sandbox.limits import Limits
from reflectioncoder.sandbox.runtime.encoding import may_hold_nan

_FORMAT = 3
_LIMITS = Limits(wall_s=600, cpu_s=600, memory_bytes=8 * 2**30, processes=64)
_MIN_KEPT_TIME_S = 0.05  # shorter calls never change a limit


@dataclass(frozen=True)
class Summary:
    """The summary of a long answer. `plain`: equal bytes mean equal values (no NaN inside)."""

    type_name: str
    length: int
    all_floats: bool
    plain: bool


@dataclass(frozen=True)
class ReferencePart:
    """The reference's answers to a part.

    `answers`: frames (letter and content) from `runtime.encoding`; `times`: CPU seconds of the slow calls, by input.

    `first_floats`: the first input whose expected value sets the tolerance. `odd`: answers for which equal bytes do not imply equal
    values (NaN inside, or a type that is not plain).
    """

    answers: tuple[bytes, ...]
    times: dict[int, float]
    first_floats: int | None
    odd: frozenset[int]

    def letter(self, number: int) -> str:
        return chr(self.answers[number][0])

    def content(self, number: int) -> bytes:
        return self.answers[number][1:]

    def summary(self, number: int) -> Summary:
        return read_summary(self.content(number))


@dataclass(frozen=True)
class Reference:
    base: ReferencePart
    plus: ReferencePart
    slowness: float
    """CPU seconds of a fixed workload when the times were taken, for scaling limits on other machines."""

    def part(self, name: PartName) -> ReferencePart:
        return self.base if name == "base" else self.plus


def read_summary(content: bytes) -> Summary:
    """Read the summary in a D frame; raise BrokenAnswerError if it is malformed."""
    _, fields = read_value("V", content[16:])
    if not (isinstance(fields, tuple) and len(fields) == 4 and isinstance(fields[0], str) and isinstance(fields[1], int)):
        raise BrokenAnswerError("a malformed summary")
    return Summary(fields[0], fields[1], bool(fields[2]), bool(fields[3]))


def slowness() -> float:
    """Return the CPU seconds of a fixed workload; the minimum of a few runs, since interference only adds time."""

    def once() -> float:
        began = time.thread_time()  # other threads of this process may be busy
        total = 0
        for number in range(100_000):
            total += number * number % 7
        return time.thread_time() - began

    return min(once() for _ in range(5))


@cache
def _slowness_now() -> float:
    return slowness()


def time_scale(reference: Reference, now: float | None = None) -> float:
    """Return the factor by which this machine is slower than where and when the times were taken; at least 1.

    Args:
        now: the current `slowness`, which can vary by half and more on shared machines; by default that at this process's start.
    """
    return max(1.0, (now or _slowness_now()) / reference.slowness) if reference.slowness > 0 else 1.0


def load_reference(task_id: str, entry_point: str, tests: FunctionTests, folder: Path, isolation: Isolation) -> Reference:
    """Read the reference from `folder`, or compute and store it.

    Raises:
        MachineError: the canonical solution does not run here.
        SandboxUnavailableError: the sandbox failed.
    """
    key = content_hash(tests.key(), entry_point, platform.python_version(), _FORMAT)
    path = folder / f"{key}.bin"
    with contextlib.suppress(OSError, ValueError, EOFError, TypeError, zlib.error):
        return _read(path)
    reference = Reference(
        *(_compute(task_id, entry_point, tests, name, isolation) for name in ("base", "plus")), slowness=_slowness_now()
    )
    remember(path, _dump(reference))
    return reference


def _dump(reference: Reference) -> bytes:
    parts = [(list(p.answers), p.times, p.first_floats, list(p.odd)) for p in (reference.base, reference.plus)]
    data = zlib.compress(marshal.dumps((parts, reference.slowness), 2), 6)
    return hashlib.blake2b(data, digest_size=16).digest() + data


def _read(path: Path) -> Reference:
    stored = path.read_bytes()
    if hashlib.blake2b(stored[16:], digest_size=16).digest() != stored[:16]:
        raise ValueError("damaged")
    parts, slow = marshal.loads(zlib.decompress(stored[16:]))
    base, plus = (ReferencePart(tuple(answers), times, first, frozenset(odd)) for answers, times, first, odd in parts)
    return Reference(base, plus, slow)


def _compute(task_id: str, entry_point: str, tests: FunctionTests, name: PartName, isolation: Isolation) -> ReferencePart:
    part = tests.part(name)
    answers: list[bytes] = []
    times: list[float] = []

    def consume(letter: str, content: bytes) -> bool:
        if letter == "T":
            times.extend(marshal.loads(content))
        elif letter in "VDP":
            answers.append(letter.encode() + content)
        elif letter != "L":
            raise MachineError(f"{task_id}: the canonical solution fails here on {name}: {content.decode('utf-8', 'replace')}")
        return letter != "T"

    calls = Calls(tests.canonical_solution, entry_point, part.inputs, reference=True)
    report = call(calls, _LIMITS, isolation, consume, lambda _: _LIMITS.wall_s)
    if len(answers) != part.num_inputs or len(times) != part.num_inputs:
        raise MachineError(f"{task_id}: the canonical solution does not run here: {report.end} {report.detail}")
    if tests.family == "mbpp" and entry_point in NOT_NONE_ENTRY_POINTS:
        answers = [b"V" + marshal.dumps(answer[0:1] == b"D" or _value(answer) is not None, 2) for answer in answers]
    first = next((number for number, answer in enumerate(answers) if _all_floats(answer)), None)
    slow = {number: round(seconds, 3) for number, seconds in enumerate(times) if seconds >= _MIN_KEPT_TIME_S}
    return ReferencePart(tuple(answers), slow, first, frozenset(n for n, answer in enumerate(answers) if _is_odd(answer)))


def _is_odd(answer: bytes) -> bool:
    if answer[0:1] == b"D":
        return not read_summary(answer[1:]).plain
    return answer[0:1] == b"P" or (may_hold_nan(answer) and _value(answer) != _value(answer))


def _value(answer: bytes) -> Any:
    return read_value(chr(answer[0]), answer[1:])[1]


def _all_floats(answer: bytes) -> bool:
    if answer[0:1] == b"D":
        return read_summary(answer[1:]).all_floats
    # Decode only if the tag is a float's, or a list's or tuple's whose first item is a float.
    return answer[1:2] in b"g[(" and is_floats(_value(answer))


def answer_in_full(source: str, entry_point: str, inputs: list[Any], isolation: Isolation) -> tuple[str, Any] | None:
    """Return (type name, value) of the canonical solution's answer to the single input; None if it is too long to be sent."""
    found: list[tuple[str, Any]] = []

    def consume(letter: str, content: bytes) -> bool:
        if letter in "VP":
            found.append(read_value(letter, content))
        return letter == "L"

    call(
        Calls(source, entry_point, marshal.dumps(inputs, 2), in_full=True),
        _LIMITS,
        isolation,
        consume,
        lambda _: _LIMITS.wall_s,
    )
    return found[0] if found else None
