"""Reflection data in JavaScript and C++: hand-made faults, run for real, repaired by the reference."""

import json

import pytest

from reflectioncoder.builder.coding import CODINGS, reference_cell
from reflectioncoder.builder.programs import run_as_cell
from reflectioncoder.cli import main
from reflectioncoder.data.problems import bundled_problems, parse_problem
from reflectioncoder.data.prompts import one_off_request
from reflectioncoder.data.render_chat import chat_block
from reflectioncoder.data.samples import read_samples
from reflectioncoder.errors import UsageError
from reflectioncoder.evaluate.judges.multipl_e.preflight import preflight_programs
from reflectioncoder.languages import LANGUAGES

FENCES = {"js": "javascript", "cpp": "cpp"}
FAULTS = ("wrong", "compile_error", "exception", "timeout")


@pytest.fixture(scope="module", params=FENCES)
def built(request, tmp_path_factory):
    """(language, folder of the run): the faults of the preflight's programs as attempts."""
    language = request.param
    if missing := LANGUAGES[language].toolchain.missing():
        pytest.skip(f"{missing} is missing here")
    folder = tmp_path_factory.mktemp(language)
    rows = []
    for program in preflight_programs(language):
        if program.kind in FAULTS:
            whole = program.program.rstrip() if program.program.rstrip().endswith("\n}") else f"{program.program.rstrip()}\n}}"
            number = sum(row["task_id"] == f"{language}/{program.task}" for row in rows)
            rows.append({"task_id": f"{language}/{program.task}", "sample": number, "solution": whole})
    (folder / "attempts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = {
        "author": "attempts",
        "attempts": str(folder / "attempts.jsonl"),
        "problems": [f"bundled:{language}"],
        "rollouts": 4,
        "cell_timeout_s": 5,
        "near_duplicates": 1.0,
        "endpoint": {"model": "by hand"},
    }
    (folder / "r.yaml").write_text(json.dumps({"name": "r", "model": {"name": "none"}, "build": settings}))
    assert main(["build", str(folder / "r.yaml"), "--runs-dir", str(folder)]) == 0
    return language, folder / "r" / "build"


@pytest.mark.long
def test_every_fault_becomes_a_sample_that_says_what_happened(built):
    language, folder = built
    samples = list(read_samples(folder / "reflections.jsonl"))
    assert len(samples) == 8  # a wrong answer of each problem, and three more of the first
    for sample in samples:
        first, shown, words, second, passed = sample.messages[1].content[1:]
        assert [block.type for block in (first, shown, words, second, passed)] == ["code", "execution", "text", "code", "execution"]
        assert passed.content == "All tests passed."
        assert "/box" not in shown.content
        assert chat_block(first).startswith(f"```{FENCES[language]}\n")
        assert sample.messages[3].text.startswith(f"```{FENCES[language]}\n")
        assert sample.messages[2].text.startswith(
            f"Write a complete {LANGUAGES[language].title} function for the problem.\n```{FENCES[language]}"
        )
        assert "Python" not in words.content
    told = " ".join(sample.messages[1].content[3].content for sample in samples)
    assert "in time" in told or "too long" in told or "time limit" in told or "never ends" in told or "endless" in told
    assert "RangeError: no numbers" in told or "std::out_of_range" in told
    assert (
        "SyntaxError: missing ) after argument list" in told
        or "error: 'sum' was not declared" in told
        or "‘sum’ was not declared" in told
    )
    assert "reverse_words(" in told  # the assertion that failed


def test_stored_executions_come_out_again(built, capsys):
    _, folder = built
    assert main(["check", str(folder / "reflections.jsonl")]) == 0


@pytest.mark.parametrize("language", FENCES)
def test_the_bundled_references_pass_their_tests(language):
    if missing := LANGUAGES[language].toolchain.missing():
        pytest.skip(f"{missing} is missing here")
    for problem in bundled_problems(language):
        ran = run_as_cell(reference_cell(problem), language, 10)
        assert (ran.status, ran.output) == ("ok", "All tests passed.\n"), ran


def test_an_author_that_takes_programs_apart_turns_other_languages_away(tmp_path):
    recipe = {"name": "r", "model": {"name": "none"}, "build": {"problems": ["bundled:cpp", "bundled:test_seen"], "min_samples": 1}}
    (tmp_path / "r.yaml").write_text(json.dumps(recipe))
    assert main(["build", str(tmp_path / "r.yaml"), "--runs-dir", str(tmp_path), "--limit", "7"]) == 0
    rejected = [json.loads(line) for line in (tmp_path / "r/build/rejected.jsonl").read_text().splitlines()]
    assert [row["reason"] for row in rejected].count("not_python") == 5


JAVASCRIPT = """const assert = require('assert');
function twice(n) {
  // console.log("{") is not a bracket
  return 2 * n;
}

const helper = (n) => {
  return n;
};
console.log(twice(2),
  twice(3));
assert.strictEqual(twice(2), 4);
function testAll() {
  assert.ok(true);
}
testAll();
"""
CPP = """#include <iostream>
struct Pair { int a; };
int twice(int n) {
    return 2 * n; // '"' and }
}

int main() {
    std::cout << twice(2) << "}" << std::endl;
    return 0;
}
"""


def test_tests_and_usage_are_taken_off():
    bare = CODINGS["js"].without_tests(JAVASCRIPT, "twice")
    assert bare == JAVASCRIPT[JAVASCRIPT.index("function twice") : JAVASCRIPT.index("console.log(twice")]
    bare = CODINGS["cpp"].without_tests(CPP, "twice")
    assert bare == CPP[: CPP.index("int main")]


@pytest.mark.parametrize(
    ("language", "code", "name", "defined"),
    [
        ("js", "function f(a) {}", "f", True),
        ("js", "const f = (a) => a", "f", True),
        ("js", "g(f(1))", "f", False),
        ("cpp", "std::vector<int> f(std::map<int, int> m) {\n}", "f", True),
        ("cpp", "int main() { return f(1); }", "f", False),
        ("cpp", "int f(int);", "f", False),
    ],
)
def test_definitions_are_found(language, code, name, defined):
    assert CODINGS[language].defines(code, name) is defined


@pytest.mark.parametrize(
    ("language", "code"),
    [
        ("js", "require('node:fs')"),
        ("js", "fetch('x')"),
        ("cpp", "#include <fstream>"),
        ("cpp", "std::cin >> n;"),
        ("cpp", 'system("ls")'),
    ],
)
def test_what_reaches_outside_is_noticed(language, code):
    assert CODINGS[language].uses_outside_world(code)
    assert not CODINGS[language].uses_outside_world("int cinema = 1; // offset")


def test_problems_of_other_languages_are_checked():
    row = {
        "task_id": "x",
        "language": "js",
        "prompt": "function f(n){\n",
        "entry_point": "f",
        "canonical_solution": "return n;\n}",
        "tests": ["f(1);"],
    }
    assert parse_problem(row).to_json() == row
    assert one_off_request(row["prompt"], "", "js").startswith("Write a complete JavaScript function")
    with pytest.raises(UsageError, match="unknown language"):
        parse_problem({**row, "language": "cobol"})
    with pytest.raises(UsageError, match="does not name its entry point"):
        parse_problem({**row, "entry_point": "g"})
    with pytest.raises(UsageError, match="every test is one statement"):
        parse_problem({**row, "tests": [""]})
