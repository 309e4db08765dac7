"""Sources: bundled:SPLIT, a JSON or JSON Lines file (also .gz),
hub:NAME[:CONFIG][:SPLIT][@REVISION], reasoning-gym:codeio, doctest:PACKAGE. docs/problems.md says what each gives.

A problem with a reference and tests is kept only if the reference passes them twice in the sandbox.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from reflectioncoder.commands import Outcome, add_workers_argument
from reflectioncoder.errors import CheckFailedError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("sources", nargs="+", metavar="SOURCE", help="where the problems come from (see below)")
    parser.add_argument(
        "--output", required=True, type=Path, metavar="FILE", help="file to write (JSON Lines); name it in build.problems"
    )
    add_workers_argument(parser)


def run(args: argparse.Namespace) -> Outcome:
    from reflectioncoder.builder.sources.collect import collect_problems
    from reflectioncoder.builder.sources.draft import REASONS

    summary = collect_problems(args.sources, args.output, args.limit, args.workers)
    lines = [f"{summary['num_problems']} problems, {summary['num_verified']} of them with a reference that passed its tests twice"]
    lines += [f"  dropped, {reason}: {count} ({REASONS[reason]})" for reason, count in summary["dropped"].items()]
    if not summary["num_problems"]:
        raise CheckFailedError("\n".join(["the sources hold no usable problem", *lines[1:]]))
    return Outcome(summary, lines, [args.output])
