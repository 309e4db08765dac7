"""Writes inputs and results as assertions, either given in a row or recorded here from a reference and its input generator.

A result is compared with `==` if JSON represents it exactly, with a relative tolerance of 1e-6 if it is a float, and otherwise after a
JSON round trip (with `same_as_json` as the problem's setup).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from reflectioncoder.builder.sources.draft import Draft, Dropped
from reflectioncoder.data.problems import Problem
from reflectioncoder.data.prompts import answer_program
from reflectioncoder.sandbox.detect import detect_isolation
from reflectioncoder.sandbox.limits import Limits
from reflectioncoder.sandbox.session import Session

SAME_AS_JSON = '''\
def same_as_json(found, expected):
    """Equal after a JSON round trip; floats to a relative 1e-6."""
    import json
    import math

    def same(a, b):
        if isinstance(a, dict) and isinstance(b, dict):
            return a.keys() == b.keys() and all(same(a[key], b[key]) for key in b)
        if isinstance(a, list) and isinstance(b, list):
            return len(a) == len(b) and all(map(same, a, b))
        if isinstance(a, (int, float)) and isinstance(b, (int, float)):
            return math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-12) if float in (type(a), type(b)) else a == b
        return a == b

    return same(json.loads(json.dumps(found)), expected)
'''
NUM_TESTS, _MIN_TESTS, _NUM_SEEDS = 6, 3, 20
_MAX_TEST_CHARS = 1000

_RECORDER = """\
from random import Random
{generator}

def __record(seed):
    import json
    given = json.loads(json.dumps(generate_inputs(Random(seed)), allow_nan=False))
    said = json.dumps(given)
    found = {entry_point}(**given)
    try:
        held = json.loads(json.dumps(found, allow_nan=False))
    except (TypeError, ValueError):
        held = None
    print(json.dumps({{"input": json.loads(said), "expected": held, "exact": held == found}}))
"""


@dataclass(frozen=True)
class Call:
    """A call: keyword arguments of the entry point and its result, as JSON values. `exact`: JSON preserved the result."""

    arguments: dict[str, Any]
    result: Any
    exact: bool = False


def with_tests(problem: Problem, calls: Iterable[Call]) -> Problem:
    tests = tuple(_assertion(problem.entry_point, call) for call in calls)
    return replace(problem, tests=tests, setup=SAME_AS_JSON if any("same_as_json(" in test for test in tests) else "")


def _assertion(entry_point: str, call: Call) -> str:
    if all(name.isidentifier() for name in call.arguments):
        arguments = ", ".join(f"{name}={value!r}" for name, value in call.arguments.items())
    else:
        arguments = f"**{call.arguments!r}"
    text = f"{entry_point}({arguments})"
    if isinstance(call.result, float):
        return f"assert abs({text} - {call.result!r}) <= {max(1e-12, 1e-6 * abs(call.result)):.3g}"
    if isinstance(call.result, str | int) or (call.exact and not _has_float(call.result)):
        return f"assert {text} == {call.result!r}"
    return f"assert same_as_json({text}, {call.result!r})"


def _has_float(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_has_float, value.values()))
    return any(map(_has_float, value)) if isinstance(value, list) else isinstance(value, float)


def record_tests(draft: Draft, limits: Limits) -> Problem | Dropped:
    """Return the problem with tests recorded from its reference on generated inputs; the inputs have fixed seeds."""
    problem = draft.problem
    reasons: list[str] = []
    calls: list[Call] = []
    recorder = _RECORDER.format(generator=draft.input_generator, entry_point=problem.entry_point)
    with Session(replace(limits, cpu_s=limits.wall_s * _NUM_SEEDS), detect_isolation()) as session:
        if session.run(answer_program(problem)).status != "ok" or session.run(recorder).status != "ok":
            return Dropped(problem.task_id, "reference_fails")
        for seed in range(_NUM_SEEDS):
            ran = session.run(f"__record({seed})")
            if ran.status in ("timeout", "crashed"):
                return Dropped(problem.task_id, "too_slow" if ran.status == "timeout" else "reference_fails")
            call = _read_call(ran.output) if ran.status == "ok" else "reference_fails"
            if isinstance(call, str):
                reasons.append(call)
            elif len(_assertion(problem.entry_point, call)) > _MAX_TEST_CHARS:
                reasons.append("inputs_too_long")
            elif all(call.arguments != earlier.arguments for earlier in calls):
                calls.append(call)
            if len(calls) == NUM_TESTS:
                break
    if len(calls) >= _MIN_TESTS and any(call.result != calls[0].result for call in calls):
        return with_tests(problem, calls)
    return Dropped(problem.task_id, max(reasons, key=reasons.count) if reasons else "vacuous_tests")


def _read_call(output: str) -> Call | str:
    """Return the call in the last printed line (the program may have printed before), or the reason why there is none."""
    try:
        said = json.loads(output.rstrip("\n").rpartition("\n")[2])
        call = Call(said["input"], said["expected"], said["exact"])
    except (ValueError, KeyError, TypeError):
        return "inputs_too_long"  # the output limit cut it off
    return call if call.result is not None else "not_comparable"
