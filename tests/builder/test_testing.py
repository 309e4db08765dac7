"""Programs are tested from another process: nothing that a program defines or patches makes it pass."""

# ruff: noqa: E501 (programs as texts)

import pytest

from reflectioncoder.builder import checks
from reflectioncoder.builder.cells import Execution
from reflectioncoder.builder.sources.draft import Draft, Dropped
from reflectioncoder.builder.sources.verify import verify
from reflectioncoder.builder.testing import Tests, run_program_tests
from reflectioncoder.data.problems import Problem, bundled_problems
from reflectioncoder.data.prompts import answer_program
from reflectioncoder.sandbox.limits import Limits

LIMITS = Limits(wall_s=3.0)
LIARS = {
    "a number that equals everything": "class Total(int):\n    def __eq__(self, other): return True\n    __hash__ = None\n\n"
    "def total(values):\n    return Total(0)\n",
    "an object that equals everything": "class Any:\n    def __eq__(self, other): return True\n\ndef total(values):\n    return Any()\n",
    "made by type": "def total(values):\n    return type('T', (int,), {'__eq__': lambda a, b: True, '__hash__': None})(0)\n",
    "an inherited equality": "class Base:\n    def __eq__(self, other): return True\n\nclass T(Base, int): pass\n\n"
    "def total(values):\n    return T(0)\n",
    "never different": "class Total(float):\n    __ne__ = lambda a, b: False\n    __eq__ = lambda a, b: True\n    __sub__ = lambda a, b: 0.0\n"
    "    __lt__ = __le__ = __gt__ = lambda a, b: True\n\ndef total(values):\n    return Total(0)\n",
    "json patched": "import json\njson.dumps = lambda *a, **k: '6'\njson.loads = lambda *a, **k: 6\n\ndef total(values):\n    return 0\n",
    "assertions patched": "import builtins\nbuiltins.AssertionError = type('A', (Exception,), {})\n\ndef total(values):\n    return 0\n",
    "the process ends well": "import os\n\ndef total(values):\n    os._exit(0)\n",
    "while it is loaded": "raise SystemExit(0)\n\ndef total(values):\n    return 0\n",
    "a trace": "import sys\nsys.settrace(lambda *a: sys.exit(0))\n\ndef total(values):\n    return 0\n",
    "the tests are looked up": "import sys\n\ndef total(values):\n    frame = sys._getframe()\n    while frame:\n"
    "        frame.f_globals['sum'] = frame.f_globals['abs'] = lambda *a: 6\n        frame = frame.f_back\n    return 0\n",
    "the arguments are changed": "def total(values):\n    values.clear()\n    return 0\n",
}  # fmt: skip
TESTS = (
    ("assert total([1, 2, 3]) == 6",),
    ("assert not total([1, 2, 3]) != 6",),
    ("assert total(values=[1, 2, 3]) in (6,)",),
    ("import json\nassert json.dumps(total([1, 2, 3])) == '6'",),
    ("def check(candidate):\n    assert candidate([1, 2, 3]) == 6\n\ncheck(total)",),
    ("def test():\n    assert abs(total([1, 2, 3]) - 6) < 1e-9\n\nif __name__ == '__main__':\n    test()",),
)


@pytest.mark.parametrize("tests", TESTS, ids=range(len(TESTS)))
@pytest.mark.parametrize("liar", LIARS)
def test_a_program_that_is_wrong_fails_whatever_it_defines(liar, tests):
    assert run_program_tests(LIARS[liar], Tests("", tests), LIMITS).status != "ok"


@pytest.mark.parametrize("tests", TESTS, ids=range(len(TESTS)))
def test_a_program_that_is_right_passes(tests):
    for program in ("def total(values):\n    return sum(values)\n", "total = lambda values: sum(values)\n", "total = sum\n"):
        if "values=" not in tests[0] or "def" in program or "lambda" in program:
            assert run_program_tests(program, Tests("", tests), LIMITS) == Execution("ok", "")


CLASS = "class Pair:\n    def __init__(self, a, b): self.a, self.b = a, b\n"


@pytest.mark.parametrize(
    ("program", "tests", "status"),
    [
        ("class Stack:\n    def __init__(self): self.items = []\n    def push(self, x): self.items.append(x)\n    def pop(self): return self.items.pop()\n",
         "s = Stack()\ns.push(1)\nassert s.pop() == 1", "ok"),
        (CLASS + "def first(pairs):\n    return pairs[0].a\n", "assert first([Pair(5, 1)]) == 5", "ok"),
        (CLASS + "def make(a):\n    return Pair(a, 2)\n", "assert make(1).b == 2", "ok"),
        (CLASS + "def make(a):\n    return Pair(a, 2)\n", "assert make(1).b == 3", "failed"),
        (CLASS + "def make(a):\n    return Pair(a, 2)\n", "assert isinstance(make(1), Pair)\nassert make(3).a == 3", "ok"),
        (CLASS + "    def __eq__(self, other): return True\ndef make(a):\n    return Pair(a, 2)\n", "assert make(1) == Pair(8, 9)", "failed"),
        ("def apply(f, x):\n    return f(x)\n", "assert apply(lambda x: x + 1, 2) == 3", "ok"),
        ("def apply(f, x):\n    return f(x)\n", "assert apply(lambda x: x + 1, 2) == 4", "failed"),
        ("def double(x):\n    return 2 * x\ndef half(x):\n    return x / 2\n", "assert half(double(3)) == 3", "ok"),
        ("def count(n):\n    yield from range(n)\n", "assert list(count(3)) == [0, 1, 2]", "ok"),
        ("def say(x):\n    print(x)\n", "import contextlib, io\nwith contextlib.redirect_stdout(io.StringIO()) as out: say(1)\n"
         "assert out.getvalue() == '1\\n'", "ok"),
        ("def f(x):\n    raise ValueError(x)\n", "try:\n    f(1)\nexcept ValueError:\n    pass\nelse:\n    assert False", "ok"),
        ("def f(x):\n    while True: pass\n", "assert f(1) == 1", "timeout"),
        ("def f(x:\n    return x\n", "assert f(1) == 1", "failed"),
        ("def f(x):\n    return x\n", "assert f(1) == 2\nassert f(1) == 1", "failed"),
    ],
)  # fmt: skip
def test_what_cannot_be_sent_is_tested_in_the_program_s_own_process(program, tests, status):
    assert run_program_tests(program, Tests("", (tests,)), LIMITS).status == status


STACK = "class Stack:\n    def push(self, x): pass\n"
STACK_TESTS = (
    "s = Stack()\ns.push(1)\nassert s.pop() == 1\nassert s.size() == 0",
    "def test_stack():\n    s = Stack()\n    s.push(1)\n    assert s.pop() == 1\n    assert s.size() == 0\n\ntest_stack()",
)


@pytest.mark.parametrize("tests", STACK_TESTS)
@pytest.mark.parametrize(
    "program",
    [
        f"from unittest.mock import ANY\n{STACK}    def pop(self): return ANY\n    size = pop\n",
        f"class A: pass\nsetattr(A, '__e' + 'q__', lambda a, b: True)\n{STACK}    def pop(self): return A()\n    size = pop\n",
        f"class A: pass\nput = setattr\nput(A, '__e' + 'q__', lambda a, b: True)\n{STACK}    def pop(self): return A()\n    size = pop\n",
        f"T = type('T', (), {{'_' * 2 + 'eq' + '_' * 2: lambda a, b: True}})\n{STACK}    def pop(self): return T()\n    size = pop\n",
        # equal to anything in a way that no list knows
        f"namespace = {{'__' + 'eq' + '__': lambda a, b: True}}\nA = (lambda make: make('A', (), namespace))((1).__class__.__class__)\n"
        f"{STACK}    def pop(self): return A()\n    size = pop\n",
    ],
)
def test_a_class_that_is_wrong_fails_wherever_its_assertions_stand(program, tests):
    assert run_program_tests(program, Tests("", (tests,)), LIMITS).status in ("failed", "crashed")


@pytest.mark.parametrize(
    ("program", "tests"),
    [
        ("from unittest.mock import ANY\ndef total(values):\n    return ANY\n", TESTS[4][0]),
        ("import json\njson.dumps = lambda *a, **k: '6'\nclass S:\n    def total(self, v): return 0\n",
         "import json\ndef test_stack():\n    assert json.dumps(S().total([1, 2, 3])) == '6'\n\ntest_stack()"),
        ("from dataclasses import dataclass, field\n@dataclass\nclass P:\n    x: int = field(compare=False)\ndef total(v): return P(0)\n",
         "assert total([1, 2, 3]) == P(6)"),
        ("from dataclasses import dataclass\n@dataclass(eq=True)\nclass P:\n    pass\ndef total(v): return P()\n", "assert total([1]) == P()"),
    ],
)  # fmt: skip
def test_what_a_program_says_of_equality_is_not_believed(program, tests):
    assert run_program_tests(program, Tests("", (tests,)), LIMITS).status == "failed"


@pytest.mark.parametrize("tests", STACK_TESTS)
def test_a_class_that_is_right_passes(tests):
    program = "class Stack:\n    def __init__(self): self.items = []\n    def push(self, x): self.items.append(x)\n"
    program += "    def pop(self): return self.items.pop()\n    def size(self): return len(self.items)\n"
    unreached = (
        "\n\ndef never():\n    assert Stack().size() == 5\n\ntry:\n    assert Stack().size() == 0\nexcept AssertionError:\n    pass\n"
    )
    assert run_program_tests(program, Tests("", (tests + unreached,)), LIMITS) == Execution("ok", "")


@pytest.mark.parametrize(
    ("program", "caught", "says"),
    [
        ("class E(ValueError): pass\ndef f(x): raise E('neg')\n", "ValueError", "str(e) == 'neg' and type(e).__name__ == 'E'"),
        ("class E(Exception): pass\ndef f(x): raise E('neg', 5)\n", "Exception", "e.args == ('neg', 5)"),
        ("class E(KeyError): pass\nclass F(E): pass\ndef f(x): raise F(x)\n", "LookupError", "e.args == (1,)"),
        ("import json\ndef f(x): return json.loads('{')\n", "ValueError", "'Expecting' in str(e)"),
        ("def f(x): return {}['x']\n", "KeyError", "str(e) == \"'x'\" and e.args == ('x',)"),
        ("def f(x): return {}[(1, 2)]\n", "KeyError", "str(e) == '(1, 2)'"),
        ("def f(x): return b'\\xff'.decode()\n", "UnicodeDecodeError", "'decode' in str(e)"),
        ("def f(x): return '\\xe9'.encode('ascii')\n", "ValueError", "'encode' in str(e)"),
        ("import sys\ndef f(x): sys.exit(3)\n", "SystemExit", "e.code == 3"),
        ("def f(x): raise ValueError\n", "ValueError", "str(e) == '' and e.args == ()"),
        ("def f(x): return next(iter([]))\n", "RuntimeError", "'StopIteration' in str(e)"),
        ("import decimal\ndef f(x): return decimal.Decimal('z')\n", "ArithmeticError", "type(e).__name__ == 'InvalidOperation'"),
    ],
)
def test_an_error_arrives_as_what_it_was(program, caught, says):
    test = f"try:\n    f(1)\nexcept {caught} as e:\n    assert {says}\nelse:\n    assert False"
    assert run_program_tests(program, Tests("", (test,)), LIMITS) == Execution("ok", "")


def test_every_reference_of_ours_passes():
    for problem in bundled_problems("test_seen")[:12]:
        assert run_program_tests(answer_program(problem), Tests(problem.setup, problem.tests), LIMITS).status == "ok"


@pytest.mark.parametrize("liar", LIARS)
def test_no_reference_that_lies_is_kept(liar):
    problem = Problem("p/1", entry_point="total", canonical_solution=LIARS[liar], tests=TESTS[0], instruction="Sum.")
    assert isinstance(verify(Draft(problem), LIMITS), Dropped)


@pytest.mark.parametrize(
    "code",
    [
        "import posix", "__import__('os').remove('a')", "import sys\nsys._getframe()", "from sys import _getframe as g", "import importlib",
        "from importlib import import_module", "import builtins", "import gc", "import ctypes", "import inspect\ninspect.stack()",
        "eval('1')", "exec('1')", "compile('1', '', 'eval')", "f = __import__", "__builtins__['open']('a')", "().__class__.__base__.__subclasses__()",
        "getattr(x, '__globals__')", "f.__globals__['a'] = 1", "import sys\nsys.modules['json']", "from sys import modules", "import io\nio.open('a')",
        "import sys\nsys.settrace(None)", "from sys import stdin", "import _io", "import os.path", "def f():\n    import os as o",
        "globals()['f'] = 1", "import atexit", "import signal", "import marshal, math", "try:\n    1 / 0\nexcept Exception as e:\n    e.__traceback__.tb_frame",
    ],
)  # fmt: skip
def test_a_program_that_reaches_out_is_known(code):
    assert checks.uses_outside_world(code)


@pytest.mark.parametrize(
    "code",
    [
        "import re\nre.compile('a')", "import math, json, random, itertools, collections", "import sys\nsys.setrecursionlimit(10**6)",
        "def opened(door): return door.open", "class A:\n    def eval(self): return self.__class__.__name__", "x = 'import os'",
        "def compile_list(x): return x", "from dataclasses import dataclass", "import io\nio.StringIO()", "modules = {}", "inspect = 1",
    ],
)  # fmt: skip
def test_a_program_that_does_not_reach_out_is_let_be(code):
    assert not checks.uses_outside_world(code)
