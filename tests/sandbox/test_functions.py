"""Functions of untrusted programs, called in the world that the caller asks for."""

import marshal

import pytest

from reflectioncoder.sandbox.detect import detect_isolation
from reflectioncoder.sandbox.functions import Calls, call
from reflectioncoder.sandbox.limits import Limits


def answers_of(source, *, num_calls=1, **world):
    """The frames of `f()`, called `num_calls` times."""
    frames = []
    calls = Calls(source, "f", marshal.dumps([[]] * num_calls, 2), **world)
    call(calls, Limits(), detect_isolation(), lambda *frame: frames.append(frame) or len(frames) <= num_calls, lambda _: 10.0)
    assert frames[0] == ("L", b"")
    return [marshal.loads(content) for _, content in frames[1:]]


@pytest.mark.parametrize(("absent_names", "found"), [((), [True, True]), (("os.kill", "builtins.open"), [False, False])])
def test_names_are_absent_where_the_caller_says_so(absent_names, found):
    source = "import os\ndef f(): return [callable(os.kill), callable(open)]"
    assert answers_of(source, absent_names=absent_names) == [found]


@pytest.mark.parametrize(("absent_modules", "found"), [((), "imported"), (("resource",), "absent")])
def test_modules_are_absent_where_the_caller_says_so(absent_modules, found):
    source = "def f():\n    try: import resource\n    except ImportError: return 'absent'\n    return 'imported'"
    assert answers_of(source, absent_modules=absent_modules) == [found]


def test_the_stack_is_as_deep_as_the_caller_says():
    source = "def depth(): \n    try: return 1 + depth()\n    except RecursionError: return 1\ndef f(): return depth()"
    (shallow,), (deep,) = answers_of(source, stack_depth=20), answers_of(source, stack_depth=320)
    assert shallow - deep == 300
