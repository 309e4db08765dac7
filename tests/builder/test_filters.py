"""Samples and programs that must not be in a data set are seen and left out, each with its reason."""

import json
from pathlib import Path
from typing import Any

import pytest

from reflectioncoder.builder import checks
from reflectioncoder.builder.authors.dialogue import DialogueWriter
from reflectioncoder.builder.cells import Execution
from reflectioncoder.builder.filters import NearDuplicates, filter_alone, filter_repeated
from reflectioncoder.builder.outcomes import Outcomes, Rejection
from reflectioncoder.builder.pipeline import build_reflections
from reflectioncoder.builder.reasons import REASONS
from reflectioncoder.config.building import BuildConfig
from reflectioncoder.contamination.overlap import BENCHMARK_IDS, KnownTasks
from reflectioncoder.data.prompts import answer_program, one_off_answer
from reflectioncoder.data.samples import Block, Sample, assistant, read_samples, user
from tests.builder.scripted_recipe import PROBLEMS, make_recipe
from tests.builder.server import Script, serving


def test_benchmark_tasks_are_left_out_by_id_text_and_code(tmp_path):
    by_id, by_text, by_code, by_answer, other = PROBLEMS[:5]
    known = KnownTasks()
    known.names.append("some benchmark")
    known.add(by_id.task_id, "", "")
    known.add("B/text", by_text.prompt.upper(), "")
    known.add("B/code", "", answer_program(by_code))
    known.add("B/answer", "", f"{answer_program(by_answer)}")
    with serving(Script(PROBLEMS)) as url:
        summary = build_reflections(make_recipe(url), tmp_path, limit=5, known=known)
    rows = [json.loads(line) for line in (tmp_path / "rejected.jsonl").read_text().splitlines()]
    details = {row["task_id"]: row["detail"] for row in rows if row["reason"] == "contaminated"}
    assert details[by_id.task_id] == f"{by_id.task_id}, by its id"
    assert details[by_text.task_id].startswith("B/text, by its text: ")
    assert details[by_code.task_id].startswith("B/code, by its code: ")
    assert other.task_id not in details
    assert summary["decontamination"] == {"against": ["some benchmark"], "words": 10, "behaviour": []}
    assert {sample.extra["metadata"]["task_id"] for sample in read_samples(tmp_path / "reflections.jsonl")} <= {other.task_id}


def test_what_is_turned_away_has_a_reason_that_is_documented():
    page = (Path(__file__).parents[2] / "docs" / "reasons.md").read_text()
    for reason, meaning in REASONS.items():
        assert f"| `{reason}` | {meaning} |" in page


def sample_of(problem, task_id, program):
    blocks = (Block("text", "I try it."), Block("code", program), Block("execution", "AssertionError"))
    answer = assistant(Block("text", one_off_answer(program)))
    extra = {"id": f"llm:{task_id}:0", "metadata": {"task_id": task_id, "operators": []}}
    return Sample((user("Solve it."), assistant(*blocks), user("Write it."), answer), "reflection", extra)


def test_near_duplicates_are_left_out_and_named():
    program = max(map(answer_program, PROBLEMS), key=len)
    one = sample_of(PROBLEMS[0], "one", program)
    twin = sample_of(PROBLEMS[0], "twin", program.replace("return", "return  ", 1) + "# the end\n")
    other = sample_of(PROBLEMS[1], "other", answer_program(PROBLEMS[1]))
    variant = sample_of(PROBLEMS[0], "one", program + "# the end\n")
    near = NearDuplicates(0.85, same_problem=False)
    assert near.find_or_add(one) is None
    assert near.find_or_add(other) is None
    assert (near.find_or_add(twin) or "").startswith("llm:one:0 (0.")
    assert near.find_or_add(variant) is None
    assert NearDuplicates(0.85, same_problem=True).find_or_add(variant) is None
    outcomes = Outcomes()
    for position, sample in enumerate((one, twin, other)):
        outcomes.accept(position, sample)
    alone = filter_alone(outcomes, KnownTasks(), lambda p: "B/1" if p == program.strip("\n") else None, max_chars=10**6)
    filtered = list(filter_repeated(alone, len(outcomes), near_duplicates=1.0, same_problem=True))
    assert [row.reason if isinstance(row, Rejection) else row.id for row in filtered] == [
        "behaves_like_benchmark", "llm:twin:0", "llm:other:0",
    ]  # fmt: skip


def test_assertions_are_compared_as_syntax():
    before = checks.assertions('def f(x):\n    assert x\n    return x\nassert f("a")  ==  1, "no"\nassert f(2) == 2')
    assert before == ["f('a') == 1", "f(2) == 2"]
    assert checks.no_longer_asserted(before, checks.assertions("assert f('a') == 1\nassert f(2)==2\nassert f(3)")) == []
    assert checks.no_longer_asserted(before, checks.assertions("assert f('a') == 1")) == ["f(2)"]
    assert checks.no_longer_asserted(before, checks.assertions("assert f('a') == 1\nassert not f(2)")) == []  # corrected
    assert checks.no_longer_asserted(["f(1) < 3"], ["f(1) < 4"]) == ["f(1) < 3"]
    assert checks.assertions("def test_f():\n    assert f(1)\ntest_f()") == ["f(1)"]


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("import socket", True),
        ("from urllib.request import urlopen", True),
        ("x = input()", True),
        ("open('f')", True),
        ("import re", False),
    ],
)
def test_programs_that_need_the_outside_world_are_seen(code, found):
    assert checks.uses_outside_world(code) == found


@pytest.mark.parametrize(
    ("code", "left"),
    [
        (
            "import sys\nsys.setrecursionlimit(500)\nm = {}\nfor i in range(3):\n    m[i] = i\ndef f(n):\n    return n\nprint(f(1))",
            7,
        ),
        ("def run_transfers(x):\n    return x\nassert run_transfers(1) == 1", 2),
        ("def f():\n    return 1\ndef test_f():\n    assert f() == 1\nif __name__ == '__main__':\n    test_f()", 2),
    ],
)
def test_tests_are_taken_out_and_nothing_else(code, left):
    assert len(checks.without_tests(code).strip().split("\n")) == left


def test_samples_that_are_too_long_are_left_out(tmp_path):
    with serving(Script(PROBLEMS)) as url:
        summary = build_reflections(make_recipe(url, max_chars=100), tmp_path, limit=3)
    assert summary["num_accepted"] == 0
    assert summary["rejected"]["too_long"] >= 1


def test_ids_of_benchmark_tasks_are_known_without_their_data():
    known = KnownTasks()
    assert len(BENCHMARK_IDS) == 164 + 378
    assert known.find("Mbpp/809", "", "") == "Mbpp/809, by its id"
    assert known.find("HumanEval/163", "", "") is not None
    assert known.find("mbpp/601", "", "") is None


def test_every_reference_is_left_whole_without_its_tests():
    for problem in PROBLEMS:
        program = answer_program(problem)
        assert checks.without_tests(program).strip() == "\n".join(line for line in program.split("\n") if line.strip()).strip() or all(
            line in checks.without_tests(program) for line in program.split("\n") if not line.startswith("#")
        ), problem.task_id
        assert not checks.has_usage(program), problem.task_id


def test_tests_run_in_their_context_with_the_final_program():
    assertions = "for a, b in cases:\n    assert f(a) == b\ntry:\n    f('x')\n    assert False\nexcept TypeError:\n    pass"
    attempt = f"def f(x):\n    return 0\ncases = [(1, 1), (2, 4)]\n{assertions}"
    program = "def f(x):\n    return x ** 2"
    tests = checks.tests_for(program, attempt)
    assert "def f" not in tests
    exec(f"{program}\n{tests}", {})
    with pytest.raises(AssertionError):
        exec(f"def f(x):\n    return x ** 3\n{tests}", {})


@pytest.mark.parametrize("code", ["def f(c):\n    return(c)", "def f(a):\n    if(not a):\n        return not(a)\n    return a"])
def test_programs_with_odd_spacing_can_be_searched_for_slips(code):
    nobody: Any = None
    execute: Any = lambda cells: [Execution("failed", "")]  # noqa: E731
    writer = DialogueWriter(BuildConfig(), nobody, execute)
    assert writer._share_of_killed_mutants(code, "") == 1.0
