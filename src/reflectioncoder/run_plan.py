"""Plans a run: lists its stages, and estimates their times from earlier runs in the same runs folder.

The estimate for a stage is the duration of the newest stage of the same name in a sibling run of the same model, scaled by the units of
work (problems, tokens, tasks). Without such a stage the time is reported as unknown.
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
from reflectioncoder.stage_marker import Marker, evaluation_stage, marker_path, reference_loss_stage


@dataclass(frozen=True)
class PlannedStage:
    """A stage to run. `units`: its amount of work; None if that is not known yet.

    units_of: reads the amount from the result of a finished stage of the same name; raises LookupError, TypeError or AttributeError if
        the result lacks it.
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
                    evaluation_stage(benchmark.name, which), f"{count} tasks", count, lambda result: headline(result)["num_tasks"]
                )
            if "reference_loss" in recipe.evaluate.measures and (count := len(references_of(benchmark))):
                name = reference_loss_stage(benchmark.name, which)
                yield PlannedStage(name, f"{count} solutions", count, lambda result: result["num_tasks"])

    sources = ", ".join(Path(source).name for source in recipe.build.problems)
    build = PlannedStage("build", f"{num_problems} problems ({sources})", num_problems, lambda result: result["num_problems"])
    budget, num_answers = recipe.train.max_tokens, recipe.train.self_samples * num_problems
    answers = PlannedStage("self_samples", f"{num_answers} answers", num_answers, lambda result: sum(result.values()))
    return [
        *([build] if num_problems else []),
        *evaluations("base"),
        *([answers] if num_answers else []),
        _training(budget, f"{budget:,} tokens at most" if budget else "all tokens"),
        *evaluations("trained"),
    ]


def _training(num_tokens: int | None, what: str) -> PlannedStage:
    return PlannedStage("train", what, num_tokens, lambda result: result["num_tokens"])


def expected_training_seconds(num_tokens: int, directory: Path, model: str) -> float | None:
    """Estimate the seconds of a training in a run folder from the newest sibling run of the same model; None without one."""
    return expected_seconds(_training(num_tokens, ""), directory, model)


def plan_lines(recipe: Recipe, directory: Path, data_dir: str | None = None) -> list[str]:
    """Return the plan of a run in a folder as lines of text.

    Args:
        data_dir: as for `Run`.
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
    return Marker.read(marker_path(directory, stage))


def expected_seconds(stage: PlannedStage, directory: Path, model: str) -> float | None:
    """Estimate the seconds of a stage of the run in `directory` from the newest sibling run; None without one."""
    beside = [path.parent for path in directory.parent.glob("*/config.yaml") if path.parent != directory]
    newest_first = sorted(beside, key=lambda folder: (folder / "config.yaml").stat().st_mtime, reverse=True)
    for folder in newest_first:
        marker = _marker(folder, stage.name)
        if marker is None or marker.duration_s < 1 or _model_of(folder) != model:  # a shorter stage was copied, not computed
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
