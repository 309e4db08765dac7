"""MultiPL-E's benchmarks: makes tasks from rows, and judges programs, with the verdict of MultiPL-E's own evaluators alongside."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from reflectioncoder.data.completion_requests import Request
from reflectioncoder.evaluate.judges.base import TAIL_CHARS, Conditions, Judge, Judging, Row, Subset, Task, Verdict
from reflectioncoder.evaluate.judges.multipl_e.preflight import PreflightError, require_preflight
from reflectioncoder.evaluate.judges.multipl_e.programs import (
    LanguageTests,
    ProgramVerdict,
    judge_program,
    parse_tasks,
    prefill,
    request_text,
)
from reflectioncoder.languages import LANGUAGES
from reflectioncoder.sandbox.detect import detect_isolation
from reflectioncoder.sandbox.execution import trim_builds
from reflectioncoder.sandbox.isolation import Isolation
from reflectioncoder.sandbox.pool import workers_within_memory
from reflectioncoder.sandbox.toolchain import Toolchain

HARNESS = "harness"
"""The subset of MultiPL-E's own verdicts: exit codes."""


@dataclass(frozen=True)
class MultiPLEJudge(Judge[LanguageTests]):
    """Judges programs in one language, once its known programs have got the right verdicts.

    Programs are judged again one at a time, since compilers and runtimes use all cores.
    """

    language: str

    @property
    def _toolchain(self) -> Toolchain:
        return LANGUAGES[self.language].toolchain

    def under(self, conditions: Conditions) -> Judging[LanguageTests]:
        return lambda task, solution, look: verdict_of(judge_program(solution, task.tests, conditions.isolation))

    def limits(self, conditions: Conditions) -> dict[str, Any]:
        toolchain = self._toolchain
        return {"run": asdict(toolchain.limits), "build": asdict(toolchain.build_limits) if toolchain.build else None}

    def why_skipped(self, workers: int) -> str | None:
        if missing := self._toolchain.missing():
            return f"{missing} is missing; {self._toolchain.install}"
        isolation = detect_isolation()
        try:
            require_preflight(self.language, isolation, workers)
        except PreflightError as error:
            return str(error)
        return None

    def prepare(self, isolation: Isolation, workers: int) -> int:
        trim_builds()
        require_preflight(self.language, isolation, workers)
        return workers_within_memory(self._toolchain.memory_bytes, workers)

    def environment(self) -> dict[str, Any]:
        return {"toolchain": self._toolchain.version()}

    def subsets(self, tasks: Sequence[Task[LanguageTests]], rows: Sequence[Row]) -> list[Subset]:
        """Return our verdicts and those of MultiPL-E's evaluators."""
        harness = [{**row, "status": "passed" if row.get("harness_status") == "OK" else "failed"} for row in rows]
        return [(None, rows), (HARNESS, harness)]

    def further_counts(self, rows: Sequence[Row]) -> dict[str, Any]:
        return {"reasons": dict(Counter(row["reason"] for row in rows if row.get("reason")))}


def verdict_of(judged: ProgramVerdict) -> Verdict:
    return Verdict(
        judged.status,
        judged.status,
        duration_s=judged.duration_s,
        detail=judged.detail[-TAIL_CHARS:],
        hit_time_limit=judged.hit_time_limit,
        fields={"reason": judged.reason, "harness_status": judged.harness_status},
    )


def tasks_of(language: str) -> Callable[[Sequence[Row], str], list[Task[LanguageTests]]]:
    """Return the function that makes tasks from the rows of a language's data file."""
    return lambda rows, where: [Task(row["name"], row["prompt"], "", row["tests"]) for row in parse_tasks(rows, language, where)]


def request_for(task: Task[LanguageTests], sample: int) -> Request:
    """Ask for a function; the answer is prefilled with the fence and the prompt."""
    language, stops = task.tests.language, task.tests.stop_tokens
    asked, begun = request_text(language, task.prompt), prefill(language, task.prompt)
    return Request(task.task_id, sample, asked, "", task.prompt, begun, language, stops)
