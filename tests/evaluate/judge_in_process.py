"""The whole judge of EvalPlus's tests runs in this process, with neither sandbox nor limits."""

from __future__ import annotations

import itertools
import marshal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

from reflectioncoder.choices import Rules
from reflectioncoder.evaluate.judges.evalplus.data import FunctionTests, Part
from reflectioncoder.evaluate.judges.evalplus.judge import FunctionJudge, PartVerdict
from reflectioncoder.sandbox.answers import BrokenAnswerError
from reflectioncoder.sandbox.functions import CallReport, Calls
from reflectioncoder.sandbox.isolation import RLIMITS
from reflectioncoder.sandbox.runtime.encoding import encode_answer
from tests.evaluate.answers_beside_evalplus import PRELUDE, SCOPE


def part_of(inputs: Sequence[Sequence[Any]]) -> Part:
    return Part(marshal.dumps([list(items) for items in inputs], 2), len(inputs))


def call_in_process(
    calls: Calls, limits: object, isolation: object, consume: Callable[[str, bytes], bool], limit: object
) -> CallReport:
    """What `sandbox.functions.call` does, with neither process nor limits."""
    scope = dict(SCOPE)
    ended = CallReport("ended", 0.0, 0.0)
    stopped = CallReport("stopped", 0.0, 0.0)
    try:
        exec(calls.source.removeprefix(PRELUDE), scope)
        if not consume("L", b""):
            return stopped
        assert calls.inputs is not None
        inputs = marshal.loads(calls.inputs)
        for arguments in inputs:
            try:
                answer = scope[calls.entry_point](*arguments)
                letter, content = encode_answer(answer, calls.reference, calls.in_full, calls.as_set)
            except BaseException as error:
                letter, content = b"E", repr(error).encode()
            if not consume(letter.decode(), content):
                return stopped
        if calls.reference:
            consume("T", marshal.dumps([0.0] * len(inputs), 2))
    except BrokenAnswerError as error:
        return CallReport("broken", 0.0, 0.0, str(error))
    return ended


def judge_in_process(tests: FunctionTests, entry_point: str, program: str, rules: Rules = "evalplus-head") -> PartVerdict:
    """The whole judge on the base part, expected values from the canonical solution and all."""
    with (
        mock.patch("reflectioncoder.evaluate.judges.evalplus.judge.call", call_in_process),
        mock.patch("reflectioncoder.evaluate.judges.evalplus.reference.call", call_in_process),
        mock.patch("reflectioncoder.evaluate.judges.evalplus.reference.remember"),
    ):
        judge = FunctionJudge(RLIMITS, rules, Path("/nonexistent"))
        return judge.judge_part("t/0", entry_point, tests, "base", program, alone=True)


TASK_IDS = (f"t/{number}" for number in itertools.count())
