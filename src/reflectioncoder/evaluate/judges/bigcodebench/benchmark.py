"""BigCodeBench-Hard's benchmarks: makes tasks from rows, and judges those whose references pass on this machine."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from reflectioncoder.data.completion_requests import Request
from reflectioncoder.data.files import content_hash, read_json, remember_json
from reflectioncoder.data.python_source import parse
from reflectioncoder.errors import UsageError
from reflectioncoder.evaluate.judges.base import Conditions, Judge, Judging, Look, ReferenceOutcome, Row, Subset, Task, Verdict
from reflectioncoder.evaluate.judges.bigcodebench.alterations import Alteration, Suite
from reflectioncoder.evaluate.judges.bigcodebench.data import Split, calibrated, instruction_for
from reflectioncoder.evaluate.judges.bigcodebench.suites import failing_alterations, judge_suite, run_suite, unchanged
from reflectioncoder.evaluate.versions import package_versions
from reflectioncoder.paths import cache_dir
from reflectioncoder.sandbox.isolation import Isolation
from reflectioncoder.sandbox.limits import Limits
from reflectioncoder.sandbox.pool import workers_within_memory

HARNESS = "harness"
"""The subset of the official verdicts: no failure and no error among the tests that ran."""
MAX_S = 240.0
LIMITS = Limits(
    wall_s=MAX_S,
    cpu_s=MAX_S,
    memory_bytes=4 * 2**30,
    address_space_bytes=30 * 2**30,
    file_bytes=64 * 2**20,
    disk_bytes=256 * 2**20,
    processes=64,
    open_files=256,
)
"""The official limits on time and address space."""
_SLOW_S = 15.0  # some references sleep in each of their tests
_USUAL_BYTES = 2**30  # a program's usual memory
_FIRST_S = 30.0  # limit on own time in a first run, while others run; only a run alone gets the full limit
_FORMAT = 2  # version of the cached references and of how suites are altered


@dataclass(frozen=True)
class UnitTests:
    """A class `TestCases` in `source`. `code_prompt`: imports and the head of the function; `reference`: a program that should pass."""

    source: str
    code_prompt: str
    reference: str

    def key(self) -> str:
        return content_hash(self.source, self.code_prompt, self.reference)


@dataclass(frozen=True)
class Reference:
    """The outcome for a task's reference on this machine: why it fails ("": it passes), and how its tests can be made wrong."""

    failure: str
    alterations: dict[str, tuple[Alteration, ...]]

    def is_complete(self, suite: Suite) -> bool:
        """Tell whether the reference passes and every test with an assertion can be made wrong."""
        return not self.failure and all(self.alterations.get(test) for test in suite.tests if suite.alterations(test))

    def is_hidden(self, suite: Suite) -> bool:
        """Tell whether any of the wrong tests looks right to a reader of the source."""
        return any(suite.is_hidden(each) for own in self.alterations.values() for each in own)


@dataclass(frozen=True)
class UnitTestsJudge(Judge[UnitTests]):
    """Judges by `unittest` suites that run in the solution's process: they patch its calls and inspect objects that cannot leave it."""

    checks_references: ClassVar[bool] = True

    def under(self, conditions: Conditions) -> Judging[UnitTests]:
        isolation = confined(conditions.isolation)

        def judge(task: Task[UnitTests], solution: str, look: Look) -> Verdict:
            if parse(solution) is None:
                fields = {"reason": "", "harness_status": "failed"}
                return Verdict("compile_error", "compile_error", detail="no valid Python", fields=fields)
            limits = LIMITS if look.alone else replace(LIMITS, wall_s=_FIRST_S)
            known = reference_of(task.tests, isolation, alone=look.alone)
            return judge_suite(
                calibrated(task.tests.code_prompt, solution), suite_of(task.tests.source), known.alterations, limits, isolation
            )

        return judge

    def limits(self, conditions: Conditions) -> dict[str, Any]:
        return asdict(LIMITS)

    def no_code(self) -> Verdict:
        return Verdict("no_code", "no_code", fields={"reason": "", "harness_status": "failed"})

    def prepare(self, isolation: Isolation, workers: int) -> int:
        return workers_within_memory(_USUAL_BYTES, workers)

    def environment(self) -> dict[str, Any]:
        return {"packages": list(package_versions())}

    def reference_outcome(self, task: Task[UnitTests], isolation: Isolation, *, alone: bool) -> ReferenceOutcome:
        known, suite = reference_of(task.tests, confined(isolation), alone=alone), suite_of(task.tests.source)
        return ReferenceOutcome(known.failure, known.is_hidden(suite), not alone and not known.is_complete(suite))

    def subsets(self, tasks: Sequence[Task[UnitTests]], rows: Sequence[Row]) -> list[Subset]:
        """Return our verdicts and the official ones."""
        harness = [{**row, "status": "passed" if row.get("harness_status") == "OK" else "failed"} for row in rows]
        return [(None, rows), (HARNESS, harness)]

    def further_counts(self, rows: Sequence[Row]) -> dict[str, Any]:
        return {"reasons": dict(Counter(row["reason"] for row in rows if row.get("reason")))}


def confined(isolation: Isolation) -> Isolation:
    """Let programs read /proc if it shows only their own processes: libraries look up loaded libraries there."""
    return replace(isolation, readable_proc=True)


@cache
def suite_of(source: str) -> Suite:
    return Suite(source)


def reference_of(tests: UnitTests, isolation: Isolation, *, alone: bool) -> Reference:
    """Judge the reference of a task; cached in the user cache by packages, Python version and isolation.

    Args:
        alone: no other program is running. Failures while others run may be due to them, and are not cached.

    Raises:
        SandboxUnavailableError: the sandbox failed.
    """
    path = _kept_at(tests, isolation)
    try:
        return _read(path)
    except (UsageError, KeyError, TypeError):  # missing or truncated
        pass
    found = _judged(tests, isolation)
    if alone or found.is_complete(suite_of(tests.source)):
        alterations = {test: [asdict(each) for each in wrong] for test, wrong in found.alterations.items()}
        remember_json(path, {"failure": found.failure, "alterations": alterations})
    return found


def _kept_at(tests: UnitTests, isolation: Isolation) -> Path:
    environment = content_hash(_FORMAT, package_versions(), platform.python_version(), isolation.name, asdict(LIMITS))
    return cache_dir() / "references" / environment[:16] / f"{tests.key()[:32]}.json"


def _read(path: Path) -> Reference:
    said = read_json(path)
    return Reference(
        said["failure"], {test: tuple(Alteration(**each) for each in wrong) for test, wrong in said["alterations"].items()}
    )


def _judged(tests: UnitTests, isolation: Isolation) -> Reference:
    suite = suite_of(tests.source)
    program = calibrated(tests.code_prompt, tests.reference)
    run = run_suite(program, unchanged(suite), LIMITS, isolation)
    verdict = run.verdict(suite.tests)
    if verdict.status != "passed":
        return Reference(f"{verdict.status}: {verdict.detail}" if verdict.status != "failed" else verdict.detail, {})
    return Reference("", failing_alterations(program, suite, LIMITS, isolation, is_slow=run.ran.duration_s > _SLOW_S))


def tasks_of(split: Split) -> Callable[[Sequence[Row], str], list[Task[UnitTests]]]:
    """Return the function that makes tasks from a split's rows."""
    return lambda rows, where: [_task(row, split) for row in rows]


def _task(row: Row, split: Split) -> Task[UnitTests]:
    reference = row["code_prompt"].rstrip("\n") + "\n" + row["canonical_solution"].strip("\n") + "\n"
    return Task(
        task_id=row["task_id"],
        prompt=row["prompt"] if split == "complete" else row["code_prompt"],
        entry_point=row["entry_point"],
        tests=UnitTests(row["test"], row["code_prompt"], reference),
        canonical_solution=reference,
        instruction=instruction_for(row, split),
    )


def request_for(task: Task[UnitTests], sample: int) -> Request:
    """Ask with the official request; the answer is prefilled with the fence alone."""
    return Request(task.task_id, sample, task.instruction, task.entry_point)
