"""The page works offline and needs no server."""

from __future__ import annotations

import argparse
from pathlib import Path

from reflectioncoder.commands import Outcome


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folders made by run or improve")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="the HTML file to write")


def run(args: argparse.Namespace) -> Outcome:
    from reflectioncoder.report.html import write_report

    return Outcome({}, [], [write_report(args.runs, args.output)])
