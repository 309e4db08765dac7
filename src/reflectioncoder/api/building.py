"""Builds reflection data in one call."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reflectioncoder.builder import pipeline
from reflectioncoder.config.declarations import Recipe
from reflectioncoder.contamination.records import known_behaviour, known_tasks


@dataclass(frozen=True)
class BuildResult:
    """The outcome of a build.

    Attributes:
        reflections: the file with the samples; `read_samples` reads it.
        num_problems: number of problems read.
        num_candidates: number of samples made or tried.
        num_accepted: number of samples in `reflections`.
        rejected: reason → number of candidates rejected for it; `rejected.jsonl` beside `reflections` lists them.
    """

    reflections: Path
    num_problems: int
    num_candidates: int
    num_accepted: int
    rejected: dict[str, int]
    _summary: dict[str, Any] = field(repr=False)

    def to_json(self) -> dict[str, Any]:
        """Return the content of `build.json`."""
        return dict(self._summary)


def build_reflections(
    recipe: Recipe, output_dir: str | Path, limit: int | None = None, *, fork: bool = False, data_dir: str | None = None
) -> BuildResult:
    """Make reflection samples with a real interpreter in the loop, as `reflectioncoder build` does.

    Writes `reflections.jsonl`, `rejected.jsonl` and `build.json` into `output_dir`, and `log.sqlite`, from which an interrupted build
    resumes. Tasks of benchmarks whose data is found on this machine are excluded.

    Args:
        recipe: supplies the sections `build` and `sandbox`, and the seed.
        output_dir: created if missing.
        limit: use only the first `limit` problems.
        fork: continue in a folder that was begun with other settings.
        data_dir: a folder with benchmark data, searched first.

    Raises:
        UsageError: impossible settings, malformed problems, or a folder that was begun with other settings.
        CheckFailedError: there are fewer samples than `build.min_samples`.
        MachineError: the model's server does not answer, or the budget is used up; repeating the call resumes the build.
        SandboxUnavailableError: programs cannot be run here.

    Example:
        >>> from reflectioncoder import build_reflections, load_recipe, read_samples
        >>> recipe = load_recipe("demo", ["build.min_samples=1"]).recipe
        >>> result = build_reflections(recipe, "reflections", limit=2)
        >>> len(list(read_samples(result.reflections))) == result.num_accepted
        True
    """
    directory = Path(output_dir)
    known, behaviour = known_tasks(data_dir), known_behaviour(data_dir)
    summary = pipeline.build_reflections(recipe, directory, limit, fork=fork, known=known, behaviour=behaviour)
    return BuildResult(
        directory / "reflections.jsonl",
        summary["num_problems"],
        summary["num_candidates"],
        summary["num_accepted"],
        summary["rejected"],
        summary,
    )
