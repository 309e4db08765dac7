"""Files of samples as people have them: answers with fences, EvalPlus's folder, blank lines."""

import ast
import gzip
import json
from dataclasses import replace

import pytest

from reflectioncoder.cli import main
from reflectioncoder.data.answers import read_answer
from reflectioncoder.data.completions import prompt_preamble
from reflectioncoder.data.files import write_jsonl
from reflectioncoder.data.problems import bundled_problems
from reflectioncoder.data.prompts import answer_program
from reflectioncoder.errors import UsageError
from reflectioncoder.evaluate.benchmarks import load_benchmark
from reflectioncoder.evaluate.data_files import matching
from reflectioncoder.evaluate.score import read_samples_to_score

PROBLEMS = bundled_problems("test_seen")[:6]
BENCHMARK = "bundled/seen:6"
ANSWERS = [
    "Here is it:\n\n```python\n{}```\n",
    "~~~ python\n{}~~~\n",
    "{}",
    "<think>\n```python\nfrom nowhere import draft\n```\n</think>\n```py\n{}```\nDone.",
    "```\n{}\n",
    "```bash\npip install nothing\n```\n\n```python title='a.py'\n{}``````\n",
]


def score(path, output, *options, benchmark=BENCHMARK):
    return main(["score", str(path), "--benchmark", benchmark, "--output", str(output), *options])


def results_of(output):
    return json.loads((output / "results.json").read_text())


@pytest.mark.parametrize("column", ["solution", "completion"])
def test_programs_are_taken_out_of_answers(column, tmp_path, capsys):
    rows = [
        {"task_id": problem.task_id, column: answer.format(answer_program(problem))}
        for problem, answer in zip(PROBLEMS, ANSWERS, strict=True)
    ]
    path = write_jsonl(tmp_path / "answers.jsonl", rows)
    assert score(path, tmp_path / "out", "--extract") == 0
    results = results_of(tmp_path / "out")
    assert results["counts"] == {"passed": 6}
    assert results["answers"]["reasons"] == {"fenced": 4, "open_fence": 1, "bare": 1}
    assert "hold no program" not in capsys.readouterr().out


def test_a_completion_that_continues_the_prompt_is_one_with_extract_too(tmp_path):
    rows = [{"task_id": problem.task_id, "completion": problem.canonical_solution} for problem in PROBLEMS]
    path = write_jsonl(tmp_path / "completions.jsonl", rows)
    assert score(path, tmp_path / "out", "--extract") == 0
    assert results_of(tmp_path / "out")["counts"] == {"passed": 6}


@pytest.mark.parametrize("behind", ["", "\n```\n", "\n```\nIt adds up.\n", "\n\n\ndef main():\n    print(", "\n<|endoftext|>"])
def test_completions_behind_a_prefilled_fence_are_read_with_extract(behind, tmp_path):
    rows = []
    for problem in PROBLEMS:
        function = ast.parse(answer_program(problem)).body[-1]
        assert isinstance(function, ast.FunctionDef)
        body = answer_program(problem).split("\n")[function.body[0].lineno - 1 :]
        rows.append({"task_id": problem.task_id, "completion": "\n".join(body).rstrip() + behind})
    assert score(write_jsonl(tmp_path / "completions.jsonl", rows), tmp_path / "out", "--extract") == 0
    assert results_of(tmp_path / "out")["counts"] == {"passed": 6}


def test_other_files_in_evalplus_folders_are_passed_over(tmp_path):
    path = folder_of(tmp_path, lambda problem: {0: "\ufeff" + answer_program(problem)})
    for name in ("0.txt", "3.pyc", "\u00b2.py", "notes.py"):
        (next(path.iterdir()) / name).write_bytes(b"\xff")
    samples = read_samples_to_score(path, load_benchmark(BENCHMARK))
    assert [sample.solution for sample in samples] == [
        answer_program(sample_problem) for sample_problem in sorted(PROBLEMS, key=lambda p: p.task_id.replace("/", "_"))
    ]


@pytest.mark.parametrize("column", ["solution", "completion"])
def test_answers_that_are_given_as_programs_are_refused_with_the_way_out(column, tmp_path, capsys):
    rows = [{"task_id": problem.task_id, column: f"```python\n{answer_program(problem)}```"} for problem in PROBLEMS]
    path = write_jsonl(tmp_path / "answers.jsonl", rows)
    assert score(path, tmp_path / "out") == 2
    said = capsys.readouterr().err
    assert "6 of 6 samples" in said
    assert "--extract" in said


def test_some_answers_among_programs_are_counted_and_the_rest_is_scored(tmp_path, capsys):
    rows = [{"task_id": problem.task_id, "solution": answer_program(problem)} for problem in PROBLEMS]
    for row in rows[:2]:
        row["solution"] = f"Sure!\n\n```python\n{row['solution']}```"
    rows[2]["solution"] = "'''\n```\n'''\n" + rows[2]["solution"]  # a program
    assert score(write_jsonl(tmp_path / "mixed.jsonl", rows), tmp_path / "out") == 0
    assert results_of(tmp_path / "out")["counts"] == {"passed": 4, "compile_error": 2}
    said = capsys.readouterr().out
    assert "2 of 6 samples are Markdown" in said
    assert "--extract" in said


def test_blank_lines_are_passed_over(tmp_path):
    lines = [json.dumps({"task_id": problem.task_id, "solution": answer_program(problem)}) for problem in PROBLEMS]
    path = tmp_path / "samples.jsonl"
    path.write_text("\n" + "\n\n  \n".join(lines) + "\n\n")
    samples = read_samples_to_score(path, load_benchmark(BENCHMARK))
    assert [sample.task.task_id for sample in samples] == [problem.task_id for problem in PROBLEMS]
    path.write_text(f"\n\n{lines[0]}\n\n{{broken\n")
    with pytest.raises(UsageError, match=r"samples\.jsonl:5"):
        read_samples_to_score(path, load_benchmark(BENCHMARK))


def folder_of(tmp_path, programs):
    for problem in PROBLEMS:
        folder = tmp_path / "samples" / problem.task_id.replace("/", "_")
        folder.mkdir(parents=True)
        for number, program in programs(problem).items():
            (folder / f"{number}.py").write_text(program)
    return tmp_path / "samples"


def test_evalplus_folders_are_read_with_several_samples_a_task(tmp_path):
    path = folder_of(tmp_path, lambda problem: {0: answer_program(problem), 1: "x = 1\n", 10: answer_program(problem), 2: ""})
    (path / "notes.txt").write_text("not a sample")
    (path / ".cache").mkdir()
    (path / PROBLEMS[0].task_id.replace("/", "_") / "0.log").mkdir()
    assert score(path, tmp_path / "out") == 0
    results = results_of(tmp_path / "out")
    assert results["counts"] == {"passed": 12, "failed": 6, "no_code": 6}
    assert results["answers"]["num_empty"] == 6
    rows = [json.loads(line) for line in (tmp_path / "out" / "samples.jsonl").read_text().splitlines()]
    assert [row["sample"] for row in rows if row["task_id"] == PROBLEMS[0].task_id] == [0, 1, 2, 10]


def test_evalplus_folders_with_answers_are_extracted(tmp_path):
    path = folder_of(tmp_path, lambda problem: {0: f"```python\n{answer_program(problem)}```"})
    assert score(path, tmp_path / "out") == 2
    assert score(path, tmp_path / "out", "--extract") == 0
    assert results_of(tmp_path / "out")["counts"] == {"passed": 6}


def test_a_folder_of_an_unknown_task_is_named(tmp_path, capsys):
    (tmp_path / "samples" / "HumanEval_999").mkdir(parents=True)
    assert score(tmp_path / "samples", tmp_path / "out") == 2
    assert "HumanEval_999" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert score(tmp_path / "empty", tmp_path / "out") == 2
    assert "no samples" in capsys.readouterr().err


def test_a_folder_whose_name_is_that_of_two_tasks_is_refused(tmp_path):
    problems = [replace(PROBLEMS[0], task_id=task_id) for task_id in ("a/b", "a_b", "c/d")]
    write_jsonl(tmp_path / "own.jsonl", [problem.to_json() for problem in problems])
    (tmp_path / "samples/c_d").mkdir(parents=True)
    (tmp_path / "samples/c_d/0.py").write_text(answer_program(PROBLEMS[0]))
    assert len(read_samples_to_score(tmp_path / "samples", load_benchmark(f"file:{tmp_path}/own.jsonl"))) == 1
    (tmp_path / "samples/a_b").mkdir()
    for spec in (f"file:{tmp_path}/own.jsonl", f"file:{tmp_path}/own.jsonl:1"):
        with pytest.raises(UsageError, match="several tasks of file/own have this folder's name: a/b, a_b"):
            read_samples_to_score(tmp_path / "samples", load_benchmark(spec))


def test_samples_without_any_program_are_a_failed_check(tmp_path, capsys):
    rows = [{"task_id": problem.task_id, "solution": ""} for problem in PROBLEMS]
    assert score(write_jsonl(tmp_path / "empty.jsonl", rows), tmp_path / "out") == 1
    assert "6 of 6 answers hold no program (empty 6)" in capsys.readouterr().out
    rows = [{"task_id": problem.task_id, "solution": "I cannot."} for problem in PROBLEMS]
    assert score(write_jsonl(tmp_path / "sorry.jsonl", rows), tmp_path / "out2", "--extract") == 1
    assert "6 of 6 answers hold no program (no_code 6)" in capsys.readouterr().out


def test_answers_with_future_imports_keep_them_in_front_of_the_prompts_preamble(tmp_path, data_dir):
    """HumanEval's prompts import what they name in signatures; some define helpers."""
    path = matching("HumanEvalPlus*.jsonl.gz", str(data_dir))[0]
    assert path is not None
    with gzip.open(path, "rt") as handle:
        tasks = [json.loads(line) for line in handle]
    rows = []
    for task in tasks:
        whole = f'"""Solution."""\n\nfrom __future__ import annotations\n\n{task["prompt"]}{task["canonical_solution"]}'
        rows.append({"task_id": task["task_id"], "completion": f"```python\n{whole}\n```"})
        read = read_answer(rows[-1]["completion"], task["entry_point"], preamble=prompt_preamble(task["prompt"], task["entry_point"]))
        compile(read.solution, task["task_id"], "exec")
    path = write_jsonl(tmp_path / "answers.jsonl", rows[:8])
    benchmark = "humaneval:8"
    assert score(path, tmp_path / "out", "--extract", "--data-dir", str(data_dir), benchmark=benchmark) == 0
    assert results_of(tmp_path / "out")["counts"] == {"passed": 8}
