"""Expands the `ablate` section of a recipe into cells: every arm (with every combination of the grid's values) with every seed."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from reflectioncoder.ablation.identity import is_same
from reflectioncoder.config.checks import folder_name
from reflectioncoder.config.credentials import shown_setting
from reflectioncoder.config.declarations import AblateConfig
from reflectioncoder.config.loading import ResolvedRecipe, leaves, with_settings
from reflectioncoder.config.yaml_text import one_line
from reflectioncoder.data.files import read_json
from reflectioncoder.data.json_text import expected_form
from reflectioncoder.errors import UsageError
from reflectioncoder.shards import Shard

CELL_FILE = "cell.json"
"""The file in a cell's folder that marks its run as complete: what the run depends on, and the results that the comparison uses."""
_NOT_OF_AN_ARM = ("name", "seed", "ablate", "evaluate", "sandbox")
"""Sections that arms cannot change: arms with other tasks or other judging cannot be compared task by task."""


@dataclass(frozen=True)
class Cell:
    """One run of an ablation. `resolved`: the recipe of the run, which has the cell's name."""

    arm: str
    seed: int
    resolved: ResolvedRecipe

    @property
    def name(self) -> str:
        return self.resolved.recipe.name

    def is_finished(self, folder: Path) -> bool:
        """Tell whether `folder`, which contains all cells, has a complete run of this cell with these settings and files.

        Raises:
            UsageError: the cell's file is damaged.
        """
        path = folder / self.name / CELL_FILE
        if not path.is_file():
            return False
        with expected_form(path):
            return is_same(read_json(path)["identity"], self.resolved.recipe)


@dataclass(frozen=True)
class Design:
    """All cells. `arms`: name → the settings in which it differs from the recipe, without credentials."""

    arms: dict[str, dict[str, Any]]
    seeds: tuple[int, ...]
    control: str
    cells: tuple[Cell, ...]

    def shard(self, shard: Shard) -> list[Cell]:
        """Return the cells of a shard; cells of one seed stay together where possible."""
        return shard.block(self.cells)


@dataclass(frozen=True)
class _Arm:
    """The settings of an arm by dotted keys, and for each the place in the recipe that it comes from."""

    name: str
    settings: dict[str, Any]
    origins: dict[str, str]


def design_of(resolved: ResolvedRecipe) -> Design:
    """Return the cells of a recipe's ablation, seed by seed, so that complete comparisons are finished early.

    Raises:
        UsageError: fewer than two arms, an arm that is none, arms with the same name, settings that there are not, that are given twice
            or that an arm cannot have, a control that is no arm.
    """
    config = resolved.recipe.ablate
    arms = list(_arms(config))
    names = [arm.name for arm in arms]
    if len(arms) < 2:
        raise UsageError.for_value(
            "an ablation compares arms", "ablate.arms, ablate.grid", names, "at least two arms, or a setting with two values"
        )
    if same := _twice(names):
        raise UsageError.for_value(
            "two arms have the same name", "ablate.arms, ablate.grid", same, "arms and values with different names"
        )
    control = config.control or names[0]
    if control not in names:
        raise UsageError.for_value("no such arm", "ablate.control", control, names)
    seeds = config.seeds or (resolved.recipe.seed,)
    if len(set(seeds)) < len(seeds):
        raise UsageError.for_value("a seed is given twice", "ablate.seeds", list(seeds), "each seed once")
    cells = [Cell(arm.name, seed, _resolved(resolved, arm, seed)) for seed in seeds for arm in arms]
    if _twice([cell.name for cell in cells]):
        raise UsageError.for_value("two arms have names of the same folder", "ablate.arms", names, "names of letters and digits")
    shown = {arm.name: {key: shown_setting(key, value) for key, value in arm.settings.items()} for arm in arms}
    return Design(shown, seeds, control, tuple(cells))


def _twice(values: Sequence[Any]) -> Any:
    """Return a value that is there twice; None if none is."""
    return next((value for number, value in enumerate(values) if value in values[:number]), None)


def _arms(config: AblateConfig) -> Iterator[_Arm]:
    for arm, settings in (config.arms or {"": {}}).items():
        where = f"ablate.arms.{arm}"
        if not isinstance(settings, dict):
            shown = shown_setting(where, settings)
            raise UsageError.for_value("an arm is a mapping of settings", where, shown, "{train.kl_weight: 0} or {}")
        for combination in _combinations(config.grid):
            parts = [arm, *(f"{key.rpartition('.')[2]}={_short(key, value)}" for key, value in combination.items())]
            given = [(where, settings), *((f"ablate.grid.{key}", {key: value}) for key, value in combination.items())]
            found = [(key, value, origin) for origin, some in given for key, value in leaves(some)]
            _refuse_overlaps([(key, origin) for key, _, origin in found])
            name = " ".join(part for part in parts if part)
            yield _Arm(name, {key: value for key, value, _ in found}, {key: origin for key, _, origin in found})


def _refuse_overlaps(keys: Sequence[tuple[str, str]]) -> None:
    """Refuse a setting that is given in two places, of which one would silently win."""
    for (key, origin), (other, elsewhere) in itertools.combinations(keys, 2):
        if f"{key}.".startswith(f"{other}.") or f"{other}.".startswith(f"{key}."):
            places = origin if origin == elsewhere else f"{origin}, {elsewhere}"
            raise UsageError.for_value(
                "a setting of an arm is given twice", places, max(key, other, key=len), "each setting in one place"
            )


def _combinations(grid: dict[str, Any]) -> list[dict[str, Any]]:
    for key, values in grid.items():
        where = f"ablate.grid.{key}"
        if not isinstance(values, list) or not values:
            shown = shown_setting(where, values)
            raise UsageError.for_value("a setting of the grid has a list of values", where, shown, "[first, second]")
        names = [_short(key, value) for value in values]
        if (same := _twice(names) or _twice(values)) is not None:
            hint = "values that are told apart only in what names leave out belong into ablate.arms"
            raise UsageError.for_value("two values of the grid have the same name", where, same, "each value once", hint)
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


def _short(key: str, value: Any) -> str:
    """Return the name of a value in an arm's name."""
    value = shown_setting(key, value)
    return "+".join(map(str, value)) if isinstance(value, Sequence) and not isinstance(value, str) else one_line(value)


def _resolved(resolved: ResolvedRecipe, arm: _Arm, seed: int) -> ResolvedRecipe:
    for key, origin in arm.origins.items():
        if (section := key.partition(".")[0]) in _NOT_OF_AN_ARM:
            hint = (
                "seeds have a setting of their own, ablate.seeds"
                if section == "seed"
                else "all arms answer the same tasks and are judged alike"
            )
            raise UsageError.for_value("an arm cannot change this", origin, key, "settings of build, train, model, …", hint)
    folder = re.sub(r"[^\w.+=-]+", "_", arm.name).strip("._-") or "arm"
    name = f"{folder}-seed{seed}"
    if allowed := folder_name(name):
        where = f"ablate.arms.{arm.name}" if not resolved.recipe.ablate.grid else "ablate.arms, ablate.grid"
        hint = "a folder has the arm's name; a shorter one is given in ablate.arms"
        raise UsageError.for_value("this name of an arm cannot be used", where, arm.name, allowed, hint)
    changed = with_settings(resolved, arm.settings, arm.origins)
    recipe = replace(changed.recipe, name=name, seed=seed, ablate=AblateConfig())
    return replace(changed, recipe=recipe)
