"""Reads the metrics of runs: for every benchmark the pass rate, and the loss of its canonical solutions if measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from reflectioncoder.ablation.statistics import TaskValues
from reflectioncoder.config.declarations import EvaluateConfig
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
    """A metric on one benchmark or on the tasks of all benchmarks. Higher is better for a pass rate, lower for a loss."""

    kind: Kind
    benchmark: str

    @property
    def name(self) -> str:
        return f"{self.kind} {self.benchmark}"

    @property
    def higher_is_better(self) -> bool:
        return self.kind == "pass@1"


def metrics_of(run: Path, asked: EvaluateConfig, which: str) -> dict[Metric, TaskValues]:
    """Return a run's measurements of the base or the trained model; tasks without a verdict are left out.

    Only the files of the requested benchmarks are read; an earlier run with other settings may have left more.

    Raises:
        UsageError: a file is damaged.
    """
    found: dict[Metric, TaskValues] = {}
    for spec in asked.benchmarks:
        name, _ = split_name(spec)
        folder = run / "eval" / name / which
        if "pass_rate" in asked.measures:
            found[Metric("pass@1", name)] = _pass_rates(folder)
        if "reference_loss" in asked.measures and (folder / REFERENCE_LOSSES).is_file():  # absent for benchmarks in other languages
            found[Metric("reference loss", name)] = _losses(folder / REFERENCE_LOSSES)
    return found | _pooled(found)


def metrics_to_json(metrics: Mapping[Metric, TaskValues]) -> list[dict[str, Any]]:
    """Return metrics as JSON, without the pooled ones that `metrics_of_json` computes from the others."""
    rows = []
    for metric, values in metrics.items():
        if metric.benchmark != ALL:
            tasks = {task: [round(numerator, 6), denominator] for task, (numerator, denominator) in values.items()}
            rows.append({"kind": metric.kind, "benchmark": metric.benchmark, "tasks": tasks})
    return rows


def metrics_of_json(rows: Iterable[Mapping[str, Any]]) -> dict[Metric, TaskValues]:
    """Read metrics written by `metrics_to_json`."""
    found: dict[Metric, TaskValues] = {
        Metric(row["kind"], row["benchmark"]): {
            task: (numerator, denominator) for task, (numerator, denominator) in row["tasks"].items()
        }
        for row in rows
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
    """Return the metrics over the tasks of all benchmarks, if there are several benchmarks."""
    pooled: dict[Metric, TaskValues] = {}
    for kind in ("pass@1", "reference loss"):
        of_kind = [(metric.benchmark, values) for metric, values in found.items() if metric.kind == kind]
        if len(of_kind) > 1:
            pooled[Metric(kind, ALL)] = {f"{name}/{task}": value for name, values in of_kind for task, value in values.items()}
    return pooled
