"""No program passes, nor breaks its judge, by patching what it finds in its own process or running behind the judge's back."""

from __future__ import annotations

from dataclasses import replace

from tests.attacks.deaths_and_patches import PATCHES
from tests.attacks.judges import (
    LATE,
    Attack,
    assert_repelled,
    both,
)

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
