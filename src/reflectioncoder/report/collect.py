"""Collects what a run folder holds, as plain data for the page. A run that has not finished gives what it has."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reflectioncoder.choices import MASK_STRATEGIES
from reflectioncoder.data.files import read_json, read_jsonl
from reflectioncoder.data.run_folders import RunFolder
from reflectioncoder.errors import UsageError
from reflectioncoder.evaluate.compare import compare_runs, read_run
from reflectioncoder.evaluate.results import headline
from reflectioncoder.method.masking import hidden_positions

RATES = tuple(i / 20 for i in range(21))


def collect_run(folder: RunFolder) -> dict[str, Any]:
    """Return everything that the page shows of one run.

    Raises:
        UsageError: the folder is not a run folder, or a file in it was damaged.
    """
    directory = folder.path
    if not (directory / "config.yaml").is_file():
        raise UsageError(f"{directory} is not a run folder: it has no config.yaml")
    env = _optional(directory / "env.json") or {}
    return {
        "name": folder.name,
        "rounds": folder.rounds,
        "ablation": folder.ablation,
        "config": (directory / "config.yaml").read_text(encoding="utf-8"),
        "env": env,
        "build": _optional(directory / "build" / "build.json"),
        "train": _optional(directory / "train" / "train.json"),
        "benchmarks": _benchmarks(directory / "eval"),
        "sequences": [_sequence(sample) for sample in _optional(directory / "train" / "preview.json", list) or []],
        "stages": {path.stem: read_json(path)["duration_s"] for path in sorted((directory / "stages").glob("*.json"), key=_written)},
    }


def _written(path: Path) -> float:
    return path.stat().st_mtime


def _optional(path: Path, kind: type = dict) -> Any:
    """Read a file that may be missing.

    Raises:
        UsageError: it is something else than what is written there.
    """
    if not path.is_file():
        return None
    content = read_json(path)
    if not isinstance(content, kind) or not content:
        raise UsageError(f"{path} is not as reflectioncoder wrote it: got {content!r:.60}")
    return content


def _benchmarks(directory: Path) -> list[dict[str, Any]]:
    """Return for each benchmark the results before and after, and the tasks with both completions."""
    names = sorted({path.parent.parent.relative_to(directory) for path in directory.rglob("results.json")})
    return [_benchmark(str(name), directory / name) for name in names]


def _benchmark(name: str, directory: Path) -> dict[str, Any]:
    sides: dict[str, dict[str, Any]] = {}
    tasks: dict[str, dict[str, Any]] = {}
    for which in ("base", "trained"):
        results = _optional(directory / which / "results.json")
        if results is None or not results["metrics"]:  # not scored, or nothing could be run
            continue
        main = headline(results)
        subsets = [m for m in results["metrics"] if m["subset"] not in (None, main["subset"])]
        sides[which] = {"headline": main, "subsets": subsets, "counts": results["counts"], "results": results}
        raw = _first_rows(directory / which / "completions.jsonl")
        for task_id, row in _first_rows(directory / which / "samples.jsonl").items():
            tasks.setdefault(task_id, {"task_id": task_id})[which] = {
                "status": row["status"],
                "solution": row["solution"],
                "tests": [t["passed"] for t in row["tests"]],
                "details": [t["detail"] for t in row["tests"]],
                "stderr_tail": row["stderr_tail"],
                "raw": raw.get(task_id, {}).get("completion", ""),
                "extraction": raw.get(task_id, {}).get("extraction", ""),
            }
    comparison = _comparison(directory, sides)
    for task in tasks.values():
        task["change"] = comparison["changes"].get(task["task_id"], "unjudged")
    return {"name": name, "sides": sides, "tasks": list(tasks.values()), **comparison}


def _comparison(directory: Path, sides: dict[str, Any]) -> dict[str, Any]:
    """Compare before and after as `compare` does, on the tests of the headline: the change of each task, counts, the p-value.

    `reason`: why there is no p-value.
    """
    nothing = {"changes": {}, "counts": None, "p_value": None, "reason": ""}
    if len(sides) < 2:
        return nothing
    try:
        before, after = (read_run(directory / which) for which in ("base", "trained"))
        compared = compare_runs(before, after)["subsets"][-1]
    except UsageError as error:
        return {**nothing, "reason": str(error).splitlines()[0]}
    subset = compared["subset"]
    rates = [run.rates(before.samples.keys() & after.samples.keys(), subset) for run in (before, after)]
    changes = {task: _change(rates[0][task][0], rates[1][task][0]) for task in rates[0].keys() & rates[1].keys()}
    counts = {kind: sum(change == kind for change in changes.values()) for kind in ("both", "gained", "lost", "neither")}
    return {"changes": changes, "counts": counts, **{key: compared["mcnemar"][key] for key in ("p_value", "reason")}}


def _change(before: float, after: float) -> str:
    """Classify a task by its pass@1; `neither` is also one that is solved as often as before, but not always."""
    return "gained" if after > before else "lost" if before > after else "both" if before == 1 else "neither"


def _first_rows(path: Path) -> dict[str, dict[str, Any]]:
    """Return the first sample of each task."""
    rows: dict[str, dict[str, Any]] = {}
    if path.is_file():
        for _, row in read_jsonl(path, tolerate_torn_tail=True):
            rows.setdefault(row["task_id"], row)
    return rows


def _sequence(sample: dict[str, Any]) -> dict[str, Any]:
    """Return a sample for the viewer, with the hidden token ranges of every strategy at every shown mask rate."""
    from reflectioncoder.data.render import Span

    blocks = [Span(**s) for s in sample["spans"] if s["message"] == 1 and s["block"] is not None]
    order = sample["block_order"]
    hidden = {
        strategy: [_ranges(hidden_positions(blocks, rate, [strategy], random.Random(sample["id"]), order)) for rate in RATES]
        for strategy in MASK_STRATEGIES
    }
    everything = frozenset(range(len(sample["tokens"])))
    frame = _ranges(everything - frozenset(sample["student_kept"]))
    return {**{k: v for k, v in sample.items() if k != "student_kept"}, "hidden": hidden, "frame_hidden": frame}


def _ranges(positions: frozenset[int]) -> list[list[int]]:
    ranges: list[list[int]] = []
    for position in sorted(positions):
        if ranges and ranges[-1][1] == position:
            ranges[-1][1] += 1
        else:
            ranges.append([position, position + 1])
    return ranges


def funnel(build: dict[str, Any]) -> Sequence[tuple[str, int]]:
    """Return (label, count) from candidates to accepted samples."""
    return [
        ("candidates", build["num_candidates"]),
        *((f"rejected: {reason.replace('_', ' ')}", count) for reason, count in build["rejected"].items()),
        ("accepted", build["num_accepted"]),
    ]
