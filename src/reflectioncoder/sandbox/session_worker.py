"""The interpreter inside a session: runs cells one after another in one namespace. Standard library only, run as a script.

Protocol, one JSON value a line: {"code", "timeout_s"} on stdin; on the descriptor RESULT_FD {"status", "output", "error"}.
A cell's output is what a terminal would show: stdout and stderr in order, the value of a last expression, the traceback.
"""

import ast
import contextlib
import io
import json
import linecache
import os
import signal
import sys
import traceback

FILE = "main.py"


class CellTimeout(BaseException):
    pass


def interrupt(signum, frame):
    raise CellTimeout


def format_error(error):
    """The traceback as CPython prints it for a script: from the cell's own frames on (none for a syntax error)."""
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename != FILE:
        frames = frames.tb_next
    return "".join(traceback.format_exception(type(error), error, frames))


def run_cell(code, namespace):
    linecache.cache[FILE] = (len(code), None, code.splitlines(True), FILE)
    tree = ast.parse(code, FILE)
    last = None
    if tree.body and isinstance(tree.body[-1], ast.Expr):
        last = ast.Expression(tree.body.pop().value)
    exec(compile(tree, FILE, "exec"), namespace)
    if last is not None:
        value = eval(compile(last, FILE, "eval"), namespace)
        if value is not None:
            print(repr(value))


def main():
    result_fd = int(os.environ.pop("RESULT_FD"))
    os.set_inheritable(result_fd, False)
    requests = os.fdopen(os.dup(0), "rb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    signal.signal(signal.SIGALRM, interrupt)
    namespace = {"__name__": "__main__"}
    for line in requests:
        request = json.loads(line)
        output, status, error_name = io.StringIO(), "ok", None
        try:
            with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
                signal.setitimer(signal.ITIMER_REAL, request["timeout_s"])
                run_cell(request["code"], namespace)
        except CellTimeout:
            status, error_name = "timeout", "TimeoutError"
            output.write(f"TimeoutError: the cell ran longer than {request['timeout_s']:g} seconds\n")
        except BaseException as error:  # SystemExit too: the session goes on
            status, error_name = "failed", type(error).__name__
            output.write(format_error(error))
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        answer = {"status": status, "output": output.getvalue(), "error": error_name}
        data = json.dumps(answer).encode() + b"\n"
        while data:
            data = data[os.write(result_fd, data) :]


if __name__ == "__main__":
    sys.exit(main())
