"""The interpreter inside a session: runs cells one after another in one namespace, until the requests end.

Protocol, one JSON value a line: {"code", "timeout_s"} on the request descriptor; {"status", "output", "error"} on the channel.
A cell's output is what a terminal would show: stdout and stderr in order, the value of a last expression, the traceback.
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
import linecache
import os
import signal
import traceback
from typing import Any

CHANNEL_FD, REQUEST_FD = 4, 5


class CellTimeout(BaseException):
    pass


def _interrupt(signum: int, frame: object) -> None:
    raise CellTimeout


def cell_file(number: int) -> str:
    return f"<cell {number}>"


def _own_frames(error: BaseException, file_names: set[str]) -> Any:
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename not in file_names:
        frames = frames.tb_next
    return frames


def run_cell(code: str, file_name: str, namespace: dict[str, Any]) -> None:
    linecache.cache[file_name] = (len(code), None, code.splitlines(True), file_name)
    tree = ast.parse(code, file_name)
    last = None
    if tree.body and isinstance(tree.body[-1], ast.Expr):
        last = ast.Expression(tree.body.pop().value)  # type: ignore[attr-defined]
    exec(compile(tree, file_name, "exec", dont_inherit=True), namespace)
    if last is not None:
        value = eval(compile(last, file_name, "eval", dont_inherit=True), namespace)
        if value is not None:
            print(repr(value))


def serve_cells(payload: dict[str, Any]) -> None:
    signal.signal(signal.SIGALRM, _interrupt)
    namespace: dict[str, Any] = {"__name__": "__main__"}
    files = {payload["file_name"]} if payload["file_name"] else set()
    with open(REQUEST_FD, "rb", closefd=False) as requests:
        for number, line in enumerate(requests, start=1):
            request = json.loads(line)
            file_name = payload["file_name"] or cell_file(number)
            files.add(file_name)
            output, status, error_name = io.StringIO(), "ok", None
            try:
                with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
                    signal.setitimer(signal.ITIMER_REAL, request["timeout_s"])
                    run_cell(request["code"], file_name, namespace)
            except CellTimeout:
                status, error_name = "timeout", "TimeoutError"
                output.write(f"TimeoutError: the cell ran longer than {request['timeout_s']:g} seconds\n")
            except BaseException as error:  # SystemExit too: the session goes on
                status, error_name = "failed", type(error).__name__[:200]
                frames = _own_frames(error, files)
                output.write("".join(traceback.format_exception(type(error), error, frames)))
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
            answer = {"status": status, "output": output.getvalue(), "error": error_name}
            data = memoryview(json.dumps(answer).encode() + b"\n")
            while data:
                data = data[os.write(CHANNEL_FD, data) :]
