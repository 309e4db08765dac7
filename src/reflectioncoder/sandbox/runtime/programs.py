"""Defines the kinds of programs that the server's children become. Each runs confined, reads its payload, and never returns.

    script   a Python program, as `python main.py` would run it
    session  the keeper of a stateful interpreter, which runs each cell in its own process (`runtime.keeper`)
    calls    a function called with given arguments, with its answers sent back (`reflectioncoder.sandbox.runtime.calls`)
    asserts  tests of a function in another process (`reflectioncoder.sandbox.runtime.asserts`)
    trace    a Python program under a tracer (`reflectioncoder.sandbox.runtime.tracer`)
    exec     another executable

Descriptors: 0-2 the standard streams, 3 the payload (marshal, written by the trusted side), 4 the channel, 5 the requests.
"""

from __future__ import annotations

import atexit
import builtins
import contextlib
import linecache
import marshal
import os
import sys
import tempfile
import threading
import traceback
import types
from collections.abc import Callable
from typing import Any, NoReturn

from reflectioncoder.sandbox.runtime import asserts, calls, keeper, tracer

PAYLOAD_FD, CHANNEL_FD, REQUEST_FD = 3, 4, 5
SCRIPT = "main.py"


def start(kind: str) -> NoReturn:
    """Become a program of the given kind."""
    with open(PAYLOAD_FD, "rb") as handle:  # closed afterwards: a script has only the standard descriptors
        payload = marshal.load(handle)
    os.environ.clear()
    os.environ.update(payload.get("env", {}))
    tempfile.tempdir = os.environ.get("TMPDIR")  # else it probes folders, with functions that EvalPlus's guard removes
    for name, content in payload.get("files", {}).items():
        with open(name, "wb", opener=lambda path, flags: os.open(path, flags, 0o700)) as handle:  # it may be an executable
            handle.write(content)
    for name in [name for name in sys.modules if name.partition(".")[0] == "reflectioncoder"]:
        del sys.modules[name]  # a program must not see this package
    _KINDS[kind](payload)
    os._exit(0)


def run_script(payload: dict[str, Any]) -> NoReturn:
    source: str = payload["source"]
    main = types.ModuleType("__main__")
    main.__dict__.update(__file__=SCRIPT, __builtins__=builtins)
    sys.modules["__main__"] = main
    sys.argv = [SCRIPT]
    linecache.cache[SCRIPT] = (len(source), None, source.splitlines(True), SCRIPT)
    leave(guarded(lambda: exec(compile(source, SCRIPT, "exec", dont_inherit=True), main.__dict__), SCRIPT))


def guarded(work: Callable[[], object], file_name: str) -> int:
    """Run `work` and return the interpreter's exit code; a traceback, from `file_name` on, goes to stderr."""
    try:
        work()
    except SystemExit as error:
        if error.code is None or isinstance(error.code, int):
            return (error.code or 0) & 0xFF
        print(error.code, file=sys.stderr)
        return 1
    except BaseException as error:
        sys.stderr.write(format_error(error, file_name))
        return 1
    return 0


def format_error(error: BaseException, file_name: str) -> str:
    """Format the traceback as CPython does for a script: from the program's own frames on (none for a syntax error)."""
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename != file_name:
        frames = frames.tb_next
    return "".join(traceback.format_exception(type(error), error, frames))


def leave(code: int) -> NoReturn:
    """Run the interpreter's exit steps without its teardown, and exit."""
    for step in (threading._shutdown, atexit._run_exitfuncs, sys.stdout.flush, sys.stderr.flush):  # type: ignore[attr-defined]
        with contextlib.suppress(Exception):
            step()
    os._exit(code)


def run_executable(payload: dict[str, Any]) -> NoReturn:
    os.closerange(PAYLOAD_FD, REQUEST_FD + 2)
    try:
        os.execve(payload["argv"][0], payload["argv"], payload["env"])
    except OSError as error:
        print(f"{payload['argv'][0]}: {error.strerror}", file=sys.stderr, flush=True)
        os._exit(127)


_KINDS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "script": run_script,
    "exec": run_executable,
    "session": keeper.serve_session,
    "calls": calls.serve_calls,
    "asserts": asserts.serve_asserts,
    "trace": tracer.serve_trace,
}
