"""Writes runs/<name>/build/ with reflections.jsonl (the samples), rejected.jsonl (every other
candidate, with a reason) and build.json (counts, cost, versions). A build that was interrupted
continues where it stopped and asks no question twice.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reflectioncoder.commands import (
    Outcome,
    add_data_dir_argument,
    add_ray_argument,
    add_recipe_arguments,
    add_shard_argument,
    resolve_recipe,
    shard_outcome,
    wanted_cluster,
)
from reflectioncoder.errors import UsageError

if TYPE_CHECKING:
    from reflectioncoder.shard_folders import ShardFolder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_recipe_arguments(parser)
    add_data_dir_argument(parser)
    parser.add_argument(
        "--fork",
        action="store_true",
        help="continue a build that was begun with other settings; samples of another author are moved to earlier-N",
    )
    add_shard_argument(parser, "written to runs/<name>/build/shard-I-of-N, for merge")
    add_ray_argument(parser)


def run(args: argparse.Namespace) -> Outcome:
    from reflectioncoder.builder.pipeline import build_reflections
    from reflectioncoder.contamination.records import known_behaviour, known_tasks

    recipe = resolve_recipe(args).recipe
    directory = args.runs_dir / recipe.name / "build"
    cluster = wanted_cluster(args, recipe.sandbox.workers)
    if args.shard:
        from reflectioncoder.sharded.build import run_shard

        if args.fork:
            raise UsageError("--fork is not for shards\n  hint:    choose another name for the run, or remove the shards' folders")
        return shard_outcome(run_shard(recipe, directory / args.shard.folder, args.shard, args.limit, args.data_dir))
    if cluster:
        from reflectioncoder.cluster.building import build_on

        return _outcome(build_on(cluster, recipe, directory, args.limit, args.data_dir, fork=args.fork), directory)
    known, behaviour = known_tasks(args.data_dir), known_behaviour(args.data_dir)
    return _outcome(build_reflections(recipe, directory, limit=args.limit, fork=args.fork, known=known, behaviour=behaviour), directory)


def merged(shards: Sequence[ShardFolder], directory: Path) -> Outcome:
    """Merge shards of this command."""
    from reflectioncoder.sharded.build import merge

    return _outcome(merge(shards, directory), directory)


def _outcome(summary: dict[str, Any], directory: Path) -> Outcome:
    from reflectioncoder.builder.text_measures import describe

    lines = [f"{summary['num_accepted']} samples of {summary['num_candidates']} candidates from {summary['num_problems']} problems"]
    against = summary["decontamination"]["against"]
    not_looked = "overlap with benchmarks was not looked for: their data is not here (`reflectioncoder benchmarks` says what is)"
    lines.append(f"no overlap with {', '.join(against)}" if against else not_looked)
    if summary["num_requests"] + summary["num_replayed_requests"]:
        tokens = summary["input_tokens"] + summary["output_tokens"]
        price = f", {summary['usd']:.2f} USD" if summary["usd"] else ""
        lines.append(f"{tokens:,} tokens{price}, {tokens / max(1, summary['num_accepted']):,.0f} tokens a sample")
        if summary["lost_tokens"]:
            lines.append(f"{summary['lost_tokens']:,} tokens more were paid, or may have been, for answers that did not arrive")
    lines += describe(summary["texts"])
    lines += [f"  rejected, {reason}: {count}" for reason, count in summary["rejected"].items()]
    return Outcome(summary, lines, [directory / name for name in ("reflections.jsonl", "rejected.jsonl", "build.json")])
