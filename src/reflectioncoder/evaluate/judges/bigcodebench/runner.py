"""Runs a solution with its tests as the official evaluator does. This is a separate program that runs in the sandbox.

tests.py holds solution and tests, tag.txt the prefix of each line of output. There is one line per outcome of a test (`success`,
`failure`, `error`, `skip`, …), with its name and message; `compile` or `load` if no test was reached; `done` at the end.
"""

import builtins
import io
import os
import sys
import time
import types
import unittest

_MAX_CHARS = 300
_MODULE = "__test__"


class _Streams(io.StringIO):
    """A stream that accepts writes and refuses reads."""

    def read(self, *args, **kwargs):
        raise OSError

    readline = readlines = read

    def readable(self):
        return False


class _Outcomes(unittest.TestResult):
    def __init__(self, say):
        super().__init__()
        self._say = say

    def _record(self, kind, test, error=None):
        whole = getattr(test, "test_case", test)  # for a subtest, the test that contains it
        text = f"{error[0].__name__}: {error[1]}" if error else ""
        self._say(kind, whole.id().rpartition(".")[2], text)

    def addSuccess(self, test):  # noqa: N802
        super().addSuccess(test)
        self._record("success", test)

    def addFailure(self, test, err):  # noqa: N802
        super().addFailure(test, err)
        self._record("failure", test, err)

    def addError(self, test, err):  # noqa: N802
        super().addError(test, err)
        self._record("error", test, err)

    def addSubTest(self, test, subtest, err):  # noqa: N802
        super().addSubTest(test, subtest, err)
        if err is not None:
            self._record("failure", subtest, err)

    def addSkip(self, test, reason):  # noqa: N802
        super().addSkip(test, reason)
        self._record("skip", test)

    def addExpectedFailure(self, test, err):  # noqa: N802
        super().addExpectedFailure(test, err)
        self._record("expected", test)

    def addUnexpectedSuccess(self, test):  # noqa: N802
        super().addUnexpectedSuccess(test)
        self._record("unexpected", test)


def _taken(name):
    """Read and remove a file, so that the tests do not find it."""
    with open(name, encoding="utf-8", errors="surrogatepass") as handle:
        content = handle.read()
    os.remove(name)
    return content


def main():
    source, tag = _taken("tests.py"), _taken("tag.txt")
    os.remove("main.py")
    out = os.dup(1)

    def say(kind, name="", text=""):
        line = " ".join((tag, kind, name, " ".join(text.split())[:_MAX_CHARS]))
        os.write(out, line.encode("utf-8", "replace") + b"\n")

    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    sys.stdin = sys.stdout = sys.stderr = _Streams()
    os.environ.update(TZ="UTC", MPLBACKEND="Agg")
    time.tzset()
    builtins.exit = builtins.quit = None  # as in the official evaluator
    module = types.ModuleType(_MODULE)
    module.__dict__.update(
        __builtins__=builtins, __file__=f"{_MODULE}.py", __package__=None, __doc__=None, sys=sys, os=os, environ=os.environ
    )
    stage = "compile"
    try:
        code = compile(source, f"{_MODULE}.py", "exec", dont_inherit=True)
        stage = "load"
        exec(code, module.__dict__)
        sys.modules[_MODULE] = module
        suite = unittest.TestLoader().loadTestsFromTestCase(module.TestCases)
    except BaseException as error:  # noqa: BLE001 (whatever a program raises)
        say(stage, text=f"{type(error).__name__}: {error}")
        os._exit(0)
    suite.run(_Outcomes(say))
    say("done")
    os._exit(0)


if __name__ == "__main__":
    main()
