"""Judges one solution under EvalPlus's rules: base and plus each run in a fresh process, and the program cannot forge its verdict.

The program's process gets inputs and sends answers (`sandbox.functions`); expected values and comparison stay here. Every part runs to
its end or to a limit before its answers are compared, so neither its end nor the time to the next input tells a program which answer
was wrong. The first failure decides the verdict. Limits apply to the program's own time; a verdict that depends on one has
`hit_time_limit` set and is provisional until taken again, alone (`alone=True`) or on its own core (`core`, see `evaluate.second_look`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from reflectioncoder.choices import Rules
from reflectioncoder.evaluate.judges.base import SHARED_FACTOR
from reflectioncoder.evaluate.judges.evalplus.data import FunctionTests, PartName
from reflectioncoder.evaluate.judges.evalplus.oracles import (
    FLOAT_TOLERANCE,
    MIN_TIME_LIMIT_S,
    ORACLE_ENTRY_POINTS,
    SET_ENTRY_POINTS,
    matches,
)
from reflectioncoder.evaluate.judges.evalplus.reference import (
    Reference,
    ReferencePart,
    Summary,
    answer_in_full,
    load_reference,
    read_summary,
    slowness,
    time_scale,
)
from reflectioncoder.evaluate.judges.evalplus.world import ABSENT_MODULES, ABSENT_NAMES, STACK_DEPTH
from reflectioncoder.sandbox.answers import BrokenAnswerError, read_value
from reflectioncoder.sandbox.functions import CallEnd, CallReport, Calls, call
from reflectioncoder.sandbox.isolation import Isolation
from reflectioncoder.sandbox.limits import Limits
from reflectioncoder.sandbox.runtime.encoding import digest

PartStatus = Literal["passed", "failed", "timeout", "memory", "compile_error", "crashed"]

# EvalPlus 0.3.1: four times the reference's time, at least the rules' floor; a whole part at most 60 s plus 2 s of patience.
TIME_FACTOR = 4.0
MAX_PART_S = 60.0
PATIENCE_S = 2.0
# EvalPlus limits loading only by the whole part's limit, so a program could do all its work before the first call is timed.
MAX_LOAD_S = 10.0
# The limit of a first run, while others run; only a run alone gets the full limit.
FIRST_LIMIT_S = 0.3
# A time-out of a run alone is retried if the machine has slowed down by more than _STEADY, with limits scaled by up to _MAX_SLOWDOWN.
_STEADY, _MAX_SLOWDOWN = 1.1, 3.0
LIMITS = Limits(memory_bytes=4 * 2**30, processes=64)
_MAX_KEPT_BYTES = 64 * 2**20  # limit on answers that wait to be compared


def describe_limits(rules: Rules) -> dict[str, Any]:
    """Return the limits on each part of a solution, in seconds and bytes."""
    held = {key: value for key, value in asdict(LIMITS).items() if key not in ("wall_s", "cpu_s")}
    times = {"min_call_s": MIN_TIME_LIMIT_S[rules], "reference_time_factor": TIME_FACTOR, "max_part_s": MAX_PART_S}
    times["max_load_s"] = MAX_LOAD_S
    return {**held, **times}


_END_STATUS: dict[CallEnd, PartStatus] = {
    "ended": "failed",
    "broken": "failed",
    "timeout": "timeout",
    "memory": "memory",
    "crashed": "crashed",
}


@dataclass(frozen=True)
class PartVerdict:
    """The verdict on one part.

    `failed_input`: index of the input that failed; -1: before the first; None: all passed. `hit_time_limit`: see the module docstring.

    `is_unsure`: the program ended, but perhaps only thanks to the longer limits it has while others run.
    """

    status: PartStatus
    failed_input: int | None
    detail: str
    duration_s: float
    hit_time_limit: bool = False
    is_unsure: bool = False


class FunctionJudge:
    """Judges solutions by comparing their answers with the reference's. Thread-safe.

    Args:
        reference_folder: folder that caches expected values by content.
    """

    def __init__(self, isolation: Isolation, rules: Rules, reference_folder: Path):
        self._isolation = isolation
        self._rules: Rules = rules
        self._folder = reference_folder
        self._references: dict[str, Reference] = {}
        self._locks: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()

    def reference(self, task_id: str, entry_point: str, tests: FunctionTests) -> Reference:
        with self._lock:
            lock = self._locks.setdefault(task_id, threading.Lock())
        with lock:
            if task_id not in self._references:
                self._references[task_id] = load_reference(task_id, entry_point, tests, self._folder, self._isolation)
            return self._references[task_id]

    def judge_part(
        self,
        task_id: str,
        entry_point: str,
        tests: FunctionTests,
        name: PartName,
        solution: str,
        *,
        alone: bool,
        core: int | None = None,
    ) -> PartVerdict:
        """Judge one part of one solution.

        Args:
            alone: no other program is running; otherwise the verdict is provisional.
            core: a core that this program has to itself while others run elsewhere.

        Raises:
            SandboxUnavailableError: the sandbox failed.
            MachineError: the canonical solution does not run here.
        """
        reference = self.reference(task_id, entry_point, tests)
        run = _PartRun(entry_point, tests, name, solution, reference, self._rules, self._isolation, core)
        return run.verdict(alone=alone)


class _PartRun:
    def __init__(
        self,
        entry_point: str,
        tests: FunctionTests,
        name: PartName,
        solution: str,
        reference: Reference,
        rules: Rules,
        isolation: Isolation,
        core: int | None,
    ):
        self._core = core
        self._entry_point = entry_point
        self._tests = tests
        self._part = tests.part(name)
        self._solution = solution
        self._expected: ReferencePart = reference.part(name)
        self._reference = reference
        self._scale = time_scale(reference)
        self._rules: Rules = rules
        self._isolation = isolation
        self._as_set = tests.family == "mbpp" and entry_point in SET_ENTRY_POINTS
        # Equal bytes do not decide these: 0.3.1 fails every answer to find_zero, and not every list converts to a set.
        self._bytes_decide = not self._as_set and not (entry_point == "find_zero" and rules == "evalplus-0.3.1")
        self._arguments: list[list[Any]] | None = None
        self._num_answers = -1  # not loaded yet
        self._kept: list[tuple[str, bytes]] = []
        self._kept_bytes = 0
        self._next = 0
        self._failure: tuple[PartStatus, int, str] | None = None
        self._unclear = False
        self._may_be_unclear = True

    def time_limit_s(self, number: int) -> float:
        """Return the limit for the call on one input, in seconds of the program's own time."""
        floor = MIN_TIME_LIMIT_S[self._rules]
        return max(floor, TIME_FACTOR * self._expected.times.get(number, 0.0)) * self._scale

    def whole_limit_s(self) -> float:
        floor = MIN_TIME_LIMIT_S[self._rules]
        total = floor * self._part.num_inputs + sum(max(0.0, TIME_FACTOR * t - floor) for t in self._expected.times.values())
        return (min(MAX_PART_S, total) + PATIENCE_S) * self._scale

    def verdict(self, *, alone: bool) -> PartVerdict:
        """Return the verdict; retry a time-out with longer limits if the machine has slowed down since they were set."""
        certain_s = self.time_limit_s(-1)
        if self._core is not None:
            self._scale *= SHARED_FACTOR
        verdict = self._settled(alone=alone or self._core is not None)
        if self._core is None or verdict.hit_time_limit or verdict.duration_s <= certain_s:
            return verdict
        return replace(verdict, is_unsure=True)

    def _settled(self, *, alone: bool) -> PartVerdict:
        verdict = self._verdict_within(alone=alone)
        if not (alone and verdict.hit_time_limit):
            return verdict
        shared = 1.0 if self._core is None else SHARED_FACTOR
        slower = time_scale(self._reference, slowness()) * shared / self._scale
        if slower <= _STEADY:
            return verdict
        self._scale *= min(slower, _MAX_SLOWDOWN)
        return self._verdict_within(alone=True)

    def _verdict_within(self, *, alone: bool) -> PartVerdict:
        whole = self.whole_limit_s()
        limits = replace(LIMITS, wall_s=whole, cpu_s=whole + 5)

        def limit(frame: int) -> float:  # frame 0 is loading
            full = self.time_limit_s(frame - 1) if frame else min(whole, MAX_LOAD_S * self._scale)
            return full if alone else min(full, max(FIRST_LIMIT_S, self._expected.times.get(frame - 1, 0.0) * TIME_FACTOR))

        report = self._run(limits, limit)
        if self._unclear:  # run again, with long answers in full
            report = self._run(limits, limit, in_full=True)
        if self._failure is not None:
            status, number, detail = self._failure
        elif report.end == "stopped":
            return PartVerdict("passed", None, "", report.duration_s)
        else:
            status, number, detail = _END_STATUS[report.end], self._num_answers, report.detail
        return PartVerdict(status, number, detail, report.duration_s, status == "timeout")

    def _run(self, limits: Limits, limit: Callable[[int], float], in_full: bool = False) -> CallReport:
        self._num_answers, self._next, self._failure, self._unclear = -1, 0, None, False
        self._may_be_unclear = not in_full
        calls = Calls(
            self._solution,
            self._entry_point,
            self._part.inputs,
            stack_depth=STACK_DEPTH,
            absent_names=ABSENT_NAMES,
            absent_modules=ABSENT_MODULES,
            as_set=self._as_set,
            in_full=in_full,
        )
        place = {} if self._core is None else {"core": self._core}
        report = call(calls, limits, self._isolation, self._consume, limit, **place)
        self._look_at_answers()
        return report

    def _consume(self, letter: str, content: bytes) -> bool:
        """Store one frame and tell whether more are expected; answers are compared later."""
        if self._num_answers < 0:
            if letter == "L":
                self._num_answers = 0
                return self._part.num_inputs > 0
            if letter in "CE":
                status: PartStatus = "compile_error" if letter == "C" else _status_of_error(content)
                self._failure = status, -1, content[:400].decode("utf-8", "replace")
                return False
            raise BrokenAnswerError("an answer before the program was loaded")
        if letter not in ("V", "D", "P", "E"):
            raise BrokenAnswerError("not an answer")
        self._kept.append((letter, content))
        self._kept_bytes += len(content)
        self._num_answers += 1
        if self._kept_bytes > _MAX_KEPT_BYTES:
            self._look_at_answers()
        return self._num_answers < self._part.num_inputs

    def _look_at_answers(self) -> None:
        """Compare the stored answers until one decides the verdict."""
        kept, self._kept, self._kept_bytes = self._kept, [], 0
        for letter, content in kept:
            if self._failure is not None or self._unclear:
                return
            number, self._next = self._next, self._next + 1
            if letter == "E":
                self._failure = _status_of_error(content), number, content[:400].decode("utf-8", "replace")
                continue
            try:
                right = self._is_right(number, letter, content)
            except BrokenAnswerError as error:
                self._failure = "failed", number, str(error)
                continue
            if not (right or self._unclear):
                self._failure = "failed", number, f"wrong answer to input {number}"

    def _is_right(self, number: int, letter: str, content: bytes) -> bool:
        """Tell whether an answer is right; sets `_unclear` and returns False if that takes bytes that were not sent."""
        expected_letter, expected = self._expected.letter(number), self._expected.content(number)
        if self._bytes_decide and number not in self._expected.odd:
            if letter == expected_letter == "V" and content == expected:
                return True
            if expected_letter == "D" and letter in "DV":
                mark = content[:16] if letter == "D" else digest(read_value(letter, content)[1])
                if mark == expected[:16]:
                    return True
        if letter == "D":
            if not self._may_be_unclear or self._differs_for_sure(number, read_summary(content)):
                return False
            self._unclear = True
            return False
        answer = read_value(letter, content)
        if expected_letter == "D":
            if self._may_be_unclear and letter == "V" and self._differs_for_sure(number, _summary_of(answer)):
                return False
            wanted = self._expected_in_full(number)
        else:
            wanted = read_value(expected_letter, expected)
        atol = self._tests.atol
        if atol == 0 and self._expected.first_floats is not None and self._expected.first_floats < number:
            atol = FLOAT_TOLERANCE  # set by an earlier input, and kept
        arguments = self._all_arguments()[number]
        return matches(self._tests.family, self._entry_point, arguments, answer, wanted, atol, self._rules)

    def _differs_for_sure(self, number: int, answer: Summary) -> bool:
        """Tell whether type or length rule out a match. False for types that can equal others, and for tasks with an oracle."""
        if self._tests.family == "mbpp" and self._entry_point in ORACLE_ENTRY_POINTS:
            return False
        if self._expected.letter(number) == "D":
            expected = self._expected.summary(number)
        else:
            expected = _summary_of(read_value(self._expected.letter(number), self._expected.content(number)))
        ordered = {"list", "tuple", "str", "bytes"}
        if answer.type_name in ordered or expected.type_name in ordered:
            return (answer.type_name, answer.length) != (expected.type_name, expected.length)
        return False

    def _expected_in_full(self, number: int) -> tuple[str, Any]:
        inputs = [self._all_arguments()[number]]
        wanted = answer_in_full(self._tests.canonical_solution, self._entry_point, inputs, self._isolation)
        if wanted is None:
            raise BrokenAnswerError("the expected value is too long for an inexact comparison")
        return wanted

    def _all_arguments(self) -> list[list[Any]]:
        if self._arguments is None:
            self._arguments = self._part.arguments()
        return self._arguments


def _summary_of(answer: tuple[str, Any]) -> Summary:
    type_name, value = answer
    return Summary(type_name, len(value) if hasattr(value, "__len__") else 0, False, True)


def _status_of_error(text: bytes) -> PartStatus:
    return "memory" if text.startswith(b"MemoryError") else "failed"
