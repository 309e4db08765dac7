"""The finished runs kept in `experiments/results/` are runs of the recipes as they stand, and can be compared without their models."""

from pathlib import Path

import pytest

from reflectioncoder.ablation.design import CELL_FILE, design_of
from reflectioncoder.ablation.results import finished_cells, lines_of, summarize
from reflectioncoder.config.loading import load_recipe

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
RECIPES = {load_recipe(path).recipe.name: path for path in [*EXPERIMENTS.glob("*.yaml"), *EXPERIMENTS.glob("pilots/*.yaml")]}
KEPT = sorted(path for path in (EXPERIMENTS / "results").iterdir() if path.is_dir())


@pytest.mark.parametrize("kept", KEPT, ids=lambda path: path.name)
def test_kept_runs_are_those_of_their_recipe(kept):
    design = design_of(load_recipe(RECIPES[kept.name]))
    finished = finished_cells(design, kept / "cells")
    assert sorted(cell.cell.name for cell in finished) == sorted(path.parent.name for path in kept.glob(f"cells/*/{CELL_FILE}"))
    summary = summarize(design, finished, 0.95)
    assert {metric["kind"] for metric in summary["metrics"]} >= {"reference loss"}
    assert len(lines_of(summary)) > len(finished)
