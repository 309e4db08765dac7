"""Runs `generate` in shards, for models behind servers. The unit is a task; the log is `completions.jsonl`, as without shards."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reflectioncoder.config.declarations import Recipe
from reflectioncoder.data.completion_requests import Request
from reflectioncoder.data.files import read_jsonl, write_json
from reflectioncoder.errors import UsageError
from reflectioncoder.evaluate.benchmarks import Benchmark
from reflectioncoder.evaluation import COMPLETIONS, completions_key, sampling_settings
from reflectioncoder.generate.backends import AskedModel
from reflectioncoder.generate.base import count_completions, generate, longest
from reflectioncoder.shard_folders import ShardFolder, Work
from reflectioncoder.sharded.benchmarks import WantedBenchmark, own_tasks
from reflectioncoder.sharded.common import ShardOutcome, require_same_data, write_merged
from reflectioncoder.shards import Shard
from reflectioncoder.terminal import in_line

_OWNER = "settings.json"


def run_shard(
    model: AskedModel, benchmark: Benchmark[Any], wanted: WantedBenchmark, recipe: Recipe, directory: Path, shard: Shard
) -> ShardOutcome:
    """Complete the requests for this shard's tasks, and write the log into `directory`.

    Raises:
        The errors of `ShardFolder.begun` and the model.
        UsageError: the model completes requests in batches.
    """
    require_server(model)
    keys = {benchmark.name: completions_key(benchmark, recipe, model)}
    settings = {"benchmark": wanted.to_json(), **settings_of_completions(recipe, keys)}
    paths = {"num_samples": recipe.generate.num_samples, **wanted.paths("benchmark")}
    work = Work("generate", settings, {"benchmark": benchmark.sha256}, num_units=len(benchmark.tasks), paths=paths)
    requests = own_requests(benchmark, recipe, shard)
    log, label = directory / COMPLETIONS, f"generate {benchmark.name}, shard {shard}"
    num_units = len(own_tasks(benchmark, shard))
    with ShardFolder.begun(directory, shard, work) as folder:
        with model.open(longest(requests), recipe.generate.max_new_tokens) as backend:
            counts = generate(backend, requests, recipe.generate, recipe.seed, log, label)
        folder.finish([log], {"num_units": num_units})
    return ShardOutcome(folder, num_units, f"{counts['num_completions']} completions", directory.parent)


def merge(shards: Sequence[ShardFolder], directory: Path) -> tuple[dict[str, Any], Benchmark[Any]]:
    """Write the completions that one machine would have written; return the counts of `generate`.

    Raises:
        UsageError: the benchmark differs from the shards'; `directory` holds other completions.
    """
    work = shards[0].work
    benchmark = WantedBenchmark.of_shards(work.settings["benchmark"], work.paths, "benchmark").load()
    require_same_data(Work("generate", {}, {"benchmark": benchmark.sha256}, num_units=None), work)
    logs = [shard.directory / COMPLETIONS for shard in shards]
    requests = benchmark.requests(work.paths["num_samples"])
    return count_completions(join_completions(logs, requests, directory, work.settings["keys"][benchmark.name])), benchmark


def require_server(model: AskedModel) -> None:
    """Raise UsageError for a model whose completions depend on how requests are batched."""
    if model.in_batches:
        raise UsageError(
            "shards are for models behind servers: completions of this backend depend on the requests beside them\n"
            "  where:   --shard\n  hint:    --backend openai, local or vllm"
        )


def settings_of_completions(recipe: Recipe, keys: dict[str, str]) -> dict[str, Any]:
    """Return the settings that completions depend on. `keys`: benchmark → `completions_key`, which covers the model too."""
    sampling = sampling_settings(recipe.generate, in_batches=False)
    return {"model": recipe.model.name, "sampling": sampling, "seed": recipe.seed, "keys": keys}


def own_requests(benchmark: Benchmark[Any], recipe: Recipe, shard: Shard) -> list[Request]:
    tasks = own_tasks(benchmark, shard)
    return [request for request in benchmark.requests(recipe.generate.num_samples) if request.task_id in tasks]


def join_completions(logs: Sequence[Path], requests: Sequence[Request], directory: Path, key: str) -> list[dict[str, Any]]:
    """Write the completions of all shards and the folder's key into `directory`; return the rows.

    Raises:
        UsageError: a request has no completion; `directory` holds other completions.
    """
    known = {(row["task_id"], row["sample"]): row for log in logs for _, row in read_jsonl(log)}
    missing = [request for request in requests if request.key not in known]
    if missing:
        raise UsageError(f"no shard holds the completion for {in_line(missing[0].task_id)}, sample {missing[0].sample}")
    rows = [known[request.key] for request in requests]
    write_merged(directory / COMPLETIONS, rows)
    write_json(directory / _OWNER, {"key": key})
    return rows
