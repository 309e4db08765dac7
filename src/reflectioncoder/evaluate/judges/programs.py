"""Judges by tests that are Python programs: the bundled problems, the user's own and the original HumanEval.

The tests run in another process than the solution.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

from reflectioncoder.choices import RULES
from reflectioncoder.data.completion_requests import Request, python_request
from reflectioncoder.data.problems import Problem, parse_problem
from reflectioncoder.data.prompts import answer_program
from reflectioncoder.errors import UsageError
from reflectioncoder.evaluate.judges.base import (
    SHARED_FACTOR,
    TAIL_CHARS,
    Conditions,
    Judge,
    Judging,
    Look,
    ReferenceOutcome,
    Row,
    Status,
    Subset,
    Task,
    Verdict,
)
from reflectioncoder.languages import PYTHON
from reflectioncoder.sandbox.asserted import TestsReport, run_tests
from reflectioncoder.sandbox.isolation import Isolation
from reflectioncoder.sandbox.limits import Limits
from reflectioncoder.terminal import in_line

FIRST_WALL_S = 2.0  # limit on own time in a first run, while others run; only a run alone gets the full limit


@dataclass(frozen=True)
class ProgramTests:
    """Tests that are programs: each runs with the entry point's name bound, after `setup`; all must pass."""

    programs: tuple[str, ...]
    setup: str = ""

    def key(self) -> str:
        return hashlib.sha256(repr(self).encode()).hexdigest()


@dataclass(frozen=True)
class ProgramsJudge(Judge[ProgramTests]):
    """Judges by test programs. `whole`: name of the whole benchmark in the results, next to its grades and parts."""

    whole: str | None = None
    runs_beside_others: ClassVar[bool] = True

    def under(self, conditions: Conditions) -> Judging[ProgramTests]:
        return lambda task, solution, look: _verdict(task, solution, look, conditions)

    def limits(self, conditions: Conditions) -> dict[str, Any]:
        return asdict(conditions.limits)

    def subsets(self, tasks: Sequence[Task[ProgramTests]], rows: Sequence[Row]) -> list[Subset]:
        return [(self.whole, rows), *part_subsets(tasks, rows)]


def part_subsets(tasks: Sequence[Task[Any]], rows: Sequence[Row]) -> list[Subset]:
    """Return the subsets for grades and for named parts."""
    named: dict[str, set[str]] = {}
    for task in sorted(tasks, key=lambda task: task.grade):
        for name in (f"grade {task.grade}" if task.grade else "", task.part):
            named.setdefault(name, set()).add(task.task_id)
    named.pop("", None)
    return [(name, [row for row in rows if row["task_id"] in wanted]) for name, wanted in named.items()]


def _verdict(task: Task[ProgramTests], solution: str, look: Look, conditions: Conditions) -> Verdict:
    limits = _limits(conditions.limits, look)
    report = run_tests(solution, task.entry_point, task.tests.setup, task.tests.programs, limits, conditions.isolation)
    outcomes = tuple({"passed": row["passed"], "detail": row["detail"]} for row in report.rows if "test" in row)
    errors = [str(row.get(key)) for row in report.rows for key in ("compile_error", "load_error", "detail") if row.get(key)]
    done = any(row.get("done") for row in report.rows)
    status = _status(report, errors, done and len(outcomes) == len(task.tests.programs) and all(o["passed"] for o in outcomes))
    detail = next(iter(errors), report.detail or ("" if done else "ended before its tests did"))
    return Verdict(
        status,
        status,
        duration_s=report.duration_s,
        detail=detail[-TAIL_CHARS:],
        hit_time_limit=status == "timeout",
        tests=outcomes,
        is_unsure=look.core is not None and status != "timeout" and report.duration_s > conditions.limits.wall_s,
        kept=report.out_of_reach if status == "failed" else {},
    )


def _limits(limits: Limits, look: Look) -> Limits:
    if look.core is not None:
        return replace(limits, wall_s=limits.wall_s * SHARED_FACTOR)
    return limits if look.alone else replace(limits, wall_s=min(limits.wall_s, FIRST_WALL_S))


def _status(report: TestsReport, errors: Sequence[str], passed: bool) -> Status:
    if report.end != "ended":
        return report.end
    if any("compile_error" in row for row in report.rows):
        return "compile_error"
    if any(error.startswith("MemoryError") for error in errors):
        return "memory"
    return "passed" if passed else "failed"


@dataclass(frozen=True)
class OwnProblemsJudge(ProgramsJudge):
    """Judges a user's own problems by their tests.

    Tests that need more of a program than its one function, a class for instance or a helper beside it, cannot be judged so: their
    references fail, and the tasks are left out by name. References have the default limits, whatever those of the solutions are. Of a
    task without a reference that cannot be known; tests that could not be judged for such a reason are named then (`out_of_reach`).
    """

    checks_references: ClassVar[bool] = True

    def under(self, conditions: Conditions) -> Judging[ProgramTests]:
        def judge(task: Task[ProgramTests], solution: str, look: Look) -> Verdict:
            verdict = _verdict(task, solution, look, conditions)
            if task.canonical_solution or not verdict.kept:
                return verdict
            return replace(verdict, detail=_first_out_of_reach(verdict), fields={"out_of_reach": sorted(verdict.kept)})

        return judge

    def further_counts(self, rows: Sequence[Row]) -> dict[str, Any]:
        found: dict[str, dict[str, Any]] = {}
        for row in rows:
            if tests := row.get("out_of_reach"):
                said = found.setdefault(row["task_id"], {"num_samples": 0, "tests": tests, "reason": row["stderr_tail"]})
                said["num_samples"] += 1
        return {"out_of_reach": found} if found else {}

    def reference_outcome(self, task: Task[ProgramTests], isolation: Isolation, *, alone: bool) -> ReferenceOutcome:
        if not task.canonical_solution:
            return ReferenceOutcome(is_missing=True)
        verdict = _verdict(task, task.canonical_solution, Look(alone=alone), Conditions(isolation, Limits(), RULES[0]))
        if verdict.status == "passed":
            return ReferenceOutcome()
        failed = (row["detail"] for row in verdict.tests if not row["passed"])
        reason = _first_out_of_reach(verdict) if verdict.kept else verdict.detail or next(failed, verdict.status)
        return ReferenceOutcome(str(reason), is_unsure=verdict.hit_time_limit and not alone)


def _first_out_of_reach(verdict: Verdict) -> str:
    number, reason = min(verdict.kept.items())
    return f"test {number}: {reason}"[:TAIL_CHARS]


def bundled_tasks(rows: Sequence[Row], where: str) -> list[Task[ProgramTests]]:
    """Make tasks from problems (`data.problems`)."""
    return [_task(parse_problem(row, f"{where}:{number}")) for number, row in enumerate(rows, start=1)]


def own_tasks(rows: Sequence[Row], where: str) -> list[Task[ProgramTests]]:
    """Make tasks from the problems in a user's file, with the same requests as in training.

    Raises:
        UsageError: a problem has no tests, occurs twice or is not in Python; the file holds no problems.
    """
    tasks: dict[str, Task[ProgramTests]] = {}
    for number, row in enumerate(rows, start=1):
        problem = parse_problem(row, f"{where}:{number}")
        wrong = "occurs twice" if problem.task_id in tasks else "" if problem.tests else "has no tests"
        if wrong or problem.language != PYTHON.name:
            raise UsageError(f"{where}:{number}: problem {in_line(problem.task_id)} {wrong or 'is not in Python'}: it cannot be a task")
        tasks[problem.task_id] = _task(problem)
    if not tasks:
        raise UsageError(f"{where}: no problem in it")
    return list(tasks.values())


def _task(problem: Problem) -> Task[ProgramTests]:
    return Task(
        problem.task_id,
        problem.prompt,
        problem.entry_point,
        ProgramTests(problem.tests, problem.setup),
        problem.topic,
        problem.grade,
        canonical_solution=answer_program(problem) if problem.has_reference else "",
        instruction=problem.instruction,
    )


def humaneval_tasks(rows: Sequence[Row], where: str) -> list[Task[ProgramTests]]:
    """Make tasks from the original HumanEval's rows."""
    tasks = []
    for row in rows:
        # Some tests call helpers that the prompt defines before the function to be written.
        setup = row["prompt"] + "    pass\n"
        tests = ProgramTests((f"{row['test']}\ncheck({row['entry_point']})\n",), setup)
        solution = row["prompt"] + row.get("canonical_solution", "")
        tasks.append(Task(row["task_id"], row["prompt"], row["entry_point"], tests, canonical_solution=solution))
    return tasks


def request_for(task: Task[Any], sample: int) -> Request:
    """Ask for a Python function by its signature and docstring, or by the task's instruction if it has one."""
    return python_request(task.task_id, sample, task.prompt, task.entry_point, task.instruction)
