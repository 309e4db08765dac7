"""Options that an author does not use are refused, samples of another author are kept, ids and reasons are what they say."""

# ruff: noqa: E501 (rows)

import ast
import json
import re
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, get_args

import pytest

from reflectioncoder.builder import pipeline
from reflectioncoder.builder.authors.registry import author_of, check_author, require_used_options, unused_options
from reflectioncoder.builder.pipeline import build_reflections
from reflectioncoder.builder.reasons import REASONS, Reason
from reflectioncoder.builder.rollouts import SampleNames
from reflectioncoder.choices import AuthorName
from reflectioncoder.cli import main
from reflectioncoder.config.building import BuildConfig, EndpointConfig
from reflectioncoder.config.declarations import ModelConfig, Recipe, SandboxConfig
from reflectioncoder.data.files import write_jsonl
from reflectioncoder.data.problems import bundled_problems
from reflectioncoder.data.samples import read_samples
from reflectioncoder.errors import UsageError
from reflectioncoder.publish.export import export, find_source

PROBLEMS = [problem for problem in bundled_problems("train") if problem.grade <= 2][:3]
SOURCES = Path(pipeline.__file__).parents[1]
OTHER_VALUES = {
    "hybrid": True, "attempts": "a.jsonl", "rollouts": 3, "max_executions": 2, "keep_first_try": True, "min_killed_mutants": 0.1,
    "budget_tokens": 5, "budget_usd": 1.0, "prompts": "elsewhere", "problems": ("a.jsonl",), "samples_per_problem": 1,
    "two_slip_share": 0.0, "max_operator_share": 0.5, "max_chars": 100, "near_duplicates": 0.5, "shown_tests": 1,
    "diagnoses": "traced", "tests": "crafted", "critic": "openai", "round_kinds": {"look": 1.0}, "max_rounds": 2, "max_tokens": 999,
    "tokenizer": "a.json", "misreading_share": 0.5, "interacting_slips": True,
    "cell_timeout_s": 1.0, "min_samples": 0, "endpoint": EndpointConfig(retries=0),
}  # fmt: skip
AUTHORS = {
    "mutation": {"author": "mutation"},
    "openai": {"author": "openai"},
    "local": {"author": "local"},
    "vllm": {"author": "vllm"},
    "openai, hybrid": {"author": "openai", "hybrid": True},
    "attempts": {"author": "attempts", "attempts": "a.jsonl"},
}
REFUSED = {
    "mutation": "hybrid attempts rollouts max_executions keep_first_try min_killed_mutants budget_tokens budget_usd prompts endpoint",
    "openai": "attempts two_slip_share max_operator_share misreading_share interacting_slips diagnoses shown_tests tests round_kinds max_rounds critic",
    "local": "attempts two_slip_share max_operator_share misreading_share interacting_slips diagnoses shown_tests tests round_kinds max_rounds critic",
    "vllm": "attempts two_slip_share max_operator_share misreading_share interacting_slips diagnoses shown_tests tests round_kinds max_rounds critic",
    "openai, hybrid": "attempts two_slip_share max_operator_share misreading_share interacting_slips max_executions keep_first_try min_killed_mutants prompts round_kinds max_rounds",
    "attempts": "hybrid two_slip_share max_operator_share misreading_share interacting_slips max_executions keep_first_try min_killed_mutants prompts budget_tokens budget_usd "
    "endpoint round_kinds max_rounds",
}


def test_every_author_and_every_option_has_a_row():
    assert {settings["author"] for settings in AUTHORS.values()} == set(get_args(AuthorName))
    assert set(REFUSED) == set(AUTHORS)
    assert set(OTHER_VALUES) == {field.name for field in fields(BuildConfig)} - {"author"}


@pytest.mark.parametrize("option", OTHER_VALUES)
@pytest.mark.parametrize("author", AUTHORS)
def test_an_option_is_used_or_refused_by_name(author, option):
    config = replace(BuildConfig(**AUTHORS[author]), **{option: OTHER_VALUES[option]})
    if option == "budget_usd" and option not in REFUSED[author].split():
        config = replace(config, endpoint=EndpointConfig(output_usd=1.0))
    if option in REFUSED[author].split():
        with pytest.raises(UsageError, match=rf"does not use this option\n  where:   build\.{option}\b"):
            require_used_options(config)
    else:
        require_used_options(config)


@pytest.mark.parametrize("author", AUTHORS)
def test_options_at_their_defaults_are_never_refused(author):
    assert unused_options(BuildConfig(**AUTHORS[author])) == []


def test_all_options_that_do_nothing_are_named_at_once():
    build = BuildConfig(rollouts=2, budget_usd=1.0, endpoint=EndpointConfig(model="m"))
    with pytest.raises(UsageError, match=r"build\.rollouts, build\.budget_usd, build\.endpoint\.model"):
        build_reflections(Recipe("r", ModelConfig("none"), build=build), Path("never"))
    served_here = BuildConfig(author="local", endpoint=EndpointConfig(model="m", base_url="http://a/v1", api_key_env="K"))
    assert set(unused_options(served_here)) == {"build.endpoint.base_url", "build.endpoint.api_key_env"}
    hybrid = BuildConfig(author="openai", hybrid=True, endpoint=EndpointConfig(model="m", assistant_prefix="vllm"))
    assert set(unused_options(hybrid)) == {"build.endpoint.assistant_prefix"}


@pytest.fixture
def problem_file(tmp_path):
    write_jsonl(tmp_path / "problems.jsonl", [problem.to_json() for problem in PROBLEMS])
    return str(tmp_path / "problems.jsonl")


def attempts_recipe(tmp_path, problem_file, name="a", count=4, model="", **build):
    """`count` attempts at each problem, every one wrong in its own way."""
    rows = [
        {"task_id": p.task_id, "sample": n, "solution": f"def {p.entry_point}(*values):\n    return 'wrong {name} {n}'\n"}
        for p in PROBLEMS
        for n in range(count)
    ]
    write_jsonl(tmp_path / f"{name}.jsonl", rows)
    config = {"rollouts": count, "near_duplicates": 1.0, "endpoint": EndpointConfig(model=model), **build}
    build = BuildConfig(author="attempts", attempts=str(tmp_path / f"{name}.jsonl"), problems=(problem_file,), **config)
    return Recipe(name, ModelConfig("none"), build=build, sandbox=SandboxConfig(workers=2))


def mutation_recipe(problem_file, **build):
    config = BuildConfig(problems=(problem_file,), samples_per_problem=1, two_slip_share=0.0, **build)
    return Recipe("m", ModelConfig("none"), build=config, sandbox=SandboxConfig(workers=2))


def test_samples_per_problem_holds_for_attempts_too(tmp_path, problem_file):
    summary = build_reflections(attempts_recipe(tmp_path, problem_file, samples_per_problem=2), tmp_path / "build")
    samples = list(read_samples(tmp_path / "build" / "reflections.jsonl"))
    assert summary["num_accepted"] == len(samples) == 2 * len(PROBLEMS)
    assert summary["rejected"] == {"samples_per_problem": 2 * len(PROBLEMS)}
    assert all(sample.metadata["author"] == "attempts" for sample in samples)


def names_of(config):
    return author_of(config).names_in_samples(config)


def test_ids_of_several_builds_do_not_collide(tmp_path, problem_file):
    runs = []
    for name, model in (("a", ""), ("b", ""), ("c", "one/model"), ("d", "two/model")):
        build_reflections(attempts_recipe(tmp_path, problem_file, name, count=1, model=model), tmp_path / name / "build")
        runs.append(find_source(tmp_path / name))
    build_reflections(mutation_recipe(problem_file), tmp_path / "m" / "build")
    exported = export([*runs, find_source(tmp_path / "m")], tmp_path / "out", ["canonical"])
    assert exported.num_samples == 5 * len(PROBLEMS)
    assert {author for author, _ in exported.tally.writers} == {"attempts", "mutation"}
    names = [
        names_of(BuildConfig(author="openai", hybrid=hybrid, endpoint=endpoint))
        for hybrid in (False, True)
        for endpoint in (
            EndpointConfig(), EndpointConfig(base_url="http://b/v1"), EndpointConfig(model="a/m"), EndpointConfig(model="b/m"),
            EndpointConfig(model="a/m", revision="2"),
        )
    ]  # fmt: skip
    assert len(set(names)) == len(names)
    assert all(name.source and "/home" not in name.source for name in names)
    attempts = tmp_path / "attempts.jsonl"
    attempts.write_text("{}\n")
    repaired = [
        names_of(BuildConfig(author="attempts", attempts=str(attempts), endpoint=endpoint)).source
        for endpoint in (EndpointConfig(), EndpointConfig(model="a/m"), EndpointConfig(model="a/m", revision="2"))
    ]
    assert [re.sub("[0-9a-f]{8}$", "HASH", source) for source in repaired] == ["attempts@HASH", "a/m@HASH", "a/m@2@HASH"]
    assert names_of(BuildConfig(author="local", endpoint=EndpointConfig(model="/home/me/m.gguf"))) == SampleNames("llm", "m.gguf")


def test_another_author_does_not_write_over_samples(tmp_path, problem_file):
    folder = tmp_path / "build"
    attempts = attempts_recipe(tmp_path, problem_file, count=1, model="one")
    build_reflections(attempts, folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix in (".json", ".jsonl")}
    others = [mutation_recipe(problem_file), replace(attempts, build=replace(attempts.build, endpoint=EndpointConfig(model="two")))]
    for other in others:
        with pytest.raises(UsageError, match="holds the samples of another author"):
            build_reflections(other, folder)
        assert {name: (folder / name).read_bytes() for name in before} == before
    build_reflections(attempts, folder)
    for other in others:
        build_reflections(other, folder, fork=True)
        assert json.loads((folder / "build.json").read_text())["author"] == other.build.author
    assert (folder / "earlier-1" / "reflections.jsonl").read_bytes() == before["reflections.jsonl"]
    assert {sample.metadata["author"] for sample in read_samples(folder / "earlier-2" / "reflections.jsonl")} == {"mutation"}
    (folder / "build.json").unlink()  # an end that did not come
    with pytest.raises(UsageError, match="holds the samples of another author"):
        build_reflections(mutation_recipe(problem_file), folder)
    build_reflections(others[1], folder)


def test_every_reason_that_is_given_has_a_meaning():
    given = set()
    for path in SOURCES.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Rejected":
                texts = [part.value for argument in node.args[:1] for part in ast.walk(argument) if isinstance(part, ast.Constant)]
                given |= {text for text in texts if isinstance(text, str)}
    assert len(given) > 20
    assert given <= set(REASONS)
    assert set(get_args(Reason)) == set(REASONS)
    assert all(REASONS.values())


@pytest.mark.parametrize("language", ["klingon", "", 5, ["py"], None, "Python", "JS"])
def test_check_and_export_name_an_unknown_language(tmp_path, capsys, language):
    block = [{"type": "code", "content": "print(1)"}, {"type": "execution", "content": "1"}]
    messages = [
        {"role": role, "content": block if role == "assistant" else [{"type": "text", "content": "a"}]}
        for role in ("user", "assistant") * 2
    ]
    write_jsonl(tmp_path / "s.jsonl", [{"messages": messages, "type": "reflection", "id": "s-1", "metadata": {"language": language}}])
    for command in (["check", str(tmp_path / "s.jsonl")], ["export", str(tmp_path / "s.jsonl"), "--output", str(tmp_path / "out")]):
        assert main(command) == 2
        assert "unknown language" in (said := capsys.readouterr().err)
        assert "s-1" in said


def test_the_card_names_the_languages_of_the_data(tmp_path):
    rows = []
    for number, language in enumerate(["js", "js", "cpp", None]):
        messages = [{"role": role, "content": [{"type": "text", "content": f"{role} {number}"}]} for role in ("user", "assistant")]
        metadata = {"language": language} if language else {}
        rows.append({"messages": messages, "type": "generation", "id": str(number), "metadata": metadata})
    write_jsonl(tmp_path / "all.jsonl", rows)
    write_jsonl(tmp_path / "js.jsonl", rows[:2])
    for name, sentence in (
        ("all", "Programs are JavaScript (2 samples), C++ (1 samples), Python (1 samples)."),
        ("js", "Programs are JavaScript."),
    ):
        assert main(["export", str(tmp_path / f"{name}.jsonl"), "--output", str(tmp_path / name), "--format", "canonical"]) == 0
        assert sentence in (tmp_path / name / "README.md").read_text()


@pytest.mark.parametrize("author", ["openai", "openai, hybrid"])
def test_a_bound_of_the_price_needs_prices(author):
    bounded = replace(BuildConfig(**AUTHORS[author]), budget_usd=1.0, endpoint=EndpointConfig(model="m"))
    with pytest.raises(UsageError, match=r"build\.budget_usd bounds nothing(.|\n)*input_usd and output_usd"):
        check_author(bounded)
    for name in ("input_usd", "output_usd"):
        price: dict[str, Any] = {name: 0.5}
        check_author(replace(bounded, endpoint=EndpointConfig(model="m", **price)))


@pytest.mark.parametrize("prefix", ["vllm", "llama.cpp", "deepseek"])
def test_completions_have_no_assistant_message_to_go_on_with(prefix):
    for api in ("chat", "completion"):
        config = BuildConfig(author="openai", endpoint=EndpointConfig(model="m", api=api, assistant_prefix=prefix))
        if api == "chat":
            check_author(config)
        else:
            with pytest.raises(UsageError, match=r"build\.endpoint\.assistant_prefix"):
                check_author(config)
