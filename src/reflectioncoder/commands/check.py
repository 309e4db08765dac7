"""Runs all programs of each sample in one session and compares what they print with what the sample
says. Exit code 1 if any output differs.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

from reflectioncoder.commands import Outcome, add_workers_argument, positive
from reflectioncoder.errors import CheckFailedError, UsageError

_SHOWN = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", metavar="DATA", help="file of reflection samples (JSON Lines)")
    parser.add_argument(
        "--cell-timeout-s", type=positive, default=3.0, metavar="S", help="time limit of one program, seconds (default: 3)"
    )
    add_workers_argument(parser)


def run(args: argparse.Namespace) -> Outcome:
    from itertools import islice

    from reflectioncoder.builder.replay import replay
    from reflectioncoder.config.declarations import SandboxConfig
    from reflectioncoder.config.limits import limits_from
    from reflectioncoder.data.samples import read_samples
    from reflectioncoder.progress import Progress
    from reflectioncoder.sandbox.detect import detect_isolation, require_floor

    config = SandboxConfig()
    require_floor(detect_isolation(), config.floor)
    samples = list(islice(read_samples(args.data), args.limit))
    if not samples:
        raise UsageError(f"{args.data}: no samples in it")
    limits = replace(limits_from(config), wall_s=args.cell_timeout_s)
    drifts, num_executions = [], 0
    with Progress("check", len(samples)) as progress:
        for done, replayed in enumerate(replay(samples, limits, args.workers), start=1):
            num_executions += replayed.num_executions
            drifts += replayed.drifts
            progress.update(done, f"{len(drifts)} differ")
    if drifts:
        shown = "\n".join(
            f"  {d.sample_id}, block {d.block}:\n    stored: {d.stored!r:.200}\n    found:  {d.found!r:.200}" for d in drifts[:_SHOWN]
        )
        raise CheckFailedError(f"{len(drifts)} of {num_executions} executions print something else than the samples say\n{shown}")
    value = {"num_samples": len(samples), "num_executions": num_executions}
    return Outcome(value, [f"{num_executions} executions of {len(samples)} samples print what they did"])
