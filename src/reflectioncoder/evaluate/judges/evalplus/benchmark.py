"""EvalPlus's benchmarks: makes tasks from rows, and combines the verdicts on a solution's parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from reflectioncoder.data.completion_requests import Request
from reflectioncoder.evaluate.judges.base import Conditions, Judge, Judging, Look, ResultFile, Row, Subset, Task, Verdict
from reflectioncoder.evaluate.judges.evalplus.data import Family, FunctionTests, PartName, function_tests
from reflectioncoder.evaluate.judges.evalplus.judge import FunctionJudge, PartVerdict, describe_limits
from reflectioncoder.evaluate.judges.evalplus.result_file import evalplus_results
from reflectioncoder.paths import cache_dir


@dataclass(frozen=True)
class EvalPlusJudge(Judge[FunctionTests]):
    """Judges by comparing answers to inputs. `parts`: the parts a solution must pass: base, or base and plus."""

    parts: tuple[PartName, ...]
    has_rules: ClassVar[bool] = True
    runs_beside_others: ClassVar[bool] = True
    result_files: ClassVar[Mapping[str, ResultFile]] = {"evalplus": evalplus_results}

    def under(self, conditions: Conditions) -> Judging[FunctionTests]:
        return SolutionJudge(FunctionJudge(conditions.isolation, conditions.rules, cache_dir() / "expected"), self.parts)

    def limits(self, conditions: Conditions) -> dict[str, Any]:
        return describe_limits(conditions.rules)

    def no_code(self) -> Verdict:
        return Verdict("no_code", "no_code", "no_code" if "plus" in self.parts else None)

    def subsets(self, tasks: Sequence[Task[FunctionTests]], rows: Sequence[Row]) -> list[Subset]:
        """Return base and plus; a sample passes plus only if it also passes base."""
        base: Subset = "base", [{**row, "status": row["base_status"]} for row in rows]
        return [base, ("plus", rows)] if "plus" in self.parts else [base]


@dataclass(frozen=True)
class SolutionJudge:
    """Judges solutions part by part."""

    functions: FunctionJudge
    parts: tuple[PartName, ...]

    def __call__(self, task: Task[FunctionTests], solution: str, look: Look) -> Verdict:
        known = look.earlier.kept if look.earlier and look.earlier.kept else {}
        verdicts = {
            part: known[part] if part in known and _is_certain(known[part]) else self._judge_part(task, part, solution, look)
            for part in self.parts
        }
        base, plus = verdicts["base"], verdicts.get("plus")
        deciding = base if plus is None or base.status != "passed" else plus
        return Verdict(
            status=deciding.status,
            base_status=base.status,
            plus_status=plus.status if plus else None,
            duration_s=sum(verdict.duration_s for verdict in verdicts.values()),
            detail=deciding.detail,
            hit_time_limit=any(verdict.hit_time_limit for verdict in verdicts.values()),
            failed_inputs={part: v.failed_input for part, v in verdicts.items() if v.failed_input is not None},
            is_unsure=any(verdict.is_unsure for verdict in verdicts.values()),
            kept=verdicts,
        )

    def _judge_part(self, task: Task[FunctionTests], part: PartName, solution: str, look: Look) -> PartVerdict:
        return self.functions.judge_part(task.task_id, task.entry_point, task.tests, part, solution, alone=look.alone, core=look.core)


def _is_certain(verdict: PartVerdict) -> bool:
    return not (verdict.hit_time_limit or verdict.is_unsure)


def tasks_of(family: Family) -> Callable[[Sequence[Row], str], list[Task[FunctionTests]]]:
    """Return the function that makes tasks from a data set's rows."""

    def task(row: Row) -> Task[FunctionTests]:
        tests = function_tests(family, row)
        return Task(row["task_id"], row["prompt"], row["entry_point"], tests, canonical_solution=tests.canonical_solution)

    return lambda rows, where: [task(row) for row in rows]


def mbpp_request(task: Task[FunctionTests], sample: int) -> Request:
    """Ask with the task's text and its first assertion in a fence (the paper's request). The prompt is a docstring with both."""
    text, found, assertion = task.prompt.strip().strip('"').partition("\nassert")
    asked = f"{text.strip()}\n```python\nassert{assertion.rstrip()}\n```" if found else text.strip()
    return Request(task.task_id, sample, asked, task.entry_point)
