"""Writes DIR/<benchmark>/ for each benchmark: completions.jsonl (what the model wrote),
samples.jsonl (a verdict per sample) and results.json (pass@k with intervals). Running it again
continues.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reflectioncoder.commands import (
    Outcome,
    add_benchmark_arguments,
    add_format_argument,
    add_ray_argument,
    add_scoring_arguments,
    add_shard_argument,
    floor_of,
    limited,
    percent,
    shard_outcome,
    wanted_cluster,
)
from reflectioncoder.commands.generate import SHARDS_OF_SERVED_MODELS, add_model_arguments, generation_recipe, model_of

if TYPE_CHECKING:
    from reflectioncoder.shard_folders import ShardFolder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_benchmark_arguments(parser, nargs="+")
    add_scoring_arguments(parser)
    add_model_arguments(parser)
    add_format_argument(parser)
    add_shard_argument(parser, SHARDS_OF_SERVED_MODELS)
    add_ray_argument(parser)
    parser.add_argument(
        "--allow-contaminated", action="store_true", help="also evaluate on benchmarks of which the training data contains tasks"
    )


def run(args: argparse.Namespace) -> Outcome:
    import contextlib
    import time
    from dataclasses import replace

    from reflectioncoder.config.limits import limits_from
    from reflectioncoder.contamination.records import refuse_contaminated
    from reflectioncoder.data.answer_reasons import has_no_program_at_all
    from reflectioncoder.data.file_lock import alone_in
    from reflectioncoder.data.files import claim_for_answers
    from reflectioncoder.errors import EXIT_CHECK_FAILED, EXIT_DONE, EXIT_ENVIRONMENT, CannotError
    from reflectioncoder.evaluate.benchmarks import load_benchmarks, require_distinct
    from reflectioncoder.evaluate.dates import EVER, DateWindow, dates_of
    from reflectioncoder.evaluate.references import with_references
    from reflectioncoder.evaluate.results import summary_of
    from reflectioncoder.evaluation import completions_key, evaluate_model, require_formats, skip, write_skipped
    from reflectioncoder.generate.base import longest
    from reflectioncoder.sharded.benchmarks import WantedBenchmark

    require_distinct(args.benchmark)
    cluster = wanted_cluster(args, args.workers)
    recipe = generation_recipe(args)
    recipe = replace(recipe, sandbox=replace(recipe.sandbox, workers=args.workers, rules=args.rules, floor=floor_of(args)))
    specs = [limited(spec, args.limit) for spec in args.benchmark]
    window = DateWindow(args.from_date, args.to_date)
    benchmarks = list(load_benchmarks(specs, args.data_dir, window).values())
    windows = [window if dates_of(benchmark.tasks) else EVER for benchmark in benchmarks]
    model = model_of(args)
    lines = []
    for benchmark in benchmarks:
        require_formats(args.format, benchmark)
        lines += benchmark.date_lines()
        note = refuse_contaminated(model.path, benchmark.name, allow=args.allow_contaminated)
        lines += [note] if note else []
    if not args.shard:
        with alone_in(args.output):
            for benchmark in benchmarks:
                key = completions_key(benchmark, recipe, model)
                claim_for_answers(args.output / benchmark.name, key)
    benchmarks = [with_references(benchmark, floor_of(args), args.workers) for benchmark in benchmarks]  # last: it can take minutes
    wanted = [WantedBenchmark(spec, applied.since, applied.until, args.data_dir) for spec, applied in zip(specs, windows, strict=True)]
    if args.shard:
        from reflectioncoder.sharded.evaluate import run_shard

        return shard_outcome(run_shard(model, benchmarks, wanted, recipe, args.format, args.output / args.shard.folder, args.shard))
    value, paths, backend, exit_code = {}, [], None, EXIT_DONE
    longest_request = max(longest(benchmark.requests(1)) for benchmark in benchmarks)
    with contextlib.ExitStack() as opened:
        opened.enter_context(alone_in(args.output))
        elsewhere = None
        if cluster:
            from reflectioncoder.cluster.judging import judges_of

            by_name = {benchmark.name: one for benchmark, one in zip(benchmarks, wanted, strict=True)}
            elsewhere = opened.enter_context(judges_of(cluster, by_name))
        for benchmark in benchmarks:
            directory = args.output / benchmark.name
            paths.append(directory / "results.json")
            limits, ready = limits_from(recipe.sandbox), None
            if elsewhere is None:
                results = skip(benchmark, directory, args.workers)
            else:
                try:
                    results, ready = None, elsewhere.ready(benchmark, recipe, limits)
                except CannotError as error:
                    results = write_skipped(benchmark, directory, str(error))
            if results:
                value[benchmark.name] = results
                lines.append(f"{benchmark.name}: {len(benchmark.tasks)} tasks skipped: {results['reason']}")
                continue
            started = time.monotonic()
            backend = backend or opened.enter_context(model.open(longest_request, args.max_new_tokens))
            results = evaluate_model(backend, benchmark, recipe, limits, directory, benchmark.name, args.format, ready)
            paths += sorted(directory.glob("completions.*.json*")) if args.format else []
            summary = summary_of(results, round(time.monotonic() - started, 1))
            value[benchmark.name] = {**results, "summary": summary}
            lines += _lines_of(benchmark.name, results, summary)
            if has_no_program_at_all(results["answers"]):
                exit_code = EXIT_CHECK_FAILED
    return Outcome(value, lines, paths, exit_code if backend is not None else EXIT_ENVIRONMENT)


def merged(shards: Sequence[ShardFolder], directory: Path) -> Outcome:
    """Merge shards of this command."""
    from reflectioncoder.data.answer_reasons import has_no_program_at_all
    from reflectioncoder.errors import EXIT_CHECK_FAILED, EXIT_DONE
    from reflectioncoder.evaluate.results import summary_of
    from reflectioncoder.sharded.evaluate import merge

    value, lines, paths, exit_code = {}, [], [], EXIT_DONE
    for benchmark, results in merge(shards, directory):
        summary = summary_of(results)
        value[benchmark.name] = {**results, "summary": summary}
        lines += [*benchmark.date_lines(), *_lines_of(benchmark.name, results, summary)]
        place = directory / benchmark.name
        paths += [place / "results.json", *sorted(place.glob("completions.*.json*"))]
        if has_no_program_at_all(results["answers"]):
            exit_code = EXIT_CHECK_FAILED
    return Outcome(value, lines, paths, exit_code)


def _lines_of(name: str, results: dict[str, Any], summary: dict[str, Any]) -> list[str]:
    """Return lines for the user about the results of a benchmark."""
    from reflectioncoder.data.answer_reasons import answer_lines
    from reflectioncoder.evaluate.references import lines_of
    from reflectioncoder.evaluate.results import headline, summary_line

    sampling = results["sampling"]
    cut_off = sampling["finish_reasons"].get("length", 0)
    note = f" ({cut_off} completions cut off at {sampling['max_new_tokens']} tokens)" if cut_off else ""
    lines = [f"{name}: pass@1 {percent(headline(results))}{note}", f"{name}: {summary_line(summary)}", *lines_of(results)]
    return [*lines, *(f"{name}: {line}" for line in answer_lines(results["answers"]))]
