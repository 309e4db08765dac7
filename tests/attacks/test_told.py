"""What a program under test is told: the input of this call, after it has been loaded and has answered the last one; nothing else.

Neither whether an answer was right, nor inputs that are still to come. Judged as HumanEval+ and MBPP+ are.
"""

import textwrap

import pytest

from reflectioncoder.evaluate.judges.evalplus import judge as judging
from reflectioncoder.evaluate.judges.evalplus.judge import FunctionJudge
from reflectioncoder.sandbox import functions
from tests.attacks.judges import INPUTS, PRELUDE, solution, task

NUM_INPUTS = len(INPUTS["base"])


def frames_of(source, kind, isolation, folder, monkeypatch):
    """(verdict, for each run of the program what it was sent for and what it sent, how it ended)."""
    runs = []

    def call(calls, limits, isolation, consume, time_limit_s):
        letters = []

        def spy(letter, content):
            letters.append(letter)
            return consume(letter, content)

        report = functions.call(calls, limits, isolation, spy, time_limit_s)
        runs.append(("".join(letters), report.end))
        return report

    wanted = task("answers", kind)
    judge = FunctionJudge(isolation, "evalplus-head", folder)
    judge.reference(wanted.task_id, wanted.entry_point, wanted.tests)
    monkeypatch.setattr(judging, "call", call)
    verdict = judge.judge_part(wanted.task_id, wanted.entry_point, wanted.tests, "base", source, alone=True)
    return verdict, runs


WRONG = {
    "a wrong text": "return GUESS",
    "another type": "return object()",
    "a wrong number": "return 17",
    "an exception": "raise ValueError",
    "an exit": "raise SystemExit",
    "no memory": "raise MemoryError",
    "a long text": "return 'x' * 10_000",
    "a long list": "return [0] * 10_000",
    "what cannot be decoded": "return [[]] * 1_000",
}


@pytest.mark.parametrize("at", [0, NUM_INPUTS - 1])
@pytest.mark.parametrize("how", WRONG)
def test_a_part_goes_on_after(how, at, isolation, tmp_path, monkeypatch):
    tail = f"""
    count = 0
    right = solve
    def solve(xs):
        global count
        count += 1
        if count == {at + 1}:
            {WRONG[how]}
        return right(xs)
    """
    source = PRELUDE + solution("text") + textwrap.dedent(tail)
    verdict, runs = frames_of(source, "text", isolation, tmp_path, monkeypatch)
    assert verdict.status == ("memory" if how == "no memory" else "failed")
    assert verdict.failed_input == at
    assert [(len(letters), end) for letters, end in runs] == [(1 + NUM_INPUTS, "stopped")]


def test_a_right_program_is_run_alike(isolation, tmp_path, monkeypatch):
    verdict, runs = frames_of(solution("text"), "text", isolation, tmp_path, monkeypatch)
    assert (verdict.status, runs) == ("passed", [("L" + "V" * NUM_INPUTS, "stopped")])


def test_a_program_that_is_asked_in_full_is_run_to_the_end_both_times(isolation, tmp_path, monkeypatch):
    """Its long answers may be close enough: they are fetched, all of them alike."""
    source = solution("many reals") + "\nright = solve\ndef solve(xs): return [x + 10 for x in right(xs)]\n"
    verdict, runs = frames_of(source, "many reals", isolation, tmp_path, monkeypatch)
    assert verdict.status == "failed"
    assert runs == [("L" + "D" * NUM_INPUTS, "stopped"), ("L" + "V" * NUM_INPUTS, "stopped")]


def test_the_first_failure_is_the_verdict(isolation, tmp_path, monkeypatch):
    """Not the limit that a later call meets, which would be taken again."""
    source = "calls = []\ndef solve(xs):\n    calls.append(xs)\n    if len(calls) > 1:\n        while True: pass\n    return 'wrong'\n"
    verdict, runs = frames_of(source, "text", isolation, tmp_path, monkeypatch)
    assert (verdict.status, verdict.failed_input, verdict.hit_time_limit) == ("failed", 0, False)
    assert runs == [("LV", "timeout")]


# Looks for inputs; `seen` are those that it found.
_SEARCH = f"""
import gc, io, posix, select
ALL = {[[xs] for xs in INPUTS["base"]]!r}
def frames():
    frame = sys._getframe()
    while frame is not None:
        yield frame.f_locals
        frame = frame.f_back
def has(container, wanted, depth=0):
    if isinstance(container, dict): container = list(container.values())
    if isinstance(container, (bytes, bytearray)): return any(marshal.dumps(x, 2) in container for x in wanted)
    if depth > 4 or not isinstance(container, (list, tuple)): return False
    return list(container) in wanted or any(has(item, wanted, depth + 1) for item in container)
def search(wanted):
    found = [name for local in frames() for name in local if name not in ("wanted", "ALL", "scope") and has(local[name], wanted)]
    ready = select.select([5], [], [], 0.05)[0]
    if ready: found.append("a request: " + repr(posix.read(5, 10**6)))
    return found
"""


def searching(expression):
    return PRELUDE + _SEARCH + solution("text") + textwrap.dedent(expression)


def test_no_input_is_there_while_a_program_is_loaded(isolation, tmp_path, monkeypatch):
    source = searching("""
    found = search([x for x in ALL if x])
    if found: raise LookupError(found)
    """)
    verdict, _ = frames_of(source, "text", isolation, tmp_path, monkeypatch)
    assert verdict.status == "passed", verdict


def test_no_later_input_is_there_in_a_call(isolation, tmp_path, monkeypatch):
    source = searching("""
    right, number = solve, 0
    def solve(xs):
        global number
        number += 1
        found = search([x for x in ALL[number:]])
        if found: raise LookupError(found)
        return right(xs)
    """)
    verdict, _ = frames_of(source, "text", isolation, tmp_path, monkeypatch)
    assert verdict.status == "passed", verdict


def test_control_the_search_finds_the_input_of_the_call(isolation, tmp_path, monkeypatch):
    source = searching("right = solve\ndef solve(xs): raise LookupError(search([[xs]]))")
    verdict, _ = frames_of(source, "text", isolation, tmp_path, monkeypatch)
    assert verdict.detail.startswith("LookupError: ["), verdict
    assert "arguments" in verdict.detail, verdict


@pytest.mark.long
def test_an_input_that_is_asked_for_before_the_answer_does_not_come(isolation, tmp_path, monkeypatch):
    source = solution("text") + "\nimport posix\ndef solve(xs): return posix.read(5, 100)\n"
    verdict, runs = frames_of(source, "text", isolation, tmp_path, monkeypatch)
    assert (verdict.status, runs[-1]) == ("timeout", ("L", "timeout"))


def test_loading_has_a_limit_of_its_own(isolation, tmp_path, monkeypatch):
    monkeypatch.setattr(judging, "MAX_LOAD_S", 0.3)
    verdict, runs = frames_of("while True: pass", "text", isolation, tmp_path, monkeypatch)
    assert (verdict.status, verdict.failed_input) == ("timeout", -1)
    assert set(runs) == {("", "timeout")}
    assert judging.describe_limits("evalplus-head")["max_load_s"] == 0.3
