"""The cells of an ablation: arms, the grid, seeds, shards, and what is refused."""

from pathlib import Path

import pytest

from reflectioncoder.ablation.design import design_of
from reflectioncoder.builder.authors.registry import check_author
from reflectioncoder.config.loading import load_recipe
from reflectioncoder.errors import UsageError
from reflectioncoder.shards import Shard


def design(*overrides):
    return design_of(load_recipe("demo", list(overrides)))


ARMS = "ablate.arms={one-off: {train.reflection_upsampling: 0}, plain: {train.kl_weight: 0}, full: {}}"


def test_every_arm_has_every_seed_and_whole_seeds_come_first():
    cells = design(ARMS, "ablate.seeds=[1, 2]").cells
    assert [(cell.arm, cell.seed) for cell in cells] == [(arm, seed) for seed in (1, 2) for arm in ("one-off", "plain", "full")]
    assert [cell.name for cell in cells[:3]] == ["one-off-seed1", "plain-seed1", "full-seed1"]
    assert cells[0].resolved.recipe.train.reflection_upsampling == 0
    assert cells[1].resolved.recipe.train.kl_weight == 0
    assert all(cell.resolved.recipe.seed == cell.seed for cell in cells)


def test_an_arm_has_the_recipe_s_other_settings():
    recipe = load_recipe("demo").recipe
    full = design(ARMS).cells[-1].resolved.recipe
    assert (full.train, full.build, full.model) == (recipe.train, recipe.build, recipe.model)


def test_the_grid_multiplies_the_arms():
    made = design("ablate.grid={train.mask_strategy: [[none], [block_type, random_token]], train.kl_weight: [0, 1]}")
    assert list(made.arms) == [
        "mask_strategy=none kl_weight=0",
        "mask_strategy=none kl_weight=1",
        "mask_strategy=block_type+random_token kl_weight=0",
        "mask_strategy=block_type+random_token kl_weight=1",
    ]
    assert made.control == "mask_strategy=none kl_weight=0"
    assert made.cells[-1].resolved.recipe.train.mask_strategy == ("block_type", "random_token")


@pytest.mark.parametrize("count", [1, 2, 4, 6, 9])
def test_shards_are_a_partition(count):
    made = design(ARMS, "ablate.seeds=[1, 2]")
    parts = [made.shard(Shard(index, count)) for index in range(1, count + 1)]
    assert sorted(cell.name for part in parts for cell in part) == sorted(cell.name for cell in made.cells)


def test_where_a_value_comes_from_is_said_in_the_run_s_configuration():
    text = design(ARMS).cells[1].resolved.to_yaml()
    assert "kl_weight: 0.0  # [ablate: plain]" in text


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([], "at least two arms"),
        (["ablate.arms={only: {}}"], "at least two arms"),
        (["ablate.arms={a: {train.kl_wight: 0}, b: {}}"], "did you mean train.kl_weight"),
        (["ablate.arms={a: {train.kl_weight: -1}, b: {}}"], "out of range"),
        (["ablate.arms={a: 3, b: {}}"], "an arm is a mapping of settings"),
        (["ablate.arms={a: {seed: 3}, b: {}}"], "ablate.seeds"),
        (["ablate.arms={a: {name: x}, b: {}}"], "cannot change this"),
        (["ablate.arms={a: {evaluate.benchmarks: []}, b: {}}"], "the same tasks"),
        (["ablate.arms={a b: {}, a/b: {}}"], "names of the same folder"),
        (["ablate.grid={train.kl_weight: 0}"], "a list of values"),
        (["ablate.grid={train.kl_weight: []}"], "a list of values"),
        ([ARMS, "ablate.control=fulll"], "no such arm"),
        ([ARMS, "ablate.seeds=[1, 1]"], "given twice"),
    ],
)
def test_what_is_no_ablation_is_refused(overrides, message):
    with pytest.raises(UsageError) as error:
        design(*overrides)
    assert message in str(error.value)


@pytest.mark.parametrize(
    "path", sorted((Path(__file__).parents[2] / "experiments" / "pilots").glob("*.yaml")), ids=lambda path: path.stem
)
def test_the_pilots_are_ablations(path):
    made = design_of(load_recipe(path))
    assert made.control in made.arms
    for cell in made.cells:
        check_author(cell.resolved.recipe.build)
