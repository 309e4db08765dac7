"""Differential tracing finds the place where an attempt parts from its reference, whatever the programs do."""

import difflib
import functools
import json
import textwrap
import time

import pytest
from hypothesis import given, settings, strategies

from reflectioncoder.builder.executions import Executions
from reflectioncoder.builder.log import BuildLog
from reflectioncoder.builder.mutation import mutations
from reflectioncoder.builder.tracing import (
    Divergence,
    ProgramText,
    describe,
    diverge,
    expression_probe,
    print_probe,
    probe_cell,
    shows,
    trace,
)
from reflectioncoder.data.problems import bundled_problems
from reflectioncoder.data.prompts import answer_program
from reflectioncoder.sandbox.detect import detect_isolation
from reflectioncoder.sandbox.limits import Limits
from reflectioncoder.sandbox.process import Traced, run_traced
from reflectioncoder.sandbox.session import Session
from tests.builder.tracing_cases import CASES
from tests.tiers import examples


@functools.cache
def place_of(name):
    case = next(case for case in CASES if case.name == name)
    found = diverge(case.attempt, case.reference, case.test, case.before)
    assert found is not None
    return found


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_place_and_the_variable_are_found(case):
    found = place_of(case.name)
    assert {name: getattr(found, name) for name in case.expected} == case.expected


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_program_does_not_part_from_itself(case):
    assert diverge(case.reference, case.reference, case.test, case.before) is None


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_is_found_survives_json(case):
    found = place_of(case.name)
    assert Divergence.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_a_place_is_looked_for_once_and_then_read_from_the_log(tmp_path):
    case = next(case for case in CASES if case.name == "a wrong operator")
    found, num_replayed = [], []
    for _ in range(2):
        with BuildLog(tmp_path / "log.sqlite") as log:
            execute = Executions(log, Limits())
            found.append(execute.diverge(case.attempt, case.reference, case.test))
            assert execute.diverge(case.reference, case.reference, case.test) is None
            num_replayed.append(log.num_replayed["execution"])
    assert found == [place_of(case.name)] * 2
    assert num_replayed == [0, 2]


def test_deep_recursions_are_compared_by_what_they_return():
    attempt, reference = (f"def f(n):\n    if n == 0:\n        return {base}\n    return n + f(n - 1)\n" for base in (1, 0))
    found = diverge(attempt, reference, "assert f(300) == 45150")
    assert found is not None
    assert (found.kind, found.line_attempt) == ("return", 4)


UNRULY = {
    "exits": "import sys; sys.exit(3)",
    "ends the process": "import os; os._exit(0)",
    "prints megabytes": "for _ in range(300): print('x' * 10_000)",
    "changes the tracer": "import sys; sys.settrace(None)",
    "takes the frame apart": "import sys; sys._getframe().f_trace = None; sys.settrace(lambda *args: 1 / 0)",
    "catches everything": "while True:\n  try: x = 1\n  except BaseException: pass",
    "recurses for ever": "return f(x)",
    "closes its streams": "import sys; sys.stdout.close(); sys.stderr.close()",
    "writes to descriptors": "import os\nfor fd in range(64):\n  try: os.write(fd, b'[1, 2]\\n')\n  except OSError: pass",
    "raises in repr": "class A:\n  def __repr__(self): raise SystemExit\n  __getattribute__ = __str__ = __repr__\na = A()",
    "loops in its length": "class L(list):\n  def __len__(self):\n    while True: pass\n  __iter__ = __hash__ = __len__\na = L([1])",
    "holds itself": "a = []; a.append(a); b = {'a': a}",
    "has huge values": "a = 10 ** 100_000; b = list(range(10 ** 6)); c = 'y' * 10 ** 6",
    "starts threads": "import threading\nfor _ in range(3): threading.Thread(target=print, args=(1,)).start()",
    "sends surrogates": "print('\\ud800'); a = '\\ud800'",
    "fills the memory": "a = []\nwhile True: a.append('z' * 10 ** 7)",
    "replaces what the tracer uses": "import json, os, builtins; os.write = json.dumps = builtins.len = builtins.isinstance = None",
    "sleeps": "import time; time.sleep(60)",
}


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.long) if name == "sleeps" else name for name in UNRULY])
def test_no_program_hangs_or_breaks_the_tracer(name):
    program = "\ndef f(x):\n    y = x + 1\n" + textwrap.indent(UNRULY[name], "    ") + "\n    return y\n"
    reference = "\ndef f(x):\n    y = x + 2\n    return y\n"
    began = time.monotonic()
    found = diverge(program, reference, "assert f(1) == 3")
    assert time.monotonic() - began < 20
    assert found is not None
    assert (found.kind, found.variable, found.value_attempt, found.value_reference) == ("value", "y", "2", "3")


@pytest.mark.parametrize(
    "value", ["{'b', 'a'}", "[object()]", "iter([1])", "lambda: 1", "(i for i in [1, 2])", "__import__('collections').Counter('aab')"]
)
def test_a_trace_is_the_same_in_every_run(value):
    program = f"def f():\n    a = {value}\n    return a\n"
    first, second = (trace(program, "f()") for _ in range(2))
    assert first == second
    assert "0x" not in repr(first)


def test_showing_a_value_does_not_use_it_up():
    program = "def f():\n    a = iter([1, 2])\n    b = (i for i in [3])\n    return [*a, *b]\n"
    found = trace(program, "f()")
    assert found.test is not None
    assert found.test.steps[0].calls[0].value == "[1, 2, 3]"


def test_values_are_shown_as_they_were_at_the_moment():
    found = trace("def f():\n    a = []\n    a.append(1)\n    a.append(2)\n    return a\n", "f()")
    assert found.test is not None
    call = found.test.steps[0].calls[0]
    assert [step.changes for step in call.steps] == [{"a": "[]"}, {"a": "[1]"}, {"a": "[1, 2]"}, {}]


def test_what_is_left_out_of_a_value_is_no_fact():
    attempt, reference = (f"def f():\n    a = list(range({count}))\n    return a\n" for count in (1000, 1001))
    found = diverge(attempt, reference, "assert f() == 0")
    assert found is not None
    assert found.value_attempt is not None
    assert "…" in found.value_attempt
    assert describe(found).observed == describe(found).expected == ()


def test_the_facts_of_a_value_are_what_was_read_and_what_came_of_it():
    facts = describe(place_of("a wrong operator"))
    assert facts.observed == (("result", "0"), ("xs", "[0, 7]"), ("i", "1"), ("result", "-7"))
    assert facts.expected == (("result", "7"),)


NO_PROBE = {
    "a recursion without its base": "it would print for every level",
    "a wrong value at the base of a recursion": "the statement reads nothing",
    "an infinite loop": "it would print for ever",
    "a loop that does not count": "it would print for ever",
    "a call that hangs in the interpreter": "it hangs",
    "an exception that should be raised": "the statement reads nothing",
    "a misspelt name": "the exception says it all",
    "an argument that is changed": "the test alone shows it",
    "a program that is no Python": "nothing runs",
    "a statement that stands on the line of its condition": "no line to put it on",
}
NOT_SHOWN = ("a default argument that lives on", "a memo that calls share")  # the definition is new, the memo is not


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_probe_shows_what_may_be_stated(case):
    found = place_of(case.name)
    probes = [expression_probe(found, case.attempt), print_probe(found, case.attempt, case.test)]
    assert any(probes) == (case.name not in NO_PROBE)
    assert probe_cell(found, case.attempt, case.test) == next(filter(None, probes), "")
    for probe in filter(None, probes):
        with Session(Limits(wall_s=5.0, cpu_s=20.0), detect_isolation()) as session:
            session.run(f"{case.attempt}\n{case.before}\n{case.test}")
            assert shows(found, session.run(probe).output) == (case.name not in NOT_SHOWN), probe


PROBLEMS = [problem for problem in bundled_problems("train") if problem.grade >= 3]


@settings(max_examples=examples(60))
@given(random=strategies.randoms(use_true_random=False))
def test_an_injected_slip_is_found_where_it_first_acts(random):
    problem = random.choice(PROBLEMS)
    reference = answer_program(problem)
    slip = random.choice(mutations(reference))
    test = random.choice(problem.tests)
    found = diverge(slip.code, reference, test, problem.setup)
    if found is None:
        return  # this test does not show the slip
    assert found.value_attempt != found.value_reference or found.kind == "path"
    if found.kind == "syntax" or found.line_attempt is None:
        return
    changed = _changed_lines(slip.code, reference)
    order = _lines_in_order(slip.code, test, problem.setup)
    first = next((at for at, line in enumerate(order) if line in changed), 0)
    assert found.line_attempt in order[first:], "the place is not reached before the change"


def _changed_lines(attempt, reference):
    """Return the lines of an attempt that the reference does not have, and those around what it lacks."""
    codes = difflib.SequenceMatcher(None, attempt.split("\n"), reference.split("\n"), autojunk=False).get_opcodes()
    return {line for tag, start, end, _, _ in codes if tag != "equal" for line in range(start, max(end, start + 1) + 1)}


def _lines_in_order(program, test, before):
    """Return the lines of the statements of a traced run, in the order of their execution."""
    _, rows = run_traced(Traced(program, before, test), Limits(), detect_isolation())
    statements = ProgramText(program).statements
    steps = [row for row in map(json.loads, rows.decode().splitlines()) if row[0] == "step"]
    return [statements[number].line for _, _, number in steps if number in statements]


@pytest.mark.parametrize("line", ["except ValueError:", "except:", "except ValueError as error:", "except (ValueError, KeyError):"])
@pytest.mark.parametrize("body", [" x = 2", "\n    x = 2"])
def test_the_header_of_a_handler_is_said_as_it_is_written(line, body):
    program = f"try:\n    x = 1\n{line}{body}\n"
    (handler,) = (s for s in ProgramText(program).statements.values() if s.kind == "ExceptHandler")
    assert handler.text == handler.written == line
