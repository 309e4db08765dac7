"""Runs `evaluate` in shards, for models behind servers. The unit is a task; the logs of a benchmark are `completions.jsonl` and
`samples.jsonl` in the benchmark's own folder, as without shards.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from reflectioncoder.choices import ResultFormat
from reflectioncoder.config.declarations import Recipe
from reflectioncoder.config.limits import limits_from
from reflectioncoder.config.loading import recipe_of
from reflectioncoder.errors import MachineError
from reflectioncoder.evaluate.benchmarks import Benchmark, split_name
from reflectioncoder.evaluate.score import SAMPLES, Scorer, read_samples_to_score
from reflectioncoder.evaluation import COMPLETIONS, JudgedCompletions, complete_and_judge, completions_key
from reflectioncoder.generate.backends import AskedModel
from reflectioncoder.generate.base import longest
from reflectioncoder.sandbox.isolation import ISOLATIONS, Isolation
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
from reflectioncoder.sharded.generate import join_completions, own_requests, require_server, settings_of_completions
from reflectioncoder.shards import Shard


def run_shard(
    model: AskedModel,
    benchmarks: Sequence[Benchmark[Any]],
    wanted: Sequence[WantedBenchmark],
    recipe: Recipe,
    formats: Sequence[ResultFormat],
    directory: Path,
    shard: Shard,
) -> ShardOutcome:
    """Complete and judge this shard's tasks of all benchmarks, and write the logs into `directory`.

    Raises:
        The errors of `ShardFolder.begun` and the model.
        UsageError: the model completes requests in batches.
        MachineError: a benchmark cannot be judged here; too many samples could not be run in the sandbox.
    """
    require_server(model)
    for benchmark in benchmarks:
        if reason := benchmark.judge.why_skipped(recipe.sandbox.workers):
            raise MachineError(f"{benchmark.name} cannot be judged here: {reason}")
    longest_request = max(longest(benchmark.requests(1)) for benchmark in benchmarks)
    num_units = sum(len(own_tasks(benchmark, shard)) for benchmark in benchmarks)
    logs, num_samples = [], 0
    with ShardFolder.begun(directory, shard, _work(model, benchmarks, wanted, recipe, formats)) as folder:
        with model.open(longest_request, recipe.generate.max_new_tokens) as backend:
            for benchmark in benchmarks:
                place, label = directory / benchmark.name, f"{benchmark.name}, shard {shard}"
                requests = own_requests(benchmark, recipe, shard)
                judged = complete_and_judge(backend, benchmark, requests, recipe, limits_from(recipe.sandbox), place, label)
                require_judged(judged.rows)
                logs += [place / COMPLETIONS, place / SAMPLES]
                num_samples += len(judged.rows)
            described = backend.describe()
        folder.finish(logs, {"num_units": num_units, "model": described})
    return ShardOutcome(folder, num_units, f"{num_samples} samples", directory.parent)


def merge(shards: Sequence[ShardFolder], directory: Path) -> Iterator[tuple[Benchmark[Any], dict[str, Any]]]:
    """Write what one machine would have written; yield each benchmark with its results.

    Raises:
        UsageError: a benchmark differs from the shards'; `directory` holds other results.
        MachineError: verdicts depend on a property of this machine that differs from the shards' machines.
    """
    work = shards[0].work
    recipe = recipe_of(work.paths["recipe"])
    wanted = [WantedBenchmark.of_shards(one, work.paths, split_name(one["spec"])[0]) for one in work.settings["benchmarks"]]
    benchmarks = [one.load(known) for one, known in zip(wanted, work.paths["references"], strict=True)]
    require_same_data(Work("evaluate", {}, _data(benchmarks), num_units=None), work)
    isolation = ISOLATIONS[work.settings["isolation"]]
    model = shards[0].done().result["model"]
    for benchmark in benchmarks:
        scorer = _scorer(benchmark, recipe, isolation)
        if scorer.settings != work.settings["verdicts"][benchmark.name]:
            raise other_verdicts(benchmark)
        place, sources = directory / benchmark.name, [shard.directory / benchmark.name for shard in shards]
        requests = benchmark.requests(recipe.generate.num_samples)
        completions = join_completions(
            [source / COMPLETIONS for source in sources], requests, place, work.settings["keys"][benchmark.name]
        )
        samples = read_samples_to_score(place / COMPLETIONS, benchmark)
        rows = verdicts_of([source / SAMPLES for source in sources], samples, scorer)
        write_merged(place / SAMPLES, rows)
        ends = dict(Counter(row["finish_reason"] for row in completions))
        yield benchmark, JudgedCompletions(place, recipe, scorer, samples, rows, ends).finish(model, work.finishing["formats"])


def _work(
    model: AskedModel,
    benchmarks: Sequence[Benchmark[Any]],
    wanted: Sequence[WantedBenchmark],
    recipe: Recipe,
    formats: Sequence[ResultFormat],
) -> Work:
    places: dict[str, Any] = {}
    for benchmark, one in zip(benchmarks, wanted, strict=True):
        places |= one.paths(benchmark.name)
    keys = {benchmark.name: completions_key(benchmark, recipe, model) for benchmark in benchmarks}
    scorers = [_scorer(benchmark, recipe, None) for benchmark in benchmarks]
    return Work(
        "evaluate",
        {
            "benchmarks": [one.to_json() for one in wanted],
            **settings_of_completions(recipe, keys),
            "isolation": scorers[0].isolation.name,
            "verdicts": {scorer.benchmark.name: scorer.settings for scorer in scorers},
            "left_out": [sorted(benchmark.references.failed) if benchmark.references else [] for benchmark in benchmarks],
        },
        _data(benchmarks),
        num_units=sum(len(benchmark.tasks) for benchmark in benchmarks),
        finishing={"formats": list(formats)},
        paths={
            "recipe": asdict(recipe),
            **places,
            "references": [judged_references(benchmark) for benchmark in benchmarks],
        },
    )


def _data(benchmarks: Sequence[Benchmark[Any]]) -> dict[str, Any]:
    return {benchmark.name: benchmark.sha256 for benchmark in benchmarks}


def _scorer(benchmark: Benchmark[Any], recipe: Recipe, isolation: Isolation | None) -> Scorer:
    place = {} if isolation is None else {"isolation": isolation}
    return Scorer(benchmark, limits_from(recipe.sandbox), recipe.sandbox.rules, recipe.sandbox.floor, **place)
