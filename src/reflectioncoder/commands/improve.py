"""Repeats rounds: the current model attempts fresh problems of the recipe, the reference solutions
repair its failures, and the base model is trained on all samples so far and scored. Writes
runs/<name>/improve.json and a run folder per round under rounds/. An interrupted command continues
when it is run again.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from reflectioncoder.commands import Outcome, add_data_dir_argument, add_recipe_arguments, led_by_first, resolve_limited_recipe

if TYPE_CHECKING:
    from reflectioncoder.train.ranks import Team


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_recipe_arguments(parser)
    add_data_dir_argument(parser)


def run(args: argparse.Namespace) -> Outcome:
    return led_by_first(lambda team: _improve(args, team))


def _improve(args: argparse.Namespace, team: Team | None) -> Outcome:
    from pathlib import Path

    from reflectioncoder.improve import Improvement, best
    from reflectioncoder.stopping import SigtermFlag

    resolved = resolve_limited_recipe(args)
    improvement = Improvement(resolved, args.runs_dir, args.data_dir, stop=SigtermFlag(), team=team)
    rounds = improvement.run()
    chosen = best(rounds)
    lines = [f"{'round':<7}{'problems':>9}{'samples':>9}  held-out pass@1"]
    for r in rounds:
        each = ", ".join(f"{name} {100 * value:.1f} %" for name, value in r.pass_at_1.items())
        lines.append(
            f"{r.number:<7}{r.num_problems:>9}{r.num_samples:>9}  {100 * r.score:.1f} % ({each}){'  best' if r is chosen else ''}"
        )
    value = {"rounds": [r.to_json() for r in rounds], "best": chosen.number, "model": chosen.model}
    return Outcome(value, lines, [improvement.directory / "improve.json", Path(chosen.model)])
