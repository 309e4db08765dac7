"""A training as data: everything another process needs to train exactly as this one would."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from reflectioncoder.config.building import EndpointConfig
from reflectioncoder.config.declarations import AblateConfig, Recipe
from reflectioncoder.config.settings import NOWHERE, section
from reflectioncoder.models.sources import ModelSource
from reflectioncoder.stopping import StopFlag
from reflectioncoder.train.data import Samples, training_samples


@dataclass(frozen=True)
class TrainingJob:
    """A training run: its recipe, its base model and its data.

    Attributes:
        reflections: path of the built samples; None: train only on the sets that the recipe names.
        run_dir: the folder that receives `train/` and `model/`.
        limit: use only the first `limit` samples.
        resume: continue from the newest complete checkpoint.
    """

    recipe: Recipe
    source: ModelSource
    reflections: Path | None
    run_dir: Path
    limit: int | None = None
    resume: bool = True

    def samples(self) -> Samples:
        """Find the samples of the job.

        Raises:
            UsageError: there are no samples, or a file is missing or malformed.
        """
        return training_samples(self.recipe, self.reflections, self.limit)

    def train(self, stop: StopFlag | None) -> dict[str, Any]:
        """Train in this process, which may be one of several started by torch's launcher."""
        from reflectioncoder.train.run import train_model

        return train_model(self.recipe, self.source, self.samples(), self.run_dir, resume=self.resume, stop=stop)

    def to_json(self) -> dict[str, Any]:
        """Return the job as JSON without settings that no training needs and that can be secret: the author's server, other arms."""
        recipe = replace(self.recipe, build=replace(self.recipe.build, endpoint=EndpointConfig()), ablate=AblateConfig())
        return {
            "recipe": asdict(recipe),
            "source": self.source.to_json(),
            "reflections": None if self.reflections is None else str(self.reflections),
            "run_dir": str(self.run_dir),
            "limit": self.limit,
            "resume": self.resume,
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> TrainingJob:
        source, reflections = value["source"], value["reflections"]
        return cls(
            section(Recipe, value["recipe"], "", NOWHERE),
            ModelSource(Path(source["path"]), source["origin"]),
            None if reflections is None else Path(reflections),
            Path(value["run_dir"]),
            value["limit"],
            value["resume"],
        )
