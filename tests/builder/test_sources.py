"""Problem sources: real data sets, packages and files, and every reference that is kept passes its tests."""

import gzip
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from reflectioncoder.builder.sources import read_source
from reflectioncoder.builder.sources.collect import collect_problems
from reflectioncoder.builder.sources.doctests import Examples
from reflectioncoder.builder.sources.draft import REASONS, Draft
from reflectioncoder.builder.sources.recording import SAME_AS_JSON
from reflectioncoder.cli import main
from reflectioncoder.data.files import read_jsonl
from reflectioncoder.data.problems import bundled_problems, iter_problems, load_problems
from reflectioncoder.errors import MachineError, UsageError
from reflectioncoder.languages import LANGUAGES

MBPP = {
    "task_id": 601,
    "text": "Write a function to find the longest chain.",
    "code": "def helper(x):\r\n    return x\r\ndef longest(values):\r\n    return helper(max(values, key=len))",
    "test_setup_code": "",
    "test_list": ["assert longest(['a', 'bc']) == 'bc'", "assert longest(['x']) == 'x'"],
    "challenge_test_list": [],
}


def written(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def collected(tmp_path, *sources, limit=None):
    summary = collect_problems(sources, tmp_path / "problems.jsonl", limit, workers=2)
    problems = load_problems([str(tmp_path / "problems.jsonl")])
    assert len(problems) == summary["num_problems"]
    assert set(summary["dropped"]) <= set(REASONS)
    return problems, summary


def passes(problem):
    program = f"{problem.reference}\n\n{problem.test_code}"
    return subprocess.run([sys.executable, "-c", program], timeout=60, check=False).returncode == 0


def needs(package):
    return pytest.mark.skipif(importlib.util.find_spec(package) is None, reason=f"the package {package} is not installed")


def test_our_own_problems_stay_as_they_are_packed_or_not(tmp_path):
    own = bundled_problems("test_seen")[:4]
    content = "".join(json.dumps(problem.to_json()) + "\n" for problem in own)
    (tmp_path / "own.jsonl.gz").write_bytes(gzip.compress(content.encode()))
    assert collected(tmp_path, str(tmp_path / "own.jsonl.gz"))[0] == own
    assert collected(tmp_path, "bundled:test_seen", limit=4)[0] == own


def test_mbpp_as_published_names_the_function_by_its_first_assertion(tmp_path):
    sanitized = {
        "prompt": MBPP["text"],
        **{key: MBPP[key] for key in ("code", "test_list")},
        "task_id": 7,
        "test_imports": ["import re"],
    }
    problems, summary = collected(tmp_path, written(tmp_path / "mbpp.jsonl", [MBPP, sanitized]))
    assert [p.task_id for p in problems] == ["mbpp/601", "mbpp/7"]
    assert problems[0].entry_point == "longest"
    assert problems[0].instruction == f"{MBPP['text']}\n```python\n{MBPP['test_list'][0]}\n```"
    assert problems[1].setup == "import re"
    assert summary["num_verified"] == 2


@pytest.mark.long
def test_what_cannot_be_a_problem_is_counted_by_its_reason(tmp_path):
    def row(number, **changed):
        return {**MBPP, "task_id": number, **changed}

    rows = [
        row(1),
        row(1),
        row(2, test_list=["assert longest(['a']) == 'b'"]),
        row(3, code="import numpy\n" + MBPP["code"]),
        row(4, code="def longest(values):\n    return open('x').read()"),
        row(5, code="def longest(values):\n    while True: pass"),
        row(6, code="def longest(values:"),
        row(7, test_list=["assert shortest([]) is None"]),
        row(8, text=" "),
        row(9, code=None),
        row(10, code="import random\ndef longest(v):\n    return v", test_list=["assert longest(1) and random.random() < 0"]),
        row(11, code="import datetime\ndef longest(v):\n    return datetime.date.today().year > v", test_list=["assert longest(1)"]),
    ]
    problems, summary = collected(tmp_path, written(tmp_path / "mbpp.jsonl", rows))
    assert [p.task_id for p in problems] == ["mbpp/1"]
    assert summary["dropped"] == {
        "reference_fails": 2,
        "outside_world": 2,
        "malformed": 2,
        "duplicate_id": 1,
        "third_party": 1,
        "too_slow": 1,
        "no_entry_point": 1,
        "no_statement": 1,
    }


def test_a_reference_that_passes_only_sometimes_is_not_kept(tmp_path):
    """40 of them, each of which passes half of the time: a quarter passes twice at most by chance."""
    code = "import random\ndef longest(values):\n    return random.random() < 0.5"
    rows = [{**MBPP, "task_id": number, "code": code, "test_list": ["assert longest([])"]} for number in range(40)]
    _, summary = collected(tmp_path, written(tmp_path / "mbpp.jsonl", rows))
    assert summary["dropped"]["not_deterministic"] > 0
    assert summary["num_problems"] < 25


def test_chat_rows_give_python_requests_without_reference_and_tests(tmp_path):
    rows = [
        {
            "query": "Add two numbers.",
            "answer": "Sure:\n```python\ndef add(a, b): return a + b\n```",
            "lang": "python",
            "resource": "evol",
        },
        {"query": "Add in Rust.", "answer": "```rust\nfn add() {}\n```", "resource": "evol"},
        {"problem": "Reverse a list.", "solution": "```\ndef r(x): return x[::-1]\n```", "lang": "python"},
        {"problem": "Reverse in C++.", "solution": "int main() {}", "lang": "cpp"},
        {"instruction": "Sum it.", "input": "[1, 2]", "output": "def total(v):\n    return sum(v)"},
        {"instruction": "Write a haiku.", "output": "An old silent pond"},
        {"instruction": "Square.", "response": "```python\ndef sq(x):\n    return x * x\n```"},
    ]
    problems, summary = collected(tmp_path, written(tmp_path / "chat.jsonl", rows))
    assert [p.instruction for p in problems] == ["Add two numbers.", "Reverse a list.", "Sum it.\n[1, 2]", "Square."]
    assert not any(p.has_reference or p.tests for p in problems)
    assert summary["dropped"] == {"not_python": 3}
    assert summary["num_verified"] == 0


def test_published_puzzles_show_their_checker_and_are_solved(tmp_path):
    puzzle = {
        "name": "Study_2:0",
        "sat": "def sat(s: List[str]):\n    return s == ['a'] * 3",
        "sol_header": "def sol():",
        "sol_docstring": '    """Find three of them."""',
        "sol_bodies": ["    return ['a'] * 3"],
    }
    (tmp_path / "puzzles.json").write_text(json.dumps([puzzle, {**puzzle, "name": "open", "sol_bodies": []}]))
    solved, unsolved = collected(tmp_path, str(tmp_path / "puzzles.json"))[0]
    assert solved.instruction.startswith("Find three of them.\n\nWrite `sol`")
    assert puzzle["sat"] in solved.instruction
    assert solved.tests == ("assert sat(sol())",)
    assert passes(solved)
    assert unsolved.task_id == "puzzles/open"
    assert not unsolved.has_reference


@pytest.mark.parametrize(("name", "num_with_setup"), [("mbpp_train_val", 0), ("p3", 12), ("codeio", 1)])
def test_seed_files_become_problems_that_a_plain_interpreter_confirms(name, num_with_setup, data_dir, tmp_path):
    problems, _ = collected(tmp_path, str(data_dir / "seeds" / f"{name}.jsonl.gz"), limit=12)
    assert len(problems) == 12
    assert all(p.source and p.license and p.instruction for p in problems)
    assert sum(bool(p.setup) for p in problems) >= num_with_setup
    assert all(map(passes, problems[::4]))


@needs("datasets")
def test_a_data_set_in_a_folder_is_read_by_its_columns_with_its_licence(tmp_path):
    import datasets

    rows = [{**MBPP, "task_id": number} for number in range(600, 605)]
    datasets.Dataset.from_list(rows).to_parquet(tmp_path / "mbpp" / "train.parquet")
    (tmp_path / "mbpp" / "README.md").write_text("---\nlicense: cc-by-4.0\n---\n")
    problems, _ = collected(tmp_path, f"hub:{tmp_path / 'mbpp'}:train", limit=3)
    assert [p.task_id for p in problems] == ["mbpp/600", "mbpp/601", "mbpp/602"]
    assert {p.license for p in problems} == {"cc-by-4.0"}
    feedback = [{"query": "Sort.", "answer": "```python\nx = sorted([2])\n```", "lang": "python", "resource": "r"}]
    datasets.Dataset.from_list(feedback).to_json(tmp_path / "feedback" / "train.jsonl")
    assert [p.instruction for p in collected(tmp_path, f"hub:{tmp_path / 'feedback'}")[0]] == ["Sort."]


@needs("datasets")
def test_a_data_set_or_split_that_is_not_there_is_a_clear_error(tmp_path):
    import datasets

    datasets.Dataset.from_list([MBPP]).to_parquet(tmp_path / "mbpp" / "train.parquet")
    with pytest.raises(UsageError, match="nothing"):
        list(read_source(f"hub:{tmp_path / 'mbpp'}:nothing"))
    with pytest.raises((UsageError, MachineError), match="hub:nobody/nothing"):
        list(read_source("hub:nobody/nothing"))
    with pytest.raises(UsageError, match="malformed address"):
        list(read_source("hub:a:b:c:d"))


@pytest.mark.long
@needs("reasoning_gym")
def test_codeio_from_the_package_records_what_the_references_return(tmp_path):
    problems, summary = collected(tmp_path, "reasoning-gym:codeio", limit=12)
    assert all(passes(p) and 3 <= len(p.tests) <= 6 and p.entry_point == "main_solution" for p in problems)
    assert "reasoning_gym" in problems[0].source
    assert summary["dropped"]["third_party"] > 0
    assert "reasoning_gym" not in sys.modules


def test_without_the_package_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(MachineError, match=r"pip install --no-deps reasoning-gym"):
        list(read_source("reasoning-gym:codeio"))
    with pytest.raises(UsageError, match="did you mean 'codeio'"):
        list(read_source("reasoning-gym:code-io"))


def test_recorded_tests_compare_by_value_by_tolerance_or_after_json(tmp_path):
    def row(name, body, generator="return {'n': rng.randint(1, 999)}"):
        return {
            "id": f"io/{name}",
            "task_description": "Compute.",
            "input_output_spec": "",
            "code_sample": f"def main_solution(n):\n    {body}",
            "input_generator": f"def generate_inputs(rng):\n    {generator}",
        }

    rows = [
        row("exact", "return {'n': [n]}"),
        row("float", "return n / 7"),
        row("json", "return (n, {n: 0.5 * n})"),
        row("random", "import random; return random.random()"),
        row("nothing", "print(n)"),
        row("constant", "return 1"),
        row("fixed input", "return n", "return {'n': 5}"),
        row("long", "return n", "return {'n': list(range(rng.randint(900, 999)))}"),
        row("raises", "return 1 / 0"),
    ]
    problems, summary = collected(tmp_path, written(tmp_path / "io.jsonl", rows))
    exact, float_, after_json = problems
    assert not exact.setup
    assert not float_.setup
    assert after_json.setup == SAME_AS_JSON
    assert all(" == {'n': [" in test for test in exact.tests)
    assert all(map(passes, problems))
    wrong = "def main_solution(n):\n    return n / 7 * 1.00001\n" + float_.test_code
    assert subprocess.run([sys.executable, "-c", wrong], stderr=subprocess.DEVNULL, check=False).returncode == 1
    assert summary["dropped"] == {
        "vacuous_tests": 2, "not_deterministic": 1, "not_comparable": 1, "inputs_too_long": 1, "reference_fails": 1
    }  # fmt: skip


@pytest.mark.long
@needs("more_itertools")
def test_doctests_of_an_installed_package_become_problems_by_either_name(tmp_path):
    problems, summary = collected(tmp_path, "doctest:more-itertools", limit=30)
    assert problems == collected(tmp_path, "doctest:more_itertools", limit=30)[0]
    assert all(p.source.startswith("more-itertools ") and p.license == "MIT" for p in problems)
    assert all(">>>" not in p.instruction and f"def {p.entry_point}(" in p.instruction for p in problems)
    assert all(map(passes, problems[::5]))
    assert summary["dropped"]["not_self_contained"] > 0


def test_doctests_of_the_standard_library_carry_python_s_licence(tmp_path):
    problems, _ = collected(tmp_path, "doctest:statistics")
    assert problems
    assert all(p.license == "PSF-2.0" and passes(p) for p in problems)


def test_a_mined_function_brings_its_helpers_and_constants_and_nothing_else(tmp_path, monkeypatch):
    (tmp_path / "mined.py").write_text(
        'import math, os\nfrom collections import deque as queue\nfrom .other import foreign\nLIMIT = BASE * 2\nBASE = 10\n'
        'raise SystemExit("imported")\n'
        "def half(x):\n    return x / 2\n"
        "class Unused:\n    pass\n"
        'def shown(x, *, by=half):\n    """Half of what is below the limit.\n\n    >>> y = 8\n    >>> shown(y)\n    4.0\n    """\n'
        "    return by(math.floor(min(x, LIMIT)))\n"
        'def needs_another(x):\n    """Say.\n\n    >>> needs_another(1)\n    1\n    """\n    return foreign(x)\n'
        'def silent(x):\n    """\n    >>> silent(1)\n    1\n    """\n    return x\n'
    )  # fmt: skip
    monkeypatch.syspath_prepend(tmp_path)
    drafts = list(read_source("doctest:mined"))
    shown = next(d.problem for d in drafts if isinstance(d, Draft))
    assert shown.tests == ("assert shown(8) == 4.0",)
    for part in ("import math", "BASE = 10", "def half(x):"):
        assert part in shown.canonical_solution
    for part in ("os", "queue", "Unused", "SystemExit"):
        assert part not in shown.canonical_solution
    assert [d.reason for d in drafts if not isinstance(d, Draft)] == ["not_self_contained", "no_statement"]


@pytest.mark.parametrize(
    ("docstring", "tests"),
    [
        (">>> f(1)\n[1, 2]\n", ["assert f(1) == [1, 2]"]),
        (">>> f(1)\nFraction(1, 2)\n", ["assert repr(f(1)) == 'Fraction(1, 2)'"]),
        (">>> print(f(1))\na\nb\n", [r"assert str(f(1)) == 'a\nb'"]),
        (">>> x = [1]\n>>> f(x)\n2\n>>> f(x, x)\n3\n", ["assert f([1]) == 2", "assert f([1], [1]) == 3"]),
        (">>> it = iter('ab')\n>>> f(it)\n'a'\n>>> f(it)\n'b'\n", ["assert f(iter('ab')) == 'a'"]),
        (">>> x = [1]\n>>> x.append(2)\n>>> f(x)\n2\n", []),
        (">>> f(object())\n<object object at 0x7f>\n", []),
        (">>> f(unknown)\n1\n", []),
        (">>> f(1)\nTraceback (most recent call last):\n    ...\nValueError\n", []),
        (">>> g(1)\n1\n", []),
        (">>> f(1)\n", []),
    ],
)
def test_examples_become_assertions_that_each_stand_alone(docstring, tests):
    import doctest

    examples = Examples("f", {"f", "g"})
    for example in doctest.DocTestParser().get_examples(docstring):
        examples.add(example)
    assert examples.tests == tests


def test_rows_of_an_unknown_form_are_an_error_that_names_fields_and_forms(tmp_path):
    path = written(tmp_path / "x.jsonl", [{"colour": 1, "shape": 2}])
    with pytest.raises(UsageError, match=r"x\.jsonl:1") as error:
        collect_problems([path], tmp_path / "out.jsonl")
    assert "colour, shape" in str(error.value)
    assert "CodeFeedback: query, answer" in str(error.value)
    assert [file.name for file in tmp_path.iterdir()] == ["x.jsonl"]


def test_the_command_reports_counts_and_missing_things_by_exit_code(tmp_path, capsys):
    failing = {**MBPP, "task_id": 1, "test_list": ["assert longest(['a']) == 'b'"]}
    source, output = written(tmp_path / "mbpp.jsonl", [MBPP, failing]), str(tmp_path / "out.jsonl")
    assert main(["problems", source, "--output", output, "--json", "-q"]) == 0
    value = json.loads(capsys.readouterr().out)
    said = f"{source}:2: mbpp/1: assert longest(['a']) == 'b': AssertionError"
    dropped = str(tmp_path / "out.dropped.jsonl")
    assert value == {
        "num_problems": 1,
        "num_verified": 1,
        "dropped": {"reference_fails": 1},
        "first_dropped": {"reference_fails": [said]},
        "paths": [output, dropped],
    }
    (row,) = [row for _, row in read_jsonl(dropped)]
    assert (row["task_id"], row["reason"], row["where"]) == ("mbpp/1", "reference_fails", f"{source}:2")
    assert main(["problems", source, "--output", output]) == 0
    assert said in capsys.readouterr().out
    good = written(tmp_path / "good.jsonl", [MBPP])
    assert main(["problems", good, "--output", output, "-q"]) == 0
    assert not Path(dropped).exists(), "it is about an earlier file"
    before = Path(output).read_bytes()
    bad = written(tmp_path / "bad.jsonl", [{**MBPP, "code": "def f():\n    return None\n"}])
    assert main(["problems", bad, "--output", output, "-q"]) == 1
    assert Path(output).read_bytes() == before, "no problem was found, and those of before are kept"
    for source, code, said in (
        ("doctest:no_such_package_here", 3, "pip install no_such_package_here"),
        ("doctest:_heapq", 2, "compiled"),
        (str(tmp_path / "missing.jsonl"), 2, "file not found"),
        ("hup:x", 2, "did you mean 'hub'?"),
        ("bundled:tain", 2, "did you mean 'train'?"),
    ):
        assert main(["problems", source, "--output", str(tmp_path / "none.jsonl"), "-q"]) == code
        assert said in capsys.readouterr().err
    assert not Path(tmp_path / "none.jsonl").exists()


@pytest.mark.parametrize("language", ["js", pytest.param("cpp", marks=pytest.mark.long)])
def test_references_in_other_languages_are_run_as_what_they_are(language, tmp_path):
    if missing := LANGUAGES[language].toolchain.missing():
        pytest.skip(f"{missing} is missing here")
    first, second = bundled_problems(language)[:2]
    rows = [
        first.to_json(),
        {**second.to_json(), "tests": [first.tests[0].replace(first.entry_point, second.entry_point)]},
        {"task_id": "py", "language": language, "prompt": "def f(x):\n", "canonical_solution": "    return x\n", "entry_point": "f",
         "tests": ["assert f(1) == 1"]},
    ]  # fmt: skip
    summary = collect_problems([written(tmp_path / "p.jsonl", rows)], tmp_path / "out.jsonl", workers=1)
    assert (summary["num_verified"], summary["dropped"]) == (1, {"reference_fails": 2})
    assert [problem.task_id for problem in iter_problems([str(tmp_path / "out.jsonl")])] == [first.task_id]
    assert all(" error: " in said or "Error" in said for said in summary["first_dropped"]["reference_fails"])


@pytest.mark.parametrize("grade", [-5, 6, 10**30, True])
def test_a_grade_is_from_1_to_5(grade, tmp_path):
    path = written(tmp_path / "p.jsonl", [{"task_id": "x", "instruction": "Write f.", "grade": grade}])
    with pytest.raises(UsageError, match=r"p\.jsonl:1: grade"):
        collect_problems([path], tmp_path / "out.jsonl")


HUMAN_EVAL = {
    "task_id": "HumanEval/900",
    "prompt": 'def add(a: int, b: int) -> int:\r\n    """Add two numbers."""\r\n',
    "canonical_solution": "    return a + b\n",
    "test": "METADATA = {'author': 'x'}\n\n\ndef check(candidate):\n    assert candidate(1, 2) == 3, 'sum'\n"
    "    assert candidate(b=1, a=-1) == 0\n    assert True, 'done'\n",
    "entry_point": "add",
}


def test_rows_with_the_columns_of_human_eval_become_problems(tmp_path):
    looped = {**HUMAN_EVAL, "task_id": 2, "test": "def check(f):\n    for n in range(5):\n        assert f(n, n) == 2 * n\n"}
    wrong = {**HUMAN_EVAL, "task_id": 3, "canonical_solution": "    return a - b\n"}
    without = {**HUMAN_EVAL, "task_id": 4, "test": "assert add(1, 2) == 3\n"}
    broken = {**HUMAN_EVAL, "task_id": 5, "test": "def check(candidate:\n"}
    problems, summary = collected(tmp_path, written(tmp_path / "he.jsonl", [HUMAN_EVAL, looped, wrong, without, broken]))
    assert [problem.tests for problem in problems] == [
        ("assert add(1, 2) == 3, 'sum'", "assert add(b=1, a=-1) == 0"),
        ("assert check(add) is None",),
    ]
    assert problems[0].prompt.endswith('"""Add two numbers."""\n')
    assert all(passes(problem) for problem in problems)
    assert summary["dropped"] == {"reference_fails": 1, "no_entry_point": 1, "malformed": 1}


def test_conversations_become_statements(tmp_path):
    answer = "Here:\n```python\ndef f(x):\n    return x\n```"
    rows = [
        {"conversations": [{"from": "human", "value": "Write f."}, {"from": "gpt", "value": answer}]},
        {
            "conversations": [
                {"from": "system", "value": "s"},
                {"from": "user", "value": "Write g."},
                {"from": "assistant", "value": answer},
            ]
        },
        {"conversations": json.dumps([{"from": "human", "value": "Write h."}, {"from": "gpt", "value": answer}])},
        {"conversations": [{"from": "human", "value": "Write i."}, {"from": "gpt", "value": "```java\nint i;\n```"}]},
        {"conversations": [{"from": "human", "value": "Write j."}]},
        {"conversations": "none"},
    ]
    problems, summary = collected(tmp_path, written(tmp_path / "sharegpt.jsonl", rows))
    assert [problem.instruction for problem in problems] == ["Write f.", "Write g.", "Write h."]
    assert summary["dropped"] == {"malformed": 2, "not_python": 1}
    parts = [{"type": "text", "text": "Write"}, {"type": "text", "text": "l."}]
    rows = [
        {"id": "k", "messages": [{"role": "user", "content": "Write k."}, {"role": "assistant", "content": answer}]},
        {"messages": [{"role": "system", "content": ""}, {"role": "user", "content": parts}, {"role": "assistant", "content": answer}]},
        {"messages": [{"role": "assistant", "content": answer}]},
        {"messages": [{"role": "user", "content": None}, {"role": "assistant", "content": answer}]},
        {"messages": [1]},
    ]
    problems, summary = collected(tmp_path, written(tmp_path / "messages.jsonl", rows))
    assert [(problem.task_id, problem.instruction) for problem in problems] == [("messages/k", "Write k."), ("messages/2", "Write\nl.")]
    assert summary["dropped"] == {"no_statement": 2, "malformed": 1}


@pytest.mark.parametrize(
    "program",
    [
        "add = lambda a, b: a + b",
        "import operator\nadd = operator.add",
        "def first(a, b):\n    return a + b\nadd = second = first",
        "from typing import Callable\nadd: Callable = lambda a, b: a + b",
        "class add(int):\n    def __new__(cls, a, b): return a + b",
        "try:\n    import missing_package_of_nobody\nexcept ImportError:\n    def add(a, b): return a + b",
        "from functools import lru_cache, partial\nadd = lru_cache(None)(lambda a, b: a + b)",
        "if True:\n    add = lambda a, b: a + b\nelse:\n    add = None",
    ],
)
def test_whatever_defines_a_name_is_an_entry_point(tmp_path, program):
    row = {"task_id": 1, "text": "Add.", "code": program, "test_list": ["assert add(1, 2) == 3"]}
    own = {
        "task_id": "o/1",
        "instruction": "Add.",
        "entry_point": "add",
        "canonical_solution": program,
        "tests": ["assert add(1, 2) == 3"],
    }
    third_party = "missing_package" in program
    for name, rows in (("mbpp", [row]), ("ours", [own])):
        problems, summary = collected(tmp_path, written(tmp_path / f"{name}.jsonl", rows))
        assert [problem.entry_point for problem in problems] == ([] if third_party else ["add"])
        assert summary["dropped"] == ({"third_party": 1} if third_party else {})


def test_rows_with_integers_too_long_to_be_written_in_decimal_are_dropped(tmp_path):
    huge = f"0x{'f' * 5000}"
    rows = [
        {"instruction": "w", "solution": f"def f(x={huge}):\n    return x", "entry_point": "f", "io_tests": []},
        {
            "prompt": "def f(x):\n",
            "canonical_solution": "    return x\n",
            "test": f"def check(c):\n    assert c(1) == {huge}\n",
            "entry_point": "f",
        },
    ]
    problems, summary = collected(tmp_path, written(tmp_path / "huge.jsonl", rows))
    assert not problems
    assert summary["dropped"] == {"malformed": 2}


@pytest.mark.parametrize("end", ["check(add)", "check(add)\ncheck(add)\n", "\ncheck(candidate=add)"])
def test_rows_of_human_eval_that_call_their_check_become_problems(end, tmp_path):
    looped = "def check(f):\n    for n in range(5):\n        assert f(n, n) == 2 * n\n"
    rows = [{**HUMAN_EVAL, "test": f"{HUMAN_EVAL['test']}\n{end}"}, {**HUMAN_EVAL, "task_id": 2, "test": f"{looped}\n{end}"}]
    problems, summary = collected(tmp_path, written(tmp_path / "he.jsonl", rows))
    assert summary["dropped"] == {}
    assert [problem.tests for problem in problems] == [
        ("assert add(1, 2) == 3, 'sum'", "assert add(b=1, a=-1) == 0"),
        ("assert check(add) is None",),
    ]
    assert all(passes(problem) for problem in problems)


def test_conversations_with_the_keys_of_messages_and_coroutines_are_read(tmp_path):
    answer = "Here:\n```python\nasync def f(x):\n    return x\n```"
    answered = {"role": "assistant", "content": answer}
    rows = [
        {"conversations": [{"role": "system", "content": "s"}, {"role": "user", "content": "Write f."}, answered]},
        {"conversations": [{"role": "user", "content": [{"type": "text", "text": "Write g."}]}, answered]},
        {"instruction": "Write h.", "output": answer},
        {"conversations": [{"role": "user", "content": "Write i."}, {"role": "assistant", "content": "```java\nint i;\n```"}]},
    ]  # fmt: skip
    problems, summary = collected(tmp_path, written(tmp_path / "rows.jsonl", rows))
    assert [problem.instruction for problem in problems] == ["Write f.", "Write g.", "Write h."]
    assert summary["dropped"] == {"not_python": 1}
