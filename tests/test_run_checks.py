"""`run` finds what is wrong before any work: nothing is built, and no weights are looked for (there are none)."""

import json
import re

import pytest
import yaml

from reflectioncoder.cli import main
from reflectioncoder.data.files import read_jsonl, write_jsonl
from reflectioncoder.data.samples import Block, Sample, assistant, user
from reflectioncoder.errors import CheckFailedError
from tests.conftest import generation_sample, reflection_sample
from tests.train.test_checks import ONLY_LAST, without_weights

LONG = Sample((user("Write f."), assistant(Block("text", "x = 1\n" * 500))), "generation", {"id": "long"})


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return str(path)


def samples(path, *rows):
    write_jsonl(path, [row.to_json() for row in rows])
    return str(path)


def prompts(folder, **templates):
    for name, text in {"reflect": "{{ problem }}", "feedback": "{{ output }}", "answer": "", **templates}.items():
        write(folder / f"{name}.jinja", text)
    return str(folder)


# Sections of the recipe, given a folder; exit code; what is said.
CASES = {
    "eval_data is not there": (lambda p: {"train": {"eval_data": [str(p / "no.jsonl")]}}, 2, r"no\.jsonl"),
    "eval_data is not JSON": (lambda p: {"train": {"eval_data": [write(p / "e.jsonl", "{\n")]}}, 2, r"e\.jsonl:1"),
    "eval_data is empty": (lambda p: {"train": {"eval_data": [write(p / "e.jsonl", "")]}}, 2, r"train\.eval_data|e\.jsonl"),
    "eval_data holds something else": (lambda p: {"train": {"eval_data": [write(p / "e.jsonl", "{}\n")]}}, 2, r"e\.jsonl:1: .*unknown"),
    "eval_data is too long": (
        lambda p: {"train": {"max_length": 300, "eval_data": [samples(p / "e.jsonl", LONG)]}}, 2, r"train\.eval_data: none of 1",
    ),
    "reflection_data is malformed": (
        lambda p: {"train": {"reflection_data": [write(p / "r.jsonl", json.dumps(generation_sample().to_json()) + "\n[]\n")]}},
        2, r"r\.jsonl:2",
    ),
    "no such prompts": (lambda p: {"build": {"author": "openai", "prompts": "v9", "endpoint": {"model": "m"}}}, 2, r"build\.prompts"),
    "a template is missing": (
        lambda p: {"build": {"author": "vllm", "prompts": write(p / "t" / "reflect.jinja", "")[:-14], "endpoint": {"model": "m"}}},
        2, r"build\.prompts",
    ),
    "a template is malformed": (
        lambda p: {"build": {"author": "openai", "prompts": prompts(p / "t", reflect="{% if"), "endpoint": {"model": "m"}}},
        2, "malformed",
    ),
    "a template asks for more": (
        lambda p: {"build": {"author": "openai", "prompts": prompts(p / "t", answer="{{ x }}"), "endpoint": {"model": "m"}}},
        2, "malformed",
    ),
    "an author without a model": (lambda p: {"build": {"author": "openai"}}, 2, r"build\.endpoint\.model"),
    "a served author without a model": (lambda p: {"build": {"author": "vllm"}}, 2, r"build\.endpoint\.model"),
    "an unknown embedded model": (lambda p: {"build": {"author": "local", "endpoint": {"model": "nobody/none"}}}, 2, "nobody/none"),
    "a key that is not set": (
        lambda p: {"build": {"author": "openai", "endpoint": {"model": "m", "api_key_env": "NO_SUCH_KEY_HERE"}}}, 3, "NO_SUCH_KEY_HERE",
    ),
    "attempts that are not there": (lambda p: {"build": {"author": "attempts", "attempts": str(p / "a")}}, 2, r"build\.attempts"),
    "malformed attempts": (
        lambda p: {"build": {"author": "attempts", "attempts": write(p / "a.jsonl", '{"task_id": 1}\n')}}, 2, r"a\.jsonl:1",
    ),
    "an unknown device": (lambda p: {"model": {"device": "gpu"}}, 2, r"model\.device"),
    "a numbered device": (lambda p: {"model": {"device": "cuda:3"}}, 2, "CUDA_VISIBLE_DEVICES=3"),
    "a LoRA on nothing": (lambda p: {"train": {"lora": {"target_modules": ["q_prj"]}}}, 2, r"train\.lora\.target_modules"),
    "an architecture": (lambda p: {"base": {"attention_dropout": 0.1}}, 2, "cannot be trained exactly"),
    "a template of the model": (lambda p: {"base": {"template": ONLY_LAST}}, 2, "rewrites earlier messages"),
}  # fmt: skip


def run(folder, sections):
    base = without_weights(folder / "base", **sections.pop("base", {}))
    recipe = {
        "name": "r",
        "model": {"name": str(base), "device": "cpu", **sections.pop("model", {})},
        "evaluate": {"benchmarks": ["bundled/seen:2"], **sections.pop("evaluate", {})},
        **sections,
    }
    write(folder / "recipe.yaml", yaml.safe_dump(recipe))
    return main(["run", str(folder / "recipe.yaml"), "--runs-dir", str(folder / "runs")])


@pytest.mark.parametrize("case", CASES)
def test_a_run_is_refused_before_any_work(case, tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("NO_SUCH_KEY_HERE", raising=False)
    sections, code, message = CASES[case]
    assert run(tmp_path, sections(tmp_path)) == code
    assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("benchmark", ["humaneval", "humaneval+:3", "mbpp+"])
@pytest.mark.parametrize("key", ["reflection_data", "generation_data"])
def test_contaminated_training_data_is_refused_before_any_work(benchmark, key, data_dir, tmp_path, capsys):
    from reflectioncoder.contamination.records import known_tasks

    family = benchmark.partition(":")[0].removesuffix("+")
    task = {"humaneval": "HumanEval/7", "mbpp": "Mbpp/11"}[family]
    assert f"{family}+" in known_tasks().names
    kind = reflection_sample(1) if key == "reflection_data" else generation_sample(1)
    held = Sample(kind.messages, kind.type, {"id": "held", "metadata": {"task_id": task}})
    file = samples(tmp_path / "data.jsonl", kind, held)
    assert len(list(read_jsonl(file))) == 2
    assert run(tmp_path, {"train": {key: [file]}, "evaluate": {"benchmarks": [benchmark]}}) == 1
    error = capsys.readouterr().err
    assert f"sample held: {task}" in error
    assert "evaluate.allow_contaminated" in error
    assert not (tmp_path / "runs").exists()


def test_data_that_holds_tasks_of_another_benchmark_is_not_refused_and_allowed_data_neither(data_dir):
    from reflectioncoder.contamination.records import refuse_contaminated_data

    held = [Sample(reflection_sample(1).messages, "reflection", {"metadata": {"task_id": "Mbpp/11"}})]
    with pytest.raises(CheckFailedError, match="Mbpp/11"):
        refuse_contaminated_data(held, ["humaneval+", "mbpp+:4"], allow=False)
    refuse_contaminated_data(held, ["humaneval+", "bundled/seen"], allow=False)
    refuse_contaminated_data(held, ["mbpp"], allow=True)
