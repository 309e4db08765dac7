"""Stages: build, evaluate the base model, train, evaluate the trained model, report. Everything is
written to runs/<name>/. A stage that is done is repeated only if something it depends on, or its
output, has changed.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from reflectioncoder.commands import (
    Outcome,
    add_data_dir_argument,
    add_recipe_arguments,
    led_by_first,
    percent,
    resolve_limited_recipe,
)

if TYPE_CHECKING:
    from reflectioncoder.train.ranks import Team


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_recipe_arguments(parser)
    add_data_dir_argument(parser)


def run(args: argparse.Namespace) -> Outcome:
    return led_by_first(lambda team: _run(args, team))


def _run(args: argparse.Namespace, team: Team | None) -> Outcome:
    from pathlib import Path

    from reflectioncoder.evaluate.results import summary_line
    from reflectioncoder.pipeline import Run
    from reflectioncoder.stage_marker import BASE, TRAINED
    from reflectioncoder.stopping import SigtermFlag

    resolved = resolve_limited_recipe(args)
    result = Run(resolved, args.runs_dir, args.data_dir, stop=SigtermFlag(), team=team).run()
    lines = []
    if result["pass@1"]:
        lines = [f"{'benchmark':<20} {'base pass@1':<26} {'trained pass@1':<26} difference"]
    for name, pair in result["pass@1"].items():
        said = _difference(result["compared"][name])
        lines.append(f"{name:<20} {percent(pair[BASE]):<26} {percent(pair[TRAINED]):<26} {said}".rstrip())
        lines += [f"  {which}: {summary_line(result['summary'][name][which])}" for which in (BASE, TRAINED)]
        known = result["known"].get(name, {})
        lines += [f"  {whose}: {100 * share:.1f} %, from elsewhere, as the recipe says" for whose, share in known.items()]
    losses = result.get("reference_loss", {BASE: {}, TRAINED: {}})
    for name, base in losses[BASE].items():
        before, after = (f"{loss['value']:.4f} [{loss['ci_low']:.4f}, {loss['ci_high']:.4f}]" for loss in (base, losses[TRAINED][name]))
        lines.append(f"{name}: loss of the canonical programs, nats per token: base {before}, trained {after}")
    return Outcome(result, lines, [Path(result[name]) for name in ("run", "model", "gguf", "report") if name in result])


def _difference(compared: dict[str, Any] | None) -> str:
    """Describe the paired difference between trained and base model."""
    if compared is None:
        return ""
    difference, flipped = compared["difference"], compared["flipped"]
    points = " to ".join(f"{100 * difference[end]:+.1f}" for end in ("ci_low", "ci_high"))
    said = f"{100 * difference['value']:+.1f} points [{points}]"
    if flipped is None:
        return said
    return f"{said}, {len(flipped['only_b'])} gained, {len(flipped['only_a'])} lost, p = {compared['mcnemar']['p_value']:.2g}"
