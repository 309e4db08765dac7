"""References of bigcodebench-hard: judged before the first verdict, kept, and no part of what completions depend on."""

import json
from dataclasses import replace

import pytest

from reflectioncoder.cli import main
from reflectioncoder.config.declarations import ModelConfig, Recipe
from reflectioncoder.data.files import write_jsonl
from reflectioncoder.errors import MachineError, UsageError
from reflectioncoder.evaluate import references as references_module
from reflectioncoder.evaluate.catalogue import entries
from reflectioncoder.evaluate.judges.bigcodebench import benchmark as judge_module
from reflectioncoder.evaluate.judges.bigcodebench.benchmark import reference_of, tasks_of
from reflectioncoder.evaluate.references import References, known_references, lines_of, with_references, without_failed
from reflectioncoder.evaluation import ScoreOptions, complete_and_judge, completions_key, prepare_scoring
from reflectioncoder.generate.backends import AskedModel
from reflectioncoder.generate.base import RawCompletion
from reflectioncoder.sandbox.limits import Limits
from tests.evaluate.bigcodebench_tasks import NEEDS_MORE, NEEDS_NETWORK, TESTS, VISIBLE, benchmark_of, row


@pytest.fixture(autouse=True)
def _a_cache_of_its_own(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("REFLECTIONCODER_CACHE", str(tmp_path_factory.getbasetemp() / "references"))


def test_tasks_whose_references_fail_here_are_left_out_by_name(isolation, monkeypatch):
    whole = benchmark_of(row(), NEEDS_MORE, NEEDS_NETWORK, VISIBLE)
    found = with_references(whole, 1, 2)
    assert [task.task_id for task in found.tasks] == ["BigCodeBench/1", "BigCodeBench/5"]
    assert found.whole == whole
    assert found.not_judged == ["BigCodeBench/2", "BigCodeBench/3"]
    assert found.left_out == {"BigCodeBench/2", "BigCodeBench/3"}
    assert found.references
    said = found.references.to_json()
    assert found.describe()["references"] == said
    assert (said["num_tasks"], said["num_passed"], said["not_challenged"]) == (4, 2, ["BigCodeBench/5"])
    assert said["failed"]["BigCodeBench/2"] == "ModuleNotFoundError: No module named 'no_such_package'"
    assert "test_net" in said["failed"]["BigCodeBench/3"]
    lines = lines_of({"benchmark": found.describe()})
    assert lines[0].endswith("the references of 2 of 4 tasks pass here; left out:")
    assert [line.split(":")[0].strip() for line in lines[1:-1]] == ["BigCodeBench/2", "BigCodeBench/3"]
    assert lines[-1].endswith("1 tasks whose challenge can be seen through: BigCodeBench/5")
    assert known_references(found.name, found.sha256) == found.references
    assert known_references(found.name, "other data") is None
    with monkeypatch.context() as patch:
        patch.setattr(references_module, "detect_isolation", lambda: replace(isolation, name="another"))
        assert known_references(found.name, found.sha256) is None
    with pytest.raises(MachineError, match="no reference passes here"):
        with_references(benchmark_of(NEEDS_MORE), 1, 2)


def test_references_are_judged_once_for_each_environment(isolation, monkeypatch):
    (task,) = tasks_of("complete")([row(number=4)], "here")
    first = reference_of(task.tests, isolation, alone=False)
    with monkeypatch.context() as patch:
        patch.setattr(judge_module, "run_suite", None)
        assert reference_of(task.tests, isolation, alone=False) == first
        patch.setattr(judge_module, "package_versions", lambda: ("numpy==0",))
        with pytest.raises(TypeError):
            reference_of(task.tests, isolation, alone=False)


def test_a_reference_that_fails_beside_others_is_judged_again_alone(isolation, monkeypatch):
    run, num_runs = judge_module.run_suite, 0

    def unlucky(*args):
        nonlocal num_runs
        num_runs += 1
        found = run(*args)
        return replace(found, ran=replace(found.ran, status="timeout")) if num_runs <= how_often else found

    monkeypatch.setattr(judge_module, "run_suite", unlucky)
    how_often = 1
    found = with_references(benchmark_of(row(f"{TESTS}# slow once\n")), 1, 2)
    assert not found.not_judged
    assert num_runs == 2
    num_runs, how_often = 0, 2
    with pytest.raises(MachineError, match="no reference passes here"):
        with_references(benchmark_of(row(f"{TESTS}# slow twice\n")), 1, 2)
    assert num_runs == 2


def test_a_challenge_that_goes_wrong_once_is_not_kept(isolation, monkeypatch):
    make, bad = judge_module.failing_alterations, [True]
    monkeypatch.setattr(judge_module, "failing_alterations", lambda *a, **k: {} if bad and bad.pop() else make(*a, **k))
    found = with_references(benchmark_of(row(f"{TESTS}# once\n", number=30)), 1, 1)
    assert found.references
    assert not found.references.not_challenged


def test_a_key_of_completions_does_not_depend_on_what_passes_here():
    whole = benchmark_of(row(), NEEDS_MORE, VISIBLE)
    recipe = Recipe("r", ModelConfig("none"))
    model = AskedModel("model", None, in_batches=False, open=lambda *lengths: pytest.fail("it was loaded"))
    failed = [{}, {"BigCodeBench/2": "one word"}, {"BigCodeBench/2": "another"}, {"BigCodeBench/1": "x", "BigCodeBench/5": "y"}]
    keys = {completions_key(without_failed(whole, References(3, reasons)), recipe, model) for reasons in failed}
    assert keys == {completions_key(whole, recipe, model)}
    assert completions_key(benchmark_of(row(), VISIBLE), recipe, model) not in keys


class _Asked:
    """A model that keeps what it is asked."""

    def __init__(self):
        self.batches, self.asked = [], []

    def complete(self, requests, done, config, seed):
        self.batches.append([request.task_id for request in requests])
        for request in requests:
            if request.key not in done:
                self.asked.append(request.task_id)
                yield request, RawCompletion("def task_func(path, key): pass\n```", "stop", 1)

    def describe(self):
        return {"name": "asked"}


def test_completions_of_tasks_that_are_left_out_later_stay(isolation, tmp_path):
    whole, model, recipe = benchmark_of(row(), NEEDS_MORE), _Asked(), Recipe("r", ModelConfig("none"))
    kept = []
    for failed in ({}, {"BigCodeBench/2": "x"}, {"BigCodeBench/1": "y"}, {}):
        benchmark = without_failed(whole, References(2, failed))
        judged = complete_and_judge(model, benchmark, benchmark.requests(1), recipe, Limits(), tmp_path, "label")
        assert [sample.task.task_id for sample in judged.samples] == [task.task_id for task in benchmark.tasks]
        assert judged.finish_reasons == {"stop": len(benchmark.tasks)}
        kept.append(sorted(read_jsonl_ids(tmp_path / "completions.jsonl")))
    assert kept == [["BigCodeBench/1", "BigCodeBench/2"]] * 4
    assert model.asked == ["BigCodeBench/1", "BigCodeBench/2"]
    assert model.batches == [["BigCodeBench/1", "BigCodeBench/2"]] * 4


def read_jsonl_ids(path):
    return [json.loads(line)["task_id"] for line in path.read_text().splitlines()]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["/nowhere/model"], "no such model directory"),
        (
            ["m", "--backend", "openai", "--base-url", "http://127.0.0.1:9/v1", "--format", "evalplus"],
            "no such file for this benchmark",
        ),
    ],
)
def test_cheap_checks_of_evaluate_come_before_references(options, said, data_dir, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(references_module, "map_ordered", None)
    monkeypatch.chdir(tmp_path)
    command = ["evaluate", *options, "--benchmark", "bigcodebench-hard/instruct:1", "--output", "out", "--data-dir", str(data_dir)]
    assert main(command) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("shard", [[], ["--shard", "1/2"]])
def test_samples_are_read_before_references_are_judged(shard, data_dir, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(references_module, "map_ordered", None)
    write_jsonl(tmp_path / "samples.jsonl", [{"task_id": "BigCodeBench/nowhere", "solution": ""}])
    command = ["score", str(tmp_path / "samples.jsonl"), "--benchmark", "bigcodebench-hard/instruct:1", *shard]
    assert main([*command, "--output", str(tmp_path / "out"), "--data-dir", str(data_dir)]) == 2
    assert "unknown task of bigcodebench-hard/instruct" in capsys.readouterr().err


def test_samples_of_left_out_tasks_alone_are_no_scoring(isolation, tmp_path):
    path = write_jsonl(tmp_path / "samples.jsonl", [{"task_id": "BigCodeBench/2", "solution": "x = 1"}])
    with pytest.raises(UsageError, match=r"samples\.jsonl: all samples are of tasks that are left out"):
        prepare_scoring(path, benchmark_of(row(), NEEDS_MORE), ScoreOptions(partial=True))


def test_the_list_says_whether_references_were_judged_here(data_dir):
    listed = {entry.name: entry for entry in entries(str(data_dir))}
    assert "references have not been judged here" in listed["bigcodebench-hard/instruct"].line()
    assert listed["bigcodebench-hard/instruct"].to_json()["references"] is None
    assert "references" not in listed["humaneval"].to_json()
    known = replace(listed["bigcodebench-hard/instruct"], references=with_references(benchmark_of(row(), NEEDS_MORE), 1, 2).references)
    assert "the references of 1 of 2 tasks pass here" in known.line()
    assert known.to_json()["references"]["failed"].keys() == {"BigCodeBench/2"}
