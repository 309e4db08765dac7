"""cruxeval-o, cruxeval-i: verdicts are those of the official rule, run beside; what reaches for more than a value is no answer."""

from collections import Counter

import pytest

from benchmarks.answer_benchmarks import WRONG_INPUTS, WRONG_OUTPUTS, official_prediction
from reflectioncoder.data.answer_forms import read_assertion
from reflectioncoder.data.prompts import OPENING_FENCE
from reflectioncoder.evaluate.benchmarks import load_benchmark
from reflectioncoder.evaluate.judges.base import ALONE, Conditions, Task
from reflectioncoder.evaluate.judges.cruxeval import PredictionJudge, PredictionTests, request_for, tasks_of
from reflectioncoder.evaluate.sample_files import read_row
from reflectioncoder.sandbox.limits import Limits
from reflectioncoder.sandbox.pool import map_ordered

NAMES = {"output": "cruxeval-o", "input": "cruxeval-i"}


def judging(asked, isolation):
    return PredictionJudge(asked).under(Conditions(isolation, Limits(), "strict"))


def status(asked, code, given_input, output, answer, isolation):
    task = Task("t", "", "f", PredictionTests(code, given_input, output))
    return judging(asked, isolation)(task, answer, ALONE).status


@pytest.mark.parametrize("asked", ["output", "input"])
def test_reference_answers_pass(asked, data_dir, isolation):
    tasks = load_benchmark(NAMES[asked], str(data_dir)).tasks
    assert len(tasks) == 800
    some = tasks if asked == "output" else tasks[::10]
    judge = judging(asked, isolation)
    assert {v.status for v in map_ordered(lambda task: judge(task, task.canonical_solution, ALONE), some, 2)} == {"passed"}


@pytest.mark.parametrize(("asked", "wrong"), [("output", WRONG_OUTPUTS), ("input", WRONG_INPUTS)])
def test_wrong_answers_are_judged_as_by_the_official_rule(asked, wrong, data_dir, isolation):
    tasks = load_benchmark(NAMES[asked], str(data_dir)).tasks
    judge = judging(asked, isolation)
    counts = Counter()
    for number in range(0, len(tasks), 57):
        task, other = tasks[number], tasks[number - 1]
        for make in wrong.values():
            answer = make(task.tests, other.tests)
            ours = judge(task, answer, ALONE).status == "passed"
            assert ours == official_prediction(asked, task.tests, answer, isolation), (task.task_id, answer)
            counts[ours] += 1
    assert counts[False] > 4 * counts[True]


DOUBLE = "def f(x):\n    return x * 2"
SAME_VERDICTS = [
    ("output", "assert f(3) == 6", "passed"),
    ("output", "6", "passed"),
    ("output", "6.0", "passed"),
    ("output", "2 * 3", "passed"),
    ("output", "sum([1, 2, 3])", "passed"),
    ("output", "True", "failed"),
    ("output", "'6'", "failed"),
    ("output", "f(3)", "failed"),
    ("output", "assert f(3) == f(3)", "failed"),
    ("output", "6 +", "compile_error"),
    ("output", "unknown", "failed"),
    ("output", "1 / 0", "failed"),
    ("input", "assert f(3) == 6", "passed"),
    ("input", "f(3.0)", "passed"),
    ("input", "f(len([1, 2, 3]))", "passed"),
    ("input", "3", "failed"),
    ("input", "assert 3 == 6", "failed"),
    ("input", "assert f(4) == 8", "failed"),
    ("input", "f([])", "failed"),
    ("input", "f(3, 3)", "failed"),
    ("input", "f(", "compile_error"),
]


@pytest.mark.parametrize(("asked", "answer", "expected"), SAME_VERDICTS)
def test_edge_cases_are_judged_as_by_the_official_rule(asked, answer, expected, isolation):
    assert status(asked, DOUBLE, "3", "6", answer, isolation) == expected
    tests = PredictionTests(DOUBLE, "3", "6")
    assert official_prediction(asked, tests, answer, isolation) == (expected == "passed")


FORGERIES = [
    ("output", "f( 3)"),
    ("output", "[f(x) for x in [3]][0]"),
    ("output", "globals()['f'](3)"),
    ("output", "type('', (), {'__eq__': lambda a, b: True})()"),
    ("input", "(lambda f: 6)(f(1))"),
    ("input", "[f(1), 6][1]"),
    ("input", "f(setattr(f, '__code__', (lambda x: 6).__code__))"),
    ("input", "f(f.__code__)"),
    ("input", "f(type('', (), {'__mul__': lambda a, b: a, '__eq__': lambda a, b: True, '__hash__': None})())"),
    ("input", "f((x := 3))"),
    ("input", "f(__import__('os').abort())"),
    ("input", "f(open('/etc/passwd').read())"),
]


@pytest.mark.parametrize(("asked", "answer"), FORGERIES)
def test_a_forgery_is_no_answer(asked, answer, isolation):
    assert status(asked, DOUBLE, "3", "6", answer, isolation) == "failed"


def test_the_official_rule_takes_forgeries(isolation):
    tests = PredictionTests(DOUBLE, "3", "6")
    taken = [answer for asked, answer in FORGERIES if official_prediction(asked, tests, answer, isolation)]
    assert len(taken) >= 7


def test_an_object_that_claims_to_be_equal_is_equal_to_nothing(isolation):
    claims = "class Equal:\n    def __eq__(self, other):\n        return True\n\n\ndef f(x):\n    return Equal()"
    assert status("input", claims, "1", "6", "f(1)", isolation) == "failed"


@pytest.mark.parametrize(
    ("answer", "expected"), [("f(10 ** 9)", "timeout"), ("f(-1)", "crashed"), ("f(0)", "passed"), ("f(1, [9] * 10 ** 9)", "memory")]
)
def test_limits_and_crashes_are_named(answer, expected, isolation):
    code = "import os\n\n\ndef f(n, more=()):\n    os.abort() if n < 0 else None\n    while n:\n        n -= 1\n    return n"
    assert status("input", code, "0", "0", answer, isolation) == expected


def test_globals_and_lambdas_of_published_inputs_are_values(isolation):
    code = "numbers = [1, 2, 3]\n\n\ndef f(xs, keep):\n    return [x for x in xs if keep(x)]"
    assert status("input", code, "numbers[:], lambda x: x > 2", "[3]", "f(numbers[:], lambda x: x > 2)", isolation) == "passed"


ANSWERS = [
    ("assert f(17) == 18\n```", OPENING_FENCE, "fenced", "assert f(17) == 18"),
    ("assert f(17) == 18", OPENING_FENCE, "open_fence", "assert f(17) == 18"),
    ("[ANSWER]\nassert f(17) == 18\n[/ANSWER]", "", "fenced", "assert f(17) == 18"),
    (
        "[ANSWER]assert f(1) == 2[/ANSWER] no: [ANSWER]\n```python\nassert f(17) == 18\n```\n[/ANSWER]",
        "",
        "fenced",
        "assert f(17) == 18",
    ),
    ("assert f(17) == 18 # done\n[/ANSWER]\n\n[PYTHON]\nassert f(2) == ??", "", "fenced", "assert f(17) == 18"),
    ("The function adds one.\n\nassert f(17) == 18\n\nThat is it.", "", "bare", "assert f(17) == 18"),
    ("So the answer is:\n```\n18\n```", "", "fenced", "18"),
    ("18", "", "bare", "18"),
    ("`[1, 2]`", "", "bare", "[1, 2]"),
    ("<think>assert f(17) == 1</think>\n```python\nassert f(17) == 18\n```", "", "fenced", "assert f(17) == 18"),
    ("```python\ndef f(x):\n    return x + 1\nassert f(17) == 18\n```", "", "fenced", "assert f(17) == 18"),
    ("assert f(17) == [1, 2", "", "invalid", "assert f(17) == [1, 2"),
    ("I do not know.", "", "no_code", ""),
    ("Yes", "", "no_code", ""),
    ("<think>assert f(17) == 18", "", "unfinished_thought", ""),
    (" \n", "", "empty", ""),
]


@pytest.mark.parametrize(("text", "prefill", "reason", "expected"), ANSWERS)
def test_an_answer_is_read(text, prefill, reason, expected):
    read = read_assertion(text, prefill)
    assert (read.reason, read.solution.strip()) == (reason, expected)


@pytest.mark.parametrize("asked", ["output", "input"])
def test_the_request_shows_what_is_given_and_not_what_is_asked(asked):
    row = {"id": "sample_0", "code": "def f(text):\n    return text.upper()", "input": "'quince'", "output": "'QUINCE'"}
    (task,) = tasks_of(asked)([row], "here")
    request = request_for(task, 0)
    shown, hidden = (row["input"], row["output"]) if asked == "output" else (row["output"], row["input"])
    assert row["code"] in request.instruction
    assert shown in request.instruction
    assert hidden not in request.instruction


def test_rows_of_samples_may_hold_answers():
    row = {"id": "sample_0", "code": "def f(x):\n    return x", "input": "1", "output": "1"}
    (task,) = tasks_of("output")([row], "here")
    request = request_for(task, 0)
    said = "It is\n```python\nassert f(1) == 1\n```"
    for given, extract in (({"completion": said}, False), ({"completion": said}, True), ({"solution": said}, True)):
        assert read_row(given, task.prompt, request, "multipl-e", "here", extract=extract).solution == "assert f(1) == 1\n"
    assert read_row({"solution": "1"}, task.prompt, request, "multipl-e", "here", extract=False).solution == "1"
