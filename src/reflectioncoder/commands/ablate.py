"""Runs every arm of the recipe's `ablate` section with every seed, a run folder each under
runs/<name>/cells/, and writes runs/<name>/ablation.json and report.html: the arms' means and their
paired differences to the control, with intervals over seeds and tasks. Builds with the same settings and evaluations of
the base model are made once. An interrupted command continues when it is run again.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from reflectioncoder.commands import (
    Outcome,
    add_data_dir_argument,
    add_recipe_arguments,
    add_shard_argument,
    led_by_first,
    resolve_limited_recipe,
)
from reflectioncoder.shards import WHOLE

if TYPE_CHECKING:
    from reflectioncoder.train.ranks import Team


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_recipe_arguments(parser)
    add_data_dir_argument(parser)
    add_shard_argument(parser, "machines have a common runs folder, and nothing is merged", WHOLE)
    parser.add_argument("--dry-run", action="store_true", help="check every arm and list the runs; build and train nothing")


def run(args: argparse.Namespace) -> Outcome:
    return led_by_first(lambda team: _ablate(args, team))


def _ablate(args: argparse.Namespace, team: Team | None) -> Outcome:
    from reflectioncoder.ablation.results import lines_of
    from reflectioncoder.ablation.runs import Ablation
    from reflectioncoder.data.run_folders import ABLATION_FILE
    from reflectioncoder.stopping import SigtermFlag

    resolved = resolve_limited_recipe(args)
    ablation = Ablation(resolved, args.runs_dir, args.data_dir, shard=args.shard, stop=SigtermFlag(), team=team)
    if args.dry_run:
        cells = ablation.check()
        lines = [f"{cell['run']}: {'finished' if cell['finished'] else 'to do'}" for cell in cells]
        return Outcome({"control": ablation.design.control, "arms": ablation.design.arms, "runs": cells}, lines, [])
    summary = ablation.run()
    return Outcome(summary, lines_of(summary), [ablation.directory / ABLATION_FILE, ablation.directory / "report.html"])
