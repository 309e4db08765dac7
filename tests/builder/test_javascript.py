"""Slips in JavaScript: each kind on a hand-written program, all of them parsed and run by Node, and builds of samples from them."""

import json
import re
import subprocess
import sys
from collections import Counter, defaultdict

import pytest

from reflectioncoder.builder.authors.program_blocks import quotes_without_source
from reflectioncoder.builder.cells import Execution
from reflectioncoder.builder.coding import CODINGS
from reflectioncoder.builder.javascript import OPERATORS, Program, mutations
from reflectioncoder.builder.javascript.failures import read_failure, split_assertion
from reflectioncoder.builder.pipeline import build_reflections
from reflectioncoder.builder.replay import replay
from reflectioncoder.builder.slips import SLIPS
from reflectioncoder.config.building import BuildConfig
from reflectioncoder.config.declarations import ModelConfig, Recipe, SandboxConfig
from reflectioncoder.data.files import write_jsonl
from reflectioncoder.data.problems import bundled_problems
from reflectioncoder.data.render_chat import chat_block
from reflectioncoder.data.samples import Block, read_samples
from reflectioncoder.errors import MachineError
from reflectioncoder.languages import LANGUAGES
from reflectioncoder.sandbox.limits import Limits
from tests.builder.javascript_programs import PROBLEMS

NODE = LANGUAGES["js"].toolchain
needs_node = pytest.mark.skipif(NODE.missing() is not None, reason=f"{NODE.missing()} is missing here")
ALL = [*bundled_problems("js"), *PROBLEMS]
FILES = ("reflections.jsonl", "rejected.jsonl")

SLIPPED = [
    ("wrong_comparison", "return a < b;", "return a <= b;"),
    ("inverted_comparison", "return a >= b;", "return a <= b;"),
    ("inverted_comparison", "return a === b;", "return a !== b;"),
    ("falsy_check", "if (a === undefined) b += 1;", "if (!a) b += 1;"),
    ("falsy_check", "return a.indexOf(b) !== -1;", "return a.indexOf(b);"),
    ("falsy_check", "return a ?? b;", "return a || b;"),
    ("loose_equality", "return a === 0;", "return a == 0;"),
    ("wrong_operator", "return a * b;", "return a + b;"),
    ("wrong_operator", "return a && b;", "return a || b;"),
    ("wrong_division", "return a % b;", "return a / b;"),
    ("wrong_division", "return a / b;", "return Math.floor(a / b);"),
    ("off_by_one_loop", "for (let i = 0; i < a.length; i++) b += i;", "for (let i = 0; i <= a.length; i++) b += i;"),
    ("off_by_one_loop", "for (let i = 0; i < a.length; i++) b += i;", "for (let i = 1; i < a.length; i++) b += i;"),
    ("off_by_one_loop", "for (let i = a.length - 1; i >= 0; i--) b += i;", "for (let i = a.length; i >= 0; i--) b += i;"),
    ("off_by_one_index", "return a[b - 1];", "return a[b];"),
    ("off_by_one_index", "return a.slice(0, b);", "return a.slice(0);"),
    ("off_by_one_index", "return a.slice(0, b);", "return a.slice(0, b + 1);"),
    ("wrong_constant", "return a + 2;", "return a + 3;"),
    ("wrong_constant", 'return a + "x";', 'return a + "X";'),
    ("swapped_arguments", "return a.sort((x, y) => x - y);", "return a.sort((x, y) => y - x);"),
    ("swapped_arguments", "return Math.pow(a, b);", "return Math.pow(b, a);"),
    ("swapped_branches", "return a ? 1 : b;", "return a ? b : 1;"),
    ("wrong_variable", "return a + 1;", "return b + 1;"),
    ("misspelt_name", "const total = a; return total;", "const total = a; return totals;"),
    ("misspelt_name", "const bestValue = a; return bestValue;", "const bestValue = a; return bestvalue;"),
    ("wrong_property", "return a.length;", "return a.length();"),
    ("wrong_property", "return a.size;", "return a.length;"),
    ("missing_this", "class C { f() { return this.x; } }", "class C { f() { return x; } }"),
    ("wrong_method", "a.push(b);", "a.unshift(b);"),
    ("wrong_method", "return a.map(x => x);", "return a.forEach(x => x);"),
    ("wrong_method", "return Math.floor(a);", "return Math.round(a);"),
    ("wrong_method", "return Object.keys(a);", "return Object.values(a);"),
    ("changed_argument", "return [...a].sort();", "return a.sort();"),
    ("changed_argument", "const c = a.slice();", "const c = a;"),
    ("missing_conversion", "return Number(a) + b;", "return a + b;"),
    ("missing_conversion", "return parseInt(a, 10);", "return a;"),
    ("missing_conversion", "return Math.floor(a / b) * 2;", "return (a / b) * 2;"),
    ("missing_conversion", "return +a + b;", "return a + b;"),
    ("missing_call", "return a.split(b).reverse();", "return a.split(b);"),
    ("missing_comparator", "return a.sort((x, y) => x - y);", "return a.sort();"),
    ("shared_object", "return Array.from({ length: a }, () => []);", "return new Array(a).fill([]);"),
    ("missing_spread", "return Math.max(...a);", "return Math.max(a);"),
    ("missing_new", "return new Map();", "return Map();"),
    ("wrong_initial_value", "let c = 0; return c;", "let c = 1; return c;"),
    ("wrong_initial_value", "return a.reduce((x, y) => x + y, 0);", "return a.reduce((x, y) => x + y);"),
    ("missing_guard", "if (!a) return b; return a;", " return a;"),
    ("missing_base_case", "if (!a) return b; return f(a - 1, b);", " return f(a - 1, b);"),
    ("printed_not_returned", "return a;", "console.log(a);"),
    ("missing_return", "return a;", "a;"),
    ("missing_return", "return a.map(x => x + 1);", "return a.map(x => { x + 1; });"),
    ("negated_condition", "if (a) return b;", "if (!a) return b;"),
    ("negated_condition", "return a.filter(x => b.has(x));", "return a.filter(x => !b.has(x));"),
    ("missing_step", "a.push(b); return a;", " return a;"),
    ("wrong_update", "b += a;", "b = a;"),
    ("wrong_update", "b++;", "b--;"),
    ("wrong_loop", "for (const x of a) b.push(x);", "for (const x in a) b.push(x);"),
    ("const_reassigned", "let c = 0; c += a;", "const c = 0; c += a;"),
    ("assignment_as_condition", "if (a === 1) return b;", "if (a = 1) return b;"),
    ("missing_break", "switch (a) { case 1: b = 2; break; default: b = 3; }", "switch (a) { case 1: b = 2;  default: b = 3; }"),
    ("syntax_slip", "\nreturn f(a);\n", "\nreturn f(a;\n"),
    ("syntax_slip", "\nconst c = [a];\n", "\nconst c = [a;\n"),
    ("syntax_slip", "\nif (a) {\nb();\n}\n", "\nif (a)\nb();\n}\n"),
    ("syntax_slip", "\nfor (const x of a) b(x);\n", "\nfor (const x : a) b(x);\n"),
]


def function(body):
    return f"function f(a, b) {{ {body} }}\n"


@pytest.mark.parametrize(("operator", "before", "after"), SLIPPED)
def test_each_slip_is_made_as_people_make_it(operator, before, after):
    found = {mutation.code: mutation for mutation in OPERATORS[operator](Program(function(before)))}
    assert function(after) in found
    mutation = found[function(after)]
    assert mutation.operator == operator
    assert mutation.correct.rstrip(";") in function(before) or "\n" in mutation.correct
    assert mutation.wrong in function(after)


def test_every_slip_has_a_program_and_early_return_moves_into_the_loop():
    assert len(OPERATORS) >= 14
    assert {operator for operator, *_ in SLIPPED} == set(OPERATORS) - {"early_return"}
    before = "function f(a) {\n  for (const x of a) {\n    g(x);\n  }\n  return a;\n}\n"
    (mutation,) = OPERATORS["early_return"](Program(before))
    assert mutation.code == "function f(a) {\n  for (const x of a) {\n    g(x);\n    return a;\n  }\n}\n"


@pytest.mark.parametrize(
    ("body", "never"),
    [
        ("for (const x of a) b[x] = 1;", r"\[x [-+] 1\]"),  # a key, not a position
        ("const { c } = a; return { c };", r"\{ (?!c \}|const)"),
        ("return a.map(num => num + 1);", r"(?<!num) =>"),
        ("a.count = 1; return a.count;", r"\.(?!count|log)\w"),
        ('"use strict"; return a;', r'"(?!use strict")\w'),
    ],
)
def test_names_that_are_bound_and_keys_are_left_alone(body, never):
    found = [mutation.code for mutation in mutations(function(body)) if mutation.operator != "syntax_slip"]
    assert found
    assert not [code for code in found if re.search(never, code.partition("{")[2])]


@pytest.mark.parametrize("problem", ALL, ids=lambda problem: problem.task_id)
def test_what_a_diagnosis_quotes_stands_in_the_two_programs(problem):
    for mutation in mutations(problem.reference):
        squeezed = ["".join(code.split()) for code in (problem.reference, mutation.code, mutation.correct, mutation.wrong)]
        assert squeezed[2] in squeezed[0], mutation
        assert squeezed[3] in squeezed[1], mutation
        assert squeezed[2] != squeezed[3] or mutation.operator in ("early_return", "wrong_constant", "wrong_initial_value"), mutation


def test_slips_come_in_a_fixed_order_without_repeats_and_a_broken_program_has_none():
    for problem in ALL:
        found = [mutation.code for mutation in mutations(problem.reference)]
        assert found == [mutation.code for mutation in mutations(problem.reference)]
        assert len(found) == len(set(found))
        assert problem.reference not in found
    assert mutations("function f( {") == []


def test_the_programs_of_these_tests_show_every_slip():
    assert {mutation.operator for problem in ALL for mutation in mutations(problem.reference)} == set(OPERATORS)


def test_every_cause_and_every_failure_has_phrasings_of_its_own():
    wording = SLIPS["js"].wording
    assert wording is not None
    grammar = wording.grammar
    for operator in OPERATORS:
        assert len(set(grammar[f"cause.{operator}"])) >= 4, operator
    assert {name.removeprefix("cause.") for name in grammar if name.startswith("cause.")} == set(OPERATORS)
    texts = [text for alternatives in grammar.values() for text in alternatives]
    assert not [text for text in texts if re.search(r"Python|[Tt]raceback|\bNone\b|\bprint`|[Ii]ndent|\bsession\b", text)]
    used = {symbol for text in texts for symbol in re.findall(r"<([a-z_.]+)>", text)} - {"cause"}
    assert used <= set(grammar)


# Parses every program, and runs it with tests where there are some; prints one word for each.
JUDGE = """
const vm = require('node:vm'), assert = require('node:assert');
const silent = { log() {} };
for (const { program, tests } of JSON.parse(require('node:fs').readFileSync(0, 'utf8'))) {
  let script;
  try { script = new vm.Script(`${program}\\n${tests}`); } catch { console.log('broken'); continue; }
  const run = () => script.runInNewContext({ assert, console: silent }, { timeout: 1000 });
  try { run(); console.log('passed'); } catch { console.log('failed'); }
}
"""


def judged(programs):
    rows = [{"program": program, "tests": "\n".join(tests)} for program, tests in programs]
    ran = subprocess.run(["node", "-e", JUDGE], input=json.dumps(rows), capture_output=True, text=True, timeout=250, check=True)
    return ran.stdout.split()


@needs_node
def test_all_slips_parse_but_those_in_the_syntax_and_tests_notice_nearly_all():
    found = [(problem, mutation) for problem in ALL for mutation in mutations(problem.reference)]
    words = judged([(problem.reference, problem.tests) for problem in ALL] + [(m.code, problem.tests) for problem, m in found])
    assert set(words[: len(ALL)]) == {"passed"}
    verdicts = defaultdict(Counter)
    for (_, mutation), word in zip(found, words[len(ALL) :], strict=True):
        verdicts[mutation.operator][word] += 1
    assert set(verdicts.pop("syntax_slip")) == {"broken"}
    counts = sum(verdicts.values(), Counter())
    assert counts["broken"] == 0, verdicts
    assert counts["failed"] >= 0.8 * counts.total(), verdicts


FAILED = [
    (
        "wrong_value",
        ["assert.strictEqual(f(1), 3);"],
        "AssertionError [ERR_ASSERTION]: Expected values to be strictly equal:\n\n2 !== 3\n\n"
        "    at Object.<anonymous> (main.js:4:8)\n"
        "  generatedMessage: true,\n  code: 'ERR_ASSERTION',\n  actual: 2,\n  expected: 3,\n  operator: 'strictEqual'\n}\n\n"
        "Node.js v20.1.0\n",
        {"test": "assert.strictEqual(f(1), 3)", "call": "f(1)", "expected": "3", "actual": "2"},
    ),
    (
        "equality",
        ["assert.deepEqual(f(1), 3);"],
        "AssertionError [ERR_ASSERTION]: Expected values to be loosely deep-equal:\n\n    at Object.<anonymous> (main.js:4:8)\n"
        "  actual: { a: [Array] },\n  expected: 3,\n",
        {"call": "f(1)", "expected": "3", "actual": ""},
    ),
    (
        "assertion",
        ["assert(f(1) === 3);"],
        "AssertionError [ERR_ASSERTION]: The expression evaluated to a falsy value:\n\n    at Object.<anonymous> (main.js:4:1)\n",
        {"test": "assert(f(1) === 3)", "call": ""},
    ),
    (
        "exception",
        ["assert.strictEqual(f(1), 3);"],
        "main.js:1\nfunction f(x) { return x.y.z; }\n                          ^\n\n"
        "TypeError: Cannot read properties of undefined (reading 'z')\n"
        "    at f (main.js:1:28)\n    at Object.<anonymous> (main.js:4:20)\n\nNode.js v20.1.0\n",
        {
            "error": "TypeError: Cannot read properties of undefined (reading 'z')",
            "line": "function f(x) { return x.y.z; }",
            "function": "f",
            "test": "assert.strictEqual(f(1), 3)",
        },
    ),
    (
        "syntax",
        ["assert.strictEqual(f(1), 3);"],
        "main.js:1\nfunction f(x) { return (x; }\n                         ^\n\nSyntaxError: Unexpected token ';'\n\nNode.js v20.1.0\n",
        {"error": "SyntaxError: Unexpected token ';'", "line": "function f(x) { return (x; }"},
    ),
    (
        "exception",
        ["assert.strictEqual(f(1), 3);"],
        "undefined:1\n{\n\n\nSyntaxError: Expected property name or '}' in JSON at position 1\n    at JSON.parse (<anonymous>)\n"
        "    at f (main.js:1:28)\n    at Object.<anonymous> (main.js:4:20)\n\nNode.js v20.1.0\n",
        {"error": "SyntaxError: Expected property name or '}' in JSON at position 1"},
    ),
    (
        "exception",
        ["assert.strictEqual(f(1), 3);"],
        "\nmain.js:1\n  throw 'no';\n  ^\nno\n(Use `node --trace-uncaught ...`)\n\nNode.js v20.1.0\n",
        {"error": "no"},
    ),
]


@pytest.mark.parametrize(("kind", "tests", "output", "facts"), FAILED)
def test_what_node_prints_is_read(kind, tests, output, facts):
    cell = "\n".join(["function f(x) { return x + 1; }", "", "const assert = require('node:assert');", *tests])
    failure = read_failure(cell, tuple(tests), Execution("failed", output))
    assert failure.kind == kind
    assert {name: getattr(failure, name) for name in facts} == facts


def test_a_run_that_is_stopped_is_a_timeout():
    assert read_failure("", (), Execution("timeout", "the program ran too long and was stopped\n")).kind == "timeout"


@pytest.mark.parametrize(
    ("kind", "output", "error"), [(kind, output, facts["error"]) for kind, _, output, facts in FAILED if "error" in facts]
)
def test_repairs_of_attempts_read_the_same_exceptions(kind, output, error):
    failure = CODINGS["js"].read_failure("", (), Execution("failed", output), lambda cells: [])
    assert (failure.kind, failure.error) == (kind, error)


@pytest.mark.parametrize(
    ("test", "parts"),
    [
        ("assert.deepEqual(f([1, 2]),{a: 1});", ("f([1, 2])", "{a: 1}")),
        ("assert.strictEqual(f(1)[0], 'x', 'a message');", ("f(1)[0]", "'x'")),
        ("assert.throws(() => f(1), /no/);", None),
        ("assert(f(1) === 2);", None),
        ("assert.notStrictEqual(f(1), 2);", None),
        ("assert.strictEqual(3, f(1));", None),
    ],
)
def test_calls_and_expected_values_are_read_from_assertions(test, parts):
    assert split_assertion(test) == parts


def test_a_text_may_quote_only_what_stands_somewhere():
    blocks = [Block("code", "f(1)"), Block("execution", "2"), Block("text", "`f(1)` gives `2`, not `3`."), Block("code", "f(3)")]
    assert quotes_without_source("", blocks) == []
    assert quotes_without_source("", [*blocks[:3], Block("code", "f(4)")]) == ["3"]
    assert quotes_without_source("", [Block("text", "`` `x` + 1 ``"), Block("code", "`x`  + 1")]) == []


def recipe(problems, **build):
    settings = {"samples_per_problem": 3, "max_operator_share": 1.0, "two_slip_share": 0.4, **build}
    workers = settings.pop("workers", 2)
    config = BuildConfig(problems=(str(problems),), **settings)
    return Recipe("r", ModelConfig("none"), build=config, sandbox=SandboxConfig(workers=workers))


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """A file with problems in JavaScript, Python and C++."""
    path = tmp_path_factory.mktemp("problems") / "mixed.jsonl"
    problems = [*bundled_problems("js")[:3], *PROBLEMS[::2], *bundled_problems("train")[:3], *bundled_problems("cpp")[:2]]
    write_jsonl(path, [problem.to_json() for problem in problems])
    return path


@pytest.fixture(scope="module", params=["templates", "traced"])
def built(request, mixed, tmp_path_factory):
    if NODE.missing():
        pytest.skip(f"{NODE.missing()} is missing here")
    folder = tmp_path_factory.mktemp(request.param)
    summary = build_reflections(recipe(mixed, diagnoses=request.param), folder)
    samples = list(read_samples(folder / "reflections.jsonl"))
    return request.param, folder, summary, [sample for sample in samples if sample.metadata.get("language") == "js"], samples


def test_one_build_takes_python_and_javascript_and_names_other_languages(built):
    _, folder, summary, in_javascript, samples = built
    assert len(in_javascript) >= 20
    assert len(samples) - len(in_javascript) >= 8
    assert {sample.metadata["task_id"] for sample in in_javascript} == {
        p.task_id for p in [*bundled_problems("js")[:3], *PROBLEMS[::2]]
    }
    rejected = [json.loads(line) for line in (folder / "rejected.jsonl").read_text().splitlines()]
    assert {row["task_id"] for row in rejected if row["reason"] == "not_python"} == {p.task_id for p in bundled_problems("cpp")[:2]}
    assert summary["texts"]["num_samples"] == len(samples)
    assert summary["texts"]["claims"]["num_samples"] == len(samples) - len(in_javascript)


def test_samples_are_in_javascript_from_request_to_answer(built):
    kind, _, _, samples, _ = built
    for sample in samples:
        request, answer, one_off, final = sample.messages
        assert "```javascript\n" in request.text
        assert "```javascript\n" in one_off.text
        assert final.text.startswith("```javascript\n")
        assert all(chat_block(block).startswith("```javascript\n") for block in answer.content if block.type == "code")
        words = " ".join(block.content for block in answer.content if block.type == "text")
        assert not re.search(r"Python|Traceback|interpreter|AssertionError", words)
        assert answer.content[-1].content == "All tests passed."
        assert quotes_without_source(request.text, answer.content) == []
        assert sample.metadata.get("diagnoses") == ("traced" if kind == "traced" else None)


def test_a_probe_shows_the_value_that_a_traced_text_states(built):
    kind, _, _, samples, _ = built
    probes = 0
    for sample in samples:
        blocks = sample.messages[1].content
        for code, shown, text in zip(blocks, blocks[1:], blocks[2:], strict=False):
            if code.type == "code" and "assert" not in code.content:
                probes += 1
                assert "console.log(" in code.content.rsplit("\n", 1)[-1]
                assert f"`{shown.content.rsplit(chr(10), 1)[-1]}`" in text.content
    assert (probes >= len(samples) / 2) if kind == "traced" else probes == 0


def test_every_execution_comes_out_again(built):
    *_, samples, _ = built
    replayed = list(replay(samples, Limits(wall_s=10), 2))
    assert sum(result.num_executions for result in replayed) >= 2 * len(samples)
    assert [drift for result in replayed for drift in result.drifts] == []


@needs_node
@pytest.mark.parametrize("kind", ["templates", "traced"])
def test_a_build_does_not_depend_on_workers_or_on_the_log(kind, mixed, tmp_path):
    few = recipe(mixed, diagnoses=kind, samples_per_problem=1, workers=1)
    build_reflections(few, tmp_path / "one")
    many = recipe(mixed, diagnoses=kind, samples_per_problem=1, workers=3)
    build_reflections(many, tmp_path / "many")
    build_reflections(many, tmp_path / "many")  # from the log
    for name in FILES:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "many" / name).read_bytes()


def test_the_missing_parser_is_named_with_the_command(monkeypatch, mixed, tmp_path):
    monkeypatch.setitem(sys.modules, "tree_sitter_javascript", None)
    with pytest.raises(MachineError, match=r"pip install 'reflectioncoder\[javascript\]'"):
        build_reflections(recipe(mixed), tmp_path)


def test_the_missing_node_is_named_with_the_command(monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("reflectioncoder.sandbox.toolchain.which", lambda name: None)
    with pytest.raises(MachineError, match=r"node is missing\n  hint:    apt install nodejs"):
        SLIPS["js"].require()


def test_problems_in_python_need_neither_parser_nor_node(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tree_sitter", None)
    write_jsonl(tmp_path / "p.jsonl", [problem.to_json() for problem in bundled_problems("train")[:1]])
    assert build_reflections(recipe(tmp_path / "p.jsonl"), tmp_path / "out")["num_accepted"] > 0
