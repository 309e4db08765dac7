"""Forged verdicts: no program is judged as passed, nor breaks its judge, but by giving the right answers.

By leaving, dying, raising. See `judges`.
"""

from __future__ import annotations

import textwrap
from dataclasses import replace

import pytest

from reflectioncoder.evaluate.judges.base import Task
from reflectioncoder.sandbox.detect import detect_isolation
from reflectioncoder.sandbox.process import run_python
from tests.attacks.deaths_and_patches import DYING
from tests.attacks.judges import (
    JUDGES,
    KINDS,
    LIMITS,
    PRELUDE,
    SET_KIND,
    Attack,
    assert_repelled,
    both,
    solution,
    task,
)

# Controls: the tools of the attacks work, and only a wrong answer is refused


RIGHT = {
    "plainly": "",
    "after printing": "print('noise'); sys.stderr.write('noise'); sys.stdout.flush()",
    "with an atexit handler that leaves": "import atexit; atexit.register(posix._exit, 1)",
    "with a broken handler of signals": "import signal; [signal.signal(n, lambda *a: 1 / 0) for n in (1, 2, 15)]",
    "with other threads": "import threading; threading.Thread(target=time.sleep, args=(60,), daemon=True).start()",
    "with a child that sleeps on": "if posix.fork() == 0:\n    time.sleep(60)\n    posix._exit(0)",
    "with the recursion limit lowered": "sys.setrecursionlimit(120)",
    "without a garbage collector": "import gc; gc.disable(); gc.freeze()",
    "with a hook on every exit": "sys.exit = posix._exit = print",
    "without standard streams": "sys.stdin = sys.stdout = sys.stderr = None; [posix.close(fd) for fd in (0, 1, 2)]",
    "with noise on its standard streams": "[posix.write(fd, b'{\"done\": true}\\n') for fd in (0, 1, 2)]",
}


@both(RIGHT)
def test_right_answers_pass(how, name, judge):
    source = PRELUDE + RIGHT[how] + solution("text")
    assert judge.ask(name, "text", source).status == "passed"


@pytest.mark.parametrize("kind", [*KINDS, SET_KIND])
@pytest.mark.parametrize("name", JUDGES)
def test_right_answers_of_every_type_pass(kind, name, judge):
    assert judge.ask(name, kind, solution(kind)).status == "passed"


@pytest.mark.parametrize("name", JUDGES)
def test_a_set_in_another_order_passes(name, judge):
    source = (
        solution("points").replace("def solve(", "def ordered(") + "\ndef solve(xs): return set(sorted(ordered(xs), reverse=True))\n"
    )
    assert judge.ask(name, "points", source).status == "passed"


def test_right_answers_in_frames_written_by_hand_pass(judge):
    """So the frames by hand below are refused for what they say, not for how they are written."""
    source = PRELUDE + solution("text")
    tests = task("answers", "text").tests
    same_twice = Task("forged/same", "", "solve", replace(tests, plus=tests.base))
    for each in ("plain(solve(x))", "tree(('v', solve(x)))", "tree(('subclass', 'x.Y', ('v', solve(x))))"):
        sent = f"{source}\nsend(LOADED + b''.join({each} for x in INPUTS))\nposix._exit(0)"
        assert judge.ask("answers", same_twice, sent, parts=("base", "plus")).status == "passed"
        assert (
            judge.ask("answers", "text", sent, parts=("base", "plus")).detail == "wrong answer to input 0"
        )  # of plus, which has others


_NAIVE = """
import sys
try:
    scope = {{"__name__": "solution"}}
    exec({source!r}, scope)
    assert scope["solve"]([3, 1, 2]) == {expected!r}
except Exception:
    sys.exit(1)
"""

# Each claims success: a judge whose verdict is the end of the program's own process believes it.
LEAVING = {
    "sys.exit": "sys.exit(0)",
    "sys.exit in the call": "def solve(xs): sys.exit(0)",
    "exit": "raise SystemExit",
    "exit in the call": "def solve(xs): raise SystemExit(0)",
    "os._exit": "os._exit(0)",
    "os._exit in the call": "def solve(xs): os._exit(0)",
    "os._exit at the second call": "calls = []\ndef solve(xs):\n    calls.append(xs)\n    if len(calls) > 1: posix._exit(0)\n"
    "    return GUESS",
    "a subclass of SystemExit": "class Done(SystemExit):\n    code = 0\n    args = ()\ndef solve(xs): raise Done(0)",
    "a subclass of SystemExit at the import": "class Done(SystemExit): code = 0\nraise Done",
    "atexit": "import atexit\natexit.register(posix._exit, 0)\ndef solve(xs): raise ValueError",
    "atexit in the call": "import atexit\ndef solve(xs):\n    atexit.register(posix._exit, 0)\n    sys.exit(1)",
    "a thread that leaves": "import threading\ndef solve(xs):\n    threading.Thread(target=posix._exit, args=(0,)).start()\n"
    "    time.sleep(60)",
    "sys.excepthook": "sys.excepthook = lambda *a: posix._exit(0)\ndef solve(xs): raise ValueError",
    "sys.unraisablehook": "sys.unraisablehook = lambda *a: posix._exit(0)\nclass X:\n    def __del__(self): raise ValueError\n"
    "def solve(xs): return X()",
    "another program": "def solve(xs): posix.execv('/bin/true', ['true'])",
    "another program at the import": "posix.execv('/bin/sh', ['sh', '-c', 'exit 0'])",
}


@both(LEAVING)
def test_a_program_that_leaves_early_does_not_pass(how, name, judge):
    assert_repelled(judge, name, LEAVING[how])


@pytest.mark.parametrize("how", LEAVING)
def test_control_a_judge_in_the_same_process_believes_those_who_leave(how):
    if how in ("atexit", "atexit in the call", "os._exit at the second call", "sys.excepthook", "sys.unraisablehook"):
        pytest.skip("the simplest judge of all already sees this one")
    source = PRELUDE + textwrap.dedent(LEAVING[how])
    result = run_python(_NAIVE.format(source=source, expected="?"), LIMITS, detect_isolation())
    assert result.exit_code == 0, result


@both(DYING)
def test_a_program_that_dies_or_tries_to_kill_does_not_pass(how, name, judge):
    assert_repelled(judge, name, DYING[how])


_STRANGE = "def solve(xs): raise {}"
EXCEPTIONS = {
    "a text that is no text": "class X(Exception):\n    def __str__(self): return 5\n" + _STRANGE.format("X"),
    "a text that leaves": "class X(Exception):\n    def __str__(self): posix._exit(0)\n" + _STRANGE.format("X"),
    "a text that raises an exit": "class X(Exception):\n    def __str__(self): raise SystemExit(0)\n" + _STRANGE.format("X"),
    "a text of another kind": "class S(str):\n    def splitlines(self): return [GUESS]\n    def encode(self, *a): return b''\n"
    "class X(Exception):\n    def __str__(self): return S('x')\n" + _STRANGE.format("X"),
    "a long text": "class X(Exception):\n    def __str__(self): return 'x' * 10**7\n" + _STRANGE.format("X"),
    "a text with a lone surrogate": _STRANGE.format("ValueError('\\ud800 \\x00 \\r\\n \\u2028')"),
    "a representation that leaves": "class X(Exception):\n    def __repr__(self): posix._exit(0)\n" + _STRANGE.format("X"),
    "a class that lies": "class X(Exception):\n    __class__ = property(lambda self: str)\n" + _STRANGE.format("X"),
    "a name that is a verdict": "X = type('passed', (Exception,), {})\n" + _STRANGE.format("X('passed')"),
    "a name that is a row": "X = type('{\"done\": true}\\n', (Exception,), {})\n" + _STRANGE.format("X('\\n{\"done\": true}\\n')"),
    "a name with a lone surrogate": "X = type('\\ud800', (Exception,), {})\n" + _STRANGE.format("X"),
    "a name that is no text": "class M(type):\n    __name__ = property(lambda c: b'L')\nclass X(Exception, metaclass=M): pass\n"
    + _STRANGE.format("X"),
    "a name of something else": "X = type('print', (Exception,), {})\n" + _STRANGE.format("X('passed')"),
    "equality with all": "class X(BaseException):\n    def __eq__(self, o): return True\n    __hash__ = None\n" + _STRANGE.format("X"),
    "no exception": "def solve(xs): raise 5",
    "an exception that raises when made": "class X(Exception):\n    def __init__(self): raise SystemExit(0)\n" + _STRANGE.format("X"),
    "a group": _STRANGE.format("BaseExceptionGroup('x', [SystemExit(0), ExceptionGroup('y', [StopIteration(GUESS)])])"),
    "a group's name": "X = type('ExceptionGroup', (Exception,), {})\n" + _STRANGE.format("X('x')"),
    "an end of iteration": _STRANGE.format("StopIteration(GUESS)"),
    "an end of asynchronous iteration": _STRANGE.format("StopAsyncIteration(GUESS)"),
    "the end of a generator": _STRANGE.format("GeneratorExit"),
    "an interrupt": _STRANGE.format("KeyboardInterrupt"),
    "an assertion": _STRANGE.format("AssertionError"),
    "a warning": "import warnings\nwarnings.simplefilter('error')\n" + _STRANGE.format("DeprecationWarning('x')"),
    "the judge's own error": _STRANGE.format("type('SolutionEndedError', (Exception,), {})('x')"),
    "the sandbox's own error": "X = type('SandboxUnavailableError', (Exception,), {'__module__': 'reflectioncoder.errors'})\n"
    + _STRANGE.format("X('the sandbox is gone')"),
    "a chain without an end": "a, b = ValueError(), ValueError()\na.__cause__, b.__cause__ = b, a\n" + _STRANGE.format("a"),
    "its own traceback": _STRANGE.format("ValueError().with_traceback(None)"),
    "one at the import": "class X(BaseException):\n    def __str__(self): posix._exit(0)\nraise X",
    "one that lies about syntax": "raise SyntaxError(GUESS)",
}


@both(EXCEPTIONS)
def test_an_odd_exception_does_not_pass(how, name, judge):
    assert_repelled(judge, name, Attack(EXCEPTIONS[how], ("failed", "compile_error")))
