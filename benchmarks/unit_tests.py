"""Verdicts on BigCodeBench-Hard beside the official rule: references, slips in them and hand-made programs, counted.

The official rule is written down here in its simplest form and runs in the sandbox: prompt, solution and tests are one module, and a
program passes if `unittest` has neither a failure nor an error. Only tasks whose references pass here are compared.

    python -m benchmarks.unit_tests bigcodebench-hard/complete --every 8
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from dataclasses import replace
from typing import Any

from benchmarks.answer_benchmarks import mutants
from reflectioncoder.evaluate.benchmarks import BENCHMARKS, load_benchmark
from reflectioncoder.evaluate.judges.base import ALONE, Conditions
from reflectioncoder.evaluate.judges.bigcodebench.benchmark import LIMITS, confined
from reflectioncoder.evaluate.references import with_references
from reflectioncoder.sandbox.detect import FLOOR, detect_isolation
from reflectioncoder.sandbox.isolation import Isolation
from reflectioncoder.sandbox.limits import Limits
from reflectioncoder.sandbox.pool import map_ordered
from reflectioncoder.sandbox.process import run_python

_OFFICIAL = """
import builtins, os, sys, time, types, unittest
source = open("program.py").read()
for name in ("program.py", "main.py"):
    os.remove(name)
os.environ.update(TZ="UTC", MPLBACKEND="Agg")
time.tzset()
builtins.exit = builtins.quit = None
module = types.ModuleType("__test__")
module.__dict__.update(__file__="__test__.py", sys=sys, os=os, environ=os.environ)
try:
    exec(compile(source, "__test__.py", "exec"), module.__dict__)
    sys.modules["__test__"] = module
    suite = unittest.TestLoader().loadTestsFromTestCase(module.TestCases)
except BaseException:
    os._exit(1)
result = unittest.TestResult()
suite.run(result)
os._exit(1 if result.failures or result.errors else 42)
"""
_PASSED = 42  # the exit code; a program that ends by itself has another
EDGES = {
    "nothing": "",
    "no definition": "x = 1\n",
    "a stub": "def task_func(*args, **kwargs):\n    pass\n",
    "no Python": "def task_func(:\n",
    "raises": "def task_func(*args, **kwargs):\n    raise KeyError(1)\n",
    "raises at once": "raise KeyError(1)\n",
    "ends": "import sys\nsys.exit(0)\n",
    "ends when called": "import sys\ndef task_func(*args, **kwargs):\n    sys.exit(0)\n",
    "prints": "print(1)\ndef task_func(*args, **kwargs):\n    print(args)\n",
    "another name": "def solve(*args, **kwargs):\n    return 1\n",
}
"""Programs that are judged for every task besides the reference and slips in it."""


def official_unit_tests(code_prompt: str, tests: str, solution: str, isolation: Isolation, limits: Limits = LIMITS) -> bool:
    """Judge as BigCodeBench does, calibrated."""
    program = f"{code_prompt}\n    pass\n{solution}\n{tests}"
    return run_python(_OFFICIAL, limits, isolation, files={"program.py": program}).exit_code == _PASSED


def compare(name: str, workers: int, first: int, every: int, number: int) -> dict[str, Any]:
    """Count on every so-manieth task from the first, with so many slips each."""
    isolation = confined(detect_isolation())
    row = BENCHMARKS[name]
    rows = {one["task_id"]: one for one in row.file.read(row.file.obtain())}
    whole = load_benchmark(name)
    tasks = whole.tasks[first::every]
    whole = replace(whole, tasks=tasks, left_out=frozenset(task.task_id for task in whole.tasks if task not in tasks))
    benchmark = with_references(whole, FLOOR, workers)
    judge = benchmark.judge.under(Conditions(isolation, Limits(), "strict"))
    tasks = benchmark.tasks
    programs = [(task, "reference", task.canonical_solution) for task in tasks]
    programs += [(task, "slip", code) for task in tasks for _, code in mutants(task.canonical_solution, number)]
    programs += [(task, kind, code) for task in tasks for kind, code in EDGES.items()]
    began = time.monotonic()
    ours = list(map_ordered(lambda one: judge(one[0], one[2], ALONE), programs, workers))
    ours_s = time.monotonic() - began

    def official(one: Any) -> bool:
        task, _, code = one
        published = rows[task.task_id]
        return official_unit_tests(published["code_prompt"], published["test"], code, isolation)

    theirs = list(map_ordered(official, programs, workers))
    theirs_s = time.monotonic() - began - ours_s
    passed, wanted, differing = Counter(), Counter(), []
    for (task, kind, code), verdict, there in zip(programs, ours, theirs, strict=True):
        passed[kind] += verdict.status == "passed"
        wanted[kind] += there
        if (verdict.status == "passed") != there:
            differing.append({"task": task.task_id, "kind": kind, "ours": verdict.status, "said": verdict.detail, "program": code})
    return {
        "benchmark": name,
        "tasks": len(tasks),
        "references": {"num_tasks": len(whole.tasks), "num_passed": len(benchmark.tasks)},
        "judged": Counter(kind for _, kind, _ in programs),
        "passed": passed,
        "officially": wanted,
        "differing": differing,
        "seconds": round(ours_s, 1),
        "seconds_of_the_official_rule": round(theirs_s, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("benchmark", choices=[name for name in BENCHMARKS if name.startswith("bigcodebench-hard/")])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--first", type=int, default=0, metavar="K", help="begin with the task of this number, counted from 0")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="take every N-th task")
    parser.add_argument("--slips", type=int, default=5, metavar="N", help="in each reference")
    args = parser.parse_args()
    print(json.dumps(compare(args.benchmark, args.workers, args.first, args.every, args.slips)), flush=True)


if __name__ == "__main__":
    main()
