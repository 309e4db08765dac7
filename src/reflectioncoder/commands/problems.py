"""Sources: bundled:SPLIT, a JSON or JSON Lines file (also .gz),
hub:NAME[:CONFIG][:SPLIT][@REVISION], reasoning-gym:codeio, doctest:PACKAGE. docs/problems.md says what each gives.

A problem with a reference and tests is kept only if the reference passes them twice in the sandbox.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reflectioncoder.commands import (
    Outcome,
    add_floor_argument,
    add_ray_argument,
    add_shard_argument,
    add_workers_argument,
    floor_of,
    shard_outcome,
    wanted_cluster,
)
from reflectioncoder.errors import CheckFailedError
from reflectioncoder.terminal import in_line

if TYPE_CHECKING:
    from reflectioncoder.shard_folders import ShardFolder


_MAX_CHARS = 200  # per line about a dropped problem


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("sources", nargs="+", metavar="SOURCE", help="where the problems come from (see below)")
    parser.add_argument(
        "--output", required=True, type=Path, metavar="FILE", help="file to write (JSON Lines); name it in build.problems"
    )
    add_workers_argument(parser)
    add_floor_argument(parser)
    add_shard_argument(parser, "written to FILE.shards/shard-I-of-N, for merge")
    add_ray_argument(parser)


def run(args: argparse.Namespace) -> Outcome:
    from reflectioncoder.builder.sources.collect import collect_problems

    cluster = wanted_cluster(args, args.workers)
    if args.shard:
        from reflectioncoder.sharded.problems import run_shard

        return shard_outcome(run_shard(args.sources, args.output, args.limit, args.workers, args.shard, floor=floor_of(args)))
    if cluster:
        from reflectioncoder.cluster.building import collect_on

        return _outcome(collect_on(cluster, args.sources, args.output, args.limit), args.output)
    return _outcome(collect_problems(args.sources, args.output, args.limit, args.workers, floor=floor_of(args)), args.output)


def merged(shards: Sequence[ShardFolder], directory: Path) -> Outcome:
    """Merge shards of this command."""
    from reflectioncoder.sharded.problems import merge

    output = directory / shards[0].work.finishing["name"]
    return _outcome(merge(shards, output), output)


def _outcome(summary: dict[str, Any], output: Path) -> Outcome:
    from reflectioncoder.builder.sources.collect import dropped_file
    from reflectioncoder.builder.sources.draft import REASONS

    lines = [f"{summary['num_problems']} problems, {summary['num_verified']} of them with a reference that passed its tests twice"]
    for reason, count in summary["dropped"].items():
        shown = summary["first_dropped"][reason]
        lines.append(f"  dropped, {reason}: {count} ({REASONS[reason]})")
        lines += [f"    {in_line(text if len(text) <= _MAX_CHARS else text[:_MAX_CHARS] + '…')}" for text in shown]
        lines += ["    …"] if count > len(shown) else []
    if not summary["num_problems"]:
        raise CheckFailedError("\n".join(["the sources hold no usable problem", *lines[1:]]))
    return Outcome(summary, lines, [output, *([dropped_file(output)] if summary["dropped"] else [])])
