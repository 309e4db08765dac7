"""Every command in shards, merged, against the command on one machine; quick, with few units."""

import json
from dataclasses import dataclass, replace
from typing import Any

import pytest

from reflectioncoder.cli import main
from reflectioncoder.data.files import read_jsonl, write_jsonl
from reflectioncoder.data.problems import bundled_problems
from reflectioncoder.data.samples import Block, assistant
from reflectioncoder.errors import UsageError
from reflectioncoder.generate.backends import AskedModel
from reflectioncoder.sharded.generate import require_server
from tests.builder.server import Script, serving
from tests.conftest import reflection_sample


@dataclass
class Solutions(Script):
    """Answers requests for bundled problems with their references, every third of them with a wrong program."""

    def reply(self, payload: Any) -> str:
        asked = payload["messages"][0]["content"]
        number, problem = next((n, p) for n, p in enumerate(self.problems) if p.prompt.strip() in asked)
        body = problem.reference if number % 3 else problem.prompt + "    return None\n"
        return f"Here it is.\n\n```python\n{body}```\n"


def in_shards(count, *argv, shards):
    for index in range(1, count + 1):
        assert main([*argv, "--shard", f"{index}/{count}", "-q"]) == 0
    return main(["merge", *map(str, sorted(shards.glob("shard-*-of-*"))), "--output", str(shards), "-q"])


def content(path):
    return [{name: value for name, value in row.items() if name != "duration_s"} for _, row in read_jsonl(path)]


@pytest.mark.parametrize("given", [[], ["--num-samples", "2", "--temperature", "0.5"]], ids=["greedy", "sampled"])
def test_completions_of_shards_are_those_of_one_machine(given, tmp_path):
    """They come in any order, and stand in the order of the requests."""
    script = Solutions(bundled_problems("test_seen"), latency_s=0.01)
    with serving(script) as url:
        argv = ["generate", "m", "--backend", "openai", "--base-url", url, "--benchmark", "bundled/seen:7", *given]
        assert main([*argv, "--output", str(tmp_path / "one"), "-q"]) == 0
        assert in_shards(3, *argv, "--output", str(tmp_path / "sharded"), shards=tmp_path / "sharded") == 0
        asked = script.num_requests
        assert main([*argv, "--output", str(tmp_path / "sharded"), "-q"]) == 0, "the merged folder is not that of one machine"
        assert script.num_requests == asked == 2 * 7 * (2 if given else 1)
    for name in ("completions.jsonl", "settings.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "sharded" / name).read_bytes()


def test_evaluations_of_shards_are_those_of_one_machine(tmp_path):
    script = Solutions([*bundled_problems("test_seen"), *bundled_problems("test_unseen")], latency_s=0.01)
    with serving(script) as url:
        argv = ["evaluate", "m", "--backend", "openai", "--base-url", url, "--benchmark", "bundled/seen:5", "bundled/unseen:2"]
        argv += ["--format", "eee", "--workers", "1"]
        assert main([*argv, "--output", str(tmp_path / "one"), "-q"]) == 0
        assert in_shards(3, *argv, "--output", str(tmp_path / "sharded"), shards=tmp_path / "sharded") == 0
        assert script.num_requests == 2 * 7
    for benchmark in ("bundled/seen", "bundled/unseen"):
        one, merged = tmp_path / "one" / benchmark, tmp_path / "sharded" / benchmark
        assert {path.name for path in one.iterdir()} == {path.name for path in merged.iterdir()}
        for name in ("completions.jsonl", "results.json", "settings.json"):
            assert (one / name).read_bytes() == (merged / name).read_bytes()
        assert content(one / "samples.jsonl") == content(merged / "samples.jsonl")


def test_shards_are_merged_from_another_folder_than_that_of_a_problem_file(tmp_path, monkeypatch, capsys):
    script = Solutions(problems := bundled_problems("test_seen")[:2])
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    own = [problem.to_json() for problem in problems]
    write_jsonl(tmp_path / "here/own.jsonl", own)
    write_jsonl(tmp_path / "here/s.jsonl", [{"task_id": problem.task_id, "solution": ""} for problem in problems])
    monkeypatch.chdir(tmp_path / "here")
    with serving(script) as url:
        asked = ["m", "--backend", "openai", "--base-url", url, "--benchmark", "file:own.jsonl:1", "--data-dir", "."]
        for command in (["score", "s.jsonl", "--benchmark", "file:own.jsonl:1"], ["generate", *asked], ["evaluate", *asked]):
            assert main([*command, "--output", f"{tmp_path}/{command[0]}", "--shard", "1/1", "-q"]) == 0
    monkeypatch.chdir(tmp_path / "there")
    for command in ("score", "generate", "evaluate"):
        merge = ["merge", str(tmp_path / command / "shard-1-of-1"), "--output", str(tmp_path / command), "-q"]
        write_jsonl(tmp_path / "here/own.jsonl", [{**own[0], "tests": own[0]["tests"][:1]}, *own[1:]])
        assert main(merge) == 2
        assert f"where:   file:{tmp_path}/here/own.jsonl:1" in capsys.readouterr().err
        write_jsonl(tmp_path / "here/own.jsonl", own)
        assert main(merge) in (0, 1), command  # 1: no sample holds a program


def test_a_model_that_completes_batches_has_no_shards():
    with pytest.raises(UsageError, match="shards are for models behind servers"):
        require_server(AskedModel("key", None, in_batches=True, open=lambda *lengths: pytest.fail("it was loaded")))


@pytest.mark.parametrize("limit", [[], ["--limit", "4"]], ids=["all", "the first four"])
def test_problems_of_shards_are_those_of_one_machine(limit, tmp_path):
    rows = [problem.to_json() for problem in bundled_problems("train")[:7]]
    rows[1]["tests"] = ["assert False"]
    rows[4]["task_id"] = rows[0]["task_id"]
    write_jsonl(tmp_path / "source.jsonl", rows)
    for folder in ("one", "sharded"):
        argv = ["problems", str(tmp_path / "source.jsonl"), "--output", str(tmp_path / folder / "p.jsonl"), *limit]
        if folder == "one":
            assert main([*argv, "-q"]) == 0
        else:
            shards = tmp_path / folder / "p.jsonl.shards"
            assert in_shards(3, *argv, shards=shards) == 0
            (shards / "p.jsonl").rename(tmp_path / folder / "p.jsonl")
    assert (tmp_path / "one" / "p.jsonl").read_bytes() == (tmp_path / "sharded" / "p.jsonl").read_bytes()


def printing(number, stored):
    """A sample whose program prints a number, and which says that it has printed another."""
    sample = reflection_sample(number)
    cell = assistant(Block("code", f"print({number})"), Block("execution", f"{stored}"))
    return replace(sample, messages=(sample.messages[0], cell, *sample.messages[2:])).to_json()


def test_a_check_in_shards_is_that_of_one_machine(tmp_path, capsys):
    """Also if an output differs, which one shard sees and merge says."""
    write_jsonl(tmp_path / "samples.jsonl", [printing(number, 7 if number == 2 else number) for number in range(4)])
    argv = ["check", str(tmp_path / "samples.jsonl"), "--output"]
    assert main([*argv, str(tmp_path / "one"), "-q"]) == 1
    said = capsys.readouterr().err
    assert "1 of" in said
    assert in_shards(2, *argv, str(tmp_path / "sharded"), shards=tmp_path / "sharded") == 1
    assert capsys.readouterr().err == said.replace(str(tmp_path / "one"), str(tmp_path / "sharded"))
    for name in ("check.jsonl", "check.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "sharded" / name).read_bytes()
    assert json.loads((tmp_path / "one" / "check.json").read_text())["num_drifts"] == 1


def test_shards_of_a_check_are_merged_from_another_folder(tmp_path, monkeypatch):
    write_jsonl(tmp_path / "here.jsonl", [printing(1, 1)])
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path)
    assert main(["check", "here.jsonl", "--output", str(tmp_path / "out"), "--shard", "1/1", "-q"]) == 0
    monkeypatch.chdir(tmp_path / "there")
    assert main(["merge", str(tmp_path / "out/shard-1-of-1"), "--output", str(tmp_path / "out"), "-q"]) == 0


def test_a_check_goes_on_from_its_file_and_refuses_another(tmp_path, capsys):
    data, output = tmp_path / "samples.jsonl", tmp_path / "check"
    write_jsonl(data, [printing(number, number) for number in range(3)])
    argv = ["check", str(data), "--output", str(output), "-q"]
    assert main(argv) == 0
    done = (output / "check.jsonl").read_bytes()
    marked = done.replace(b'"num_executions": 1', b'"num_executions": 5', 1)
    (output / "check.jsonl").write_bytes(marked.splitlines(keepends=True)[0] + b'{"position": 1, "id')
    assert main(argv) == 0
    assert (output / "check.jsonl").read_bytes() == marked, "what was there was run again"
    write_jsonl(data, [printing(number, number) for number in range(1, 4)])
    assert main(argv) == 2
    assert "is about other samples" in capsys.readouterr().err
    assert (output / "check.jsonl").read_bytes() == marked


@pytest.mark.parametrize("change", [{"drifts": None}, {"drifts": [{"block": 1}]}, {"num_executions": "1"}])
def test_outcomes_that_somebody_changed_are_one_error(change, tmp_path, capsys):
    data, output = tmp_path / "samples.jsonl", tmp_path / "check"
    write_jsonl(data, [printing(1, 1)])
    argv = ["check", str(data), "--output", str(output), "-q"]
    assert main(argv) == 0
    row = {**json.loads((output / "check.jsonl").read_text()), **change}
    write_jsonl(output / "check.jsonl", [{name: value for name, value in row.items() if value is not None}])
    assert main(argv) == 2
    assert "check.jsonl is not as reflectioncoder wrote it" in capsys.readouterr().err


def test_a_shard_of_a_check_needs_a_folder(tmp_path, capsys):
    write_jsonl(tmp_path / "samples.jsonl", [printing(0, 0)])
    assert main(["check", str(tmp_path / "samples.jsonl"), "--shard", "1/2"]) == 2
    assert "--output DIR" in capsys.readouterr().err
