"""The bundled problems: enough, correct, graded, and none of them in a benchmark."""

import ast
import contextlib
import gzip
import io
import json
import re
import signal
from collections import Counter

import pytest

from reflectioncoder.contamination.overlap import NgramIndex
from reflectioncoder.data.problems import BUNDLED_SPLITS, Problem, bundled_problems, load_problems, parse_problem
from reflectioncoder.errors import UsageError
from tests.tiers import part

PROBLEMS = [problem for split in BUNDLED_SPLITS for problem in bundled_problems(split)]
GOOD = {
    "task_id": "a/f",
    "prompt": "def f(x):\n",
    "entry_point": "f",
    "canonical_solution": "    return x\n",
    "tests": ["assert f(1) == 1"],
}


class TooLong(BaseException):
    pass


def docstring_of(problem: Problem) -> str:
    function = ast.parse(problem.prompt).body[-1]
    assert isinstance(function, ast.FunctionDef)
    docstring = ast.get_docstring(function)
    assert docstring is not None
    return docstring


def passes(code, namespace, seconds=2.0):
    """Whether code runs without any exception. Only for our references and the benchmarks' own tests."""

    def stop(*_):
        raise TooLong

    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            exec(code, namespace)
    except BaseException:
        return False
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return True


def function_of(problem):
    namespace = {}
    exec(problem.reference, namespace)
    return namespace


def test_size_grades_and_splits():
    counts = Counter((p.split, p.grade) for p in PROBLEMS)
    assert len(PROBLEMS) >= 200
    assert all(counts[split, grade] >= 5 for split in BUNDLED_SPLITS for grade in range(1, 6))
    topics = {split: {p.topic for p in PROBLEMS if p.split == split} for split in BUNDLED_SPLITS}
    assert topics["test_seen"] <= topics["train"]
    assert not topics["test_unseen"] & topics["train"]
    assert len({p.task_id for p in PROBLEMS}) == len({p.entry_point for p in PROBLEMS}) == len(PROBLEMS)


def test_many_training_problems_are_programs_of_many_lines_and_several_functions():
    programs = [ast.parse(p.reference) for p in PROBLEMS if p.split == "train" and p.grade >= 3]
    lines = [len(p.canonical_solution.splitlines()) for p in PROBLEMS if p.split == "train" and p.grade >= 3]
    functions = [sum(isinstance(node, ast.FunctionDef) for node in ast.walk(program)) for program in programs]
    assert len(programs) >= 212
    assert sum(count >= 10 for count in lines) >= 150
    assert sum(count >= 2 for count in functions) >= 90


@pytest.mark.parametrize("split", BUNDLED_SPLITS)
def test_every_reference_passes_its_tests_and_its_docstring_examples(split):
    import doctest

    for problem in bundled_problems(split):
        assert len(problem.tests) >= 6, problem.task_id
        assert len(set(problem.tests)) == len(problem.tests), problem.task_id
        namespace = function_of(problem)
        for test in problem.tests:
            assert passes(test, dict(namespace)), f"{problem.task_id}: {test}"
        example = doctest.DocTestParser().get_doctest(docstring_of(problem), dict(namespace), problem.task_id, None, 0)
        assert example.examples, problem.task_id
        report = io.StringIO()
        assert doctest.DocTestRunner(verbose=False).run(example, out=report.write).failed == 0, report.getvalue()


@pytest.mark.long
def test_no_problem_behaves_like_another_one():
    compiled = [(p, compile(p.test_code, p.task_id, "exec")) for p in PROBLEMS]
    for problem in part(PROBLEMS, 4):
        namespace = function_of(problem)
        function = namespace[problem.entry_point]
        twins = [
            other.task_id
            for other, tests in compiled
            if other is not problem and passes(tests, {**namespace, other.entry_point: function}, 0.5)
        ]
        assert not twins, f"{problem.task_id} passes the tests of {twins}"


def test_held_out_problems_share_no_ten_words_with_train_problems():
    index = NgramIndex(10)
    for problem in bundled_problems("train"):
        index.add(problem.task_id, docstring_of(problem))
    for split in ("test_seen", "test_unseen"):
        for problem in bundled_problems(split):
            assert not index.matches(docstring_of(problem)), problem.task_id


@pytest.fixture(scope="module")
def benchmark_tasks(data_dir):
    """(id, text, code, test program, name of the tested function) of HumanEval, HumanEval+, MBPP and MBPP+."""
    folder = data_dir / "benchmarks"
    tasks = []
    for name in ("HumanEval.jsonl.gz", "HumanEvalPlus-v0.1.10.jsonl.gz"):
        with gzip.open(folder / name, "rt") as handle:
            for row in map(json.loads, handle):
                test = f"{row['test']}\ncheck({row['entry_point']})"
                tasks.append((row["task_id"], row["prompt"], row["canonical_solution"], test, row["entry_point"]))
    with gzip.open(folder / "MbppPlus-v0.2.0.jsonl.gz", "rt") as handle:
        for row in map(json.loads, handle):
            tasks.append((row["task_id"], row["prompt"], row["canonical_solution"], row["assertion"], row["entry_point"]))
    with open(folder / "mbpp.jsonl") as handle:
        for row in map(json.loads, handle):
            test = "\n".join([row["test_setup_code"], *row["test_list"]])
            names = [name for name in re.findall(r"def (\w+)", row["code"]) if name in test]
            tasks.append((f"MBPP/{row['task_id']}", row["text"], row["code"], test, names[0] if names else ""))
    assert len(tasks) == 164 + 164 + 378 + 974
    return tasks


def test_no_problem_shares_ten_words_of_text_or_code_with_a_benchmark(benchmark_tasks):
    texts, codes = NgramIndex(10), NgramIndex(10)
    for task_id, text, code, _, _ in benchmark_tasks:
        texts.add(task_id, text)
        codes.add(task_id, code)
    for problem in PROBLEMS:
        assert not texts.matches(docstring_of(problem)), problem.task_id
        assert not codes.matches(problem.canonical_solution), problem.task_id


def test_the_benchmarks_on_this_machine_are_known(data_dir, monkeypatch):
    from reflectioncoder.contamination.records import known_tasks

    monkeypatch.setenv("REFLECTIONCODER_DATA", str(data_dir))
    known = known_tasks.__wrapped__()
    assert known.names == ["humaneval+", "mbpp+", "humaneval"]
    assert known.find("HumanEval/7", "", "") == "HumanEval/7, by its id"
    assert known.find("Mbpp/2", "", "") == "Mbpp/2, by its id"
    assert not any(known.find(p.task_id, p.prompt, p.canonical_solution) for p in PROBLEMS)


@pytest.mark.long
def test_no_reference_passes_the_tests_of_a_benchmark_task(benchmark_tasks):
    compiled = []
    for task_id, _, code, test, name in benchmark_tasks:
        with contextlib.suppress(SyntaxError):
            compiled.append((task_id, compile(test, task_id, "exec"), name, code))
    assert len(compiled) > 1600
    for problem in part(PROBLEMS, 4):
        namespace = function_of(problem)
        function = namespace[problem.entry_point]
        twins = [
            task_id
            for task_id, test, name, _ in compiled
            if name and passes(test, {**namespace, name: function, "candidate": function}, 0.5)
        ]
        assert not twins, f"{problem.task_id} passes the tests of {twins}"


def test_the_behaviour_check_would_notice_a_benchmark_task(benchmark_tasks):
    noticed = 0
    for _, _, code, test, name in benchmark_tasks[-974:-900]:
        namespace = {}
        if name and passes(code, namespace):
            noticed += passes(test, {**namespace, name: namespace[name]})
    assert noticed > 60


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prompt": "", "canonical_solution": ""}, "a prompt or an instruction, got neither"),
        ({"entry_point": ""}, "what do the tests call"),
        ({"setup": "def"}, "not valid Python"),
        *(({"tests": [test]}, "one assert statement") for test in ("f(1)", "x = 1", "", 5, ["assert f(1) == 2"])),
        ({"tests": ["assert"]}, "not valid Python"),
        ({"prompt": "def f(x)\n"}, "not valid Python"),
        ({"entry_point": "g"}, "does not define its entry point"),
        ({"difficulty": 3}, "unknown field"),
        ({"prompt": 3}, "prompt must be a str"),
    ],
)
def test_malformed_problems_say_what_is_wrong(change, message):
    with pytest.raises(UsageError, match=message) as refused:
        parse_problem({**GOOD, **change}, "problems.jsonl:1")
    assert str(refused.value).count("problems.jsonl:1") == 1
    assert ("not valid Python" in str(refused.value)) == (message == "not valid Python")


def test_a_task_id_given_twice_is_named_with_its_line(tmp_path):
    path = tmp_path / "p.jsonl"
    path.write_text((json.dumps(GOOD) + "\n") * 2)
    with pytest.raises(UsageError, match=r"p\.jsonl:2.*twice"):
        load_problems([str(path)])


def test_a_problem_in_words_needs_neither_code_nor_tests():
    problem = parse_problem({"task_id": "w/1", "instruction": "Reverse a string."})
    assert (problem.has_reference, problem.reference, problem.tests) == (False, "", ())
    assert parse_problem(problem.to_json()) == problem


@pytest.mark.parametrize("task_id", ["\ud800", "a/\udfffb"])
def test_a_task_id_that_no_file_can_hold_is_refused(task_id):
    with pytest.raises(UsageError, match=r"p\.jsonl:3: task_id"):
        parse_problem({"task_id": task_id, "instruction": "Write f.", "entry_point": "f"}, "p.jsonl:3")
