"""`score` takes completions and whole programs of other languages, cuts by named rules and skips what it cannot judge."""

import json

import pytest

from reflectioncoder.cli import main
from reflectioncoder.data.completions import cut_completion
from reflectioncoder.evaluate.benchmarks import BENCHMARKS, load_benchmark
from reflectioncoder.evaluate.judges.multipl_e.programs import FILES
from reflectioncoder.generate.base import RawCompletion, completion_row
from reflectioncoder.languages import LANGUAGES
from tests.evaluate.multipl_e_tasks import needs, run_instead

pytestmark = pytest.mark.timeout(1200)  # of compilers that take 20 s a program on a busy machine
TASK = "HumanEval_23_strlen"
RIGHT_SH, WRONG_SH = "    echo ${#1}\n", "    echo 7\n"


@pytest.mark.parametrize(
    ("language", "completion", "stops", "multipl_e", "authors"),
    [
        ("cpp", "  return 1;\n}\nint main() {}\n}\n", ("\n}",), "  return 1;", "  return 1;\n}"),
        ("js", "  return 1;\n}\nfoo();\n}", ("\nfunction ", "\n//"), "  return 1;\n}\nfoo();\n}", "  return 1;\n}\nfoo();\n}"),
        ("sh", "  echo 1\n}\necho", ("\n}",), "  echo 1", "  echo 1"),
        ("ts", "  return 1;\n}\n// x\n}", ("\n//",), "  return 1;\n}", "  return 1;\n}"),
        ("py", "  return 1", (), "  return 1", "  return 1"),
    ],
)
def test_completions_are_cut_by_named_rules(language, completion, stops, multipl_e, authors):
    assert cut_completion(completion, language, stops) == multipl_e
    assert cut_completion(completion, language, stops, "reflectioncoder") == authors


def test_the_answer_begins_with_the_prompt_and_the_program_too(data_dir):
    benchmark = load_benchmark("multipl-e/cpp")
    task, request = benchmark.tasks[0], benchmark.requests(1)[0]
    assert request.instruction.startswith("Write a complete C++ function for the problem.\n```cpp\n")
    assert request.prefill == f"```cpp\n{task.prompt}"
    row = completion_row(request, RawCompletion("    return 1;\n}\nint x;\n```", "stop", 9))
    assert row["solution"] == f"{task.prompt}    return 1;"


@pytest.mark.long
def test_score_takes_completions_and_whole_programs(data_dir, tmp_path, capsys):
    needs("sh")
    task = next(task for task in load_benchmark("multipl-e/sh").tasks if task.task_id == TASK)
    rows = [{"task_id": TASK, "completion": RIGHT_SH + "}\nrm x"}, {"task_id": TASK, "solution": task.prompt + WRONG_SH}]
    (tmp_path / "s.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = ["score", str(tmp_path / "s.jsonl"), "--benchmark", "multipl-e/sh", "--partial", "--output", str(tmp_path / "out")]
    assert main(command) == 0
    judged = [json.loads(line) for line in (tmp_path / "out/samples.jsonl").read_text().splitlines()]
    assert [row["status"] for row in judged] == ["passed", "failed"]
    assert [row["reason"] for row in judged] == ["", "wrong answer"]


@pytest.mark.long
def test_the_authors_rule_can_be_chosen(data_dir, tmp_path):
    """A second function: the first stop token cuts in front of it, the last one behind it."""
    needs("sh")
    (tmp_path / "s.jsonl").write_text(json.dumps({"task_id": TASK, "completion": RIGHT_SH + "}\nstrlen() {\n    echo 7\n}\n"}) + "\n")
    statuses = []
    for cut in ("multipl-e", "reflectioncoder"):
        out = tmp_path / cut
        command = ["score", str(tmp_path / "s.jsonl"), "--benchmark", "multipl-e/sh", "--partial", "--cut", cut, "--output", str(out)]
        assert main(command) == 0
        statuses += [json.loads(line)["status"] for line in (out / "samples.jsonl").read_text().splitlines()]
    solutions = [json.loads((tmp_path / cut / "samples.jsonl").read_text())["solution"] for cut in ("multipl-e", "reflectioncoder")]
    assert [solution.count("echo") for solution in solutions] == [1, 2]
    assert statuses == ["passed", "failed"]


def test_a_language_that_is_judged_wrongly_is_skipped_before_anything_is_generated(data_dir, tmp_path, monkeypatch, capsys):
    needs("sh")
    monkeypatch.setenv("REFLECTIONCODER_CACHE", str(tmp_path / "cache"))
    run_instead(monkeypatch, "bash", "-n", "main.sh")
    (tmp_path / "s.jsonl").write_text(json.dumps({"task_id": TASK, "completion": RIGHT_SH}) + "\n")
    command = ["score", str(tmp_path / "s.jsonl"), "--benchmark", "multipl-e/sh", "--output", str(tmp_path / "out")]
    assert main(command) == 3
    results = json.loads((tmp_path / "out/results.json").read_text())
    assert (results["status"], results["metrics"]) == ("skipped", [])
    assert "positive_sum, right: expected passed, got early exit" in results["reason"]


def test_a_language_without_its_toolchain_is_skipped_and_counted(data_dir, tmp_path, capsys):
    name = next(name for name in LANGUAGES if LANGUAGES[name].toolchain.missing() and f"multipl-e/{name}" in BENCHMARKS)
    (tmp_path / "s.jsonl").write_text(json.dumps({"task_id": TASK, "completion": "x"}) + "\n")
    command = ["score", str(tmp_path / "s.jsonl"), "--benchmark", f"multipl-e/{name}", "--output", str(tmp_path / "out")]
    assert main(command) == 3
    results = json.loads((tmp_path / "out/results.json").read_text())
    assert results["status"] == "skipped"
    assert results["counts"] == {"skipped": FILES[name].num_tasks}
    assert results["metrics"] == []
    assert LANGUAGES[name].toolchain.install in capsys.readouterr().out
