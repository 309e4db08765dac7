"""Tests that are programs are not misled by errors, changed arguments, messages or names of the program that they test."""

from __future__ import annotations

import pytest

from tests.attacks.judges import (
    BOUND_S,
    END,
    KEY,
    judged,
)

# Tests that are programs: what only they could be made to believe


_EXPECTS_AN_ERROR = (
    "assert solve(1) == 2",
    "try:\n    solve(-1)\nexcept Exception:\n    pass\nelse:\n    raise AssertionError('no error')",
)


def test_control_an_expected_error_passes(judge):
    source = "def solve(x):\n    if x < 0: raise ValueError\n    return x + 1"
    assert judged(judge, _EXPECTS_AN_ERROR, source).status == "passed"


@pytest.mark.parametrize(
    "instead",
    {
        "leaving": "posix._exit(0)",
        "exit": "sys.exit(0)",
        "closing": "posix.close(4); time.sleep(60)",
        "abort": "posix.abort()",
        "killing": "posix.kill(posix.getpid(), 9)",
        "no frame": "send(b'?'); posix._exit(0)",
        "no value": "send(frame(b'V', b'?'))",
        "half a frame": "send(b'V\\xff\\0\\0\\0'); posix._exit(0)",
        "a bomb": "send(frame(b'V', b'[\\x01\\0\\0\\0' * 10**5))",
    }.items(),
    ids=lambda item: item[0],
)
def test_a_test_that_expects_an_error_does_not_take_for_it(instead, judge):
    """The end of the program, or garbage in place of an answer, is not an exception of the function."""
    source = f"def solve(x):\n    if x < 0:\n        {instead[1]}\n    return x + 1"
    outcome = judged(judge, _EXPECTS_AN_ERROR, source)
    assert outcome.status in ("failed", "crashed", "timeout"), outcome
    assert outcome.seconds < BOUND_S


@pytest.mark.parametrize("error", ["StopIteration", "StopIteration(5)", "type('StopIteration', (Exception,), {})"])
@pytest.mark.parametrize(
    "test",
    [
        "for answer, expected in zip(map(solve, [1, 2, 3]), [2, 3, 4]):\n    assert answer == expected",
        "assert all(map(lambda x: solve(x) == x + 1, [1, 2, 3]))",
        "assert [x for x in map(solve, [1, 2, 3]) if x > 4] == []",
    ],
)
def test_an_end_of_iteration_does_not_end_the_loops_of_the_tests(error, test, judge):
    assert judged(judge, (test,), "def solve(x): return x + 1").status == "passed"
    assert judged(judge, (test,), f"def solve(x): raise {error}").status == "failed"


_CHANGES = ("xs = [3, 1, 2]\nsolve(xs)\nassert xs == [1, 2, 3]", "d = {2: 1}\nassert solve(d) is None\nassert d == {2: 1}")
ARGUMENTS = {
    "fewer": "[]",
    "more": "[[1, 2, 3]] * 9",
    "no list": "5",
    "of another type": "[(1, 2, 3)]",
    "an object": "('object', 'list')",
    "deep": "[[[[[]]]]]",
    "the right ones of another call": "[[3, 1, 2]]",
}


def test_control_changes_of_arguments_are_seen(judge):
    source = "def solve(xs):\n    if isinstance(xs, list): xs.sort()"
    assert judged(judge, _CHANGES, source).status == "passed"
    assert judged(judge, _CHANGES, "def solve(xs): return None").status == "failed"


@pytest.mark.parametrize("how", ARGUMENTS)
def test_arguments_after_the_call_written_by_hand_do_not_pass(how, judge):
    after = ARGUMENTS[how]
    frames = f"(plain(None) + plain({after})) * 2 + (plain(None) + tree(('v', {after}))) * 2"
    source = f"def solve(xs): return None\nsend(LOADED + {frames}){END}"
    assert judged(judge, _CHANGES, source).status == "failed"


@pytest.mark.parametrize("how", ["an assertion's text", "a text of an error", "a value in a message"])
def test_what_a_program_says_is_no_row_of_a_verdict(how, judge):
    row = '\\n{"test": 1, "passed": true, "detail": ""}\\n{"done": true}\\n'
    source = {
        "an assertion's text": f"def solve(x): raise AssertionError('{row}')",
        "a text of an error": f"def solve(x): raise ValueError('x\\u2028{row}\\x00\\ud800')",
        "a value in a message": f"def solve(x): return '{row}\\ud800'",
    }[how]
    outcome = judged(judge, ("assert (y := solve(1)) == 2, y", "assert solve(2) == 3"), source)
    assert outcome.status == "failed"


def test_the_setup_and_the_tests_are_not_the_solution_s(judge):
    """Names that the solution defines do not reach the tests, nor theirs the solution."""
    setup = f"def helper(x): return {KEY!r}\n"
    source = "def helper(x): return GUESS\ntry: SEEN = check\nexcept NameError: SEEN = None\ndef solve(x): return helper(x)"
    assert judged(judge, ("def check(f): assert f(1) == helper(1)\ncheck(solve)",), source, setup).status == "failed"
