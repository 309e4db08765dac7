"""The command line: fast help without torch, exit codes, messages, machine output."""

import gzip
import hashlib
import json
import os
import resource
import subprocess
import sys

import pytest

from reflectioncoder.cli import COMMANDS, main
from reflectioncoder.config.loading import load_recipe
from reflectioncoder.data.files import write_jsonl
from reflectioncoder.sandbox.isolation import ISOLATIONS
from tests.conftest import reflection_sample


def run(*argv, **env):
    return subprocess.run(
        [sys.executable, "-m", "reflectioncoder", *argv], capture_output=True, text=True, check=False, env={**os.environ, **env}
    )


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_costs_little_and_imports_nothing_heavy(command):
    argv = [command, "--help"] if command else ["--help"]
    script = (
        "import sys, resource\nfrom reflectioncoder.cli import main\n"
        f"try:\n    main({argv!r})\nexcept SystemExit as e:\n    assert e.code in (0, None)\n"
        "heavy = {'torch', 'transformers', 'numpy', 'libcst', 'yaml', 'rich'} & set(sys.modules)\nassert not heavy, heavy\n"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert result.returncode == 0, result.stderr
    assert "usage: reflectioncoder" in result.stdout
    assert (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime) < 0.5


@pytest.mark.long
def test_build_score_report_and_doctor_work_without_torch(tmp_path):
    """A finder that refuses torch and its company stands in for a machine on which they are not installed."""
    problems = tmp_path / "samples.jsonl"
    from reflectioncoder.evaluate.benchmarks import load_benchmark

    tasks = load_benchmark("bundled/seen:2").tasks
    write_jsonl(problems, [{"task_id": t.task_id, "solution": "x = 1"} for t in tasks])
    script = f"""
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "transformers", "peft", "accelerate", "numpy"):
            raise ImportError(name)
sys.meta_path.insert(0, Refuse())
from reflectioncoder.cli import main
out = {str(tmp_path)!r}
assert main(["build", "demo", "--limit", "3", "--runs-dir", out + "/runs", "--set", "build.min_samples=1"]) == 0
assert main(["score", {str(problems)!r}, "--benchmark", "bundled/seen:2", "--output", out + "/score"]) == 0
assert main(["inspect", out + "/runs/demo/build/reflections.jsonl"]) == 0
assert main(["recipes", "list"]) == 0
assert main(["doctor"]) == 0
open(out + "/runs/demo/config.yaml", "w").write("name: demo")
assert main(["report", out + "/runs/demo", "--output", out + "/report.html"]) == 0
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-3000:]


@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        (["run", "dmo"], 2, "did you mean 'demo'"),
        (["run", "demo", "--set", "train.lerning_rate=1"], 2, "did you mean train.learning_rate?"),
        (["run", "demo", "--set", "seed"], 2, "key.subkey=value"),
        (["train", "demo", "--set", "train.mask_strategy=[random_blok]", "--dry-run"], 2, "did you mean 'random_block'"),
        (["score", "no.jsonl", "--benchmark", "bundled/seen", "--output", "x"], 2, "no.jsonl"),
        (["inspect", "no.jsonl"], 2, "no.jsonl"),
        (["report", "no-run", "--output", "x.html"], 2, "not a run folder"),
        (["report", "no-run", "another"], 2, "needs a place"),
        (["generate", "./no-model", "--benchmark", "bundled/seen", "--output", "x"], 2, "no such model directory"),
        (["generate", "owner/no-model", "--benchmark", "bundled/seen", "--output", "x", "--offline"], 3, "hub cannot be reached"),
        (["generate", "m", "--benchmark", "bundled/seen", "--output", "x", "--num-samples", "3"], 2, "temperature"),
        (["recipes", "show", "nope"], 2, "no such recipe"),
        (["recipes", "show", "./demo.yaml"], 2, "no such recipe"),
        (["train", "demo"], 2, "run build first"),
        (["train", "demo", "--set", "train.reflection_data=[none.jsonl]"], 2, "none.jsonl"),
        (["run", "demo", "--set", "train.mask_strategy=[random_blok]"], 2, "did you mean 'random_block'"),
        (["run", "demo", "--set", "evaluate.benchmarks=[humanevall]"], 2, "did you mean 'humaneval'"),
        (["run", "demo", "--set", "build.problems=[none.jsonl]"], 2, "none.jsonl"),
        (["run", "demo", "--set", "generate.num_samples=3"], 2, "temperature"),
    ],
)
def test_bad_input_is_one_clear_message_with_the_documented_exit_code(argv, code, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(argv) == code
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_unknown_commands_and_no_command_exit_with_2():
    assert run("trian").returncode == 2
    assert run().returncode == 2


@pytest.mark.parametrize("option", [["--limit", "0"], ["--limit", "-1"], ["--workers", "-1"], ["--limit", "x"]])
def test_numbers_out_of_range_are_usage_errors(option):
    result = run("score", "x.jsonl", "--benchmark", "bundled/seen", "--output", "x", *option)
    assert result.returncode == 2
    assert "allowed: a whole number" in result.stderr


def test_a_time_limit_for_a_benchmark_with_its_own_is_refused(data_dir, tmp_path):
    argv = ["score", str(tmp_path / "s.jsonl"), "--benchmark", "mbpp+:2", "--output", str(tmp_path), "--data-dir", str(data_dir)]
    result = run(*argv, "--wall-s", "3")
    assert result.returncode == 2
    assert "--wall-s" in result.stderr
    assert "EvalPlus's time limits" in result.stderr


def test_evalpluss_file_is_refused_for_a_benchmark_that_it_does_not_have(tmp_path):
    result = run("score", "x.jsonl", "--benchmark", "bundled/seen", "--output", str(tmp_path), "--format", "evalplus")
    assert result.returncode == 2
    assert "allowed: humaneval, humaneval+" in result.stderr


def test_evalpluss_file_has_the_form_hash_and_verdicts_of_its_own(data_dir, tmp_path):
    samples = data_dir / "generations/ReflectionCoder-CL-7B/humaneval.jsonl"
    argv = ["score", str(samples), "--benchmark", "humaneval+:12", "--output", str(tmp_path), "--data-dir", str(data_dir)]
    run(*argv, "--format", "evalplus")
    written = json.loads((tmp_path / "humaneval.eval_results.json").read_text())
    packed = next(data_dir.rglob("HumanEvalPlus*.jsonl.gz"))
    assert written["hash"] == hashlib.md5(gzip.decompress(packed.read_bytes())).hexdigest()
    recorded = json.loads((data_dir / "generations/evalplus-verdicts/ReflectionCoder-CL-7B_humaneval.json").read_text())
    assert len(written["eval"]) == 12
    for task_id, (entry,) in written["eval"].items():
        assert entry["task_id"] == task_id
        for part in ("base", "plus"):
            passed = recorded["tasks"][task_id]["runs"]["head/warm1"][part == "plus"] == "pass"
            assert (entry[f"{part}_status"] == "pass") == passed
            assert (entry[f"{part}_fail_tests"] == []) == (entry[f"{part}_status"] == "pass")


def test_limit_takes_the_smaller_number_and_passes_over_other_samples(tmp_path):
    from reflectioncoder.evaluate.benchmarks import load_benchmark

    rows = [{"task_id": t.task_id, "solution": "x = 1"} for t in load_benchmark("bundled/seen:5").tasks]
    samples = write_jsonl(tmp_path / "s.jsonl", rows)
    for limit, expected in (("2", 2), ("9", 4)):
        argv = ["score", str(samples), "--benchmark", "bundled/seen:4", "--limit", limit, "--output", str(tmp_path / limit), "--json"]
        assert json.loads(run(*argv).stdout)["counts"] == {"failed": expected}


def test_json_goes_to_stdout_and_logs_to_stderr(tmp_path):
    data = write_jsonl(tmp_path / "s.jsonl", [reflection_sample(1).to_json()])
    result = run("inspect", str(data), "--json", "--mask-rate", "1.0")
    value = json.loads(result.stdout)["samples"][0]
    assert value["id"] == "sample-1"
    assert sum(t["hidden"] for t in value["tokens"]) == value["num_hidden"] > 0


def test_inspect_shows_colours_on_demand_only(tmp_path):
    data = write_jsonl(tmp_path / "s.jsonl", [reflection_sample(1).to_json()])
    assert "\x1b[" not in run("inspect", str(data)).stdout
    assert "\x1b[" in run("inspect", str(data), FORCE_COLOR="1").stdout
    assert "\x1b[3" not in run("inspect", str(data), FORCE_COLOR="1", NO_COLOR="1").stdout


def test_a_recipe_can_be_copied_once(tmp_path):
    assert main(["recipes", "copy", "demo", str(tmp_path)]) == 0
    assert load_recipe(tmp_path / "demo.yaml").recipe == load_recipe("demo").recipe
    assert main(["recipes", "copy", "demo", str(tmp_path)]) == 2


def test_doctor_reports_the_isolation():
    result = run("doctor", "--json")
    value = json.loads(result.stdout)
    assert result.returncode == 0
    assert value["isolation"] in ISOLATIONS
    assert value["tier"] == ISOLATIONS[value["isolation"]].tier
