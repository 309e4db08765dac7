"""`score` in shards. The unit is a task with all its samples; the log is `samples.jsonl`, as without shards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from reflectioncoder.data.files import content_hash, read_jsonl, write_jsonl
from reflectioncoder.errors import MachineError, UsageError
from reflectioncoder.evaluate.benchmarks import Benchmark, load_benchmark
from reflectioncoder.evaluate.dates import DateWindow
from reflectioncoder.evaluate.results import MAX_SANDBOX_ERRORS
from reflectioncoder.evaluate.score import score_samples
from reflectioncoder.evaluation import PreparedScoring, ScoredFile, ScoreOptions, prepare_scoring, require_applicable
from reflectioncoder.sandbox.isolation import ISOLATIONS
from reflectioncoder.shard_folders import ShardFolder, Work
from reflectioncoder.sharded.common import ShardOutcome, require_free, require_same_data
from reflectioncoder.shards import Shard

LOG = "samples.jsonl"
_NOT_OF_A_VERDICT = ("workers", "formats", "model")


@dataclass(frozen=True)
class WantedBenchmark:
    """What `merge` loads a benchmark again from."""

    spec: str
    since: str = ""
    until: str = ""
    data_dir: str | None = None

    def load(self) -> Benchmark[Any]:
        return load_benchmark(self.spec, self.data_dir, DateWindow(self.since, self.until))


def run_shard(
    path: Path, benchmark: Benchmark[Any], wanted: WantedBenchmark, options: ScoreOptions, directory: Path, shard: Shard
) -> ShardOutcome:
    """Score the samples of this shard's tasks into `directory`.

    Raises:
        What `evaluation.score_file` and `ShardFolder.begin` raise.
        MachineError: the benchmark cannot be judged here; or too many samples could not be run in the sandbox.
    """
    require_applicable(options, benchmark)
    if reason := benchmark.judge.why_skipped(options.workers):
        raise MachineError(f"{benchmark.name} cannot be judged here: {reason}")
    prepared = prepare_scoring(path, benchmark, options)
    folder = ShardFolder.begin(directory, shard, _work(prepared, wanted))
    positions = {task.task_id: position for position, task in enumerate(benchmark.tasks)}
    own = [sample for sample in prepared.samples if shard.takes(positions[sample.task.task_id])]
    rows = score_samples(own, directory / LOG, prepared.scorer, options.workers, f"score {benchmark.name}, shard {shard}")
    num_errors = sum(row["status"] == "sandbox_error" for row in rows)
    if num_errors > MAX_SANDBOX_ERRORS * len(rows):
        raise MachineError(
            f"{num_errors} of {len(rows)} samples could not be run in the sandbox; the shard is not finished\n"
            "  hint:    reflectioncoder doctor; then run the same command again: only these samples are run"
        )
    num_units = len({sample.task.task_id for sample in own})
    folder.finish([directory / LOG], {"num_units": num_units, "num_samples": len(rows)})
    return ShardOutcome(folder, num_units, f"{len(rows)} samples", directory.parent)


def merge(shards: Sequence[ShardFolder], directory: Path) -> tuple[ScoredFile, Benchmark[Any]]:
    """Write what one machine would have written. No program is run.

    Raises:
        UsageError: the samples or the benchmark are not those of the shards; `directory` holds other results.
        MachineError: verdicts depend on something of this machine that is not as it was there.
    """
    work = shards[0].work
    options = ScoreOptions(**work.settings["options"], formats=tuple(work.finishing["formats"]), model=work.finishing["model"])
    wanted = WantedBenchmark(**work.settings["benchmark"], data_dir=work.paths["data_dir"])
    benchmark = wanted.load()
    prepared = prepare_scoring(Path(work.paths["samples"]), benchmark, options, ISOLATIONS[work.settings["isolation"]])
    now = _work(prepared, wanted)
    require_same_data(now, work)
    if now.settings != work.settings:
        raise MachineError(
            f"verdicts on {benchmark.name} would be made differently here than on the machines of the shards: toolchain or limits differ\n"
            "  hint:    merge on a machine like theirs"
        )
    known = {(row["task_id"], row["sample"]): row for shard in shards for _, row in read_jsonl(shard.directory / LOG)}
    rows: list[dict[str, Any]] = []
    for sample in prepared.samples:
        row = known.get((sample.task.task_id, sample.sample))
        if row is None or row["key"] != prepared.scorer.key(sample):
            raise UsageError(f"no shard holds the verdict on {sample.task.task_id}, sample {sample.sample}")
        rows.append(row)
    require_free(directory / LOG, rows)
    write_jsonl(directory / LOG, rows)
    return prepared.finish(rows, directory), benchmark


def _work(prepared: PreparedScoring, wanted: WantedBenchmark) -> Work:
    benchmark, scorer, options = prepared.benchmark, prepared.scorer, prepared.options
    samples = [[s.task.task_id, s.sample, s.solution, s.extraction, s.answer, s.finish_reason] for s in prepared.samples]
    return Work(
        "score",
        {
            "benchmark": {"spec": wanted.spec, "since": wanted.since, "until": wanted.until},
            "options": {name: value for name, value in asdict(options).items() if name not in _NOT_OF_A_VERDICT},
            "isolation": scorer.isolation.name,
            "verdicts": scorer.settings,
        },
        {"samples": content_hash(samples), "benchmark": benchmark.sha256},
        num_units=len(benchmark.tasks),
        finishing={"formats": list(options.formats), "model": options.model},
        paths={"samples": str(prepared.path.absolute()), "data_dir": wanted.data_dir},
    )
