"""Runs each cell of a session in its own process. All code here shares its process with untrusted code; its reports are not trusted.

A *state* is a process that has run the cells so far and waits. For a cell it forks a child, which runs the cell, reports, and is then
the state after the cell. The keeper (`runtime.keeper`) decides which of the two continues.

Descriptors: 0-2 as for any program (1 and 2 are the cell's output); 4 ends the session if anything is written to it; 5 brings the
keeper's messages and is read-only. A cell's output is what a terminal would show: stdout and stderr in order, the value of a last
expression, the traceback.
"""

from __future__ import annotations

import ast
import contextlib
import fcntl
import io
import json
import linecache
import os
import random
import signal
import socket
import struct
import sys
import traceback
from typing import Any

from reflectioncoder.sandbox.runtime.open_files import OpenFiles

TRIPWIRE_FD, MESSAGE_FD = 4, 5
HEADER = struct.Struct("<Q")
_FRAMES_OF_A_SCRIPT = 1000  # CPython's recursion limit: a cell gets as many frames as a script would
_CALLS_OF_A_CELL = 4  # frames between `live` and a cell's code
MAX_NAME = 200

# Bound before untrusted code runs, so that a cell that patches a module does not break later code by accident.
_close, _dup2, _exit, _fork, _getpid, _pipe, _read, _waitpid, _write = (
    os.close, os.dup2, os._exit, os.fork, os.getpid, os.pipe, os.read, os.waitpid, os.write,
)  # fmt: skip
_dumps, _loads, _recv_fds = json.dumps, json.loads, socket.recv_fds


class CellTimeout(BaseException):
    pass


def _interrupt(signum: int, frame: object) -> None:
    raise CellTimeout


def cell_file(number: int) -> str:
    return f"<cell {number}>"


def receive(source: socket.socket, num_fds: int) -> tuple[dict[str, Any], list[int]] | None:
    """Return the next message and its descriptors; None if the other side is gone."""
    data, fds, _, _ = _recv_fds(source, HEADER.size, num_fds)
    if len(data) < HEADER.size:
        return None
    content = bytearray()
    (length,) = HEADER.unpack(data)
    while len(content) < length:
        part = source.recv(min(length - len(content), 1 << 18))
        if not part:
            return None
        content += part
    return _loads(content), fds


def live(source: socket.socket, file_name: str) -> None:
    """Run as the first state and, after forks, as all later ones. Never returns."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    files = {file_name} if file_name else set()
    source = _as_message_fd(source)
    sys.setrecursionlimit(_FRAMES_OF_A_SCRIPT + _depth() + _CALLS_OF_A_CELL)
    open_files = OpenFiles((0, 1, 2, TRIPWIRE_FD, MESSAGE_FD))
    while True:
        received = receive(source, 3)
        if received is None:
            _exit(0)
        request, fds = received
        if not _fork_for_the_keeper():
            for fd in fds:
                _close(fd)
            continue
        open_files.put_back()
        source.close()
        output, tripwire, messages = map(_out_of_the_way, fds)
        for fd, target in ((output, 1), (output, 2), (tripwire, TRIPWIRE_FD)):
            _dup2(fd, target, inheritable=target != TRIPWIRE_FD)
        _close(output)
        _close(tripwire)
        source = _as_message_fd(socket.socket(fileno=messages))
        _write(1, b"%d\n" % _getpid())
        name = file_name or cell_file(request["number"])
        files.add(name)
        report = _run(request, name, namespace, files)
        report["open"] = open_files.look()
        told = receive(source, 1)
        if told is None:
            _exit(0)
        report_fd = told[1][0]
        _write(report_fd, _dumps(report).encode() + b"\n")
        _close(report_fd)


def _out_of_the_way(fd: int) -> int:
    """Move a descriptor above a cell's descriptors, since an earlier cell may have closed any of these."""
    moved = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, MESSAGE_FD + 1)
    _close(fd)
    return moved


def _as_message_fd(source: socket.socket) -> socket.socket:
    moved = socket.socket(fileno=os.dup2(source.fileno(), MESSAGE_FD, inheritable=False))
    source.close()
    return moved


def _depth() -> int:
    """Count the frames on the stack, including the caller's."""
    frame, depth = sys._getframe(1), 0
    while frame is not None:
        frame, depth = frame.f_back, depth + 1
    return depth


def _fork_for_the_keeper() -> bool:
    """Fork twice, so that the keeper adopts the new process; return True in it. The random state continues in both processes."""
    drawn = random.getstate()
    adopted, alive = _pipe()
    between = _fork()
    if between == 0:
        if _fork():
            _exit(0)
        _close(alive)
        _read(adopted, 1)
        _close(adopted)
        random.setstate(drawn)
        return True
    _close(adopted)
    with contextlib.suppress(ChildProcessError):  # a cell made the kernel reap its children
        _waitpid(between, 0)
    _close(alive)
    random.setstate(drawn)
    return False


def _own_frames(error: BaseException, file_names: set[str]) -> Any:
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename not in file_names:
        frames = frames.tb_next
    return frames


def _name_of(error: BaseException) -> str:
    name = type(error).__name__[:MAX_NAME]
    return name if name.isidentifier() else "Exception"


def _run(request: dict[str, Any], file_name: str, namespace: dict[str, Any], files: set[str]) -> dict[str, Any]:
    """Run a cell; return {"status", "error": the exception's class, "line": the line of the cell where it was raised}.

    Threads still running are mentioned in the output: a fork does not carry them into later cells' processes.
    """
    status, error_name, line, last_words = "ok", None, None, ""
    # Line-buffered as on a terminal: in order with the output of child processes, and nothing lingers in a stream that a cell keeps.
    stream = io.TextIOWrapper(
        io.BufferedWriter(io.FileIO(1, "w", closefd=False)), "utf-8", "replace", newline="\n", line_buffering=True
    )
    try:
        try:
            with contextlib.redirect_stdout(stream), contextlib.redirect_stderr(stream):
                signal.signal(signal.SIGALRM, _interrupt)
                signal.setitimer(signal.ITIMER_REAL, request["timeout_s"])
                run_cell(request["code"], file_name, namespace)
        except CellTimeout:
            raise
        except BaseException as error:  # SystemExit too: the session continues
            status, error_name = "failed", _name_of(error)
            frames = _own_frames(error, files)
            line = frames.tb_lineno if frames is not None else getattr(error, "lineno", None)
            last_words = "".join(traceback.format_exception(type(error), error, frames))
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except CellTimeout:
        status, error_name, line = "timeout", "TimeoutError", None
        last_words = f"TimeoutError: the cell ran longer than {request['timeout_s']:g} seconds\n"
    with contextlib.suppress(Exception):
        stream.flush()
    with contextlib.suppress(Exception):
        if left := sys.modules["threading"].active_count() - 1:
            last_words += (
                f"[{left} thread{'s' * (left > 1)} of this cell still running: ended with it, with the pools that need them]\n"
            )
    data = memoryview(last_words.encode("utf-8", "replace"))
    with contextlib.suppress(OSError):  # the cell may have closed it
        while data:
            data = data[_write(1, data) :]
    return {"status": status, "error": error_name, "line": line if type(line) is int else None}


def run_cell(code: str, file_name: str, namespace: dict[str, Any]) -> None:
    lines = code.splitlines(True)
    if lines and not lines[-1].endswith("\n"):  # as linecache does: traceback needs whole lines to place carets
        lines[-1] += "\n"
    linecache.cache[file_name] = (len(code), None, lines, file_name)
    tree = ast.parse(code, file_name)
    last = None
    if tree.body and isinstance(tree.body[-1], ast.Expr):
        last = ast.Expression(tree.body.pop().value)  # type: ignore[attr-defined]
    exec(compile(tree, file_name, "exec", dont_inherit=True), namespace)
    if last is not None:
        value = eval(compile(last, file_name, "eval", dont_inherit=True), namespace)
        if value is not None:
            print(repr(value))
