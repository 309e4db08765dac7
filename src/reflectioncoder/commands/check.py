"""Runs all programs of each sample in one session and compares what they print with what the sample
says. Exit code 1 if any output differs. Counts what the texts of Python samples state without
support: as an output that no execution before it shows, or as something that stands nowhere.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from reflectioncoder.commands import Outcome, add_workers_argument, positive
from reflectioncoder.errors import CheckFailedError, UsageError

if TYPE_CHECKING:
    from reflectioncoder.data.samples import Sample

_SHOWN = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", metavar="DATA", help="file of reflection samples (JSON Lines)")
    parser.add_argument(
        "--cell-timeout-s", type=positive, default=3.0, metavar="S", help="time limit of one program, seconds (default: 3)"
    )
    parser.add_argument(
        "--strict-claims",
        action="store_true",
        help="end with exit code 1 too if a text states something that is not supported; without it, such claims are only counted",
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
    claims, lines = _claims(samples)
    if args.strict_claims and claims["num_unsupported"]:
        raise CheckFailedError("\n".join(lines))
    value = {"num_samples": len(samples), "num_executions": num_executions, "claims": claims}
    return Outcome(value, [f"{num_executions} executions of {len(samples)} samples print what they did", *lines])


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
            shown.append(f"  {sample.id or '(no id)'}, block {claim.block}: {claim.stated.text!r:.200}: {claim.missing}")
    value = counts.to_json()
    lines = [describe_claims(value), *shown] if counts.num_samples else []
    if num_unread:
        lines.append(f"claims of {num_unread} samples were not read: they are one-off samples, or in other languages than Python")
    return value, lines
