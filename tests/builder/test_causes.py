"""A model's own failures get a cause: from the statement or two that repair them, else from what the attempt and its run show."""

import random
import re

import pytest

from reflectioncoder.builder.causes import Cause, cause_sayings, minimal_repair
from reflectioncoder.builder.causes.changes import change
from reflectioncoder.builder.causes.edits import apply, edits_between
from reflectioncoder.builder.causes.errors import cause_of_error
from reflectioncoder.builder.causes.results import cause_of_result
from reflectioncoder.builder.causes.structure import endless_loop
from reflectioncoder.builder.claims import count_claims
from reflectioncoder.builder.executions import Executions
from reflectioncoder.builder.grammar import say, traced_grammar
from reflectioncoder.builder.log import BuildLog
from reflectioncoder.builder.mutation import OPERATORS
from reflectioncoder.builder.mutation.misreadings import FAMILIES
from reflectioncoder.builder.pipeline import build_reflections
from reflectioncoder.builder.replay import replay
from reflectioncoder.builder.testing import Tests
from reflectioncoder.builder.tracing import ProgramText
from reflectioncoder.config.building import BuildConfig
from reflectioncoder.config.declarations import ModelConfig, Recipe, SandboxConfig
from reflectioncoder.data.files import write_jsonl
from reflectioncoder.data.problems import Problem
from reflectioncoder.data.prompts import answer_program
from reflectioncoder.data.python_source import parse
from reflectioncoder.data.samples import read_samples
from reflectioncoder.sandbox.limits import Limits

PROBLEMS = {
    "evens": (
        'def evens(xs):\n    """Return the even numbers of the list that are not negative, in their order."""\n',
        "    found = []\n    for x in xs:\n        if x < 0:\n            continue\n"
        "        if x % 2 == 0:\n            found.append(x)\n    return found\n",
        ("assert evens([1, 2, 3, 4]) == [2, 4]", "assert evens([-2, 6, 0]) == [6, 0]", "assert evens([]) == []"),
    ),
    "longest": (
        'def longest(words):\n    """Return the first of the longest words, and an empty text if there is none."""\n',
        '    if not words:\n        return ""\n    best = words[0]\n'
        "    for word in words[1:]:\n        if len(word) > len(best):\n            best = word\n    return best\n",
        ('assert longest(["a", "bcd", "ef"]) == "bcd"', 'assert longest([]) == ""', 'assert longest(["ab", "cd"]) == "ab"'),
    ),
    "countdown": (
        'def countdown(n):\n    """Return the numbers from n down to 1 as a text, separated by spaces."""\n',
        '    parts = []\n    while n > 0:\n        parts.append(str(n))\n        n -= 1\n    return " ".join(parts)\n',
        ('assert countdown(3) == "3 2 1"', 'assert countdown(1) == "1"', 'assert countdown(0) == ""'),
    ),
}
SKIP = "        if x < 0:\n            continue\n"
LOOP = f"    found = []\n    for x in xs:\n{SKIP}"
EVENS = f"{LOOP}        if x % 2 == 0:\n            found.append(x)\n"
OTHER_NAMES = (
    "def evens(numbers):\n    out = []\n    for n in numbers:\n        if n < 0:\n            continue\n"
    "        if n % 2 == 0:\n            out.append(n)\n    return out\n"
)
PICK = "    best = words[0]\n    for word in words[1:]:\n        if len(word) > len(best):\n            best = word\n    return best\n"
GUARD = '    if not words:\n        return ""\n'
COUNT = "def countdown(n):\n    parts = []\n    while n > 0:\n"
JOIN = '    return " ".join(parts)\n'
# A problem, a wrong program, the cause that is named, and whether a statement or two repair it.
ATTEMPTS = [
    ("evens", f"def evens(xs):\n{EVENS}            return found\n", "early_return", True),
    ("evens", f"def evens(xs):\n{EVENS.replace(SKIP, '')}    return found\n", "missing_guard", True),
    ("evens", f"def evens(xs):\n{LOOP}        if x % 2 == 1:\n            found.append(x)\n    return found\n", "wrong_constant", True),
    ("evens", OTHER_NAMES.replace("return out", "print(out)"), "printed_not_returned", True),
    ("evens", f"def evens(xs):\n{EVENS.replace('<', '<=')}    return found\n", "wrong_comparison", True),
    ("evens", "def evens(xs):\n    pass\n", "empty_body", False),
    ("evens", "def evens(xs):\n    return [2, 4]\n", "hard_coded", False),
    ("evens", "def evens(xs):\n    for x in xs:\n        return [] if x % 2 else xs\n", "first_round_return", False),
    ("evens", "def evens(xs):\n    return {x: x for x in xs if x % 2 == 0 and x >= 0}\n", "wrong_type", False),
    ("evens", "def evens(xs):\n    return sorted({x for x in xs if not x % 2 and x > -1})\n", "wrong_order", False),
    ("evens", f"def even_numbers(xs):\n{EVENS}    return found\n", "wrong_name", True),
    ("longest", f'def longest(words):\n{PICK}', "missing_guard", True),
    ("longest", f"def longest(words):\n{GUARD}{PICK.replace('>', '>=')}", "wrong_comparison", True),
    ("longest", f'def longest(words):\n    if not words\n        return ""\n{PICK}', "missing_colon", True),
    ("longest", "def longest(words):\n    return max(words, key=size)\n", "undefined_name", False),
    ("longest", "def longest(words):\n    return words.sort(key=len)[-1]\n", "not_subscriptable", False),
    ("longest", 'def longest(words):\n    print(max(words, key=len, default=""))\n', "only_prints", False),
    ("countdown", f'{COUNT}        parts.append(str(n))\n{JOIN}', "condition_never_changes", True),
    ("countdown", f'{COUNT}        parts.append(n)\n        n -= 1\n{JOIN}', "missing_conversion", True),
    ("countdown", f'{COUNT}        n -= 1\n        parts.append(str(n))\n{JOIN}', "wrong_place", True),
    ("countdown", 'def countdown(n):\n    return " ".join(str(i) for i in range(1, n + 1))\n', "wrong_order", False),
    ("countdown", 'def countdown(n):\n    return "".join(str(n - i) for i in range(n))\n', "wrong_spaces", False),
]  # fmt: skip


def problem_of(name, number=0):
    prompt, body, tests = PROBLEMS[name]
    return Problem(f"t/{name}/{number}", prompt, name, body, tests)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("causes")
    problems = [problem_of(name, number) for number, (name, *_) in enumerate(ATTEMPTS)]
    write_jsonl(folder / "problems.jsonl", [problem.to_json() for problem in problems])
    rows = [{"task_id": p.task_id, "solution": program} for p, (_, program, _, _) in zip(problems, ATTEMPTS, strict=True)]
    write_jsonl(folder / "attempts.jsonl", rows)
    config = BuildConfig(
        "attempts",
        attempts=str(folder / "attempts.jsonl"),
        problems=(str(folder / "problems.jsonl"),),
        diagnoses="traced",
        near_duplicates=1.0,
    )
    build_reflections(Recipe("b", ModelConfig("none"), build=config, sandbox=SandboxConfig(workers=2)), folder)
    return {sample.metadata["task_id"]: sample for sample in read_samples(folder / "reflections.jsonl")}


@pytest.mark.parametrize("number", range(len(ATTEMPTS)), ids=[f"{name}-{kind}" for name, _, kind, _ in ATTEMPTS])
def test_the_cause_of_a_wrong_program_is_named(built, number):
    name, _, kind, is_minimal = ATTEMPTS[number]
    sample = built[f"t/{name}/{number}"]
    assert sample.metadata["causes"][:1] == [kind]
    assert sample.metadata["repair"] == ("minimal" if is_minimal else "reference")


def test_nothing_that_is_said_is_unsupported(built):
    counts = count_claims(built.values())
    assert counts.num_samples == len(ATTEMPTS)
    assert counts.statuses["unsupported"] == 0


def test_a_replay_of_repairs_finds_every_execution_again(built):
    results = list(replay(list(built.values())[::3], Limits(wall_s=3.0), 2))
    assert [drift for result in results for drift in result.drifts] == []


def test_what_follows_an_attempt_is_its_repair_and_the_answer_is_the_reference(built):
    sample = built["t/evens/3"]  # with other names than the reference
    last = [block.content for block in sample.messages[1].content if block.type == "code"][-1]
    assert "for n in numbers:" in last
    assert "    return out\n" in last
    assert "return found" in sample.messages[-1].text


def test_a_repair_keeps_the_programs_own_layout_and_names_both_mistakes(tmp_path):
    attempt = OTHER_NAMES.replace("    ", "  ").replace("[]", "None").replace("== 0", "== 1")
    problem = problem_of("evens")
    with BuildLog(tmp_path / "log.sqlite") as log:
        execute = Executions(log, Limits(wall_s=3.0))
        repair = minimal_repair(attempt, answer_program(problem), lambda p: execute.test(p, Tests("", problem.tests)).passed)
    assert repair is not None
    assert repair.program == attempt.replace("None", "[]").replace("== 1", "== 0")
    assert [(cause.wrong, cause.correct) for cause in repair.causes] == [
        ("out = None", "out = []"),
        ("if n % 2 == 1:", "if n % 2 == 0:"),
    ]


@pytest.mark.parametrize(
    ("wrong", "right", "kind"),
    [
        ("x = a + b * 2", "x = (a + b) * 2", "other_grouping"),
        ("return a if a > b else b", "return b if a > b else a", "swapped_arguments"),
        ("return a and b", "return a or b", "wrong_connective"),
        ("return xs[i]", "return xs[i + 1]", "off_by_one_index"),
        ("return xs[i]", "return xs[2 * j]", "wrong_index"),
        ("for i in range(n): pass", "for i in range(1, n): pass", "off_by_one_range"),
        ("for i in range(n): pass", "for i in range(2 * n): pass", "wrong_bounds"),
        ("return x", "return int(x)", "missing_conversion"),
        ("return x", "return abs(x)", "missing_call"),
        ("return abs(x)", "return x", "needless_call"),
        ("return min(x)", "return max(x)", "wrong_method"),
        ("return x < 3", "return x > 3", "other_comparison"),
        ("return x // 2", "return x / 2", "wrong_division"),
        ("return a - b", "return a + b", "wrong_operator"),
        ("x = y", "x += y", "overwritten"),
        ("x -= y", "x += y", "wrong_update"),
        ("if a: pass", "if not a: pass", "negated_condition"),
        ("return a + b", "return max(a, b) + 1", "lacks_call"),
        ("return a * b + c", "return a * b", "too_much"),
        ('return f"a"', 'return "b"', "wrong_constant"),
        ("return a", "return b if a else c", "one_case"),
        ("return x", "yield x", "returned_not_yielded"),
    ],
)
def test_the_smallest_difference_of_two_statements_is_named(wrong, right, kind):
    statements = [
        next(s for s in ProgramText(f"def f():\n    {text}\n").statements.values() if s.kind != "FunctionDef")
        for text in (wrong, right)
    ]
    assert change(*statements).kind == kind


@pytest.mark.parametrize(
    ("error", "kind", "facts"),
    [
        ("NameError: name 'math' is not defined. Did you forget to import 'math'?", "missing_import", {}),
        ("NameError: name 'totl' is not defined. Did you mean: 'total'?", "misspelt_name", {}),
        ("NameError: name 'evens' is not defined", "no_such_function", {"name": "evens"}),
        ("NameError: name 'helper' is not defined", "undefined_name", {"name": "helper"}),
        ("AttributeError: 'list' object has no attribute 'add'", "no_attribute", {"type": "a list", "name": "add"}),
        ('TypeError: can only concatenate str (not "int") to str', "mixed_types", {"type": "a string", "other_type": "an integer"}),
        ("TypeError: f() missing 1 required positional argument: 'b'", "argument_count", {"callee": "f"}),
        ("IndexError: list index out of range", "index_beyond", {}),
        ("IndentationError: expected an indented block after function definition on line 1", "bad_indentation", {}),
        ("SyntaxError: '(' was never closed", "unclosed_bracket", {}),
    ],
)  # fmt: skip
def test_messages_of_the_interpreter_are_understood(error, kind, facts):
    assert cause_of_error(error, frozenset(("total",)), "evens", frozenset()) == Cause(kind, facts=facts)


def test_messages_that_say_nothing_certain_have_no_cause():
    assert cause_of_error("ValueError: something of the program's own", frozenset(), "f", frozenset()) is None
    assert cause_of_error("AttributeError: 'Stack' object has no attribute 'peek'", frozenset(), "f", frozenset()) is None


@pytest.mark.parametrize(
    ("actual", "expected", "kind"),
    [
        ("None", "3", "gives_none"), ("[1]", "1", "wrong_type"), ("True", "1", "wrong_type"), ("True", "False", "accepts_too_much"),
        ("4", "5", "one_too_few"), ("-5", "5", "wrong_sign"), ("[1, 2]", "[1, 2, 3]", "ends_too_early"),
        ("[2, 3]", "[1, 2, 3]", "items_missing"), ("[]", "[1]", "nothing_found"), ("[1, 1]", "[1]", "items_too_many"),
        ("'ab'", "'AB'", "wrong_letter_case"), ("{1: 2}", "{1: 3}", "other_values"), ("0", "9" * 400, "too_small_result"),
        ("1" + "0" * 400, "1.5", "wrong_type"), ("[1, 2]", "[3, 4]", "other_items"),
    ],
)  # fmt: skip
def test_results_are_compared_with_what_the_test_wants(actual, expected, kind):
    found = cause_of_result(actual, expected)
    assert found is not None
    assert (found.kind, found.is_of_result) == (kind, True)


def test_a_variable_that_is_called_otherwise_leaves_keyword_arguments_their_names():
    reference = "def f(items, key):\n    found = sorted(items, key=key)\n    return found[0]\n"
    attempt = "def f(items, k):\n    result = sorted(items, key=k)\n    return result[1]\n"
    edits = edits_between(attempt, reference)
    assert apply(tuple(edits), attempt) == "def f(items, k):\n    result = sorted(items, key=k)\n    return result[0]\n"


def test_a_result_that_cannot_be_read_has_no_cause():
    assert cause_of_result("<object at 0x7f>", "3") is None


@pytest.mark.parametrize(
    ("loop", "is_endless"),
    [
        ("while n > 0:\n    total += 1", True),
        ("while True:\n    total += 1", True),
        ("while n > 0:\n    n -= 1", False),
        ("while xs:\n    xs.pop()", False),
        ("while n > 0:\n    break", False),
        ("while n > 0:\n    step(n)", False),
        ("while more():\n    pass", False),
    ],
)
def test_only_a_loop_that_cannot_end_is_called_endless(loop, is_endless):
    tree = parse(loop)
    assert tree is not None
    assert (endless_loop(tree) is not None) == is_endless


KINDS = sorted(
    {symbol.removeprefix("cause.") for symbol in traced_grammar() if symbol.startswith("cause.")} - set(OPERATORS) - set(FAMILIES)
)
KINDS = [kind for kind in KINDS if not kind.startswith(tuple(f"{name}_" for name in (*OPERATORS, *FAMILIES)))]  # test_details.py
FACTS = {
    "name": "x", "right_name": "y", "owner": "math", "callee": "f", "type": "a list", "other_type": "`None`", "wanted_type": "a set",
    "key": "'k'", "lacking": "max", "extra": "+", "loop": "for x in xs", "condition": "n > 0", "items": "items",
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_every_cause_can_be_said_in_whole_sentences_alone_and_as_the_second(kind):
    assert len(set(traced_grammar()[f"cause.{kind}"])) >= 4
    rng = random.Random(kind)
    for wrong, correct in (("a", "b"), ("", "b"), ("a", ""), ("", "")):
        cause = Cause(kind, wrong, correct, FACTS)
        for symbol, facts in [*cause_sayings((cause, cause), {"entry_point": "f"})] * 3:
            text = say(symbol, facts, rng)
            assert re.fullmatch(r"[A-Z`].*[.?]", text), text
            assert not re.search(r"[<>{}]|  |\.\.|[.?] [a-z]| [,.;]", text.replace("n > 0", "")), text
