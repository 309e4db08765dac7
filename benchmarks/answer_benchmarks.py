"""Verdicts on CRUXEval, LeetCodeDataset and LiveCodeBench beside the official rules: references and wrong answers, counted.

The official rules are written down here in their simplest form and run in the sandbox, expected values and all.

    python -m benchmarks.answer_benchmarks cruxeval-o cruxeval-i
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from reflectioncoder.builder.mutation import mutations
from reflectioncoder.evaluate.benchmarks import BENCHMARKS, load_benchmark
from reflectioncoder.evaluate.judges.base import ALONE, Conditions, Task
from reflectioncoder.evaluate.judges.cruxeval import PredictionTests
from reflectioncoder.evaluate.judges.live import PRELUDE
from reflectioncoder.sandbox.detect import detect_isolation
from reflectioncoder.sandbox.isolation import Isolation
from reflectioncoder.sandbox.limits import Limits
from reflectioncoder.sandbox.pool import map_ordered
from reflectioncoder.sandbox.process import run_python

Wrong = Callable[[PredictionTests, PredictionTests], str]
"""Makes a wrong answer to a task from its tests and those of another task."""
WRONG_OUTPUTS: dict[str, Wrong] = {
    "another output": lambda tests, other: f"assert f({tests.given_input}) == {other.output}",
    "in a list": lambda tests, other: f"[{tests.output}]",
    "nothing": lambda tests, other: f"assert f({tests.given_input}) == None",
    "its text": lambda tests, other: repr(tests.output),
    "the call": lambda tests, other: f"f({tests.given_input})",
}
WRONG_INPUTS: dict[str, Wrong] = {
    "another input": lambda tests, other: f"assert f({other.given_input}) == {tests.output}",
    "no input": lambda tests, other: "f()",
    "in a list": lambda tests, other: f"f([{tests.given_input}])",
    "the output": lambda tests, other: f"f({tests.output})",
    "no call": lambda tests, other: tests.given_input,
}


def official_prediction(asked: str, tests: PredictionTests, answer: str, isolation: Isolation) -> bool:
    """Judge as CRUXEval does: cut the answer at `==` and `assert`, and run `assert output == answer` behind the code."""
    if asked == "input":
        cut = answer.split("==")[0].strip()
        cut = cut.split("assert")[1].strip() if "assert" in cut else cut
        if "f(" not in cut:
            return False
    else:
        cut = answer.split("==")[1].strip() if answer.startswith("assert") and "==" in answer else answer
        if f"f({tests.given_input})" in cut:
            return False
    program = f"{tests.code}\nassert {tests.output} == {cut}"
    return run_python(program, Limits(wall_s=3.0), isolation).status == "ok"


def predictions(asked: str, tasks: tuple[Task[Any], ...]) -> Iterator[tuple[Task[Any], str, str]]:
    """Yield (task, kind, answer): the reference and each wrong answer."""
    wrong = WRONG_OUTPUTS if asked == "output" else WRONG_INPUTS
    for number, task in enumerate(tasks):
        yield task, "reference", task.canonical_solution.strip()
        for kind, make in wrong.items():
            yield task, kind, make(task.tests, tasks[number - 1].tests)


def compare_predictions(name: str, workers: int) -> dict[str, Any]:
    asked, isolation = {"cruxeval-o": "output", "cruxeval-i": "input"}[name], detect_isolation()
    benchmark = load_benchmark(name)
    judge = benchmark.judge.under(Conditions(isolation, Limits(), "strict"))
    answers = list(predictions(asked, benchmark.tasks))
    began = time.monotonic()
    ours = [v.status == "passed" for v in map_ordered(lambda one: judge(one[0], one[2], ALONE), answers, workers)]
    ours_s = time.monotonic() - began
    official = list(map_ordered(lambda one: official_prediction(asked, one[0].tests, one[2], isolation), answers, workers))
    return _counted(name, [kind for _, kind, _ in answers], ours, official, ours_s, time.monotonic() - began - ours_s)


def official_methods(row: dict[str, Any], solution: str, isolation: Isolation, limits: Limits) -> bool:
    """Judge as LeetCodeDataset does: imports, solution and assertions are one program."""
    program = f"{row['prompt']}{solution}\n{row['test']}\ncheck({row['entry_point']})"
    return run_python(program, limits, isolation).status == "ok"


_LIVE = """
import io, json, sys
from decimal import Decimal
from unittest.mock import patch
cases, method, prelude = json.load(open("cases.json"))
code = open("solution.py").read()
scope = {"__name__": "__main__"}
if method:
    exec(prelude + code, scope)
    function = getattr(scope["Solution"](), method) if "class Solution" in code else scope[method]
for given, expected in cases:
    if method:
        answer = function(*map(json.loads, given.split("\\n")))
        assert (list(answer) if isinstance(answer, tuple) else answer) == json.loads(expected)
        continue
    printed = io.StringIO()
    with patch("sys.stdin", io.StringIO(given)), patch("sys.stdout", printed):
        try:
            exec(prelude + code, {"__name__": "__main__"})
        except SystemExit:
            pass
    lines, wanted = ([line.strip() for line in text.strip().split("\\n")] for text in (printed.getvalue(), expected))
    assert len(lines) == len(wanted)
    for line, right in zip(lines, wanted):
        assert line == right or list(map(Decimal, line.split())) == list(map(Decimal, right.split()))
"""


def official_live(cases: list[tuple[str, str]], method: str, solution: str, isolation: Isolation, wall_s: float = 6.0) -> bool:
    """Judge as LiveCodeBench does: one process with all tests in it calls the method, or runs the program with other streams."""
    content = {"cases.json": json.dumps([cases, method, PRELUDE]), "solution.py": solution}
    limits = Limits(wall_s=wall_s * max(1, len(cases)), cpu_s=60.0)
    return run_python(_LIVE, limits, isolation, files=content).status == "ok"


def mutants(solution: str, number: int = 5) -> list[tuple[str, str]]:
    """Return (slip, program) of so many slips in a program, of different kinds as far as there are."""
    kinds = {mutation.operator: mutation.code for mutation in reversed(mutations(solution))}
    return list(kinds.items())[-number:]


def compare_methods(name: str, workers: int, every: int = 12) -> dict[str, Any]:
    """Count on every so-manieth task; endless mutants would take hours on all."""
    isolation, limits = detect_isolation(), Limits(wall_s=10.0, cpu_s=30.0)
    row = BENCHMARKS[name]
    rows = {f"leetcode/{one['task_id']}": one for one in row.file.read(row.file.obtain())}
    benchmark = load_benchmark(name)
    judge = benchmark.judge.under(Conditions(isolation, Limits(wall_s=limits.wall_s / 3), "strict"))
    references = [(task, "reference", task.canonical_solution) for task in benchmark.tasks[::every]]
    programs = [*references, *((task, kind, code) for task, _, solution in references for kind, code in mutants(solution))]
    began = time.monotonic()
    ours = [v.status == "passed" for v in map_ordered(lambda one: judge(one[0], one[2], ALONE), programs, workers)]
    ours_s = time.monotonic() - began
    official = list(map_ordered(lambda one: official_methods(rows[one[0].task_id], one[2], isolation, limits), programs, workers))
    return _counted(name, [kind for _, kind, _ in programs], ours, official, ours_s, time.monotonic() - began - ours_s)


def _counted(name: str, kinds: list[str], ours: list[bool], official: list[bool], ours_s: float, official_s: float) -> dict[str, Any]:
    passed, wanted = Counter(), Counter()
    for kind, here, there in zip(kinds, ours, official, strict=True):
        passed[kind] += here
        wanted[kind] += there
    differing = sum(here != there for here, there in zip(ours, official, strict=True))
    times = {"seconds": round(ours_s, 1), "seconds_of_the_official_rule": round(official_s, 1)}
    return {"benchmark": name, "judged": len(kinds), "passed": passed, "officially": wanted, "differing": differing, **times}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("benchmarks", nargs="+", choices=("cruxeval-o", "cruxeval-i", "leetcode"))
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    for name in args.benchmarks:
        compare = compare_methods if name == "leetcode" else compare_predictions
        print(json.dumps(compare(name, args.workers)), flush=True)


if __name__ == "__main__":
    main()
