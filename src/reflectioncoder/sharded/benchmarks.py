"""Shared code of the sharded benchmark commands. Their unit is a task with all its samples."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reflectioncoder.data.files import read_jsonl
from reflectioncoder.errors import MachineError, UsageError
from reflectioncoder.evaluate.benchmarks import Benchmark, load_benchmark
from reflectioncoder.evaluate.dates import DateWindow
from reflectioncoder.evaluate.references import References, without_failed
from reflectioncoder.evaluate.results import MAX_SANDBOX_ERRORS
from reflectioncoder.evaluate.score import SampleToScore, Scorer
from reflectioncoder.evaluate.specs import OWN, with_absolute_path, without_folder
from reflectioncoder.shards import Shard
from reflectioncoder.terminal import in_line


@dataclass(frozen=True)
class WantedBenchmark:
    """Holds what `merge` needs to load a benchmark again: its name, its date window, a folder with its data."""

    spec: str
    since: str = ""
    until: str = ""
    data_dir: str | None = None

    def load(self, references: Mapping[str, Any] | None = None) -> Benchmark[Any]:
        """Load the benchmark; `references`: the output of `judged_references` in a shard, if any."""
        benchmark = load_benchmark(self.spec, self.data_dir, DateWindow(self.since, self.until))
        return benchmark if references is None else without_failed(benchmark, References.of_json(references))

    def to_json(self) -> dict[str, str]:
        """Return what must be the same in all shards: of a user's file the name, not the place."""
        return {"spec": without_folder(self.spec), "since": self.since, "until": self.until}

    def paths(self, name: str) -> dict[str, str | None]:
        """Return where `merge` finds the data again, from whatever folder it is called; a user's file is under `name`."""
        own = {name: with_absolute_path(self.spec)} if self.spec.startswith(OWN) else {}
        return {"data_dir": self.data_dir and os.path.abspath(self.data_dir), **own}

    @classmethod
    def of_shards(cls, said: Mapping[str, str], paths: Mapping[str, Any], name: str) -> WantedBenchmark:
        """Return what shards say of their benchmark: `to_json` and `paths`."""
        return cls(paths.get(name) or said["spec"], said["since"], said["until"], paths["data_dir"])


def judged_references(benchmark: Benchmark[Any]) -> dict[str, Any] | None:
    """Return the outcome of a benchmark's references on this machine; None if they are not judged."""
    return None if benchmark.references is None else benchmark.references.to_json()


def own_tasks(benchmark: Benchmark[Any], shard: Shard) -> set[str]:
    """Return the ids of a shard's tasks."""
    return {task.task_id for position, task in enumerate(benchmark.tasks) if shard.takes(position)}


def require_judged(rows: Sequence[dict[str, Any]]) -> None:
    """Refuse a shard with too many samples without a verdict.

    Raises:
        MachineError: the sandbox could not run too many of the samples.
    """
    num_errors = sum(row["status"] == "sandbox_error" for row in rows)
    if num_errors > MAX_SANDBOX_ERRORS * len(rows):
        raise MachineError(
            f"{num_errors} of {len(rows)} samples could not be run in the sandbox; the shard is not finished\n"
            "  hint:    reflectioncoder doctor; then run the same command again: only these samples are run"
        )


def verdicts_of(logs: Sequence[Path], samples: Sequence[SampleToScore], scorer: Scorer) -> list[dict[str, Any]]:
    """Return the verdicts on samples from the shards' logs, in the order of the samples.

    Raises:
        UsageError: a verdict is missing.
    """
    known = {(row["task_id"], row["sample"]): row for log in logs for _, row in read_jsonl(log)}
    rows = []
    for sample in samples:
        row = known.get((sample.task.task_id, sample.sample))
        if row is None or row["key"] != scorer.key(sample):
            raise UsageError(f"no shard holds the verdict on {in_line(sample.task.task_id)}, sample {sample.sample}")
        rows.append(row)
    return rows


def other_verdicts(benchmark: Benchmark[Any]) -> MachineError:
    """Return the error for merging on a machine whose toolchain or limits differ from the shards'."""
    return MachineError(
        f"verdicts on {benchmark.name} would be made differently here than in the shards: toolchain or limits are others\n"
        "  hint:    merge on a machine like those of the shards"
    )
