"""Results as other tools write them: valid by the published schema, opened by the tool itself, with the numbers of `results.json`."""

import hashlib
import json
import re
import shutil
import subprocess
import sys
from copy import deepcopy
from pathlib import Path
from statistics import stdev

import pytest

from reflectioncoder.cli import main
from reflectioncoder.data.files import write_json, write_jsonl
from reflectioncoder.data.problems import bundled_problems
from reflectioncoder.evaluate.benchmarks import load_benchmark
from tests.builder.server import Script, serving
from tests.evaluate.eee_schema import EVALUATION, INSTANCE, problems

NAME = "bundled/seen"
FORMATS = ["--format", "eee", "--format", "inspect"]
WRONG = "def other():\n    pass\n"


def solutions():
    """Right programs for the first two tasks of five, each twice; of the second only one of them is right."""
    tasks = load_benchmark(f"{NAME}:5").tasks
    right = {problem.task_id: f"{problem.prompt}{problem.canonical_solution}" for problem in bundled_problems("test_seen")}
    for number, task in enumerate(tasks):
        for sample in (0, 1):
            wanted = number == 0 or (number == 1 and sample == 0)
            yield {"task_id": task.task_id, "solution": right[task.task_id] if wanted else WRONG if number < 4 else ""}


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    folder = tmp_path_factory.mktemp("formats")
    samples = write_jsonl(folder / "mine.jsonl", list(solutions()))
    argv = ["score", str(samples), "--benchmark", f"{NAME}:5", "--output", str(folder / "out"), "--workers", "1"]
    assert main([*argv, *FORMATS, "--model", "someone/a-model"]) == 0
    return folder / "out"


def read(folder, name):
    return json.loads((folder / name).read_text())


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


# --- Every Eval Ever --------------------------------------------------------------------------------------------------------


def test_the_results_are_valid_by_the_schema_and_have_the_numbers(scored):
    log, results = read(scored, "mine.eee.json"), read(scored, "results.json")
    assert problems(log, EVALUATION) == []
    assert [entry["score_details"]["score"] for entry in log["evaluation_results"]] == [m["value"] for m in results["metrics"]]
    first = log["evaluation_results"][0]
    assert first["evaluation_name"] == NAME
    assert first["score_details"]["score"] == pytest.approx(0.3)
    error = first["score_details"]["uncertainty"]["standard_error"]["value"]
    assert error == pytest.approx(stdev([1, 0.5, 0, 0, 0]) / 5**0.5)
    assert first["score_details"]["uncertainty"]["confidence_interval"]["upper"] == results["metrics"][0]["ci_high"]
    assert first["source_data"]["source_id"] == results["benchmark"]["sha256"]
    assert log["model_info"] == {"name": "someone/a-model", "id": "someone/a-model", "developer": "someone"}
    assert re.fullmatch(rf"{NAME}/someone/a-model/[0-9.]+", log["evaluation_id"])


def test_no_password_of_an_address_gets_into_the_files(scored, tmp_path):
    argv = ["score", str(scored.parent / "mine.jsonl"), "--benchmark", f"{NAME}:5", "--output", str(tmp_path / "out")]
    argv += [*FORMATS, "--model", "https://user:hunter2@host.example/v1?key=hunter2"]
    (tmp_path / "out").mkdir()
    shutil.copy(scored / "samples.jsonl", tmp_path / "out")  # nothing is judged again
    assert main(argv) == 0
    assert main([*argv, "--shard", "1/5"]) == 0
    written = [path.read_text() for path in (tmp_path / "out").rglob("*.json*")]
    assert len(written) == 8
    assert not any("hunter2" in text for text in written)
    assert read(tmp_path / "out", "mine.eee.json")["model_info"] == {"name": "https://host.example/v1", "id": "https://host.example/v1"}


def test_the_samples_are_valid_by_the_schema_and_belong_to_the_results(scored):
    log, rows = read(scored, "mine.eee.json"), lines(scored / "mine.eee.jsonl")
    assert [problems(row, INSTANCE) for row in rows] == [[]] * 10
    detailed = log["detailed_evaluation_results"]
    assert detailed["checksum"] == hashlib.sha256((scored / detailed["file_path"]).read_bytes()).hexdigest()
    assert detailed["total_rows"] == len(rows)
    assert {row["evaluation_id"] for row in rows} == {log["evaluation_id"]}
    assert {row["evaluation_result_id"] for row in rows} == {log["evaluation_results"][0]["evaluation_result_id"]}
    assert [row["evaluation"]["is_correct"] for row in rows] == [row["status"] == "passed" for row in lines(scored / "samples.jsonl")]
    assert sum(row["evaluation"]["score"] for row in rows) == 3
    assert [row["answer_attribution"] == [] for row in rows] == [False] * 8 + [True] * 2


def test_the_schema_of_the_tests_refuses_what_the_published_one_refuses(scored):
    log = read(scored, "mine.eee.json")
    for path, value in (
        (("retrieved_timestamp",), 1.5),
        (("source_metadata", "evaluator_relationship"), "self"),
        (("eval_library", "additional_details", "number"), 3),
        (("evaluation_results", 0, "metric_config", "max_score"), None),
        (("evaluation_results", 0, "source_data", "source_type"), "url"),
        (("more",), "x"),
    ):
        broken = deepcopy(log)
        place = broken
        for name in path[:-1]:
            place = place[name]
        place[path[-1]] = value
        assert len(problems(broken, EVALUATION)) == 1, path
    assert problems({name: log[name] for name in log if name != "model_info"}, EVALUATION) == [".model_info: missing"]


# --- Inspect ----------------------------------------------------------------------------------------------------------------


def test_the_log_has_the_fields_of_inspect_and_the_numbers(scored):
    log, results = read(scored, "mine.inspect.json"), read(scored, "results.json")
    assert (log["version"], log["status"]) == (2, "success")
    assert list(log)[:5] == ["version", "status", "eval", "plan", "results"]  # Inspect reads the header without the samples
    assert log["eval"]["model"] == "someone/a-model"
    assert log["eval"]["config"]["epochs"] == 2
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", log["eval"]["created"])
    (score,) = log["results"]["scores"]
    values = {name: metric["value"] for name, metric in score["metrics"].items()}
    assert values["accuracy"] == pytest.approx(0.3)
    assert values["stderr"] == pytest.approx(stdev([1, 0.5, 0, 0, 0]) / 5**0.5)
    grades = {m["subset"]: m["value"] for m in results["metrics"] if m["subset"]}
    assert {name: values[f"accuracy ({name})"] for name in grades} == grades
    assert [sample["scores"]["tests"]["value"] for sample in log["samples"]] == ["C", "C", "C", *["I"] * 7]
    assert [sample["epoch"] for sample in log["samples"]] == [1, 2] * 5
    assert all(sample["input"] in sample["messages"][0]["content"] for sample in log["samples"])


def test_base_and_plus_are_two_scorers(data_dir, tmp_path):
    tasks = load_benchmark("humaneval+:2", str(data_dir)).tasks
    samples = write_jsonl(tmp_path / "s.jsonl", [{"task_id": task.task_id, "solution": task.canonical_solution} for task in tasks])
    argv = ["score", str(samples), "--benchmark", "humaneval+:2", "--output", str(tmp_path / "out"), "--data-dir", str(data_dir)]
    assert main([*argv, *FORMATS, "--format", "evalplus"]) == 0
    assert (tmp_path / "out" / "s.eval_results.json").exists()
    log = read(tmp_path / "out", "s.inspect.json")
    assert [(score["name"], score["metrics"]["accuracy"]["value"]) for score in log["results"]["scores"]] == [("base", 1), ("plus", 1)]
    assert [sorted(sample["scores"]) for sample in log["samples"]] == [["base", "plus"]] * 2
    log = read(tmp_path / "out", "s.eee.json")
    assert problems(log, EVALUATION) == []
    assert log["evaluation_results"][0]["source_data"]["url"][0].endswith("HumanEvalPlus.jsonl.gz")


def test_evaluate_writes_what_was_answered_and_how(tmp_path, capsys):
    problems_asked = bundled_problems("test_seen")[:2]

    class Answering(Script):
        def reply(self, payload):
            problem = next(p for p in problems_asked if p.prompt.strip() in payload["messages"][0]["content"])
            return f"So:\n```python\n{problem.prompt}{problem.canonical_solution}\n```\n"

    with serving(Answering(problems_asked)) as url:
        argv = [
            "evaluate",
            "someone/m",
            "--backend",
            "openai",
            "--base-url",
            url,
            "--benchmark",
            f"{NAME}:2",
            "--output",
            str(tmp_path),
        ]
        assert main([*argv, *FORMATS, "--json", "--temperature", "0.5"]) == 0
    value = json.loads(capsys.readouterr().out)
    summary = value[NAME]["summary"]
    assert (summary["num_tasks"], summary["num_answers"], summary["num_without_program"], summary["points_per_task"]) == (2, 2, 0, 50)
    assert summary["duration_s"] >= 0
    assert [path for path in value["paths"] if path.endswith("completions.inspect.json")] != []
    log = read(tmp_path / NAME, "completions.eee.json")
    assert problems(log, EVALUATION) == []
    arguments = log["evaluation_results"][0]["generation_config"]["generation_args"]
    assert arguments == {"temperature": 0.5, "top_p": 0.95, "max_tokens": 512}
    assert url not in json.dumps(log)
    log = read(tmp_path / NAME, "completions.inspect.json")
    assert log["eval"]["model"] == "someone/m"
    for sample in log["samples"]:
        assert sample["output"]["choices"][0]["message"]["content"].startswith("So:\n```python")
        assert sample["output"]["choices"][0]["stop_reason"] == "stop"
        assert sample["scores"]["tests"]["answer"].startswith("def ")


# --- the tools themselves ---------------------------------------------------------------------------------------------------

READ = """
import json, sys
import jsonschema
from inspect_ai.log import read_eval_log

log = read_eval_log(sys.argv[1])
whole, one, schema = (json.load(open(path)) for path in sys.argv[2:5])
jsonschema.validate(whole, schema["evaluation"])
jsonschema.validate(one, schema["instance"])
print(json.dumps({
    "status": log.status,
    "model": log.eval.model,
    "samples": len(log.samples),
    "metrics": {name: metric.value for name, metric in log.results.scores[0].metrics.items()},
    "values": [sample.scores["tests"].value for sample in log.samples],
    "completion": log.samples[0].output.completion,
    "header": read_eval_log(sys.argv[1], header_only=True).results.total_samples,
}))
"""


@pytest.mark.slow
def test_inspect_itself_opens_the_log(scored, tmp_path):
    """Also lets the library of JSON Schema, which Inspect needs, judge the other format by the schema of these tests."""
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "own"], check=True)
    python = tmp_path / "own" / "bin" / "python"
    command = [python, "-m", "pip", "install", "-q", "inspect-ai>=0.3.200", "jsonschema"]
    installed = subprocess.run(command, capture_output=True, text=True, check=False)
    if installed.returncode:
        pytest.skip(f"inspect-ai is not installed: {installed.stderr.strip()[-200:]}")
    one = write_json(tmp_path / "one.json", lines(scored / "mine.eee.jsonl")[0])
    schema = write_json(tmp_path / "schema.json", {"evaluation": EVALUATION, "instance": INSTANCE})
    files = [scored / "mine.inspect.json", scored / "mine.eee.json", one, schema]
    done = subprocess.run([python, "-c", READ, *files], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found, log = json.loads(done.stdout), json.loads(Path(files[0]).read_text())
    assert (found["status"], found["model"], found["samples"], found["header"]) == ("success", "someone/a-model", 10, 10)
    assert found["metrics"] == {name: metric["value"] for name, metric in log["results"]["scores"][0]["metrics"].items()}
    assert found["values"] == ["C", "C", "C", *["I"] * 7]
    assert found["completion"] == lines(scored.parent / "mine.jsonl")[0]["solution"]
