"""What shards of the commands about benchmarks have in common. Their unit is a task, with all its samples."""

from __future__ import annotations

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
from reflectioncoder.shards import Shard


@dataclass(frozen=True)
class WantedBenchmark:
    """What `merge` loads a benchmark again from: its name, the dates of its tasks, a folder with its data."""

    spec: str
    since: str = ""
    until: str = ""
    data_dir: str | None = None

    def load(self, references: Mapping[str, Any] | None = None) -> Benchmark[Any]:
        """Load it; `references`: what `judged_references` said of it in a shard, where they were judged."""
        benchmark = load_benchmark(self.spec, self.data_dir, DateWindow(self.since, self.until))
        return benchmark if references is None else without_failed(benchmark, References.of_json(references))

    def to_json(self) -> dict[str, str]:
        """Return what must be the same in all shards."""
        return {"spec": self.spec, "since": self.since, "until": self.until}


def judged_references(benchmark: Benchmark[Any]) -> dict[str, Any] | None:
    """Return what is known of a benchmark's references on this machine; None where they are not judged."""
    return None if benchmark.references is None else benchmark.references.to_json()


def own_tasks(benchmark: Benchmark[Any], shard: Shard) -> set[str]:
    """Return the ids of a shard's tasks."""
    return {task.task_id for position, task in enumerate(benchmark.tasks) if shard.takes(position)}


def require_judged(rows: Sequence[dict[str, Any]]) -> None:
    """Refuse a shard of which too many samples have no verdict.

    Raises:
        MachineError: the sandbox could not run them.
    """
    num_errors = sum(row["status"] == "sandbox_error" for row in rows)
    if num_errors > MAX_SANDBOX_ERRORS * len(rows):
        raise MachineError(
            f"{num_errors} of {len(rows)} samples could not be run in the sandbox; the shard is not finished\n"
            "  hint:    reflectioncoder doctor; then run the same command again: only these samples are run"
        )


def verdicts_of(logs: Sequence[Path], samples: Sequence[SampleToScore], scorer: Scorer) -> list[dict[str, Any]]:
    """Return the verdicts on samples from the logs of shards, in the order of the samples.

    Raises:
        UsageError: one is missing.
    """
    known = {(row["task_id"], row["sample"]): row for log in logs for _, row in read_jsonl(log)}
    rows = []
    for sample in samples:
        row = known.get((sample.task.task_id, sample.sample))
        if row is None or row["key"] != scorer.key(sample):
            raise UsageError(f"no shard holds the verdict on {sample.task.task_id}, sample {sample.sample}")
        rows.append(row)
    return rows


def other_verdicts(benchmark: Benchmark[Any]) -> MachineError:
    """Return the error of a merging machine whose toolchain or limits are not those of the shards' machines."""
    return MachineError(
        f"verdicts on {benchmark.name} would be made differently here than in the shards: toolchain or limits are others\n"
        "  hint:    merge on a machine like those of the shards"
    )
