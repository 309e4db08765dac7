"""The data of a benchmark is looked up in --data-dir, in $REFLECTIONCODER_DATA and in the cache; what is
not found is downloaded when the benchmark is first used. Nothing is downloaded here.
"""

from __future__ import annotations

import argparse

from reflectioncoder.commands import Outcome, add_data_dir_argument


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_data_dir_argument(parser)


def run(args: argparse.Namespace) -> Outcome:
    from reflectioncoder.evaluate.catalogue import HEADER, entries

    listed = entries(args.data_dir)
    return Outcome({"benchmarks": {entry.name: entry.to_json() for entry in listed}}, [HEADER, *(entry.line() for entry in listed)])
