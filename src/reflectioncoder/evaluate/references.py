"""Excludes the tasks of a benchmark that this machine cannot judge: those whose canonical solutions (references) fail here.

Judges check references (`Judge.checks_references`) if their tests need packages, the network or particular versions, or if the problems
are the user's own. Results name each excluded task with its reason, and report beside every score how many references pass. A reference
that fails while others run is judged once more, alone. The outcome for a whole benchmark is stored for `known_references`, which judges
nothing.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reflectioncoder.data.files import content_hash, read_json, remember_json
from reflectioncoder.errors import MachineError, SandboxUnavailableError, UsageError
from reflectioncoder.evaluate.judges.base import ReferenceOutcome
from reflectioncoder.evaluate.versions import package_versions
from reflectioncoder.paths import cache_dir
from reflectioncoder.progress import Progress
from reflectioncoder.sandbox.detect import detect_isolation, require_floor
from reflectioncoder.sandbox.isolation import Isolation
from reflectioncoder.sandbox.pool import map_ordered
from reflectioncoder.terminal import in_line

if TYPE_CHECKING:
    from reflectioncoder.evaluate.benchmarks import Benchmark


@dataclass(frozen=True)
class References:
    """The number of tasks checked, and by task the reason why its reference fails here.

    `not_challenged`: the others whose challenge can be seen through (`ReferenceOutcome.is_challenged`). `num_without`: tasks that have
    no reference; they are judged all the same.
    """

    num_tasks: int
    failed: Mapping[str, str]
    not_challenged: tuple[str, ...] = ()
    num_without: int = 0

    @classmethod
    def of_json(cls, said: Mapping[str, Any]) -> References:
        """Read what `to_json` says."""
        return cls(said["num_tasks"], said["failed"], tuple(said["not_challenged"]), said.get("num_without", 0))

    @property
    def num_passed(self) -> int:
        return self.num_tasks - len(self.failed) - self.num_without

    def to_json(self) -> dict[str, Any]:
        counts = {"num_tasks": self.num_tasks, "num_passed": self.num_passed}
        counts |= {"num_without": self.num_without} if self.num_without else {}
        return {**counts, "failed": dict(self.failed), "not_challenged": list(self.not_challenged)}


def line_of(references: Mapping[str, Any]) -> str:
    """Return what `References.to_json` says as a few words for people."""
    num_tasks, num_without = references["num_tasks"], references.get("num_without", 0)
    if num_without == num_tasks:
        return f"none of the {num_tasks} tasks has a reference" if num_tasks > 1 else "the task has no reference"
    without = f", and {num_without} {'have' if num_without > 1 else 'has'} none" if num_without else ""
    return f"the references of {references['num_passed']} of {num_tasks} tasks pass here{without}"


def failed_in(results: Mapping[str, Any]) -> frozenset[str]:
    """Return the tasks that results exclude because their references fail; rows of an earlier scoring may still hold them."""
    return frozenset((results["benchmark"].get("references") or {}).get("failed", ()))


def lines_of(results: Mapping[str, Any]) -> list[str]:
    """Return lines that name the tasks that results exclude or do not challenge; empty without such tasks."""
    references = results["benchmark"].get("references")
    if not references:
        return []
    name, lines = results["benchmark"]["name"], []
    if references["failed"]:
        left_out = [f"  {in_line(task)}: {in_line(reason)}" for task, reason in references["failed"].items()]
        lines = [f"{name}: {line_of(references)}; left out:", *left_out]
    if not_challenged := references.get("not_challenged"):
        lines.append(
            f"{name}: {len(not_challenged)} tasks whose challenge can be seen through: {', '.join(map(in_line, not_challenged))}"
        )
    if out_of_reach := results.get("out_of_reach"):
        number = sum(said["num_samples"] for said in out_of_reach.values())
        lines.append(f"{name}: {number} samples failed by values that cannot be judged, on tasks without a reference; may be right:")
        lines += [f"  {in_line(task)}: {in_line(said['reason'])}" for task, said in out_of_reach.items()]
    return lines


def with_references(benchmark: Benchmark[Any], floor: int, workers: int) -> Benchmark[Any]:
    """Return the benchmark restricted to tasks whose references pass here; unchanged if its judge does not check references.

    Raises:
        MachineError: no reference passes.
        SandboxUnavailableError: no program can be confined here, or only below the floor.
    """
    judge = benchmark.judge
    if not judge.checks_references or benchmark.references is not None or judge.why_skipped(workers):
        return benchmark
    isolation = detect_isolation()
    require_floor(isolation, floor)
    workers = judge.prepare(isolation, workers)
    outcomes: dict[str, ReferenceOutcome] = {}
    with Progress(f"references {benchmark.name}", len(benchmark.tasks)) as progress:
        beside_others = map_ordered(lambda task: judge.reference_outcome(task, isolation, alone=False), benchmark.tasks, workers)
        for task, outcome in zip(benchmark.tasks, beside_others, strict=True):
            outcomes[task.task_id] = outcome
            progress.update(sum(not each.is_unsure for each in outcomes.values()))
        for task in benchmark.tasks:
            if outcomes[task.task_id].is_unsure:
                outcomes[task.task_id] = judge.reference_outcome(task, isolation, alone=True)
                progress.update(sum(not each.is_unsure for each in outcomes.values()))
    failed = {task: outcome.failure for task, outcome in outcomes.items() if outcome.failure}
    not_challenged = tuple(task for task, outcome in outcomes.items() if not outcome.failure and not outcome.is_challenged)
    num_without = sum(outcome.is_missing for outcome in outcomes.values())
    references = References(len(benchmark.tasks), failed, not_challenged, num_without)
    if not benchmark.left_out:
        environment = _environment(benchmark.sha256, isolation)
        remember_json(_kept_at(benchmark.name), {"environment": environment, **references.to_json()})
    if len(failed) == len(benchmark.tasks):
        reason = next(iter(failed.values()))
        raise MachineError(
            f"{benchmark.name}: no reference passes here, so nothing can be judged; the first fails with {in_line(reason)}"
        )
    return without_failed(benchmark, references)


def without_failed(benchmark: Benchmark[Any], references: References) -> Benchmark[Any]:
    """Return the benchmark without the tasks whose references fail."""
    failed = references.failed.keys()
    tasks = tuple(task for task in benchmark.tasks if task.task_id not in failed)
    left_out = benchmark.left_out | failed
    return replace(benchmark, tasks=tasks, left_out=left_out, references=references, wanted=benchmark.tasks)


def known_references(name: str, sha256: str) -> References | None:
    """Return the stored outcome for the whole benchmark under the same packages and isolation; None if there is none."""
    try:
        said = read_json(_kept_at(name))
        if said["environment"] == _environment(sha256, detect_isolation()):
            return References.of_json(said)
    except (UsageError, SandboxUnavailableError, KeyError, TypeError):  # missing, truncated, or no sandbox here
        pass
    return None


def _kept_at(name: str) -> Path:
    return cache_dir() / "references" / f"{name.replace('/', '-')}.json"


def _environment(sha256: str, isolation: Isolation) -> str:
    return content_hash(sha256, package_versions(), platform.python_version(), isolation.name)
