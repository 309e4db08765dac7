"""Writes a log for Inspect, the UK AI Security Institute's framework (format version 2), for `inspect view` and `read_eval_log`."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from reflectioncoder import __version__
from reflectioncoder.data.files import write_json
from reflectioncoder.evaluate.judges.base import Row, Subset
from reflectioncoder.evaluate.score import SampleToScore
from reflectioncoder.result_formats.scoring import Scoring, k_of

_CORRECT, _INCORRECT = "C", "I"
_WHOLE = "tests"
_STOP_REASONS = {"stop": "stop", "length": "max_tokens", "refused": "content_filter"}


def write_inspect(scoring: Scoring, directory: Path, stem: str) -> list[Path]:
    """Write `<stem>.inspect.json`."""
    return [write_json(directory / f"{stem}.inspect.json", inspect_log(scoring))]


def inspect_log(scoring: Scoring) -> dict[str, Any]:
    """Return a scoring as Inspect would have logged it: each sample of a task is an epoch, each kind of test a scorer."""
    failed = scoring.results["status"] != "done"
    scorers, parts = _scorers(scoring)
    verdicts = {name: {(row["task_id"], row["sample"]): row["status"] for row in rows} for name, rows in scorers}
    return {
        "version": 2,
        "status": "error" if failed else "success",
        "eval": _spec(scoring, [_scorer_name(name) for name, _ in scorers]),
        "plan": {"name": "plan", "steps": [{"solver": "generate", "params": {}}], "config": _generation(scoring)},
        "results": {
            "total_samples": len(scoring.rows),
            "completed_samples": sum(row["status"] != "sandbox_error" for row in scoring.rows),
            "scores": [_score(scoring, name, rows, parts) for name, rows in scorers],
        },
        "stats": {"started_at": "", "completed_at": _created(scoring), "model_usage": {}},
        **({"error": _error("too many samples could not be run in the sandbox")} if failed else {}),
        "samples": [_sample(scoring, sample, row, verdicts) for sample, row in scoring.pairs()],
    }


def _scorers(scoring: Scoring) -> tuple[Sequence[Subset], Sequence[Subset]]:
    """Split the results' subsets into those with other tests of all samples, and those with the same tests of some tasks."""
    whole = next((rows for name, rows in scoring.subsets if name is None), ())
    same = {id(row) for row in whole}  # a judge copies rows only to change a status
    parts = [(name, rows) for name, rows in scoring.subsets if name is not None and whole and all(id(row) in same for row in rows)]
    names = {name for name, _ in parts}
    return [subset for subset in scoring.subsets if subset[0] not in names], parts


def _spec(scoring: Scoring, scorers: Sequence[str]) -> dict[str, Any]:
    benchmark, results = scoring.benchmark, scoring.results
    epochs = 1 + max((sample.sample for sample in scoring.samples), default=0)
    identity = hashlib.sha256(f"{benchmark.name} {scoring.model} {scoring.written_s}".encode()).hexdigest()
    return {
        "eval_id": identity[:22],
        "run_id": identity[22:44],
        "task_id": hashlib.sha256(benchmark.name.encode()).hexdigest()[:22],
        "created": _created(scoring),
        "task": f"reflectioncoder/{benchmark.name}",
        "task_version": benchmark.version,
        "dataset": {
            "name": benchmark.name,
            "location": benchmark.url or None,
            "samples": len(benchmark.tasks),
            "sample_ids": [task.task_id for task in benchmark.tasks],
            "shuffled": False,
        },
        "model": scoring.model,
        "model_generate_config": _generation(scoring),
        "config": {"epochs": epochs, "epochs_reducer": ["mean"]},
        "packages": {"reflectioncoder": __version__},
        "scorers": [{"name": name, "metrics": [{"name": "accuracy"}, {"name": "stderr"}]} for name in scorers],
        "metadata": {
            "dataset_sha256": benchmark.sha256,
            "license": benchmark.facts.license,
            "measures": benchmark.facts.measures,
            "rules": results["rules"],
            "isolation": results["sandbox"]["isolation"]["name"],
            "limits": results["sandbox"]["limits"],
            "statuses": results["counts"],
        },
    }


def _score(scoring: Scoring, name: str | None, rows: Sequence[Row], parts: Sequence[Subset]) -> dict[str, Any]:
    """Return the metrics of one scorer; the first scorer also has those of the benchmark's parts, under their names."""
    metrics = {}
    wanted = [name, *(part for part, _ in parts)] if name == scoring.subsets[0][0] else [name]
    for metric in scoring.results["metrics"]:
        if metric["subset"] not in wanted:
            continue
        called = "accuracy" if k_of(metric) == 1 else metric["name"]
        suffix = "" if metric["subset"] == name else f" ({metric['subset']})"
        known = {key: metric[key] for key in ("ci_low", "ci_high", "num_tasks", "num_samples")}
        metrics[called + suffix] = _metric(called + suffix, metric["value"], {**known, "confidence": scoring.results["confidence"]})
        error = ("stderr" if called == "accuracy" else f"stderr {called}") + suffix
        metrics[error] = _metric(error, scoring.error_of(metric))
    return {
        "name": _scorer_name(name),
        "scorer": _scorer_name(name),
        "reducer": "mean",
        "scored_samples": len(rows),
        "unscored_samples": len(scoring.rows) - len(rows),
        "params": {},
        "metrics": metrics,
    }


def _metric(name: str, value: float, metadata: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"name": name, "value": value, "params": {}, **({"metadata": metadata} if metadata else {})}


def _sample(
    scoring: Scoring, sample: SampleToScore, row: Row, verdicts: dict[str | None, dict[tuple[str, int], str]]
) -> dict[str, Any]:
    asked = scoring.requests[row["task_id"]].instruction
    answer = {"role": "assistant", "content": sample.answer, "source": "generate", "model": scoring.model}
    key = row["task_id"], row["sample"]
    judged = {"status": row["status"], "on_time_limit": row["on_limit"]}
    scores = {
        _scorer_name(name): {
            "value": _CORRECT if statuses[key] == "passed" else _INCORRECT,
            "answer": sample.solution,
            "explanation": row["stderr_tail"] or statuses[key],
            "metadata": {**judged, "status": statuses[key]},
        }
        for name, statuses in verdicts.items()
        if key in statuses
    }
    return {
        "id": row["task_id"],
        "epoch": sample.sample + 1,
        "input": asked,
        "target": sample.task.canonical_solution,
        "messages": [{"role": "user", "content": asked, "source": "input"}, answer],
        "output": {
            "model": scoring.model,
            "choices": [{"message": answer, "stop_reason": _STOP_REASONS.get(sample.finish_reason, "unknown")}],
        },
        "scores": scores,
        "metadata": {"extraction": sample.extraction, "program_s": row["duration_s"]},
        **({"error": _error(row["stderr_tail"] or "sandbox_error")} if row["status"] == "sandbox_error" else {}),
    }


def _generation(scoring: Scoring) -> dict[str, Any]:
    sampling = scoring.results["sampling"]
    if sampling is None:
        return {}
    drawn = {"top_p": sampling["top_p"]} if sampling["temperature"] else {}
    return {"max_tokens": sampling["max_new_tokens"], "temperature": sampling["temperature"], "seed": sampling["seed"], **drawn}


def _scorer_name(subset: str | None) -> str:
    return _WHOLE if subset is None else subset


def _created(scoring: Scoring) -> str:
    return datetime.fromtimestamp(int(scoring.written_s), UTC).isoformat()


def _error(message: str) -> dict[str, str]:
    return {"message": message, "traceback": message, "traceback_ansi": message}
