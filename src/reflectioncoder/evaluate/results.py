"""Makes `results.json`: the scores of one scoring run, with everything needed to interpret them."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

from reflectioncoder import __version__
from reflectioncoder.errors import MachineError, UsageError
from reflectioncoder.evaluate.benchmarks import Benchmark
from reflectioncoder.evaluate.judges.base import Status
from reflectioncoder.evaluate.metrics import mean_pass_at_k
from reflectioncoder.evaluate.references import line_of
from reflectioncoder.evaluate.score import Scorer
from reflectioncoder.progress import format_duration
from reflectioncoder.sandbox.detect import FLOOR

PASS_AT = (1, 5, 10, 100)
MAX_SANDBOX_ERRORS = 0.01
_COUNTS = ("num_tasks", "num_passed", "num_without")  # of references


def summarize(
    scorer: Scorer,
    rows: Sequence[dict[str, Any]],
    confidence: float = 0.95,
    model: dict[str, Any] | None = None,
    sampling: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the content of `results.json`. Samples that the sandbox could not run are left out of the scores."""
    counts = Counter(row["status"] for row in rows)
    errors = counts["sandbox_error"]
    judged = [row for row in rows if row["status"] != "sandbox_error"]
    benchmark, judge = scorer.benchmark, scorer.benchmark.judge
    subsets = judge.subsets(benchmark.tasks, judged)
    return {
        "schema_version": 1,
        "status": "sandbox_error" if errors > MAX_SANDBOX_ERRORS * len(rows) else "done",
        "benchmark": benchmark.describe(),
        "model": model,
        "sampling": sampling,
        "sandbox": {
            "isolation": scorer.isolation.describe(),
            "safe": scorer.isolation.tier >= FLOOR,
            "floor": scorer.floor,
            "limits": scorer.describe_limits(),
            **judge.environment(),
        },
        "rules": scorer.rules if judge.has_rules else None,
        "env": {"python": platform.python_version(), "platform": platform.platform(), "reflectioncoder": __version__},
        "confidence": confidence,
        "metrics": [metric for subset, counted in subsets for metric in _metrics(counted, subset, confidence)],
        "counts": {status: counts[status] for status in get_args(Status) if counts[status]},
        **judge.further_counts(judged),
        "num_on_limit": sum(bool(row["on_limit"]) for row in judged),
    }


def skipped(benchmark: Benchmark, reason: str) -> dict[str, Any]:
    """Return the content of `results.json` for a benchmark that cannot be judged: a count of tasks, but no scores."""
    return {
        "schema_version": 1,
        "status": "skipped",
        "reason": reason,
        "benchmark": benchmark.describe(),
        "model": None,
        "sampling": None,
        "sandbox": None,
        "rules": None,
        "env": {"python": platform.python_version(), "platform": platform.platform(), "reflectioncoder": __version__},
        "metrics": [],
        "counts": {"skipped": len(benchmark.tasks)},
    }


def _metrics(rows: Sequence[dict[str, Any]], subset: str | None, confidence: float) -> list[dict[str, Any]]:
    samples: Counter[str] = Counter(row["task_id"] for row in rows)
    correct: Counter[str] = Counter(row["task_id"] for row in rows if row["status"] == "passed")
    per_task = [(samples[task], correct[task]) for task in samples]
    smallest = min(samples.values(), default=0)
    metrics = []
    for k in PASS_AT:
        if k <= smallest:
            interval = mean_pass_at_k(per_task, k, confidence)
            metrics.append(
                {
                    "name": f"pass@{k}",
                    "subset": subset,
                    **asdict(interval),
                    "num_tasks": len(samples),
                    "num_samples": len(rows),
                }
            )
    return metrics


def num_counted_rows(results: dict[str, Any], rows: Sequence[dict[str, Any]], where: Path) -> int:
    """Return how many rows of `samples.jsonl`, from its beginning, the results beside it count.

    Behind them stand the rows of other samples, of an earlier scoring into the folder. Results that do not say what they count are
    taken to count all.

    Args:
        where: the file of the rows, for messages.

    Raises:
        UsageError: the rows are not those that the results count.
    """
    counts = {} if results.get("status") == "skipped" else results.get("counts") or {}
    if not counts:
        return len(rows)
    number = sum(counts.values())
    if Counter(row.get("status") for row in rows[:number]) != Counter(counts):
        raise UsageError(
            f"{where} does not hold the verdicts that results.json beside it counts: scoring has not finished, or one of them was "
            "changed\n  hint:    run score again"
        )
    return number


def headline(results: dict[str, Any]) -> dict[str, Any]:
    """Return pass@1 over all tasks; with base and plus tests that of plus.

    Raises:
        KeyError: it is not among the results.
    """
    by_subset = {m["subset"]: m for m in results["metrics"] if m["name"] == "pass@1"}
    found = [by_subset[subset] for subset in ("plus", "base", None) if subset in by_subset]
    if not found:
        raise KeyError("pass@1")
    return found[0]


def summary_of(results: dict[str, Any], duration_s: float | None = None) -> dict[str, Any]:
    """Return the context of a score: tasks, answers, answers without a program, seconds, the percentage points of one task; the dates
    of dated tasks, and how many references pass if that is checked.

    Args:
        duration_s: seconds of generation and scoring; None if unknown.
    """
    answers = results.get("answers", {})
    num_tasks = headline(results)["num_tasks"]
    dates, references = (results["benchmark"].get(name) for name in ("dates", "references"))
    return {
        "num_tasks": num_tasks,
        "num_answers": answers.get("num_answers"),
        "num_without_program": answers.get("num_without_program"),
        "duration_s": duration_s,
        "points_per_task": round(100 / num_tasks, 3) if num_tasks else None,
        **({"dates": dates} if dates else {}),
        **({"references": {name: references[name] for name in _COUNTS if name in references}} if references else {}),
    }


def summary_line(summary: dict[str, Any]) -> str:
    """Return the output of `summary_of` as a line of text."""
    said = [f"{summary['num_tasks']} tasks"]
    if summary["num_answers"] is not None:
        said.append(f"{summary['num_answers']} answers, {summary['num_without_program']} without a program")
    if summary["duration_s"] is not None:
        said.append(format_duration(summary["duration_s"]))
    if summary["points_per_task"] is not None:
        points = summary["points_per_task"]
        said.append(f"one task is {points:.0f} points" if points >= 10 else f"one task is {points:.2g} points")
    if dates := summary.get("dates"):
        said.append(f"dated {dates['from']} to {dates['to']}")
    if references := summary.get("references"):
        said.append(line_of(references))
    return ", ".join(said)


def require_sandbox(results: dict[str, Any]) -> None:
    """Raise MachineError if too many samples could not be judged."""
    if results["status"] == "sandbox_error":
        raise MachineError(
            f"{results['counts'].get('sandbox_error')} samples could not be run in the sandbox; the numbers are not valid\n"
            "  hint:    reflectioncoder doctor; then run the same command again: only these samples are run"
        )
