"""Leaves out the tasks of a benchmark that cannot be judged on this machine: those whose canonical solutions fail here.

That is asked of judges whose tests need packages, the network or a version of something (`Judge.checks_references`). The tasks are left
out by name, with the reason, and how many references pass stands beside each number. What fails beside others is judged once more,
alone. The outcome of a whole benchmark is remembered for `known_references`, which judges nothing.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reflectioncoder.data.files import content_hash, read_json, write_json
from reflectioncoder.errors import MachineError, SandboxUnavailableError, UsageError
from reflectioncoder.evaluate.judges.base import ReferenceOutcome
from reflectioncoder.evaluate.versions import package_versions
from reflectioncoder.paths import cache_dir
from reflectioncoder.progress import Progress
from reflectioncoder.sandbox.detect import detect_isolation, require_floor
from reflectioncoder.sandbox.isolation import Isolation
from reflectioncoder.sandbox.pool import map_ordered

if TYPE_CHECKING:
    from reflectioncoder.evaluate.benchmarks import Benchmark


@dataclass(frozen=True)
class References:
    """How many tasks were looked at, and why the references of some fail here, by task.

    `not_challenged`: the others whose challenge can be seen through (`ReferenceOutcome.is_challenged`).
    """

    num_tasks: int
    failed: Mapping[str, str]
    not_challenged: tuple[str, ...] = ()

    @classmethod
    def of_json(cls, said: Mapping[str, Any]) -> References:
        """Read what `to_json` says."""
        return cls(said["num_tasks"], said["failed"], tuple(said["not_challenged"]))

    @property
    def num_passed(self) -> int:
        return self.num_tasks - len(self.failed)

    def to_json(self) -> dict[str, Any]:
        counts = {"num_tasks": self.num_tasks, "num_passed": self.num_passed}
        return {**counts, "failed": dict(self.failed), "not_challenged": list(self.not_challenged)}


def line_of(references: Mapping[str, Any]) -> str:
    """Return what `References.to_json` says as a few words for people."""
    return f"the references of {references['num_passed']} of {references['num_tasks']} tasks pass here"


def failed_in(results: Mapping[str, Any]) -> frozenset[str]:
    """Return the tasks that results leave out since their references fail; rows of an earlier scoring may be there all the same."""
    return frozenset((results["benchmark"].get("references") or {}).get("failed", ()))


def lines_of(results: Mapping[str, Any]) -> list[str]:
    """Return lines about the tasks that results leave out or do not challenge, with their names; none where there are none."""
    references = results["benchmark"].get("references")
    if not references:
        return []
    name, lines = results["benchmark"]["name"], []
    if references["failed"]:
        left_out = [f"  {task}: {reason}" for task, reason in references["failed"].items()]
        lines = [f"{name}: {line_of(references)}; left out:", *left_out]
    if not_challenged := references.get("not_challenged"):
        lines.append(f"{name}: {len(not_challenged)} tasks whose challenge can be seen through: {', '.join(not_challenged)}")
    return lines


def with_references(benchmark: Benchmark[Any], floor: int, workers: int) -> Benchmark[Any]:
    """Return the benchmark with the tasks whose references pass here; as it is where its judge does not ask for that.

    Raises:
        MachineError: none does.
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
    references = References(len(benchmark.tasks), failed, not_challenged)
    if not benchmark.left_out:
        write_json(_kept_at(benchmark.name), {"environment": _environment(benchmark.sha256, isolation), **references.to_json()})
    if not references.num_passed:
        reason = next(iter(failed.values()))
        raise MachineError(f"{benchmark.name}: no reference passes here, so nothing can be judged; the first fails with {reason}")
    return without_failed(benchmark, references)


def without_failed(benchmark: Benchmark[Any], references: References) -> Benchmark[Any]:
    """Return the benchmark without the tasks whose references fail."""
    failed = references.failed.keys()
    tasks = tuple(task for task in benchmark.tasks if task.task_id not in failed)
    left_out = benchmark.left_out | failed
    return replace(benchmark, tasks=tasks, left_out=left_out, references=references, wanted=benchmark.tasks)


def known_references(name: str, sha256: str) -> References | None:
    """Return what was found when the whole benchmark was judged here with the same packages and isolation; None if it was not."""
    try:
        said = read_json(_kept_at(name))
        if said["environment"] == _environment(sha256, detect_isolation()):
            return References.of_json(said)
    except (UsageError, SandboxUnavailableError, KeyError, TypeError):  # not there, cut off, or nothing can be judged
        pass
    return None


def _kept_at(name: str) -> Path:
    return cache_dir() / "references" / f"{name.replace('/', '-')}.json"


def _environment(sha256: str, isolation: Isolation) -> str:
    return content_hash(sha256, package_versions(), platform.python_version(), isolation.name)
