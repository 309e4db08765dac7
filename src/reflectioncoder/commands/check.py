"""Runs all programs of each sample in one session and compares what they print with what the sample
says. Exit code 1 if any output differs. Counts what the texts of Python samples state without
support: as an output that no execution before it shows, or as something that stands nowhere.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reflectioncoder.commands import (
    Outcome,
    add_floor_argument,
    add_ray_argument,
    add_shard_argument,
    add_workers_argument,
    floor_of,
    seconds,
    shard_outcome,
    wanted_cluster,
)
from reflectioncoder.errors import CheckFailedError, UsageError
from reflectioncoder.terminal import in_line

if TYPE_CHECKING:
    from reflectioncoder.data.samples import Sample
    from reflectioncoder.shard_folders import ShardFolder
_SHOWN = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", metavar="DATA", help="file of reflection samples (JSON Lines)")
    parser.add_argument(
        "--cell-timeout-s", type=seconds, default=3.0, metavar="S", help="time limit of one program, seconds (default: 3)"
    )
    parser.add_argument(
        "--strict-claims",
        action="store_true",
        help="end with exit code 1 too if a text states something that is not supported; without it, such claims are only counted",
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help="write check.jsonl (a row for each sample) and check.json there too, and go on from them",
    )
    add_workers_argument(parser)
    add_floor_argument(parser)
    add_shard_argument(parser, "written to DIR/shard-I-of-N, for merge; needs --output")
    add_ray_argument(parser)


def run(args: argparse.Namespace) -> Outcome:
    from reflectioncoder.builder.replay import OUTCOMES, replay, replay_into
    from reflectioncoder.config.declarations import SandboxConfig
    from reflectioncoder.config.limits import limits_from
    from reflectioncoder.progress import Progress
    from reflectioncoder.sandbox.detect import detect_isolation, require_floor

    cluster = wanted_cluster(args, args.workers)
    if cluster and args.output is None:
        raise UsageError("what nodes have found is kept in a folder\n  where:   --ray\n  hint:    --output DIR")
    if not cluster:
        require_floor(detect_isolation(), floor_of(args))
    limits = replace(limits_from(SandboxConfig()), wall_s=args.cell_timeout_s)
    samples = _samples(args.data, args.limit)
    if args.shard:
        from reflectioncoder.sharded.check import run_shard

        if args.output is None:
            raise UsageError("a shard has a folder of its own\n  hint:    --output DIR")
        folder = args.output / args.shard.folder
        finishing = {"strict_claims": args.strict_claims}
        return shard_outcome(run_shard(args.data, args.limit, samples, limits, args.workers, finishing, folder, args.shard))
    if args.output is None:
        rows, num_drifts = [], 0
        with Progress("check", len(samples)) as progress:
            for found in replay(samples, limits, args.workers):
                rows.append(found.to_json())
                num_drifts += len(found.drifts)
                progress.update(len(rows), f"{num_drifts} differ")
        return _outcome(samples, rows, args.strict_claims, None)
    numbered = list(enumerate(samples))
    if cluster:
        from reflectioncoder.cluster.building import replays_on

        with replays_on(cluster, samples, limits) as elsewhere:
            rows = replay_into(args.output / OUTCOMES, numbered, limits, args.workers, "check", elsewhere)
    else:
        rows = replay_into(args.output / OUTCOMES, numbered, limits, args.workers, "check")
    return _outcome(samples, rows, args.strict_claims, args.output)


def merged(shards: Sequence[ShardFolder], directory: Path) -> Outcome:
    """Merge shards of this command."""
    from reflectioncoder.sharded.check import merge

    work = shards[0].work
    samples = _samples(work.paths["data"], work.paths["limit"])
    return _outcome(samples, merge(shards, samples, directory), work.finishing["strict_claims"], directory)


def _samples(path: str, limit: int | None) -> list[Sample]:
    from itertools import islice

    from reflectioncoder.data.samples import read_samples

    samples = list(islice(read_samples(path), limit))
    if not samples:
        raise UsageError(f"{path}: no samples in it")
    return samples


def _outcome(samples: Sequence[Sample], rows: Sequence[dict[str, Any]], strict: bool, directory: Path | None) -> Outcome:
    """Write and return the outcome of a check.

    Raises:
        CheckFailedError: an output differs or, with `strict`, a claim is unsupported.
    """
    from reflectioncoder.builder.replay import OUTCOMES
    from reflectioncoder.data.files import write_json

    claims, lines = _claims(samples)
    num_executions = sum(row["num_executions"] for row in rows)
    drifts = [drift for row in rows for drift in row["drifts"]]
    value = {"num_samples": len(samples), "num_executions": num_executions, "num_drifts": len(drifts), "claims": claims}
    paths = [directory / OUTCOMES, write_json(directory / "check.json", value)] if directory else []
    if drifts:
        shown = "\n".join(
            f"  {in_line(d['sample_id'])}, block {d['block']}:\n    stored: {d['stored']!r:.200}\n    found:  {d['found']!r:.200}"
            for d in drifts[:_SHOWN]
        )
        everything = f"\n  all:     {directory / OUTCOMES}" if directory else ""
        what = f"{len(drifts)} of {num_executions} executions print something else than the samples say"
        raise CheckFailedError(f"{what}\n{shown}{everything}")
    if strict and claims["num_unsupported"]:
        raise CheckFailedError("\n".join(lines))
    return Outcome(value, [f"{num_executions} executions of {len(samples)} samples print what they did", *lines], paths)


def _claims(samples: Iterable[Sample]) -> tuple[dict[str, Any], list[str]]:
    """Return the counts of the samples' claims, and lines about them with the first unsupported ones."""
    from reflectioncoder.builder.claims import ClaimCounts, check_sample
    from reflectioncoder.builder.text_measures import claims_are_read, describe_claims

    counts, num_unread, shown = ClaimCounts(), 0, []
    for sample in samples:
        if not claims_are_read(sample):
            num_unread += 1
            continue
        counts.add(claims := check_sample(sample))
        unsupported = [claim for claim in claims if claim.status == "unsupported"]
        for claim in unsupported[: _SHOWN - len(shown)]:
            shown.append(f"  {in_line(sample.id or '(no id)')}, block {claim.block}: {claim.stated.text!r:.200}: {claim.missing}")
    value = counts.to_json()
    lines = [describe_claims(value), *shown] if counts.num_samples else []
    if num_unread:
        lines.append(f"claims of {num_unread} samples were not read: they are one-off samples, or in other languages than Python")
    return value, lines
