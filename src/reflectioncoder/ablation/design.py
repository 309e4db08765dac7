"""Turns the section `ablate` of a recipe into cells: every arm (with every value of the grid) with every seed."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from reflectioncoder.config.declarations import AblateConfig
from reflectioncoder.config.loading import ResolvedRecipe, with_settings
from reflectioncoder.config.settings import changed_settings
from reflectioncoder.config.yaml_text import one_line
from reflectioncoder.data.files import content_hash, read_json
from reflectioncoder.errors import UsageError
from reflectioncoder.generate.reference_loss import MEASURED
from reflectioncoder.shards import Shard

MARK = "cell.json"
"""The file in a cell's folder that says with which settings its run is complete."""
_NOT_OF_AN_ARM = ("name", "seed", "ablate", "evaluate")
"""An arm that is asked other tasks, or judged differently, cannot be compared task by task."""


@dataclass(frozen=True)
class Cell:
    """One run of an ablation. `resolved`: the recipe of the run, whose name is the cell's."""

    arm: str
    seed: int
    resolved: ResolvedRecipe

    @property
    def name(self) -> str:
        return self.resolved.recipe.name

    @property
    def key(self) -> str:
        """Return a key of the cell's settings and of what is measured: a run with others is not this cell's.

        Settings that have their defaults are no part of it, so a setting that is added later makes no run stale.
        """
        return content_hash(changed_settings(self.resolved.recipe), MEASURED)

    def is_finished(self, folder: Path) -> bool:
        """Tell whether the folder of all cells holds the complete run of this one, with these settings."""
        path = folder / self.name / MARK
        return path.is_file() and read_json(path).get("key") == self.key


@dataclass(frozen=True)
class Design:
    """All cells. `arms`: name → the settings in which it differs from the recipe."""

    arms: dict[str, dict[str, Any]]
    seeds: tuple[int, ...]
    control: str
    cells: tuple[Cell, ...]

    def shard(self, shard: Shard) -> list[Cell]:
        """Return the cells of a shard: whole seeds stay together as far as they can."""
        return shard.block(self.cells)


def design_of(resolved: ResolvedRecipe) -> Design:
    """Return the cells of a recipe's ablation, seed by seed, so that whole comparisons are finished first.

    Raises:
        UsageError: fewer than two arms, an arm that is none, settings that there are not or that an arm cannot have, a control that is
            no arm.
    """
    config = resolved.recipe.ablate
    arms = dict(_arms(config))
    if len(arms) < 2:
        raise UsageError.for_value(
            "an ablation compares arms", "ablate.arms, ablate.grid", list(arms), "at least two arms, or a setting with two values"
        )
    control = config.control or next(iter(arms))
    if control not in arms:
        raise UsageError.for_value("no such arm", "ablate.control", control, list(arms))
    seeds = config.seeds or (resolved.recipe.seed,)
    if len(set(seeds)) < len(seeds):
        raise UsageError.for_value("a seed is given twice", "ablate.seeds", list(seeds), "each seed once")
    cells = [Cell(arm, seed, _resolved(resolved, arm, arms[arm], seed)) for seed in seeds for arm in arms]
    names = [cell.name for cell in cells]
    if len(set(names)) < len(names):
        raise UsageError.for_value("two arms have names of the same folder", "ablate.arms", list(arms), "names of letters and digits")
    return Design(arms, seeds, control, tuple(cells))


def _arms(config: AblateConfig) -> Iterator[tuple[str, dict[str, Any]]]:
    for arm, settings in (config.arms or {"": {}}).items():
        if not isinstance(settings, dict):
            raise UsageError.for_value("an arm is a mapping of settings", f"ablate.arms.{arm}", settings, "{train.kl_weight: 0} or {}")
        for combination in _combinations(config.grid):
            parts = [arm, *(f"{key.rpartition('.')[2]}={_short(value)}" for key, value in combination.items())]
            yield " ".join(part for part in parts if part), {**settings, **combination}


def _combinations(grid: dict[str, Any]) -> list[dict[str, Any]]:
    for key, values in grid.items():
        if not isinstance(values, list) or not values:
            raise UsageError.for_value("a setting of the grid has a list of values", f"ablate.grid.{key}", values, "[first, second]")
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


def _short(value: Any) -> str:
    return "+".join(map(str, value)) if isinstance(value, Sequence) and not isinstance(value, str) else one_line(value)


def _resolved(resolved: ResolvedRecipe, arm: str, settings: dict[str, Any], seed: int) -> ResolvedRecipe:
    for key in settings:
        if (section := key.partition(".")[0]) in _NOT_OF_AN_ARM:
            hint = "seeds have a setting of their own, ablate.seeds" if section == "seed" else "all arms answer the same tasks"
            raise UsageError.for_value("an arm cannot change this", f"ablate: {arm}", key, "settings of build, train, model, …", hint)
    changed = with_settings(resolved, settings, f"ablate: {arm}")
    folder = re.sub(r"[^\w.+=-]+", "_", arm).strip("._-") or "arm"
    recipe = replace(changed.recipe, name=f"{folder}-seed{seed}", seed=seed, ablate=AblateConfig())
    return replace(changed, recipe=recipe)
