"""Combines the results of finished cells: means of the arms, paired differences to the control, `ablation.json`, readable lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from reflectioncoder.ablation.design import CELL_FILE, Cell, Design
from reflectioncoder.ablation.metrics import Metric, metrics_of, metrics_of_json, metrics_to_json
from reflectioncoder.ablation.statistics import TaskValues, mean_of, paired_difference
from reflectioncoder.data.files import read_json, write_json
from reflectioncoder.data.json_text import expected_form
from reflectioncoder.stage_marker import BASE, TRAINED

CellMetrics = Mapping[Metric, TaskValues]
_TRAIN = ("num_tokens", "visits", "reflection_visits", "reflection_tokens", "duration_s")


@dataclass(frozen=True)
class FinishedCell:
    """A cell with a complete run, read from its file. `base`: metrics before training. `train`: values from train.json."""

    cell: Cell
    metrics: CellMetrics
    base: CellMetrics
    train: dict[str, Any]


def finish(cell: Cell, run: Path, identity: dict[str, Any], duration_s: float) -> None:
    """Write the file that marks a cell's run as complete, with all values that the comparison uses.

    Args:
        identity: the cell's identity before its run, so that a file edited during the run makes the cell stale.
    """
    train = read_json(run / "train" / "train.json")
    metrics = {which: metrics_to_json(metrics_of(run, cell.resolved.recipe.evaluate, which)) for which in (BASE, TRAINED)}
    content = {"identity": identity, "duration_s": duration_s, "train": {name: train[name] for name in _TRAIN}, **metrics}
    write_json(run / CELL_FILE, content)


def finished_cells(design: Design, folder: Path) -> list[FinishedCell]:
    """Read the cells with complete runs, in the design's order.

    Raises:
        UsageError: a cell's file is damaged.
    """
    found = []
    for cell in design.cells:
        if cell.is_finished(folder):
            path = folder / cell.name / CELL_FILE
            with expected_form(path):
                said = read_json(path)
                found.append(FinishedCell(cell, metrics_of_json(said[TRAINED]), metrics_of_json(said[BASE]), said["train"]))
    return found


def summarize(design: Design, finished: Sequence[FinishedCell], confidence: float) -> dict[str, Any]:
    """Return the content of `ablation.json`.

    A difference uses only the seeds for which both the arm and the control are finished.
    """
    by_arm = {arm: {f.cell.seed: f for f in finished if f.cell.arm == arm} for arm in design.arms}
    base = [cell.base for cell in by_arm[design.control].values()]  # other arms may change the base model
    metrics = sorted({metric for f in finished for metric in f.metrics}, key=lambda m: (m.kind, m.benchmark))
    return {
        "schema_version": 1,
        "control": design.control,
        "seeds": list(design.seeds),
        "confidence": confidence,
        "num_cells": len(design.cells),
        "num_finished": len(finished),
        "arms": [_arm(arm, settings, by_arm[arm]) for arm, settings in design.arms.items()],
        "metrics": [_metric(metric, design, by_arm, base, confidence) for metric in metrics],
    }


def _arm(name: str, settings: dict[str, Any], cells: Mapping[int, FinishedCell]) -> dict[str, Any]:
    trains = [cell.train for cell in cells.values()]
    return {
        "name": name,
        "settings": settings,
        "seeds": sorted(cells),
        "tokens": [train["num_tokens"] for train in trains],
        "visits": [train["visits"] for train in trains],
        "reflection_visits": [train["reflection_visits"] for train in trains],
        "reflection_tokens": [train["reflection_tokens"] for train in trains],
        "duration_s": [train["duration_s"] for train in trains],
    }


def _metric(
    metric: Metric, design: Design, by_arm: Mapping[str, Mapping[int, FinishedCell]], base: Sequence[CellMetrics], confidence: float
) -> dict[str, Any]:
    control = by_arm[design.control]
    rows = []
    for arm, cells in by_arm.items():
        runs = [cell.metrics[metric] for cell in cells.values() if metric in cell.metrics]
        if not runs:
            continue
        paired = [seed for seed in cells if seed in control and metric in cells[seed].metrics and metric in control[seed].metrics]
        row: dict[str, Any] = {
            "arm": arm,
            "mean": mean_of(runs),
            "by_seed": {str(seed): mean_of([cell.metrics[metric]]) for seed, cell in cells.items() if metric in cell.metrics},
        }
        if arm != design.control and paired:
            ours, theirs = ([side[seed].metrics[metric] for seed in paired] for side in (cells, control))
            row["difference"] = asdict(paired_difference(ours, theirs, confidence, of_shares=metric.kind == "pass@1"))
        rows.append(row)
    return {
        "kind": metric.kind,
        "benchmark": metric.benchmark,
        "higher_is_better": metric.higher_is_better,
        "base": mean_of(bases) if (bases := [of_cell[metric] for of_cell in base if metric in of_cell]) else None,
        "arms": rows,
    }


def lines_of(summary: dict[str, Any]) -> list[str]:
    """Return a readable table: a block for each metric, a line for each arm."""
    width = max(len(arm["name"]) for arm in summary["arms"])
    lines = [f"{summary['num_finished']} of {summary['num_cells']} runs finished; differences are to {summary['control']}"]
    for metric in summary["metrics"]:
        base = "" if metric["base"] is None else f" (base model: {_value(metric, metric['base'])})"
        lines.append(f"{metric['kind']}, {metric['benchmark']}{base}")
        lines += [
            f"  {row['arm']:<{width}}  {_value(metric, row['mean']):>9}  {_difference(metric, row)}".rstrip() for row in metric["arms"]
        ]
    return lines


def _value(metric: dict[str, Any], value: float) -> str:
    return f"{100 * value:.1f} %" if metric["kind"] == "pass@1" else f"{value:.4f}"


def _difference(metric: dict[str, Any], row: dict[str, Any]) -> str:
    found = row.get("difference")
    if found is None:
        return ""
    scale, unit, digits = (100, " points", 1) if metric["kind"] == "pass@1" else (1, " nats", 4)
    value, low, high, detectable = (scale * found[key] for key in ("value", "ci_low", "ci_high", "detectable"))
    seeds = f"{found['num_seeds']} seed{'s' * (found['num_seeds'] > 1)}"
    detectable = f"; {detectable:.{digits}f} would be found" if detectable else ""
    return f"{value:+.{digits}f}{unit} [{low:+.{digits}f}, {high:+.{digits}f}], {seeds}{detectable}"
