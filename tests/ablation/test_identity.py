"""A finished run is known again by what it depends on, and by nothing else."""

from dataclasses import replace

import pytest

from reflectioncoder.ablation.identity import identity_of, is_same
from reflectioncoder.config.declarations import LoraConfig, ModelConfig, Recipe, TrainConfig
from reflectioncoder.data.files import read_json, write_json


@pytest.fixture
def recipe(tmp_path):
    (tmp_path / "problems.jsonl").write_text("one problem\n")
    (tmp_path / "data.jsonl").write_text("one dialogue\n")
    (tmp_path / "base").mkdir()
    (tmp_path / "base/config.json").write_text("{}")
    recipe = Recipe("arm-seed1", ModelConfig(str(tmp_path / "base")))
    build = replace(recipe.build, problems=("bundled:train", str(tmp_path / "problems.jsonl")))
    return replace(recipe, build=build, train=TrainConfig(reflection_data=(str(tmp_path / "data.jsonl"),)))


@pytest.fixture
def known(recipe, tmp_path):
    write_json(tmp_path / "kept.json", identity_of(recipe))
    return read_json(tmp_path / "kept.json")


def test_the_same_recipe_is_the_same(recipe, known):
    assert is_same(known, recipe)
    assert len(known["inputs"]) == 3


@pytest.mark.parametrize("name", ["problems.jsonl", "data.jsonl", "base/config.json"])
def test_a_file_that_was_edited_makes_another_run_and_one_that_is_gone_does_not(name, recipe, known, tmp_path):
    file = tmp_path / name
    file.write_text(file.read_text() + " ")
    assert not is_same(known, recipe)
    file.unlink()
    assert is_same(known, recipe) == (name != "base/config.json")  # of a model the folder is still here, without it


@pytest.mark.parametrize(
    ("section", "changed", "same"),
    [
        ("train", {"kl_weight": 0.5}, False),
        ("train", {"lora": LoraConfig()}, False),
        ("train", {"save_steps": 7}, True),
        ("train", {"report_to": ("tensorboard",)}, True),
        ("sandbox", {"workers": 1}, True),
        ("sandbox", {"wall_s": 9.0}, False),
        ("evaluate", {"benchmarks": ("bundled/seen:3",)}, False),
        ("evaluate", {"known": {"the paper, v. 1.5": {"humaneval+": 68.9}}}, True),
    ],
)
def test_a_setting_counts_where_it_changes_a_number(section, changed, same, recipe, known):
    assert is_same(known, replace(recipe, **{section: replace(getattr(recipe, section), **changed)})) is same


def test_a_run_with_a_lora_is_not_one_without(recipe):
    with_lora = replace(recipe, train=replace(recipe.train, lora=LoraConfig()))
    assert not is_same(identity_of(with_lora), recipe)


def test_a_setting_that_was_added_later_makes_no_run_stale_and_a_changed_default_does(recipe, known):
    del known["settings"]["train.kl_weight"]  # as if the run had been made before there was this setting
    assert is_same(known, recipe)
    assert not is_same(known, replace(recipe, train=replace(recipe.train, kl_weight=0.5)))
    known["settings"]["train.kl_weight"] = 0.25  # as if the default had been another one then
    assert not is_same(known, recipe)


def test_another_measure_makes_another_run(recipe, known):
    assert not is_same(known | {"measured": "whole answer"}, recipe)


def test_another_password_is_no_other_run_and_another_server_is(recipe):
    def asking(url):
        return replace(recipe, build=replace(recipe.build, endpoint=replace(recipe.build.endpoint, base_url=url)))

    with_password = asking("http://u:secretpw@h/v1?version=2")
    assert "secretpw" not in str(identity_of(with_password))
    assert is_same(identity_of(with_password), asking("http://u:otherpw@h/v1?version=2"))
    assert not is_same(identity_of(with_password), asking("http://u:secretpw@h/v1?version=3"))
