"""Says before a run what it will do, and about how long that takes, by what earlier runs of the same folder took.

A stage is compared with the newest one of the same name in a run beside it, of the same model: its seconds, scaled by the units of work
(problems, tokens, tasks). Without one the time is not known, and that is said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from reflectioncoder.config.declarations import Recipe
from reflectioncoder.data.problems import iter_problems
from reflectioncoder.evaluate.benchmarks import Benchmark
from reflectioncoder.evaluate.results import headline
from reflectioncoder.evaluation import named_benchmarks
from reflectioncoder.progress import format_duration
from reflectioncoder.reference_evaluation import references_of
from reflectioncoder.stage_marker import Marker


@dataclass(frozen=True)
class PlannedStage:
    """A stage to come. `units`: its amount of work; None if it depends on what is not there yet.

    units_of: finds the amount in the result of a finished stage of the same name; LookupError, TypeError or AttributeError: it is not
        there.
    """

    name: str
    what: str
    units: int | None
    units_of: Callable[[Any], int]

    def line(self, seconds: float | None) -> str:
        expected = "time not known yet" if seconds is None else f"about {format_duration(seconds)}"
        return f"  {self.name:<28} {self.what:<30} {expected}"


def planned_stages(recipe: Recipe, num_problems: int, benchmarks: Sequence[Benchmark]) -> list[PlannedStage]:
    """Return the stages of a recipe that take time, in order."""

    def evaluations(which: str) -> Iterator[PlannedStage]:
        for benchmark in benchmarks:
            count = len(benchmark.tasks)
            if "pass_rate" in recipe.evaluate.measures:
                yield PlannedStage(
                    f"eval-{benchmark.name}-{which}", f"{count} tasks", count, lambda result: headline(result)["num_tasks"]
                )
            if "reference_loss" in recipe.evaluate.measures and (count := len(references_of(benchmark))):
                name = f"reference-loss-{benchmark.name}-{which}"
                yield PlannedStage(name, f"{count} solutions", count, lambda result: result["num_tasks"])

    sources = ", ".join(Path(source).name for source in recipe.build.problems)
    build = PlannedStage("build", f"{num_problems} problems ({sources})", num_problems, lambda result: result["num_problems"])
    budget, num_answers = recipe.train.max_tokens, recipe.train.self_samples * num_problems
    answers = PlannedStage("self_samples", f"{num_answers} answers", num_answers, lambda result: sum(result.values()))
    return [
        *([build] if num_problems else []),
        *evaluations("base"),
        *([answers] if num_answers else []),
        PlannedStage("train", f"{budget:,} tokens at most" if budget else "all tokens", budget, lambda result: result["num_tokens"]),
        *evaluations("trained"),
    ]


def plan_lines(recipe: Recipe, directory: Path, data_dir: str | None = None) -> list[str]:
    """Return the plan of a run in a folder as lines for people.

    Args:
        data_dir: as of `Run`.
    """
    benchmarks = list(named_benchmarks(recipe, data_dir).values())
    num_problems = sum(1 for _ in iter_problems(recipe.build.problems))
    lines, total, known = [], 0.0, True
    for stage in planned_stages(recipe, num_problems, benchmarks):
        if _marker(directory, stage.name) is not None:
            lines.append(f"  {stage.name:<28} {stage.what:<30} done before, unless something changed")
            continue
        seconds = expected_seconds(stage, directory, recipe.model.name)
        lines.append(stage.line(seconds))
        total, known = total + (seconds or 0.0), known and seconds is not None
    whole = f"about {format_duration(total)} in all" if known else f"{format_duration(total)} and what is not known yet"
    return [f"plan of {directory.name}:", *lines, f"  {whole}, by earlier runs in {directory.parent}"]


def _marker(directory: Path, stage: str) -> Marker | None:
    return Marker.read(directory / "stages" / f"{stage.replace('/', '-')}.json")


def expected_seconds(stage: PlannedStage, directory: Path, model: str) -> float | None:
    """Return how long a stage of a run in `directory` will take, by the newest run beside it; None if none tells."""
    beside = [path.parent for path in directory.parent.glob("*/config.yaml") if path.parent != directory]
    newest_first = sorted(beside, key=lambda folder: (folder / "config.yaml").stat().st_mtime, reverse=True)
    for folder in newest_first:
        marker = _marker(folder, stage.name)
        if marker is None or marker.duration_s < 1 or _model_of(folder) != model:  # shorter ones were copied
            continue
        try:
            units = stage.units_of(marker.result)
        except (LookupError, TypeError, AttributeError):
            continue
        if stage.units is not None and units:
            return marker.duration_s * stage.units / units
    return None


def _model_of(folder: Path) -> str | None:
    try:
        return yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))["model"]["name"]
    except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError):
        return None
