"""The page works offline and needs no server."""

from __future__ import annotations

import argparse
from pathlib import Path

from reflectioncoder.commands import Outcome


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folders made by run, improve or ablate")
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="the HTML file to write; needed for several runs (default: report.html in RUN)"
    )


def run(args: argparse.Namespace) -> Outcome:
    from reflectioncoder.errors import UsageError
    from reflectioncoder.report.html import write_report

    if args.output is None and len(args.runs) > 1:
        raise UsageError.for_value("a page about several runs needs a place", "--output", "nothing", "a file, --output report.html")
    return Outcome({}, [], [write_report(args.runs, args.output or args.runs[0] / "report.html")])
