"""Writes DIR/samples.jsonl (a verdict per sample) and DIR/results.json (pass@k with intervals).
Needs neither a model nor torch.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reflectioncoder.choices import CUT_RULES, CUT_RULES_HELP
from reflectioncoder.commands import (
    Outcome,
    add_benchmark_arguments,
    add_format_argument,
    add_ray_argument,
    add_scoring_arguments,
    add_shard_argument,
    benchmark_of_shards,
    described,
    floor_of,
    percent,
    seconds,
    shard_outcome,
    wanted_benchmark,
    wanted_cluster,
)

if TYPE_CHECKING:
    from reflectioncoder.evaluate.benchmarks import Benchmark
    from reflectioncoder.evaluation import ScoredFile
    from reflectioncoder.shard_folders import ShardFolder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "samples",
        type=Path,
        metavar="SAMPLES",
        help="JSON Lines whose rows have task_id and solution or completion, or a folder in EvalPlus's layout",
    )
    add_benchmark_arguments(parser)
    add_scoring_arguments(parser)
    parser.add_argument(
        "--wall-s", type=seconds, metavar="S", help="time limit of a program with its tests, seconds (bundled benchmarks; default: 10)"
    )
    parser.add_argument("--partial", action="store_true", help="accept samples that do not cover every task")
    parser.add_argument(
        "--cut",
        choices=CUT_RULES,
        default=CUT_RULES[0],
        help=described("MultiPL-E: how `completion` rows are truncated (`solution` rows never are)", CUT_RULES_HELP, CUT_RULES[0]),
    )
    parser.add_argument("--extract", action="store_true", help="the samples are a model's raw answers: extract the program from each")
    add_format_argument(parser)
    add_shard_argument(parser, "written to DIR/shard-I-of-N, for merge")
    add_ray_argument(parser)
    parser.add_argument(
        "--model", default="unknown", metavar="NAME", help="name of the model that wrote the samples, for eee and inspect"
    )


def run(args: argparse.Namespace) -> Outcome:
    import time

    from reflectioncoder.evaluation import ScoreOptions, score_file

    cluster = wanted_cluster(args, args.workers)
    benchmark = wanted_benchmark(args.benchmark, args)
    options = ScoreOptions(
        args.wall_s,
        args.rules,
        args.workers,
        floor_of(args),
        args.cut,
        extract=args.extract,
        partial=args.partial,
        formats=tuple(args.format),
        model=args.model,
    )
    wanted = benchmark_of_shards(args.benchmark, args)
    if args.shard:
        from reflectioncoder.sharded.score import run_shard

        return shard_outcome(run_shard(args.samples, benchmark, wanted, options, args.output / args.shard.folder, args.shard))
    started = time.monotonic()
    if cluster:
        from reflectioncoder.cluster.judging import judges_of

        with judges_of(cluster, {benchmark.name: wanted}) as elsewhere:
            scored = score_file(args.samples, benchmark, args.output, options, elsewhere)
    else:
        scored = score_file(args.samples, benchmark, args.output, options)
    return _outcome(scored, benchmark, round(time.monotonic() - started, 1))


def merged(shards: Sequence[ShardFolder], directory: Path) -> Outcome:
    """Merge shards of this command."""
    from reflectioncoder.sharded.score import merge

    scored, benchmark = merge(shards, directory)
    return _outcome(scored, benchmark, None)


def _outcome(scored: ScoredFile, benchmark: Benchmark[Any], duration_s: float | None) -> Outcome:
    from reflectioncoder.data.answer_reasons import answer_lines, has_no_program_at_all
    from reflectioncoder.errors import EXIT_CHECK_FAILED, EXIT_DONE, EXIT_ENVIRONMENT
    from reflectioncoder.evaluate.references import lines_of
    from reflectioncoder.evaluate.results import summary_line, summary_of

    results = scored.results
    if scored.is_skipped:
        line = f"{benchmark.name}: {len(benchmark.tasks)} tasks skipped: {results['reason']}"
        return Outcome({"status": "skipped", "reason": results["reason"]}, [line], scored.paths, EXIT_ENVIRONMENT)
    answers = results["answers"]
    code = EXIT_CHECK_FAILED if has_no_program_at_all(answers) else EXIT_DONE
    summary = summary_of(results, duration_s)
    lines = [*benchmark.date_lines(), *score_lines(results), summary_line(summary), *lines_of(results), *answer_lines(answers)]
    lines += [scored.warning] if scored.warning else []
    return Outcome(results, lines, scored.paths, code)


def score_lines(results: dict[str, Any]) -> list[str]:
    """Return a line per subset, then the counts of statuses, the isolation and the number of verdicts that depend on a time limit."""
    name = results["benchmark"]["name"]
    subsets = [m for m in results["metrics"] if m["name"] == "pass@1" and not str(m["subset"]).startswith("grade")]
    lines = [f"{name}{' (' + m['subset'] + ')' if m['subset'] else ''}: pass@1 {percent(m)}" for m in subsets]
    lines.append(", ".join(f"{status} {count}" for status, count in results["counts"].items()))
    isolation = results["sandbox"]["isolation"]
    lines.append(
        f"isolation: {isolation['name']} (tier {isolation['tier']}); verdicts that rest on a time limit: {results['num_on_limit']}"
    )
    if not results["sandbox"]["safe"]:
        lines.append("UNSAFE: the programs could read your files and use the network")
    return lines
