"""Reflection data from a model behind a server: dialogues, attempts and reference programs become samples that were really run."""

import json
import re
from dataclasses import replace

import pytest

from reflectioncoder.builder.authors.attempts import AttemptsFile
from reflectioncoder.builder.log import BuildLog
from reflectioncoder.builder.pipeline import build_reflections
from reflectioncoder.cli import main
from reflectioncoder.config.building import EndpointConfig
from reflectioncoder.data.files import write_jsonl
from reflectioncoder.data.prompts import answer_program
from reflectioncoder.data.samples import read_samples
from reflectioncoder.errors import UsageError
from tests.builder.scripted_recipe import ENDPOINT, PROBLEMS, make_recipe
from tests.builder.server import Script, serving


def test_a_dialogue_becomes_a_sample_with_what_the_interpreter_really_printed(tmp_path):
    with serving(Script(PROBLEMS)) as url:
        summary = build_reflections(make_recipe(url), tmp_path, limit=6)
    samples = list(read_samples(tmp_path / "reflections.jsonl"))
    assert summary["num_accepted"] == len(samples) >= 4
    assert summary["num_accepted"] + sum(summary["rejected"].values()) == 6
    assert summary["input_tokens"] == 100 * summary["num_requests"]
    for sample in samples:
        blocks = sample.messages[1].content
        assert [block.type for block in blocks] == ["text", "code", "execution", "text", "code", "execution"]
        assert "Error" in blocks[2].content or "interrupted" in blocks[2].content
        assert blocks[5].content == ""
        assert sample.messages[2].text.startswith("Write a complete Python function")
        assert sample.extra["metadata"]["passes"] == [False, True]


@pytest.mark.parametrize(
    ("where", "reason"),
    [("attempt", None), ("final program", "not_understood"), ("assertion", "no_assertion")],
)
def test_an_integer_that_is_too_long_to_be_written_in_decimal_costs_one_sample(where, reason, tmp_path):
    class LongIntegers(Script):
        def reply(self, payload):
            text, huge = super().reply(payload), f"0x{'f' * 5000}"
            is_final = text.startswith("```python")
            if where == "assertion":
                return text.replace("\nassert ", f"\nassert {huge}\nassert ", 1) if text.startswith("I try it.") else text
            if (where == "final program") == is_final:
                return text.replace("```python\n", f"```python\nHUGE = {huge}\n")
            return text

    with serving(LongIntegers(PROBLEMS)) as url:
        summary = build_reflections(make_recipe(url), tmp_path, limit=2)
    assert summary["num_accepted"] + sum(summary["rejected"].values()) == 2
    assert reason is None or reason in summary["rejected"]


def test_the_programs_of_a_data_set_are_run_again_and_compared(tmp_path, capsys):
    with serving(Script(PROBLEMS)) as url:
        build_reflections(make_recipe(url), tmp_path, limit=3)
    data = tmp_path / "reflections.jsonl"
    assert main(["check", str(data)]) == 0
    rows = [json.loads(line) for line in data.read_text().splitlines()]
    execution = next(block for block in rows[0]["messages"][1]["content"] if block["type"] == "execution")
    execution["content"] = "NameError: another one"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main(["check", str(data)]) == 1
    assert "NameError: another one" in capsys.readouterr().err


def test_a_failing_attempt_of_the_model_is_repaired_by_the_reference(tmp_path):
    with serving(Script(PROBLEMS)) as url:
        summary = build_reflections(make_recipe(url, hybrid=True, rollouts=2), tmp_path, limit=5)
    samples = list(read_samples(tmp_path / "reflections.jsonl"))
    assert summary["num_requests"] == 10  # one for each
    assert summary["num_accepted"] + sum(summary["rejected"].values()) == 10
    assert len(samples) >= 4
    for sample in samples:
        blocks = sample.messages[1].content
        assert [block.type for block in blocks] == ["text", "code", "execution"] * 2
        assert blocks[5].content == "All tests passed."
        tests = sample.extra["metadata"]["shown_tests"]
        assert all(test in blocks[1].content and test in blocks[4].content for test in tests)
        assert sample.messages[3].text.removeprefix("```python\n").split("\n```")[0] in blocks[4].content
    assert main(["check", str(tmp_path / "reflections.jsonl")]) == 0


@pytest.mark.parametrize("name", ["check", "test_it", "main"])
def test_an_entry_point_may_be_named_like_a_test(tmp_path, name):
    problem = PROBLEMS[0]
    renamed = {key: re.sub(rf"\b{problem.entry_point}\b", name, getattr(problem, key)) for key in ("prompt", "canonical_solution")}
    tests = tuple(re.sub(rf"\b{problem.entry_point}\b", name, test) for test in problem.tests)
    other = replace(problem, **renamed, tests=tests, entry_point=name, task_id="x")
    write_jsonl(tmp_path / "p.jsonl", [other.to_json()])
    with serving(Script([other])) as url:
        for hybrid in (False, True):
            recipe = make_recipe(url, problems=(str(tmp_path / "p.jsonl"),), rollouts=6, hybrid=hybrid, near_duplicates=1.0)
            assert build_reflections(recipe, tmp_path / str(hybrid))["num_accepted"] >= 1


@pytest.mark.parametrize(
    "change", [{"api": "completion"}, {"assistant_prefix": "vllm"}, {"assistant_prefix": "llama.cpp"}, {"assistant_prefix": "deepseek"}]
)
def test_stage_one_can_be_one_growing_turn_or_plain_text(tmp_path, change):
    with serving(Script(PROBLEMS)) as url:
        build_reflections(make_recipe(url), tmp_path / "turns", limit=5)
        grown = make_recipe(url, endpoint=replace(ENDPOINT, base_url=url, **change))
        build_reflections(grown, tmp_path / "grown", limit=5)
    # What is said is the same, so are the samples; what the server was sent is not.
    assert (tmp_path / "grown/reflections.jsonl").read_bytes() == (tmp_path / "turns/reflections.jsonl").read_bytes() != b""
    with BuildLog(tmp_path / "grown/log.sqlite") as log:
        payloads = [request["payload"] for request, _ in log.entries("request")]
    continued = [p for p in payloads if "```output\n" in (p["prompt"] if "prompt" in p else p["messages"][-1]["content"])]
    assert continued
    for asked in continued:
        if "messages" in asked and asked["messages"][-1]["role"] == "assistant":
            assert asked.get("continue_final_message", False) == (change.get("assistant_prefix") == "vllm")
            assert asked["messages"][-1].get("prefix", False) == (change.get("assistant_prefix") == "deepseek")
    assert all(("prompt" in p) == ("api" in change) for p in payloads)


def test_attempts_of_a_file_are_repaired(tmp_path):
    wrong, right, unknown = PROBLEMS[:3]
    rows = [
        {"task_id": wrong.task_id, "solution": f"def {wrong.entry_point}(*args):\n    return None\n"},
        {"task_id": right.task_id, "completion": answer_program(right)},
    ]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    endpoint = EndpointConfig(model="somebody")
    recipe = make_recipe("", author="attempts", attempts=str(tmp_path / "a.jsonl"), endpoint=endpoint)
    summary = build_reflections(recipe, tmp_path / "out", limit=3)
    assert summary["rejected"] == {"first_try": 1, "no_attempt": 1}
    (sample,) = read_samples(tmp_path / "out/reflections.jsonl")
    assert sample.extra["metadata"]["task_id"] == wrong.task_id
    assert sample.extra["metadata"]["model"] == "somebody"
    assert unknown.task_id in (tmp_path / "out/rejected.jsonl").read_text()
    body = wrong.canonical_solution.rstrip() + "  # EvalPlus's completions are bodies\n"
    assert AttemptsFile._whole(body, wrong).startswith(wrong.prompt)
    assert AttemptsFile._whole(f"```python\n{answer_program(wrong)}```", wrong) == answer_program(wrong).strip("\n")
    (tmp_path / "a.jsonl").write_text('{"id": 1}\n')
    with pytest.raises(UsageError, match=r"a\.jsonl:1: expected task_id"):
        build_reflections(recipe, tmp_path / "other", limit=3)


@pytest.mark.parametrize("numbers", [(0, 1, 0), (1, 0, 1), (1, None)])
def test_attempts_with_two_rows_for_a_sample_are_refused(numbers, tmp_path):
    rows = [{"task_id": "t", "solution": "x", **({} if number is None else {"sample": number})} for number in numbers]
    write_jsonl(tmp_path / "a.jsonl", rows)
    with pytest.raises(UsageError, match=r"a\.jsonl:[23], .*a\.jsonl:1"):
        AttemptsFile(str(tmp_path / "a.jsonl"))


def test_a_problem_without_tests_is_judged_by_the_models_own(tmp_path):
    bare = replace(PROBLEMS[0], tests=(), canonical_solution="", task_id="bare")
    write_jsonl(tmp_path / "p.jsonl", [bare.to_json()])
    with serving(Script(PROBLEMS)) as url:
        summary = build_reflections(make_recipe(url, problems=(str(tmp_path / "p.jsonl"),), rollouts=6), tmp_path)
        hybrid = make_recipe(url, problems=(str(tmp_path / "p.jsonl"),), hybrid=True)
        assert build_reflections(hybrid, tmp_path / "hybrid")["rejected"] == {"no_reference": 1}
    assert summary["num_accepted"] >= 1


@pytest.mark.slow
def test_a_real_model_on_this_machine_holds_dialogues(tmp_path):
    """SmolLM2-135M on the CPU: hardly a dialogue is accepted, but all of them are held, judged and replayed."""
    pytest.importorskip("xllamacpp")
    endpoint = EndpointConfig(model="HuggingFaceTB/SmolLM2-135M-Instruct", max_in_flight=2, max_tokens=300)
    recipe = make_recipe("", author="local", endpoint=endpoint, max_executions=2)
    first = build_reflections(recipe, tmp_path, limit=4)
    assert first["num_accepted"] + sum(first["rejected"].values()) == 4
    assert first["output_tokens"] > 50
    again = build_reflections(recipe, tmp_path, limit=4)
    assert again["num_requests"] == 0
    assert again["rejected"] == first["rejected"]
