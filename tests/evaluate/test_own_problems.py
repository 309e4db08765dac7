"""A problem file of the user's own as a benchmark, and a training without anything built."""

import json
from pathlib import Path

import pytest

from reflectioncoder.cli import main
from reflectioncoder.commands import limited
from reflectioncoder.data.files import read_json, read_jsonl, write_jsonl
from reflectioncoder.data.problems import Problem, bundled_problems
from reflectioncoder.data.prompts import one_off_request
from reflectioncoder.errors import UsageError
from reflectioncoder.evaluate.benchmarks import load_benchmark, require_distinct, split_name
from reflectioncoder.evaluate.references import line_of
from reflectioncoder.evaluate.specs import with_absolute_path

IN_WORDS = Problem(
    "shop/cents",
    "",
    "cents",
    "def cents(text):\n    return round(float(text) * 100)\n",
    ("assert cents('3.50') == 350", "assert cents('0.07') == seven"),
    instruction="Write a Python function `cents(text)` that turns a price into cents.",
    setup="seven = 7",
)
PROBLEMS = [*bundled_problems("test_unseen")[:3], IN_WORDS]


@pytest.fixture
def file(tmp_path):
    write_jsonl(tmp_path / "held out.v2.jsonl", [problem.to_json() for problem in PROBLEMS])
    return tmp_path / "held out.v2.jsonl"


def test_tasks_are_asked_for_as_training_asks(file):
    benchmark = load_benchmark(f"file:{file}")
    assert benchmark.name == "file/held_out.v2"
    asked = [request.instruction for request in benchmark.requests(1)]
    assert asked == [one_off_request(problem.prompt, problem.instruction) for problem in PROBLEMS]
    assert [task.task_id for task in load_benchmark(f"file:{file}:2").tasks] == [problem.task_id for problem in PROBLEMS[:2]]


def test_score_judges_by_the_tests_and_the_code_that_they_need(file, tmp_path, capsys):
    rows = [{"task_id": p.task_id, "solution": p.reference if number else "def f(): pass"} for number, p in enumerate(PROBLEMS)]
    write_jsonl(tmp_path / "samples.jsonl", rows)
    argv = ["score", str(tmp_path / "samples.jsonl"), "--benchmark", f"file:{file}", "--output", str(tmp_path / "out")]
    assert main(argv) == 0
    assert "file/held_out.v2: pass@1 75.0 %" in capsys.readouterr().out
    statuses = {row["task_id"]: row["status"] for _, row in read_jsonl(tmp_path / "out/samples.jsonl")}
    assert list(statuses.values()) == ["failed", "passed", "passed", "passed"]


def test_problems_whose_references_cannot_be_judged_are_left_out_by_name(tmp_path, capsys):
    program = (
        "class Stack:\n    def push(self, x):\n        self.x = x\n        return self\n    def pop(self):\n        return self.x\n"
    )
    stack = Problem("stack", "", "Stack", program, ("assert Stack().push(1).pop() == 1",), instruction="Write `Stack`.")
    write_jsonl(tmp_path / "own.jsonl", [stack.to_json(), IN_WORDS.to_json()])
    write_jsonl(tmp_path / "s.jsonl", [{"task_id": p.task_id, "solution": p.reference} for p in (stack, IN_WORDS)])
    argv = ["score", str(tmp_path / "s.jsonl"), "--benchmark", f"file:{tmp_path}/own.jsonl", "--output", str(tmp_path / "out")]
    assert main(argv) == 0
    said = capsys.readouterr().out
    assert "file/own: pass@1 100.0 %" in said
    assert "the references of 1 of 2 tasks pass here; left out:\n  stack: " in said


BOX = "class Box:\n    pass\n\n\ndef f(x):\n    "
VALUES = [  # programs, whose tests hold in one process
    (f"{BOX}return Box()\n", ["assert f(1)"], None),
    (f"{BOX}return Box\n", ["assert f(1).__name__ == 'Box'"], "test 0: an answer is an object of type builtins.type"),
    (f"{BOX}return lambda y: x + y\n", ["assert f(1)(2) == 3"], "test 0: an answer is an object of type builtins.function"),
    (
        "def f(x):\n    x = []\n    x.append(x)\n    return x\n",
        ["assert len(f(1)) == 1"],
        "test 0: an answer is an object of type list",
    ),
    ("def f(x):\n    return x(2)\n", ["assert f(abs) == 2"], "test 0: an argument is an object that cannot be sent to the program"),
    (f"{BOX}return Box()\n", ["assert False", "assert f(1).x"], None),
    (f"{BOX}return x\n", ["assert f(1) == 2"], None),
]


def test_without_a_reference_values_that_cannot_be_judged_are_named(tmp_path, capsys):
    tasks = [Problem(f"t{n}", "", "f", "", tuple(tests), instruction="Write f.") for n, (_, tests, _) in enumerate(VALUES)]
    programs = {f"t{n}": program for n, (program, _, _) in enumerate(VALUES)} | {IN_WORDS.task_id: IN_WORDS.reference}
    write_jsonl(tmp_path / "own.jsonl", [task.to_json() for task in (*tasks, IN_WORDS)])
    write_jsonl(tmp_path / "s.jsonl", [{"task_id": task_id, "solution": program} for task_id, program in programs.items()])
    argv = ["score", str(tmp_path / "s.jsonl"), "--benchmark", f"file:{tmp_path}/own.jsonl", "--output", str(tmp_path / "out")]
    assert main(argv) == 0
    printed, results = capsys.readouterr().out, read_json(tmp_path / "out/results.json")
    assert "the references of 1 of 8 tasks pass here, and 7 have none" in printed
    assert results["benchmark"]["references"]["num_without"] == 7
    assert "file/own: 4 samples failed by values that cannot be judged, on tasks without a reference; may be right:\n" in printed
    assert {task: said["reason"].partition(",")[0] for task, said in results["out_of_reach"].items()} == {
        f"t{n}": said for n, (_, _, said) in enumerate(VALUES) if said
    }
    assert all(f"\n  t{n}: {said}" in printed for n, (_, _, said) in enumerate(VALUES) if said)
    assert line_of({"num_tasks": 2, "num_passed": 0, "num_without": 2}) == "none of the 2 tasks has a reference"


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([IN_WORDS, IN_WORDS], "own.jsonl:2: problem shop/cents occurs twice"),
        ([Problem("a", "def a():\n", "a", "    pass\n")], "problem a has no tests"),
        (bundled_problems("js")[:1], "is not in Python"),
        ([], "no problem in it"),
    ],
)
def test_what_cannot_be_a_task_is_named_with_its_place(rows, said, tmp_path):
    write_jsonl(tmp_path / "own.jsonl", [problem.to_json() for problem in rows])
    with pytest.raises(UsageError, match=said):
        load_benchmark(f"file:{tmp_path / 'own.jsonl'}")


def test_names_of_files_and_counts(tmp_path, capsys):
    assert split_name("file:a/b.jsonl:20") == ("file/b", 20)
    assert split_name("file:C:b.jsonl") == ("file/C_b", None)
    assert split_name("file:b.v2.jsonl.gz") == ("file/b.v2", None)
    assert split_name("file:a.jsonl:²") == ("file/a.jsonl_²", None)
    assert [limited(f"file:a.jsonl{end}", 5) for end in ("", ":40", ":3")] == ["file:a.jsonl:5", "file:a.jsonl:5", "file:a.jsonl:3"]
    assert with_absolute_path("file:a.jsonl:3") == f"file:{Path('a.jsonl').absolute()}:3"
    assert (limited("humaneval:9", 5), with_absolute_path("humaneval:9")) == ("humaneval:5", "humaneval:9")
    for spec in ("file:b:0", f"file:b:{'9' * 5000}", f"bundled/seen:{'9' * 5000}", "bundled/seen:²"):
        with pytest.raises(UsageError, match="N from 1"):
            split_name(spec)
    with pytest.raises(UsageError, match=r"folder file/b: rename one"):
        require_distinct(["file:a/b.jsonl", "file:c/b.jsonl"])
    for nameless in ("file:", "file:..", "file:.jsonl"):
        with pytest.raises(UsageError, match="no file is named"):
            split_name(nameless)
    with pytest.raises(UsageError, match="file:PATH takes a problem file of your own"):
        split_name("own.jsonl")
    argv = ["score", str(tmp_path / "samples.jsonl"), "--benchmark", f"file:{tmp_path}/none.jsonl", "--output", str(tmp_path / "out")]
    assert main(argv) == 2
    assert "file not found" in capsys.readouterr().err


RECIPE = """
name: chats
model: {{name: {model}, rendering: chat, device: cpu}}
build: {{problems: []}}
train: {{generation_data: [{folder}/chats.jsonl], epochs: 1, global_batch_size: 2}}
generate: {{batch_size: 4, max_new_tokens: 20}}
evaluate: {{benchmarks: ["file:{file}"], measures: [pass_rate, reference_loss]}}
"""


@pytest.mark.long
def test_chats_alone_are_trained_on_and_measured_on_problems_of_ones_own(file, tmp_path, model_dir, capsys):
    chat = {"messages": [{"role": "user", "content": "Say hello."}, {"role": "assistant", "content": "```python\nprint('hello')\n```"}]}
    (tmp_path / "chats.jsonl").write_text(json.dumps(chat) + "\n" + json.dumps(chat).replace("hello", "goodbye") + "\n")
    (tmp_path / "r.yaml").write_text(RECIPE.format(model=model_dir, folder=tmp_path, file=file))
    argv = [str(tmp_path / "r.yaml"), "--runs-dir", str(tmp_path / "runs")]
    assert main(["train", *argv, "--dry-run", "-q"]) == 0
    assert main(["run", *argv]) == 0
    run = tmp_path / "runs/chats"
    assert not (run / "build").exists()
    trained = read_json(run / "train/train.json")
    assert (trained["generation_visits"], trained["reflection_visits"]) == (2, 0)
    evaluated = run / "eval/file/held_out.v2/trained"
    assert read_json(evaluated / "results.json")["benchmark"]["num_tasks"] == len(PROBLEMS)
    assert len(list(read_jsonl(evaluated / "reference_loss.jsonl"))) == len(PROBLEMS)
    assert main(["export", str(run), "--model", "--output", str(tmp_path / "out"), "--no-verify", "-q"]) == 0
    assert "file/held_out.v2" in (tmp_path / "out/README.md").read_text()
    assert (run / "report.html").is_file()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["train.generation_data=[]"], "needs problems"),
        (["train.generation_from_problems=true"], "train.generation_from_problems needs problems"),
    ],
)
def test_a_run_without_data_is_refused_before_any_work(settings, said, file, tmp_path, model_dir, capsys):
    (tmp_path / "r.yaml").write_text(RECIPE.format(model=model_dir, folder=tmp_path, file=file))
    given = [part for setting in settings for part in ("--set", setting)]
    assert main(["run", str(tmp_path / "r.yaml"), "--runs-dir", str(tmp_path / "runs"), "-q", *given]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_a_run_does_not_score_what_it_trains_on(file, tmp_path, model_dir, capsys):
    (tmp_path / "r.yaml").write_text(RECIPE.format(model=model_dir, folder=tmp_path, file=file))
    (tmp_path / "chats.jsonl").write_text("")
    write_jsonl(tmp_path / "p.jsonl", [{**IN_WORDS.to_json(), "task_id": "other name"}])
    argv = ["run", str(tmp_path / "r.yaml"), "--runs-dir", str(tmp_path / "runs"), "-q"]
    assert main([*argv, "--set", f"build.problems=[{tmp_path}/p.jsonl]", "--set", "train.generation_data=[]"]) == 1
    assert "1 of 4 tasks of file:" in capsys.readouterr().err
