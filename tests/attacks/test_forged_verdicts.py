"""Forged verdicts: no program is judged as passed, nor breaks its judge, but by giving the right answers.

By leaving, dying, raising, claiming to be equal, patching its own process, misleading tests that are programs. See `judges`.
"""

from __future__ import annotations

import textwrap
from dataclasses import replace

import pytest

from reflectioncoder.evaluate.judges.base import Task
from reflectioncoder.sandbox.detect import detect_isolation
from reflectioncoder.sandbox.process import run_python
from tests.attacks.judges import (
    BOUND_S,
    END,
    JUDGES,
    KEY,
    KINDS,
    LATE,
    LIMITS,
    PRELUDE,
    SET_KIND,
    Attack,
    assert_repelled,
    both,
    equal,
    judged,
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


PATCHES = {
    "compile": "import builtins\nbuiltins.compile = lambda *a, **k: (lambda: None).__code__\n" + LATE,
    "exec": "import builtins\nbuiltins.exec = lambda *a, **k: None\n" + LATE,
    "len": "import builtins\nbuiltins.len = lambda x: 0\n" + LATE,
    "isinstance": "import builtins\nbuiltins.isinstance = builtins.issubclass = lambda *a: True\n" + LATE,
    "type": "import builtins\nbuiltins.type = lambda *a: str\n" + LATE,
    "print": "import builtins\nbuiltins.print = lambda *a, **k: posix._exit(0)\n" + LATE,
    "all and any": "import builtins\nbuiltins.all = builtins.any = lambda *a: True\n" + LATE,
    "zip and enumerate": "import builtins\nbuiltins.zip = builtins.enumerate = builtins.map = lambda *a, **k: iter(())\n" + LATE,
    "abs and round": "import builtins\nbuiltins.abs = builtins.round = lambda *a: 0\n" + LATE,
    "set": "import builtins\nbuiltins.set = builtins.frozenset = lambda *a: 0\n" + LATE,
    "the exceptions": "import builtins\nbuiltins.AssertionError = builtins.BaseException = builtins.Exception = type('X', "
    "(Exception,), {})\n"
    + LATE,
    "every built-in name": "import builtins\nfor name in dir(builtins): setattr(builtins, name, lambda *a, **k: True)\n" + LATE,
    "no built-in names": "import builtins\nvars(builtins).clear()\n" + LATE,
    "marshal.dumps": "import marshal\nmarshal.dumps = lambda *a: b'T'\n" + LATE,
    "marshal.loads": "import marshal\nmarshal.loads = marshal.load = lambda *a: [[]]\n" + LATE,
    "hashlib": "import hashlib\nhashlib.blake2b = hashlib.sha256 = lambda *a, **k: type('H', (), {'update': print, 'digest': "
    "lambda s: bytes(16)})()\n"
    "def solve(xs): return [0] * 5000",
    "struct.pack": "import struct\nstruct.pack = lambda *a: bytes(4)\n" + LATE,
    "os.write": "real = os.write\nos.write = posix.write = lambda fd, data: len(data)\n" + LATE,
    "os._exit": "os._exit = posix._exit = lambda code: None\n" + LATE,
    "the clock": "time.perf_counter = time.monotonic = time.time = iter(range(10**9, 0, -1)).__next__\n" + LATE,
    "the clocks of the process": "time.process_time = time.thread_time = lambda: -1e9\n" + LATE,
    "sleep": "time.sleep = lambda s: None\n" + LATE,
    "unittest": "import unittest\nunittest.TestCase.assertEqual = unittest.TestCase.fail = lambda *a: None\n" + LATE,
    "math.isclose": Attack("import math\nmath.isclose = lambda *a, **k: True\ndef solve(xs): return 1.0", kind="real"),
    "numpy.allclose": Attack("import numpy\nnumpy.allclose = numpy.isclose = lambda *a, **k: True\n"
    "def solve(xs): return [0.0, 0.0]", kind="reals"),
    "numpy.testing": Attack("import numpy.testing\nfor n in dir(numpy.testing):\n"
    "    setattr(numpy.testing, n, lambda *a, **k: None)\ndef solve(xs): return 1.0", kind="real"),
    "numpy's comparison": Attack("import numpy\nnumpy.ndarray = numpy.generic = str\ndef solve(xs): return 1.0", kind="real"),
    "json": "import json\njson.dumps = json.loads = lambda *a, **k: {'done': True}\n" + LATE,
    "operator": "import operator\noperator.eq = lambda *a: True\n" + LATE,
    "the modules": "for name in list(sys.modules): sys.modules[name] = sys.modules['sys']\n" + LATE,
    "no modules": "sys.modules.clear()\n" + LATE,
    "the judge's modules": "import types\nfor name in ('tests', 'reflectioncoder', 'reflectioncoder.evaluate.judges.evalplus.judge', "
    "'reflectioncoder.sandbox.runtime.asserts'):\n"
    "    m = sys.modules[name] = types.ModuleType(name); m.matches = m.judge_part = lambda *a, **k: True\n" + LATE,
    "imports": "import builtins\nreal = builtins.__import__\ndef fake(name, *a, **k):\n    m = real(name, *a, **k)\n    return m\n"
    "builtins.__import__ = fake; sys.meta_path.clear(); sys.path_hooks.clear(); sys.path[:] = ['.']\n" + LATE,
    "a trace": "sys.settrace(lambda frame, event, arg: frame.f_locals.update(answer=GUESS) or None)\n" + LATE,
    "a trace of the caller": "def trace(frame, event, arg):\n    frame.f_trace_lines = True\n    return trace\n"
    "frame = sys._getframe()\n"
    "while frame: frame.f_trace = trace; frame = frame.f_back\nsys.settrace(trace)\n" + LATE,
    "a profile": "sys.setprofile(lambda *a: None)\nimport threading\nthreading.setprofile(lambda *a: None)\n" + LATE,
    "a jump of the caller": "def trace(frame, event, arg):\n    if frame.f_code.co_name != 'solve' and len(sys.orig_argv) < 20:\n"
    "        try: sys.orig_argv.append(''); frame.f_lineno += 3\n        except ValueError: pass\n"
    "    return trace\nsys._getframe(1).f_trace = trace\nsys.settrace(trace)\n" + LATE,
    "the audit": "sys.addaudithook(lambda *a: None)\n" + LATE,
    "the frames above": "frame = sys._getframe()\nwhile frame:\n    for name in list(frame.f_globals):\n"
    "        if callable(frame.f_globals[name]) and frame.f_globals is not globals():\n"
    "            frame.f_globals[name] = lambda *a, **k: (b'V', b'T')\n    frame = frame.f_back\n" + LATE,
    "the encoding of answers": "frame = sys._getframe()\nwhile frame:\n    if 'encode_answer' in frame.f_globals:\n"
    "        frame.f_globals['encode_answer'] = lambda *a: (b'V', b'T')\n    frame = frame.f_back\n" + LATE,
    "the channel": "frame = sys._getframe()\nwhile frame:\n    if 'channel' in frame.f_locals:\n"
    "        c = frame.f_locals['channel']; c.send(b'L', b''); c.send(b'V', b'T'); c.flush()\n    frame = frame.f_back\n" + LATE,
    "the number of inputs": "import gc\nfor x in gc.get_objects():\n"
    "    if type(x) is list and x and x[0] == [INPUTS[0]]: x.clear()\n" + LATE,
    "equality of texts by memory": "import ctypes\nslot = ctypes.c_void_p.from_address(id(str) + 25 * 8)\n"
    "slot.value = ctypes.c_void_p.from_address(id(object) + 25 * 8).value\n" + LATE,
    "the recursion limit": "sys.setrecursionlimit(70)\ndef solve(xs): return solve(xs)",
    "the recursion limit, from the call": "def solve(xs):\n    sys.setrecursionlimit(60)\n    return GUESS",
    "the recursion limit at every call": "def solve(xs):\n    try: return solve(xs)\n    except RecursionError: return GUESS",
    "the switch interval": "sys.setswitchinterval(10**6)\n" + LATE,
    "the garbage collector": "import gc\ngc.set_threshold(1)\n"
    "gc.callbacks.append(lambda *a: posix.write(4, LOADED + plain(True)))\n" + LATE,
    "the limit on digits": "sys.set_int_max_str_digits(0)\ndef solve(xs): return 10 ** 10**5",
    "the streams": "sys.stdout = sys.__stdout__ = open(4, 'w', closefd=False) if open else io.open(4, 'w', closefd=False)\n"
    "print('{\"done\": true}', flush=True)\n" + LATE,
    "the display of results": "sys.displayhook = sys.excepthook = lambda *a: posix._exit(0)\n" + LATE,
}  # fmt: skip


# After these, anything may be missing.
_LACKING = ("no built-in names", "every built-in name", "no modules", "the modules", "the judge's modules", "the exceptions", "exec")


@both(PATCHES)
def test_a_program_that_patches_what_it_finds_does_not_pass(how, name, judge):
    attack = PATCHES[how] if isinstance(PATCHES[how], Attack) else Attack(PATCHES[how])
    assert_repelled(judge, name, replace(attack, ends=("failed", "crashed", "compile_error")), may_lack=how in _LACKING)


SPITE = {
    "a finalizer that writes": "class X:\n    def __del__(self): send(LOADED + answers(plain(GUESS)))\ndef solve(xs): return X()",
    "a finalizer that writes first": "class X:\n    def __del__(self): send(LOADED + answers(plain(GUESS)))\nX()\n" + LATE,
    "a finalizer that leaves": "class X:\n    def __del__(self): posix._exit(0)\ndef solve(xs): return [X()]",
    "a finalizer that raises": "class X:\n    def __del__(self): raise SystemExit(0)\ndef solve(xs): return [X()] * 9",
    "a finalizer that lives again": "class X:\n    def __del__(self): KEPT.append(self)\nKEPT = []\n"
    "def solve(xs): return [X() for _ in range(99)]",
    "a weak reference's call": "import weakref\nclass X: pass\nx = X()\nr = weakref.finalize(x, posix._exit, 0)\n"
    "def solve(xs):\n    global x\n    del x\n    return GUESS",
    "a handler of an alarm": "import signal\nsignal.signal(14, lambda *a: posix._exit(0)); signal.setitimer(0, 0.01)\n"
    "def solve(xs):\n    time.sleep(0.1)\n    return GUESS",
    "handlers of all signals": "import signal\nfor n in range(1, 65):\n    try: signal.signal(n, lambda *a: posix._exit(0))\n"
    "    except (OSError, ValueError): pass\n" + LATE,
    "an ignored broken pipe": "import signal\nsignal.signal(13, signal.SIG_DFL); posix.close(4)\n" + LATE,
    "blocked signals": "import signal\nsignal.pthread_sigmask(0, range(1, 65))\n" + LATE,
    "a parent that dies with it": "import ctypes\nctypes.CDLL(None).prctl(1, 0, 0, 0, 0)\n"
    "ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)\n" + LATE,
    "another uid": "import ctypes\nfor n in (105, 117, 106, 119): ctypes.CDLL(None).syscall(n, 0, 0, 0)\n" + LATE,
}  # fmt: skip


@both(SPITE)
def test_what_runs_behind_the_judge_s_back_does_not_pass(how, name, judge):
    assert_repelled(judge, name, Attack(SPITE[how], ("failed", "crashed")))


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
