"""Verdicts on HumanEval+ and MBPP+: canonical solutions, mutated ones, and the authors' published completions beside EvalPlus's."""

import contextlib
import gzip
import json
import multiprocessing
import re
from dataclasses import replace

import pytest

from reflectioncoder.choices import Rules
from reflectioncoder.data.files import write_jsonl
from reflectioncoder.evaluate.benchmarks import load_benchmark
from reflectioncoder.evaluate.data_files import matching
from reflectioncoder.evaluate.judges.evalplus.benchmark import SolutionJudge
from reflectioncoder.evaluate.results import summarize
from reflectioncoder.evaluate.score import Scorer, read_samples_to_score, score_samples
from tests.tiers import part

# EvalPlus 0.3.1 fails these on its wall-clock limits where the machine is loaded: it disagrees with itself, in the recorded runs or
# in ours (docs/lab-book.md). Without a time-out they pass.
FRAGILE = {
    *("HumanEval/15", "HumanEval/24", "HumanEval/138", "HumanEval/139"),
    *("Mbpp/61", "Mbpp/84", "Mbpp/160", "Mbpp/255", "Mbpp/271", "Mbpp/583"),
}
RUNS = {"evalplus-head": "head/", "evalplus-0.3.1": "pip031/"}


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REFLECTIONCODER_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def published_rows(benchmark, data_dir, model, output, rules):
    family = benchmark.name.rstrip("+")
    samples = read_samples_to_score(data_dir / f"generations/ReflectionCoder-{model}/{family}.jsonl", benchmark)
    return score_samples(part(samples, 3), output, Scorer(benchmark, rules=rules))


def recorded_verdicts(data_dir, model, name):
    return json.loads((data_dir / f"generations/evalplus-verdicts/ReflectionCoder-{model}_{name.rstrip('+')}.json").read_text())


def is_fragile(task_id, recorded):
    return task_id in FRAGILE or task_id in recorded["differs_between_runs"]


def differences(rows, recorded, rules):
    """List the rows whose verdicts are not those of all recorded runs; a fragile one may pass more often."""
    different = []
    for row in rows:
        runs = {run: verdict for run, verdict in recorded["tasks"][row["task_id"]]["runs"].items() if run.startswith(RUNS[rules])}
        assert runs
        ours = [row["base_status"] == "passed", row["plus_status"] == "passed"]
        theirs = [[part == "pass" for part in verdict] for verdict in runs.values()]
        if is_fragile(row["task_id"], recorded):
            best = [any(verdict[part] for verdict in theirs) for part in (0, 1)]
            fine = all(mine or not wanted for mine, wanted in zip(ours, best, strict=True))
        else:
            fine = all(verdict == ours for verdict in theirs)
        if not fine:
            different.append((row["task_id"], theirs, row["base_status"], row["plus_status"], row["stderr_tail"]))
    return different


@pytest.mark.parametrize("name", ["humaneval+", "mbpp+"])
def test_verdicts_on_the_first_published_completions_are_evalpluss(data_dir, tmp_path, name):
    benchmark = load_benchmark(f"{name}:20", str(data_dir))
    rows = published_rows(benchmark, data_dir, "CL-7B", tmp_path / "samples.jsonl", "evalplus-0.3.1")
    assert len(rows) == len(part(range(20), 3))
    assert differences(rows, recorded_verdicts(data_dir, "CL-7B", name), "evalplus-0.3.1") == []


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("model", "name", "rules", "base", "plus"),
    [
        ("CL-7B", "humaneval+", "evalplus-head", 123, 113),
        ("DS-6.7B", "humaneval+", "evalplus-0.3.1", 133, 125),
        pytest.param("CL-7B", "mbpp+", "evalplus-0.3.1", 273, 232, marks=pytest.mark.slow),
        ("DS-6.7B", "mbpp+", "evalplus-0.3.1", 308, 264),
    ],
)
def test_every_verdict_on_the_published_completions_is_evalpluss(data_dir, tmp_path, model, name, rules, base, plus):
    rows = published_rows(load_benchmark(name, str(data_dir)), data_dir, model, tmp_path / "samples.jsonl", rules)
    recorded = recorded_verdicts(data_dir, model, name)
    assert len(rows) == len(part(list(recorded["tasks"]), 3))
    assert differences(rows, recorded, rules) == []
    if len(rows) < len(recorded["tasks"]):
        return
    num_fragile = sum(is_fragile(row["task_id"], recorded) for row in rows)
    # A fragile one may pass here although EvalPlus's limits end it: on a busy machine it need not.
    assert base - num_fragile <= sum(row["base_status"] == "passed" for row in rows) <= base
    assert plus - num_fragile <= sum(row["status"] == "passed" for row in rows) <= plus


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", ["humaneval+", "mbpp+"])
def test_canonical_solutions_score_one_and_mutated_ones_zero(data_dir, tmp_path, name):
    benchmark = load_benchmark(name, str(data_dir))
    pattern = {"humaneval+": "HumanEvalPlus*.jsonl.gz", "mbpp+": "MbppPlus*.jsonl.gz"}[name]
    path = matching(pattern, str(data_dir))[0]
    assert path is not None
    with gzip.open(path, "rt") as handle:
        tasks = part([json.loads(line) for line in handle], 3)
    benchmark = replace(benchmark, tasks=part(benchmark.tasks, 3))
    right = [{"task_id": t["task_id"], "completion": t["canonical_solution"]} for t in tasks]
    # The same program, its answer wrapped: another type, another value, never equal and never close.
    wrapped = "\n\n\n_right = {0}\n\n\ndef {0}(*arguments):\n    return ('wrong', _right(*arguments))\n"
    wrong = [
        {"task_id": t["task_id"], "solution": t["prompt"] + t["canonical_solution"] + wrapped.format(t["entry_point"])}
        for t in tasks[::2]
    ]
    for kind, samples in (("right", right), ("wrong", wrong)):
        path = write_jsonl(tmp_path / f"{kind}.jsonl", samples)
        scorer = Scorer(benchmark)
        rows = score_samples(read_samples_to_score(path, benchmark), tmp_path / kind / "samples.jsonl", scorer)
        passed = {row["task_id"] for row in rows if row["status"] == "passed"}
        if kind == "right":
            assert {row["task_id"]: row["stderr_tail"] for row in rows if row["status"] != "passed"} == {}
            assert [m["value"] for m in summarize(scorer, rows)["metrics"]] == [1.0, 1.0]
        else:
            # EvalPlus takes any answer for one task, and any but None for three: these are right by its rules.
            by_rule = {t["task_id"] for t in tasks if t["entry_point"] == "are_equivalent"}
            assert passed <= by_rule | {t["task_id"] for t in tasks if t["entry_point"] in NOT_NONE}, passed


NOT_NONE = ("check_str", "text_match_three", "text_starta_endb")


def _burn():
    while True:
        pass


@pytest.mark.long
def test_load_on_the_machine_does_not_change_verdicts(data_dir, tmp_path):
    """The tasks on which EvalPlus is fragile, scored with two busy loops beside."""
    benchmark = load_benchmark("humaneval+", str(data_dir))
    samples = read_samples_to_score(data_dir / "generations/ReflectionCoder-DS-6.7B/humaneval.jsonl", benchmark)
    samples = [sample for sample in samples if sample.task.task_id in FRAGILE]
    context = multiprocessing.get_context("spawn")
    loops = [context.Process(target=_burn, daemon=True) for _ in range(2)]
    for loop in loops:
        loop.start()
    with contextlib.ExitStack() as stack:
        for loop in loops:
            stack.callback(loop.kill)
        rows = score_samples(samples, tmp_path / "samples.jsonl", Scorer(benchmark, rules="evalplus-0.3.1"))
    assert {row["task_id"]: row["status"] for row in rows} == dict.fromkeys([s.task.task_id for s in samples], "passed")


def test_find_zero_is_right_by_the_head_rules_and_never_by_those_of_0_3_1(data_dir, tmp_path):
    benchmark = load_benchmark("humaneval+", str(data_dir))
    task = next(task for task in benchmark.tasks if task.entry_point == "find_zero")
    expected: dict[Rules, str] = {"evalplus-head": "passed", "evalplus-0.3.1": "failed"}
    for rules, status in expected.items():
        assert Scorer(benchmark, rules=rules).judge(task, task.tests.canonical_solution).status == status


def test_several_samples_a_task_give_an_unbiased_pass_at_k(data_dir, tmp_path):
    benchmark = load_benchmark("humaneval:2", str(data_dir))
    first, second = benchmark.tasks
    rows = [{"task_id": first.task_id, "solution": first.tests.canonical_solution}] * 3
    rows += [{"task_id": first.task_id, "solution": "x = 1\n"}] * 2
    rows += [{"task_id": second.task_id, "solution": "x = 1\n"}] * 5
    path = write_jsonl(tmp_path / "in.jsonl", rows)
    scorer = Scorer(benchmark)
    metrics = summarize(scorer, score_samples(read_samples_to_score(path, benchmark), tmp_path / "samples.jsonl", scorer))["metrics"]
    shape = [(m["name"], m["subset"], m["num_tasks"], m["num_samples"]) for m in metrics]
    assert shape == [("pass@1", "base", 2, 10), ("pass@5", "base", 2, 10)]
    assert [m["value"] for m in metrics] == pytest.approx([3 / 5 / 2, 0.5])


def test_mbpp_is_asked_with_its_text_and_first_assertion(data_dir):
    request = load_benchmark("mbpp:1", str(data_dir)).requests(1)[0]
    assert re.fullmatch(r"Write a function [^\n]+\n```python\nassert [^\n]+\n```", request.instruction)


def test_a_time_out_is_taken_again_where_the_machine_has_turned_slower(data_dir, monkeypatch):
    """Limits are set by the machine's pace at the beginning; on a shared one it changes by half and more within a minute."""
    benchmark = load_benchmark("humaneval", str(data_dir))
    task = next(task for task in benchmark.tasks if task.task_id == "HumanEval/23")
    solution = "import time\nwaits = [1.4]\ndef strlen(string):\n    while waits: time.sleep(waits.pop())\n    return len(string)\n"
    scorer = Scorer(benchmark, rules="evalplus-0.3.1")
    assert isinstance(scorer.judging, SolutionJudge)
    usual = scorer.judging.functions.reference(task.task_id, task.entry_point, task.tests).slowness
    paces = iter([usual, 2 * usual])
    monkeypatch.setattr("reflectioncoder.evaluate.judges.evalplus.judge.slowness", lambda: next(paces))
    assert scorer.judge(task, solution).status == "timeout"
    assert scorer.judge(task, solution).status == "passed"
    assert next(paces, None) is None, "it is asked for after a time-out only"
