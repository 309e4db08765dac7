"""Collects the content of a run folder as plain data for the page. An unfinished run gives what it has so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from reflectioncoder.data.files import read_json
from reflectioncoder.data.run_folders import RunFolder
from reflectioncoder.errors import UsageError
from reflectioncoder.evaluate.compare import ScoredRun, read_run
from reflectioncoder.evaluate.metrics import wilson_interval
from reflectioncoder.evaluate.results import headline
from reflectioncoder.evaluate.specs import known_results, name_of
from reflectioncoder.report.pairs import Pair, pair_of
from reflectioncoder.report.provenance import settings_of
from reflectioncoder.report.sequences import sequence
from reflectioncoder.report.tasks import Side, rows_of

WHICH = ("base", "trained")


def collect_run(folder: RunFolder) -> dict[str, Any]:
    """Return everything that the page shows about one run.

    Raises:
        UsageError: the folder is not a run folder, or a file in it is damaged.
    """
    directory = folder.path
    if not (directory / "config.yaml").is_file():
        raise UsageError(f"{directory} is not a run folder: it has no config.yaml")
    env = _optional(directory / "env.json") or {}
    config = (directory / "config.yaml").read_text(encoding="utf-8")
    settings, recipe = settings_of(config, str(directory / "config.yaml"))
    description, evaluate = recipe.get("description"), recipe.get("evaluate", {})
    known = {name_of(spec): known_results(evaluate.get("known", {}), spec) for spec in evaluate.get("benchmarks", ())}
    return {
        "name": folder.name,
        "rounds": folder.rounds,
        "ablation": folder.ablation,
        "config": config,
        "settings": settings,
        "description": description if isinstance(description, str) else "",
        "env": env,
        "build": _optional(directory / "build" / "build.json"),
        "train": _optional(directory / "train" / "train.json"),
        "benchmarks": _benchmarks(directory / "eval", folder.name, known),
        "sequences": [sequence(sample) for sample in _optional(directory / "train" / "preview.json", list) or []],
        "stages": {path.stem: _seconds(path) for path in sorted((directory / "stages").glob("*.json"), key=_written)},
    }


def _written(path: Path) -> float:
    return path.stat().st_mtime


def _seconds(path: Path) -> float:
    """Return how long a stage took.

    Raises:
        UsageError: its file does not say that.
    """
    said = read_json(path)
    seconds = said.get("duration_s") if isinstance(said, dict) else None
    if not isinstance(seconds, int | float) or isinstance(seconds, bool):
        raise UsageError(f"{path} is not as reflectioncoder wrote it: duration_s is a number of seconds, got {seconds!r:.60}")
    return seconds


def _optional(path: Path, kind: type = dict) -> Any:
    """Read a file that may be missing.

    Raises:
        UsageError: the file does not have the expected content.
    """
    if not path.is_file():
        return None
    content = read_json(path)
    if not isinstance(content, kind) or content == {}:
        raise UsageError(f"{path} is not as reflectioncoder wrote it: got {content!r:.60}")
    return content


def _benchmarks(directory: Path, run: str, known: Mapping[str, Mapping[str, float]]) -> list[dict[str, Any]]:
    """Return each benchmark's results before and after training, their comparison, and the results that the recipe knows."""
    names = sorted({path.parent.parent.relative_to(directory) for path in directory.rglob("results.json")})
    return [_benchmark(str(name), directory / name, run, known.get(str(name), {})) for name in names]


def _benchmark(name: str, directory: Path, run: str, known: Mapping[str, float]) -> dict[str, Any]:
    """Return what the page shows about a benchmark. `sides`: the scorings of base and trained model, as far as they exist."""
    sides: dict[str, dict[str, Any]] = {}
    pair = Pair()
    for which in WHICH:
        results = _optional(directory / which / "results.json")
        if results is None or not results["metrics"]:  # not scored, or no program could be run
            continue
        main = headline(results)
        subsets = [m for m in results["metrics"] if m["subset"] not in (None, main["subset"])]
        scored, reason = _scored(directory / which)
        pair = pair if scored else Pair(reason=reason)
        side = Side(run, which, scored, rows_of(directory / which))
        sides[which] = {"headline": main, "subsets": subsets, "counts": results["counts"], "results": results, "side": side}
    if len(sides) == len(WHICH) and not pair.reason:
        pair = pair_of(*(sides[which]["side"].scored for which in WHICH))
    return {"name": name, "sides": sides, "pair": pair, "known": _known(known, sides)}


def _known(known: Mapping[str, float], sides: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return results from elsewhere like headlines, with intervals as if each came from as many tasks as were scored here."""
    found = {}
    for side in list(sides.values())[:1]:
        num_tasks, confidence = side["headline"]["num_tasks"], side["results"]["confidence"]
        for whose, rate in known.items():
            found[whose] = {**asdict(wilson_interval(rate * num_tasks, num_tasks, confidence)), "as_for_tasks": num_tasks}
    return found


def _scored(directory: Path) -> tuple[ScoredRun | None, str]:
    try:
        return read_run(directory), ""
    except UsageError as error:
        return None, str(error).splitlines()[0]


def funnel(build: dict[str, Any]) -> Sequence[tuple[str, int]]:
    """Return (label, count) from candidates to accepted samples."""
    return [
        ("candidates", build["num_candidates"]),
        *((f"rejected: {reason.replace('_', ' ')}", count) for reason, count in build["rejected"].items()),
        ("accepted", build["num_accepted"]),
    ]
