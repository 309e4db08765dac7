"""Reads the metrics of runs: of every benchmark the pass rate, and the loss of its canonical solutions if it was measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from reflectioncoder.ablation.statistics import TaskValues
from reflectioncoder.data.files import read_json, read_jsonl
from reflectioncoder.data.json_text import expected_form
from reflectioncoder.evaluate.benchmarks import split_name
from reflectioncoder.evaluate.compare import read_run
from reflectioncoder.evaluate.results import headline
from reflectioncoder.reference_evaluation import REFERENCE_LOSSES

Kind = Literal["pass@1", "reference loss"]
ALL = "all benchmarks"


@dataclass(frozen=True, order=True)
class Metric:
    """A metric on one benchmark, or on the tasks of all of them. Higher is better for a pass rate, lower for a loss."""

    kind: Kind
    benchmark: str

    @property
    def name(self) -> str:
        return f"{self.kind} {self.benchmark}"

    @property
    def higher_is_better(self) -> bool:
        return self.kind == "pass@1"


def metrics_of(run: Path, specs: Sequence[str], which: str) -> dict[Metric, TaskValues]:
    """Return what a run folder has of the base or the trained model; tasks without a verdict are left out.

    Raises:
        UsageError: a file is damaged.
    """
    found: dict[Metric, TaskValues] = {}
    for spec in specs:
        name, _ = split_name(spec)
        folder = run / "eval" / name / which
        if (folder / "results.json").is_file():
            found[Metric("pass@1", name)] = _pass_rates(folder)
        if (folder / REFERENCE_LOSSES).is_file():
            found[Metric("reference loss", name)] = _losses(folder / REFERENCE_LOSSES)
    return found | _pooled(found)


def metrics_to_json(metrics: Mapping[Metric, TaskValues]) -> list[dict[str, Any]]:
    """Return metrics as JSON; what `metrics_of_json` computes from the others is left out."""
    rows = []
    for metric, values in metrics.items():
        if metric.benchmark != ALL:
            tasks = {task: [round(above, 6), below] for task, (above, below) in values.items()}
            rows.append({"kind": metric.kind, "benchmark": metric.benchmark, "tasks": tasks})
    return rows


def metrics_of_json(rows: Iterable[Mapping[str, Any]]) -> dict[Metric, TaskValues]:
    """Read what `metrics_to_json` has written."""
    found: dict[Metric, TaskValues] = {
        Metric(row["kind"], row["benchmark"]): {task: (above, below) for task, (above, below) in row["tasks"].items()} for row in rows
    }
    return found | _pooled(found)


def _pass_rates(folder: Path) -> TaskValues:
    with expected_form(folder / "results.json"):
        subset = headline(read_json(folder / "results.json"))["subset"]
    run = read_run(folder)
    rates = run.rates(run.samples, subset if subset in ("base", "plus") else None)
    return {task: (rate * count, float(count)) for task, (rate, count) in rates.items()}


def _losses(path: Path) -> TaskValues:
    with expected_form(path):
        return {row["task_id"]: (row["loss"] * row["num_tokens"], float(row["num_tokens"])) for _, row in read_jsonl(path)}


def _pooled(found: dict[Metric, TaskValues]) -> dict[Metric, TaskValues]:
    """Return the metrics over the tasks of all benchmarks, where there are several."""
    pooled: dict[Metric, TaskValues] = {}
    for kind in ("pass@1", "reference loss"):
        of_kind = [(metric.benchmark, values) for metric, values in found.items() if metric.kind == kind]
        if len(of_kind) > 1:
            pooled[Metric(kind, ALL)] = {f"{name}/{task}": value for name, values in of_kind for task, value in values.items()}
    return pooled
