"""The cells of an ablation: arms, the grid, seeds, shards, and what is refused."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from reflectioncoder.ablation.design import design_of
from reflectioncoder.ablation.identity import identity_of
from reflectioncoder.builder.authors.registry import check_author
from reflectioncoder.cli import main
from reflectioncoder.config.loading import load_recipe
from reflectioncoder.errors import UsageError
from reflectioncoder.models.sources import ModelSource
from reflectioncoder.shards import Shard
from reflectioncoder.train.job import TrainingJob


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


def test_an_arm_changes_what_it_says_of_a_section_and_nothing_else():
    nested = "ablate.arms={a: {train: {kl_weight: 0, lora: {rank: 3}}}, b: {train: {lora: null}}, c: {build: {round_kinds: {look: 1}}}}"
    dotted = "ablate.arms={a: {train.kl_weight: 0, train.lora.rank: 3}, b: {train.lora: null}, c: {build.round_kinds: {look: 1}}}"
    made = design(nested)
    assert made == replace(design(dotted), cells=made.cells)
    assert [cell.resolved.recipe for cell in made.cells] == [cell.resolved.recipe for cell in design(dotted).cells]
    base, changed = load_recipe("demo").recipe.train, made.cells[0].resolved.recipe.train
    assert base.lora is not None
    assert changed == replace(base, kl_weight=0.0, lora=replace(base.lora, rank=3))
    assert made.cells[2].resolved.recipe.build.round_kinds == {"look": 1}


SECRETS = (
    "ablate.arms={a: {build.endpoint.base_url: 'http://u:secretpw@h/v1', build: {endpoint: {api_key_env: sk-secretpw}}}, b: {}}",
    "ablate.grid={model.name: ['https://u:secretpw@h/m', 'https://u:secretpw@h/n']}",
    "train.reflection_data=['https://u:secretpw@h/x.jsonl']",
)


def test_credentials_of_arms_and_of_the_grid_are_in_no_name_no_settings_and_no_file():
    resolved = load_recipe("demo", list(SECRETS))
    made = design_of(resolved)
    assert made.cells[0].resolved.recipe.build.endpoint.base_url == "http://u:secretpw@h/v1"
    written = [resolved.to_yaml(), str(made.arms), *(cell.arm + cell.name + cell.resolved.to_yaml() for cell in made.cells)]
    written += [str(identity_of(cell.resolved.recipe)) for cell in made.cells]
    assert not [text for text in written if "secretpw" in text]
    assert made.cells[0].arm == "a name=https://h/m"


def test_a_training_and_a_shard_of_a_recipe_with_arms_write_none_of_their_credentials(tmp_path):
    recipe = load_recipe("demo", [SECRETS[0]]).recipe
    job = TrainingJob(recipe, ModelSource(tmp_path, "local"), None, tmp_path, None)
    assert "secretpw" not in json.dumps(job.to_json())
    options = ["--runs-dir", str(tmp_path), "--limit", "1", "--set", SECRETS[0], "--set", "build.min_samples=0", "-q"]
    assert main(["build", "demo", "--shard", "1/1", *options]) == 0
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.name == "shard.json" for path in files)
    assert not [path for path in files if b"secretpw" in path.read_bytes()]


@pytest.mark.parametrize(
    "override",
    [
        "ablate.arms={a: [{build.endpoint.base_url: 'http://u:secretpw@h/v1'}], b: {}}",
        "ablate.grid={build.endpoint.base_url: 'http://u:secretpw@h/v1'}",
        "ablate.grid={build.endpoint.base_url: ['http://u:secretpw@h/v1', 'http://v:secretpw@h/v1']}",
        "ablate.grid={build.endpoint.api_key_env: [secretpw-1, secretpw-2]}",
    ],
)
def test_messages_about_arms_show_no_credentials(override):
    with pytest.raises(UsageError) as error:
        design(override)
    assert "secretpw" not in str(error.value)


def test_a_key_in_place_of_its_variable_s_name_is_found_before_anything_is_written(tmp_path, capsys):
    endpoint = "{model: m, api_key_env: sk-secretpw}"
    (tmp_path / "r.yaml").write_text(f"name: a\nmodel: {{name: m}}\nbuild: {{author: openai, endpoint: {endpoint}}}\n")
    runs = tmp_path / "runs"
    assert main(["ablate", str(tmp_path / "r.yaml"), "--runs-dir", str(runs), "--set", ARMS, "-q"]) == 3
    assert "secretpw" not in capsys.readouterr().err
    assert not runs.exists()


@pytest.mark.parametrize("count", [1, 2, 4, 6, 9])
def test_shards_are_a_partition(count):
    made = design(ARMS, "ablate.seeds=[1, 2]")
    parts = [made.shard(Shard(index, count)) for index in range(1, count + 1)]
    assert sorted(cell.name for part in parts for cell in part) == sorted(cell.name for cell in made.cells)


def test_where_a_value_comes_from_is_said_in_the_run_s_configuration():
    text = design(ARMS).cells[1].resolved.to_yaml()
    assert "kl_weight: 0.0  # [ablate.arms.plain]" in text


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
        ([ARMS, "ablate.grid={train.kl_weight: [1, 2]}"], "ablate.arms.plain, ablate.grid.train.kl_weight"),
        (["ablate.arms={a: {train.lora.rank: 4}, b: {}}", "ablate.grid={train.lora: [null, {rank: 8}]}"], "given twice"),
        (["ablate.arms={a: {train.kl_weight: 0, train: {kl_weight: 1}}, b: {}}"], "given twice"),
        (['ablate.grid={train.generation_data: [["x+y"], [x, y]]}'], "the same name"),
        (["ablate.grid={train.kl_weight: [1, 1]}"], "the same name"),
        (["ablate.grid={train.kl_weight: [0, 1, 0.0]}"], "the same name"),
        ([ARMS, "ablate.seeds=[-1]"], "ablate.seeds"),
        ([ARMS, "ablate.seeds=[4294967296]"], "ablate.seeds"),
        (["ablate.arms={" + "a" * 250 + ": {}, b: {}}"], "ablate.arms.aaa"),
        (["ablate.arms={a: {kl_wight: 0}, b: {}}"], "ablate.arms.a"),
        (["ablate.arms={a: {tran.kl_weight: 0}, b: {}}"], "tran (ablate.arms.a)"),
        (['ablate.arms={a: {"": 0}, b: {}}'], "ablate.arms.a"),
        (["ablate.arms={a: {model.name.x: 0}, b: {}}"], "ablate.arms.a"),
    ],
)
def test_what_is_no_ablation_is_refused(overrides, message):
    with pytest.raises(UsageError) as error:
        design(*overrides)
    assert message in str(error.value)


EXPERIMENTS = Path(__file__).parents[2] / "experiments"
RECIPES = sorted(EXPERIMENTS.rglob("*.yaml"))


def settings_of(recipe):
    """Return the settings of a run by dotted key, without its name and seed."""

    def walk(value, prefix):
        for key, inner in value.items():
            if isinstance(inner, dict):
                yield from walk(inner, f"{prefix}{key}.")
            else:
                yield f"{prefix}{key}", inner

    return dict(walk({key: value for key, value in asdict(recipe).items() if key not in ("name", "seed", "ablate")}, ""))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_the_cells_of_the_experiments_differ_in_what_their_arms_say_alone(path):
    resolved = load_recipe(path)
    made = design_of(resolved)
    common = settings_of(resolved.recipe)
    seen = []
    for cell in made.cells:
        recipe = cell.resolved.recipe
        assert recipe.seed == cell.seed
        changed = {key for key, value in settings_of(recipe).items() if value != common[key]}
        assert changed == set(made.arms[cell.arm]), cell.arm
        check_author(recipe.build)
        seen.append((cell.seed, settings_of(recipe)))
    assert all(one not in seen[:number] for number, one in enumerate(seen)), "two arms are the same"


def test_the_grid_has_the_arms_of_the_comparison_at_equal_numbers_of_tokens():
    made = design_of(load_recipe(EXPERIMENTS / "grid.yaml"))
    trains = {cell.arm: cell.resolved.recipe.train for cell in made.cells}
    assert len(made.seeds) >= 3
    assert {train.max_tokens for arm, train in trains.items() if arm != "one-off, half as long"} == {200_000}
    assert trains["one-off, half as long"].max_tokens == 100_000
    builds = [cell.resolved.recipe.build for cell in made.cells]
    assert builds == builds[:1] * len(builds)
    assert {arm: train.reflection_token_share for arm, train in trains.items()} == {
        "one-off": 0,
        "cross-entropy": 0.5,
        "distilled": 0.5,
        "masked": 0.5,
        "masked, failures as context": 0.5,
        "self-sampled": 0,
        "one-off, half as long": 0,
    }
    assert trains["masked"].mask_strategy == ("block_type",)
    assert trains["masked"].mask_block_order == ("execution", "text", "code")
