"""Stages: build, evaluate the base model, train, evaluate the trained model, report. Everything is
written to runs/<name>/. A stage that is done is repeated only if something it depends on, or its
output, has changed.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from reflectioncoder.commands import (
    Outcome,
    add_data_dir_argument,
    add_recipe_arguments,
    led_by_first,
    limited,
    percent,
    resolve_recipe,
)

if TYPE_CHECKING:
    from reflectioncoder.train.ranks import Team


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_recipe_arguments(parser)
    add_data_dir_argument(parser)


def run(args: argparse.Namespace) -> Outcome:
    return led_by_first(lambda team: _run(args, team))


def _run(args: argparse.Namespace, team: Team | None) -> Outcome:
    from dataclasses import replace
    from pathlib import Path

    from reflectioncoder.evaluate.results import summary_line
    from reflectioncoder.pipeline import BASE, TRAINED, Run
    from reflectioncoder.stopping import SigtermFlag

    resolved = resolve_recipe(args)
    if args.limit is not None:
        recipe = resolved.recipe
        benchmarks = tuple(limited(spec, args.limit) for spec in recipe.evaluate.benchmarks)
        resolved = replace(resolved, recipe=replace(recipe, evaluate=replace(recipe.evaluate, benchmarks=benchmarks)))
    result = Run(resolved, args.runs_dir, args.data_dir, stop=SigtermFlag(), team=team).run()
    lines = [f"{'benchmark':<20} {'base pass@1':<26} trained pass@1"]
    for name, pair in result["pass@1"].items():
        lines.append(f"{name:<20} {percent(pair[BASE]):<26} {percent(pair[TRAINED])}")
        lines += [f"  {which}: {summary_line(result['summary'][name][which])}" for which in (BASE, TRAINED)]
    return Outcome(result, lines, [Path(result[name]) for name in ("run", "model", "gguf", "report") if name in result])
