"""Recognises solutions of benchmark tasks under another name by calling their functions with the benchmarks' inputs.

Rewording hides a task from n-grams but does not change what the program does. All tasks are tried at once: one run calls every
function of the program with a few inputs of every task. Where all answers match, the task's own base tests decide.
`contamination.suites` does the same for tasks with unit test suites.
"""

from __future__ import annotations

import ast
import marshal
import math
import secrets
import threading
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from reflectioncoder import syntax
from reflectioncoder.choices import RULES
from reflectioncoder.contamination.suites import SuiteBehaviour
from reflectioncoder.data.files import content_hash
from reflectioncoder.evaluate.judges.base import Task
from reflectioncoder.evaluate.judges.bigcodebench.benchmark import UnitTests
from reflectioncoder.evaluate.judges.evalplus.data import Family, function_tests, restore_inputs
from reflectioncoder.evaluate.judges.evalplus.judge import FunctionJudge
from reflectioncoder.paths import cache_dir
from reflectioncoder.progress import say
from reflectioncoder.sandbox.isolation import Isolation
from reflectioncoder.sandbox.limits import Limits
from reflectioncoder.sandbox.process import run_python
from reflectioncoder.terminal import in_line

_INPUTS = 3  # per task, in the first run
_SECONDS, _SECONDS_OF_CANONICAL = 0.1, 2.0  # per call
_MAX_TOO_LONG = 20  # calls of one function that may exceed the time limit
_LIMITS = Limits(wall_s=6.0, cpu_s=6.0, output_bytes=8 * 2**20)
_RUNS = 3  # a run that breaks off is continued after the call that ended it, up to so many runs
_MAX_FUNCTIONS = 6


@dataclass(frozen=True)
class BenchmarkTask:
    family: Family
    row: dict[str, Any]  # as EvalPlus publishes it

    @property
    def inputs(self) -> list[list[Any]]:
        return restore_inputs(self.row["task_id"], list(self.row["base_input"][:_INPUTS]))


class Behaviour:
    """Names the benchmark task that a program solves: `behaviour(program)` returns its id or None. Safe to call from several threads.

    Attributes:
        names: the benchmarks whose tasks programs are compared with.

    Raises (from calls):
        SandboxUnavailableError: the sandbox cannot run programs here.
    """

    def __init__(
        self,
        tasks: list[BenchmarkTask],
        isolation: Isolation,
        suites: Sequence[Task[UnitTests]] = (),
        names: Sequence[str] = (),
    ):
        self.names = tuple(names)
        self._tasks = tasks
        self._by_suite = SuiteBehaviour(suites, isolation)
        self._isolation = isolation
        self._judge = FunctionJudge(isolation, RULES[0], cache_dir() / "expected")
        self._inputs = [[marshal.dumps(list(arguments), 2) for arguments in task.inputs] for task in tasks]
        self._lock = threading.Lock()
        self._expected: list[list[str]] | None = None
        self._known: dict[str, str | None] = {}

    def __call__(self, program: str) -> str | None:
        key = content_hash(program)
        if key not in self._known:
            self._known[key] = self._find(program)
        return self._known[key]

    def _find(self, program: str) -> str | None:
        if not (names := _functions(program)):
            return None
        return self._by_inputs(program, names) or self._by_suite(program, names)

    def _by_inputs(self, program: str, names: Sequence[str]) -> str | None:
        if not self._tasks:
            return None
        calls = [
            (number, name, arguments)
            for name in names
            for number, inputs in enumerate(self._inputs)
            for arguments in inputs
        ]  # fmt: skip
        answers = self._ask([program], [(0, name, arguments) for _, name, arguments in calls], _SECONDS)
        found: dict[tuple[int, str], list[str]] = defaultdict(list)
        for (number, name, _), answer in zip(calls, answers, strict=True):
            found[number, name].append(answer)
        expected = self._expected_answers()
        for (number, name), given in found.items():
            if all(map(_alike, given, expected[number])) and self._passes(number, name, program):
                return f"{self._tasks[number].row['task_id']}, by what {name} does"
        return None

    def _expected_answers(self) -> list[list[str]]:
        with self._lock:
            if self._expected is None:
                programs = [task.row["prompt"] + task.row["canonical_solution"] for task in self._tasks]
                calls = [
                    (number, task.row["entry_point"], arguments)
                    for number, task in enumerate(self._tasks)
                    for arguments in self._inputs[number]
                ]
                answers = self._ask(programs, calls, _SECONDS_OF_CANONICAL)
                self._expected = [[] for _ in self._tasks]
                for (number, _, _), answer in zip(calls, answers, strict=True):
                    self._expected[number].append(answer)
                unknown = [self._tasks[number].row["task_id"] for number, answers in enumerate(self._expected) if not all(answers)]
                if unknown:
                    named = ", ".join(map(in_line, unknown))
                    say(f"decontamination: the references of {named} gave no answers: these tasks are not recognised")
            return self._expected

    def _ask(self, programs: list[str], calls: list[tuple[int, str, bytes]], seconds: float) -> list[str]:
        """Return the repr of each call's result; "" for a call without one."""
        answers = [""] * len(calls)
        probe = (files("reflectioncoder.contamination") / "probe.py").read_text(encoding="utf-8")
        first, tag = 0, secrets.token_hex(8)
        for _ in range(_RUNS):
            jobs = {
                "programs": programs,
                "calls": calls,
                "first": first,
                "seconds": seconds,
                "max_too_long": _MAX_TOO_LONG,
                "tag": tag,
            }
            ran = run_python(probe, _LIMITS, self._isolation, files={"jobs.hex": marshal.dumps(jobs, 2).hex()})
            for line in ran.stdout.splitlines():
                start, _, rest = line.partition(" ")
                number, _, text = rest.partition(" ")
                if start == tag and number.isdigit() and int(number) < len(calls):
                    answers[int(number)] = syntax.literal(text)
                    first = max(first, int(number) + 1)
            if first >= len(calls) or ran.status == "ok":
                break
            first += 1
        return answers

    def _passes(self, number: int, name: str, program: str) -> bool:
        task = self._tasks[number]
        entry_point = task.row["entry_point"]
        renamed = program if name == entry_point else f"{program}\n\n{entry_point} = {name}\n"
        tests = function_tests(task.family, task.row)
        verdict = self._judge.judge_part(task.row["task_id"], entry_point, tests, "base", renamed, alone=False)
        if verdict.hit_time_limit:
            verdict = self._judge.judge_part(task.row["task_id"], entry_point, tests, "base", renamed, alone=True)
        return verdict.status == "passed"


def _functions(program: str) -> list[str]:
    """Return the last few functions that no other function uses: a helper's behaviour is not the program's purpose."""
    try:
        tree = syntax.parse(program)
    except (SyntaxError, ValueError, RecursionError):
        return []
    defined: dict[str, ast.stmt] = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            defined[node.name] = node
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Lambda):
            defined |= {target.id: node for target in node.targets if isinstance(target, ast.Name)}
    used_by = {name: {part.id for part in ast.walk(node) if isinstance(part, ast.Name)} for name, node in defined.items()}
    roots = [name for name in defined if not any(name in used for other, used in used_by.items() if other != name)]
    return (roots or list(defined))[-_MAX_FUNCTIONS:]


def _alike(given: str, expected: str) -> bool:
    """Tell whether two answers may be equal, no more strictly than the tests: numbers may differ slightly. A missing one never is."""
    if not given or not expected:
        return False
    if given == expected:
        return True
    try:
        return _close(*(syntax.literal(text) for text in (given, expected)))
    except syntax.NOT_A_LITERAL:
        return False


def _close(one: Any, other: Any) -> bool:
    if isinstance(one, (int, float)) and isinstance(other, (int, float)):
        return one == other or math.isclose(one, other, rel_tol=1e-5, abs_tol=1e-6)
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(_close, one, other))
    return one == other
