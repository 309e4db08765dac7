"""Takes the folders that commands with --shard have written, all of one work, and writes into DIR what one
machine would have written. docs/scale.md says what shards are for. Exit code 2: a shard is missing, doubled, unfinished,
damaged or of other work; 3: it was made by other versions of Python, of packages or of this program.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from reflectioncoder.commands import Outcome

MERGED = ("build", "check", "evaluate", "generate", "problems", "score")
"""The commands whose shards are merged, by `merged` in their modules."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shards", nargs="+", type=Path, metavar="SHARD", help="a shard's folder, such as DIR/shard-1-of-8; all of them")
    parser.add_argument("--output", required=True, type=Path, metavar="DIR", help="folder to write the results to")


def run(args: argparse.Namespace) -> Outcome:
    import importlib

    from reflectioncoder.errors import require_choice
    from reflectioncoder.shard_folders import read_shards

    shards = read_shards(args.shards)
    command = shards[0].work.command
    require_choice("command of a shard", command, MERGED)
    return importlib.import_module(f"reflectioncoder.commands.{command}").merged(shards, args.output)
