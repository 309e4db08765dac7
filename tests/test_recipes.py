"""Recipes: YAML, `--set` and Python follow the same rules; what is wrong is one error with its place."""

import dataclasses
import json
import math
import random
import re
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflectioncoder.choices import MASK_SCHEDULES
from reflectioncoder.cli import main
from reflectioncoder.config.building import BuildConfig, EndpointConfig
from reflectioncoder.config.declarations import LoraConfig, ModelConfig, Recipe, SandboxConfig, TrainConfig
from reflectioncoder.config.loading import field_docs, load_recipe, shipped_recipes
from reflectioncoder.config.schema import recipe_schema
from reflectioncoder.config.yaml_text import one_line, parse_yaml
from reflectioncoder.data.completions import cut_completion
from reflectioncoder.data.render import RenderedSample
from reflectioncoder.errors import UsageError
from reflectioncoder.evaluate.judges.evalplus.oracles import matches
from reflectioncoder.method.masking import hidden_positions, mask_rate
from reflectioncoder.method.views import student_view


def test_what_the_recipes_know_of_the_paper_is_what_the_reproduction_page_says():
    page = (Path(__file__).parent.parent / "docs" / "reproduction.md").read_text(encoding="utf-8")
    rows = re.findall(r"HumanEval [\d.]+ \(([\d.]+)\), MBPP [\d.]+ \(([\d.]+)\) \| `train ([\w.-]+)`", page)
    assert len(rows) == 4
    for humaneval, mbpp, name in rows:
        known = {"the paper": {"humaneval+": float(humaneval), "mbpp+": float(mbpp)}}
        assert load_recipe(name).recipe.evaluate.known == known


@pytest.mark.parametrize("name", shipped_recipes())
def test_every_shipped_recipe_loads_and_its_resolved_form_loads_as_the_same_recipe(name, tmp_path):
    resolved = load_recipe(name, ["seed=7"])
    path = tmp_path / "config.yaml"
    path.write_text(resolved.to_yaml())
    assert load_recipe(path).recipe == resolved.recipe
    assert "# [--set seed=7]" in resolved.to_yaml()


def test_every_key_is_documented():
    docs = field_docs()
    assert len(docs) > 50
    assert all(about.meaning for about in docs.values())


def test_each_value_of_every_choice_is_explained_on_the_page_and_in_the_list_of_keys(capsys):
    choices = {key: about for key, about in field_docs().items() if " | " in about.type}
    assert len(choices) > 15
    for key, about in choices.items():
        assert set(about.values) == set(about.type.removeprefix("a list of ").split(" | ")), key
        assert all(about.values.values()), key
    assert main(["recipes", "keys"]) == 0
    shown = capsys.readouterr().out
    page = (Path(__file__).parent.parent / "docs" / "recipes.md").read_text()
    for about in choices.values():
        for value, text in about.values.items():
            assert f"{value}: {text}" in shown
            assert f"`{value}`" in page
            assert text in page


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: a\nmodel:\n  name: m\n  nme: x\n", r"r\.yaml:4.*|did you mean model\.name"),
        ("name: a\nmodel: {name: m}\ntrain:\n  epochs: many\n", "a number"),
        ("name: a\nmodel: {name: m}\ntrain:\n  epochs: -1\n", "out of range"),
        ("name: a\nname: b\nmodel: {name: m}\n", "given twice"),
        ("name: a\n", "lacks model"),
        ("name: [\n", "not valid YAML"),
        ("- a\n", "a recipe is a mapping"),
        ("name: a\nmodel: {name: m}\nbuild: {problems: x.jsonl}\n", "a list of text"),
        ("name: a\nmodel: {name: m, rendering: chatt}\n", "did you mean 'chat'"),
    ],
)
def test_wrong_recipes_say_what_where_got_and_allowed(tmp_path, text, message):
    path = tmp_path / "r.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=message):
        load_recipe(path)


def test_overrides_reach_sections_that_are_off(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text("name: a\nmodel: {name: m}\n")
    recipe = load_recipe(path, ["train.lora.rank=4", "train.learning_rate=1e-3", "train.max_tokens=null"]).recipe
    assert recipe.train.lora is not None
    assert recipe.train.lora.rank == 4
    assert recipe.train.learning_rate == 1e-3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1: x\n", r"r\.yaml:1: a key must be text, got '1'"),
        ("name: a\nmodel: {name: m}\ntrue: x\n", r"r\.yaml:3: a key must be text"),
        ("name: a\nmodel: {null: m}\n", r"r\.yaml:2: a key must be text"),
        ("name: a\n? [x]\n: y\n", r"r\.yaml:2: a key must be text"),
        ("name: a\nmodel: {name: m}\nbuild: {? {a: b} : c}\n", r"r\.yaml:3: a key must be text"),
        ("name: a\nmodel: {2024-01-01: m}\n", "unknown key"),
        ("name: a\0b\n", r"r\.yaml:1: .*'\\x00' is not allowed"),
        ('name: a\nmodel: {name: "m\\0"}\n', r"(?s)model\.name \(.*r\.yaml:2\).*without control characters"),
        ('name: a\ndescription: "\\e[31m"\nmodel: {name: m}\n', "(?s)description.*without control characters"),
        ('name: a\ndescription: "\\ud800"\nmodel: {name: m}\n', "(?s)description.*without control characters"),
        ("name: " + "[" * 40 + "]" * 40 + "\n", r"r\.yaml:1: nested too deeply"),
        ("name: " + "[" * 5000 + "\n", "nested too deeply|not valid YAML"),
        ("name: &a [*a]\n", "nested too deeply"),
        ("a: &a [x]\n" + "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in pairwise("abcdefgh")), "too much"),
        ("a: &a {}\n" + "".join(f"{b}: &{b} {{<<: [{', '.join([f'*{a}'] * 9)}]}}\n" for a, b in pairwise("abcdefgh")), "too much"),
        ("name: a\nmodel: {name: m}\nseed: " + "9" * 5000 + "\n", "r\\.yaml:3: not valid YAML: this value cannot be read"),
        ("name: a\nmodel: {name: m}\nseed: 99999999999999999999\n", "(?s)out of range.*4294967295"),
        ("name: a\nmodel: {name: m}\nbuild: {max_chars: 99999999999999999999}\n", "out of range"),
        ("name: a\nmodel: {name: m}\ntrain: {epochs: .nan}\n", r"(?s)train\.epochs \(.*:3\).*allowed: a number"),
        ("name: a\nmodel: {name: m}\ntrain: {epochs: .inf}\n", "allowed: a number"),
        ("name: a\nmodel: {name: m}\ntrain: {learning_rate: 1e999}\n", "allowed: a number"),
        ("name: a\nmodel: {name: m}\ntrain: {max_tokens: -.inf}\n", "a whole number or null|a whole number"),
        ("name: a\nmodel: {name: m}\ntrain: {epochs: true}\n", "allowed: a number"),
        ("name: a\nmodel: {name: m}\ntrain: {mask_strategy: []}\n", "at least one"),
        ("name: a\nmodel: {name: m}\ntrain: {mask_block_order: [code, code, text]}\n", "each once"),
        ("name: a\nmodel: {name: m}\ntrain: {freeze_layers: 1, lora: {rank: 2}}\n", "exclude each other"),
        ("name: a\nmodel: {name: m}\ntrain: {reflection_token_share: 0.5, generation_upsampling: 2}\n", "up-sampling has no effect"),
        ("name: a\nmodel: {name: m}\ntrain: {reflection_token_share: 50}\n", "out of range"),
        ("name: a\nmodel: {name: m}\nevaluate: {known: {paper: {humaneval: 101}}}\n", "(?s)r.yaml:3.*percentages from 0 to 100"),
        ("name: a\nmodel: {name: m}\nevaluate: {known: {paper: {humaneval: [75]}}}\n", "percentages"),
        ("name: a\nmodel: {name: m}\nevaluate: {known: {humaneval: 75}}\n", "names, each with benchmarks and percentages"),
        ("name: a\nmodel: {name: m}\ntrain: {student_view: false}\n", "nobody to distil into"),
        ("name: a\nmodel: {name: m}\ntrain: {self_samples: 1}\n", "generation_from_problems: true"),
        ("name: a\nmodel: {name: m, device: gpu}\n", "cuda or cuda:N"),
        ("name: !!python/object:os.system x\n", "not valid YAML"),
        ("a: b\n---\nc: d\n", "r\\.yaml:2: not valid YAML"),
        ("name: a\n\tmodel: m\n", "r\\.yaml:2: not valid YAML"),
    ],
)  # fmt: skip
def test_what_is_no_recipe_is_one_error_with_its_line(tmp_path, text, message):
    path = tmp_path / "r.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=message) as error:
        load_recipe(path)
    assert len(str(error.value)) < 2000


@pytest.mark.parametrize("data", [b"name: \xe4\n", "name: a\n".encode("utf-16"), b"\xff\xfe\xfd"])
def test_a_recipe_in_another_encoding_is_refused(tmp_path, data):
    path = tmp_path / "r.yaml"
    path.write_bytes(data)
    with pytest.raises(UsageError, match=r"r\.yaml"):
        load_recipe(path)


BAD_NAMES = (
    *("", ".", "..", "...", "../x", "a/b", "/etc/x", "/", "a\\b", "C:x", "~x/y", ".hidden", "-rf", " a", "a ", "a.", "a\nb", "a\tb"),
    *("con", "NUL", "com1.txt", "Aux", "a" * 300, "ü" * 150, "a\0", "a\x1b[31m", "x?", "*", "a|b"),
)


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_run_s_name_never_leads_out_of_the_runs_folder(name, tmp_path):
    with pytest.raises(UsageError):
        Recipe(name=name, model=ModelConfig("m"))
    path = tmp_path / "r.yaml"
    path.write_text(json.dumps({"name": name, "model": {"name": "m"}}))
    with pytest.raises(UsageError, match="name"):
        load_recipe(path)
    with pytest.raises(UsageError, match="name"):
        load_recipe("demo", [f"name={json.dumps(name)}"])


@pytest.mark.parametrize("name", ["a", "demo-2", "Qwen2.5_coder", "lauf ü 3", "1", "2024-01-01", "console", "a..b"])
def test_usual_names_are_taken(name, tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text(f'name: "{name}"\nmodel: {{name: m}}\n')
    assert load_recipe(path).recipe.name == name


def test_a_date_is_text(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text("name: 2024-02-30\nmodel: {name: m}\n")
    assert load_recipe(path).recipe.name == "2024-02-30"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BuildConfig(rollouts=-5), "(?s)BuildConfig.rollouts.*-5.*1 to"),
        (lambda: BuildConfig(author=cast(Any, "nobody")), "(?s)BuildConfig.author.*nobody.*mutation"),
        (lambda: BuildConfig(problems=cast(Any, "bundled:train")), "a list of text"),
        (lambda: BuildConfig(hybrid=cast(Any, 1)), "true or false"),
        (lambda: BuildConfig(near_duplicates=math.nan), "a number"),
        (lambda: BuildConfig(budget_usd=math.inf), "a number"),
        (lambda: BuildConfig(endpoint=cast(Any, ModelConfig("m"))), "a section"),
        (lambda: BuildConfig(endpoint=cast(Any, {"modle": "m"})), "(?s)unknown key.*did you mean .*model"),
        (lambda: EndpointConfig(max_tokens=10**30), "out of range"),
        (lambda: EndpointConfig(base_url="http://x\r\nHost: y"), "without control characters"),
        (lambda: TrainConfig(mask_schedule=cast(Any, "linaer")), "did you mean 'linear'"),
        (lambda: TrainConfig(mask_strategy=cast(Any, ("block_typ",))), "did you mean 'block_type'"),
        (lambda: TrainConfig(epochs=cast(Any, "2")), "a number"),
        (lambda: TrainConfig(epochs=10**400), "a number"),
        (lambda: TrainConfig(max_tokens=cast(Any, 1.5)), "a whole number"),
        (lambda: TrainConfig(student_positions=cast(Any, ["gap"])), "gap"),
        (lambda: TrainConfig(lora=LoraConfig(), freeze_layers=2), "exclude each other"),
        (lambda: LoraConfig(target_modules=cast(Any, ("q", 3))), "text"),
        (lambda: ModelConfig("m", device="cuda:x"), "cuda:N"),
        (lambda: ModelConfig(cast(Any, None)), "text"),
        (lambda: SandboxConfig(wall_s=1e300), "out of range"),
        (lambda: dataclasses.replace(SandboxConfig(), floor=4), "0 to 3"),
    ],
)
def test_python_follows_the_same_rules(make, message):
    with pytest.raises(UsageError, match=message):
        make()


def test_python_may_give_lists_mappings_and_numpy_numbers():
    settings: dict[str, Any] = {"problems": ["a", "b"], "rollouts": numpy.int64(3), "two_slip_share": numpy.float32(0.5)}
    config = BuildConfig(**settings, endpoint=cast(Any, {"model": "m"}))
    assert config.problems == ("a", "b")
    assert (type(config.rollouts), type(config.two_slip_share)) == (int, float)
    assert config.endpoint == EndpointConfig(model="m")
    assert TrainConfig(epochs=2) == TrainConfig(epochs=2.0)


@pytest.mark.parametrize("schedule", ["linaer", "", "Linear", None, "constant "])
def test_a_misspelt_schedule_is_never_a_mask_rate(schedule):
    with pytest.raises(UsageError, match="unknown mask schedule"):
        mask_rate(1, 10, schedule)


def test_every_schedule_of_a_recipe_has_a_rate_and_ends_fully_masked():
    assert {mask_rate(9, 10, schedule) for schedule in MASK_SCHEDULES} == {1.0}


def test_misspelt_strategies_and_positions_are_refused():
    sample = RenderedSample((), (), (), (), 0, 0)
    with pytest.raises(UsageError, match="did you mean 'random_block'"):
        hidden_positions([], 0.5, ["all", cast(Any, "random_blok")], random.Random(1))
    with pytest.raises(UsageError, match="out of range"):
        hidden_positions([], math.nan, ["all"], random.Random(1))
    with pytest.raises(UsageError, match="did you mean 'dense'"):
        student_view(sample, (), cast(Any, "dens"))


def test_misspelt_rules_are_refused():
    with pytest.raises(UsageError, match="did you mean 'evalplus-head'"):
        matches("humaneval", "f", [1], ("int", 1), ("int", 1), 0, cast(Any, "evalplus-haed"))
    with pytest.raises(UsageError, match="did you mean 'multipl-e'"):
        cut_completion("x", "js", [], cast(Any, "multiple"))


@given(st.dictionaries(st.sampled_from(["description", "model.name", "build.prompts"]), st.text(), max_size=3), st.floats(0, 1))
def test_any_text_that_is_taken_is_written_and_read_back(tmp_path_factory, texts, share):
    try:
        resolved = load_recipe("demo", [f"build.two_slip_share={share}", *(f"{k}={json.dumps(t)}" for k, t in texts.items())])
    except UsageError:
        return
    path = tmp_path_factory.mktemp("recipes") / "config.yaml"
    path.write_text(resolved.to_yaml(), encoding="utf-8")
    assert load_recipe(path).recipe == resolved.recipe


def test_an_alias_in_two_places_is_overridden_in_one(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text("name: a\nmodel: {name: m}\ngenerate: &g {temperature: 0.5}\nimprove: *g\n")
    recipe = load_recipe(path, ["improve.temperature=0.25"]).recipe
    assert (recipe.generate.temperature, recipe.improve.temperature) == (0.5, 0.25)


def test_merged_mappings_are_read(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text("name: a\nmodel: {name: m}\ngenerate: &g {temperature: 0.5}\nimprove: {<<: *g, rounds: 2}\n")
    recipe = load_recipe(path).recipe
    assert (recipe.improve.temperature, recipe.improve.rounds) == (0.5, 2)


def test_the_schema_knows_every_key_with_its_meaning_and_range(capsys):
    assert main(["recipes", "schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert schema == recipe_schema()
    found = {}

    def walk(section, prefix):
        assert section["additionalProperties"] is False
        for name, value in section["properties"].items():
            inner = [s for s in (value, *value.get("anyOf", ())) if "properties" in s]  # a free mapping has none
            found[prefix + name] = value
            for part in inner:
                walk(part, f"{prefix}{name}.")

    walk(schema, "")
    assert set(field_docs()) <= set(found)
    assert all(value["description"] for value in found.values())
    assert found["train.mask_schedule"]["enum"] == list(MASK_SCHEDULES)
    assert (found["sandbox.floor"]["minimum"], found["sandbox.floor"]["maximum"]) == (0, 3)
    assert found["train.max_tokens"]["anyOf"] == [{"type": "integer", "minimum": 1}, {"type": "null"}]


@pytest.mark.parametrize(
    "value",
    [
        '!!int ""', '!!float ""', "!!bool x", "!!timestamp abc", '"\\U00110000"', '"\\UFFFFFFFF"', "!!binary é",
        "{a: 0x" + "f" * 6000 + "}", "{a: [9223372036854775808]}",
    ],
    ids=lambda value: value[:20],
)  # fmt: skip
def test_a_value_that_cannot_be_read_is_one_error(value, tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text(f"name: a\nmodel: {{name: m}}\nbuild:\n  endpoint:\n    extra_body: {value}\n", encoding="utf-8")
    with pytest.raises(UsageError):
        load_recipe(path)
    path.write_text("name: a\nmodel: {name: m}\n")
    with pytest.raises(UsageError):
        load_recipe(path, [f"build.endpoint.extra_body={value}"])


PLAIN_VALUES = {
    "010": 10, "08": 8, "+5": 5, "0o17": 15, "0x1F": 31, "1e5": 100000.0, "-.5": -0.5, "5.": 5.0, "-.inf": float("-inf"),
    "true": True, "FALSE": False, "~": None, "Null": None, "": None,
    **{text: text for text in ("1:30", "1:30.5", "1_000", "0b11", "0o8", "yes", "no", "on", "off", "y", "tRue", "2024-01-01", "=")},
}  # fmt: skip


@pytest.mark.parametrize("text", PLAIN_VALUES)
def test_plain_values_are_those_of_yaml_1_2(text):
    value, expected = parse_yaml(f"a: {text}", "here")[0]["a"], PLAIN_VALUES[text]
    assert (type(value), value) == (type(expected), expected)
    assert parse_yaml(f"a: {one_line(text)}", "here")[0]["a"] == text  # as a text it is put in quotes
    assert parse_yaml(f"a: {one_line(expected)}", "here")[0]["a"] == expected


@pytest.mark.parametrize("override", ["seed=1:30", "train.kl_weight=1:30.5", "train.mask_frame=no"])
def test_numbers_to_the_base_of_sixty_and_words_are_no_numbers_and_no_truth_values(override):
    with pytest.raises(UsageError, match="wrong type"):
        load_recipe("demo", [override])


def test_an_override_of_a_section_sets_the_keys_that_it_names(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text(
        "name: a\nmodel: {name: m}\ntrain: {learning_rate: 1e-3, epochs: 5}\nbuild: {round_kinds: {look: 0.5, partial: 0.5}}\n"
    )
    resolved = load_recipe(path, ["train={epochs: 2, lora: {rank: 4}}", "train={}", "build={round_kinds: {look: 1}}"])
    train = resolved.recipe.train
    assert (train.learning_rate, train.epochs, resolved.recipe.build.round_kinds) == (1e-3, 2.0, {"look": 1})
    assert train.lora is not None
    assert train.lora.rank == 4
    assert resolved.provenance["train.learning_rate"] == f"{path}:3"
    assert resolved.provenance["train.epochs"] == "--set train={epochs: 2, lora: {rank: 4}}"
    lora = load_recipe(path, ["train.lora={}"]).recipe.train.lora
    assert lora is not None
    assert lora.rank == 16
    with pytest.raises(UsageError, match=r"train\.epoch \(--set"):
        load_recipe(path, ["train={epoch: 2}"])


def test_a_key_in_place_of_its_variable_s_name_is_not_written():
    text = load_recipe("demo", ["build.endpoint.api_key_env=sk-secretpw", "model.name=https://u:secretpw@h/m"]).to_yaml()
    assert "secretpw" not in text
    assert "api_key_env: MY_KEY" in load_recipe("demo", ["build.endpoint.api_key_env=MY_KEY"]).to_yaml()


@pytest.mark.parametrize("override", ["model.name.x=3", "seed.x=5", "model.name.x.y=3", "build.problems.x=1"])
def test_a_key_below_a_value_is_refused(override, tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text("name: a\nseed: 1\nmodel: {name: m}\nbuild: {problems: [x]}\n")
    with pytest.raises(UsageError, match="is a value and has no keys"):
        load_recipe(path, [override])
