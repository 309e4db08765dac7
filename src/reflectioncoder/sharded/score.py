"""Runs `score` in shards. The unit is a task with all its samples; the log is `samples.jsonl`, as without shards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from reflectioncoder.data.files import content_hash
from reflectioncoder.errors import MachineError
from reflectioncoder.evaluate.benchmarks import Benchmark
from reflectioncoder.evaluate.score import SAMPLES, score_samples
from reflectioncoder.evaluation import PreparedScoring, ScoredFile, ScoreOptions, prepare_scoring, require_applicable
from reflectioncoder.sandbox.isolation import ISOLATIONS
from reflectioncoder.shard_folders import ShardFolder, Work
from reflectioncoder.sharded.benchmarks import (
    WantedBenchmark,
    judged_references,
    other_verdicts,
    own_tasks,
    require_judged,
    verdicts_of,
)
from reflectioncoder.sharded.common import ShardOutcome, require_same_data, write_merged
from reflectioncoder.shards import Shard

_NOT_OF_A_VERDICT = ("workers", "formats", "model")


def run_shard(
    path: Path, benchmark: Benchmark[Any], wanted: WantedBenchmark, options: ScoreOptions, directory: Path, shard: Shard
) -> ShardOutcome:
    """Score the samples of this shard's tasks, and write the log into `directory`.

    Raises:
        The errors of `evaluation.score_file` and `ShardFolder.begun`.
        MachineError: the benchmark cannot be judged here; too many samples could not be run in the sandbox.
    """
    require_applicable(options, benchmark)
    if reason := benchmark.judge.why_skipped(options.workers):
        raise MachineError(f"{benchmark.name} cannot be judged here: {reason}")
    prepared = prepare_scoring(path, benchmark, options)
    tasks = own_tasks(prepared.benchmark, shard)
    own = [sample for sample in prepared.samples if sample.task.task_id in tasks]
    num_units = len({sample.task.task_id for sample in own})
    with ShardFolder.begun(directory, shard, _work(prepared, wanted)) as folder:
        rows = score_samples(own, directory / SAMPLES, prepared.scorer, options.workers, f"score {benchmark.name}, shard {shard}")
        require_judged(rows)
        folder.finish([directory / SAMPLES], {"num_units": num_units})
    return ShardOutcome(folder, num_units, f"{len(rows)} samples", directory.parent)


def merge(shards: Sequence[ShardFolder], directory: Path) -> tuple[ScoredFile, Benchmark[Any]]:
    """Write what one machine would have written, without running any program.

    Raises:
        UsageError: the samples or the benchmark differ from the shards'; `directory` holds other results.
        MachineError: verdicts depend on a property of this machine that differs from the shards' machines.
    """
    work = shards[0].work
    options = ScoreOptions(**work.settings["options"], formats=tuple(work.finishing["formats"]), model=work.finishing["model"])
    wanted = WantedBenchmark.of_shards(work.settings["benchmark"], work.paths, "benchmark")
    benchmark = wanted.load(work.paths["references"])
    prepared = prepare_scoring(Path(work.paths["samples"]), benchmark, options, ISOLATIONS[work.settings["isolation"]])
    now = _work(prepared, wanted)
    require_same_data(now, work)
    if now.settings != work.settings:
        raise other_verdicts(benchmark)
    rows = verdicts_of([shard.directory / SAMPLES for shard in shards], prepared.samples, prepared.scorer)
    write_merged(directory / SAMPLES, rows)
    return prepared.finish(rows, directory), benchmark


def _work(prepared: PreparedScoring, wanted: WantedBenchmark) -> Work:
    benchmark, scorer, options = prepared.benchmark, prepared.scorer, prepared.options
    samples = [[s.task.task_id, s.sample, s.solution, s.extraction, s.answer, s.finish_reason] for s in prepared.samples]
    return Work(
        "score",
        {
            "benchmark": wanted.to_json(),
            "options": {name: value for name, value in asdict(options).items() if name not in _NOT_OF_A_VERDICT},
            "isolation": scorer.isolation.name,
            "verdicts": scorer.settings,
            "left_out": sorted(benchmark.references.failed) if benchmark.references else [],
        },
        {"samples": content_hash(samples), "benchmark": benchmark.sha256},
        num_units=len(benchmark.tasks),
        finishing={"formats": list(options.formats), "model": options.model},
        paths={
            "samples": str(prepared.path.absolute()),
            **wanted.paths("benchmark"),
            "references": judged_references(benchmark),
        },
    )
