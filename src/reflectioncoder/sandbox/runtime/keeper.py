"""The first process of a session: holds the channel to the trusted side and starts the processes that run cells, but never runs one.

A cell can only write output. Its process reports over a pipe whose write end waits, unread, in a socket that the process cannot write
to; the kernel tells whether the process has ended. The keeper's memory and descriptors are inaccessible, because it is started as not
dumpable (`confine.confine_program`).

Requests, one JSON value per line: {"code", "number", "timeout_s", "output_bytes", "advance", "keep"}. Several requests may concern one
cell, the first of which has `advance`: all run from the same state and find the same files. The process of the request with `keep`
becomes the next state; the others are discarded.

Answers, one JSON value per line: {"status", "output", "error", "line", "open"}, or {"lost": reason, "status"} if no state is left.
"open" says what the state holds open (`runtime.open_files`): "nothing", "files", or "more", which cannot be restored for a second run.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import sys
import time
from typing import Any

from reflectioncoder.sandbox.limits import CappedOutput
from reflectioncoder.sandbox.runtime import cells, kernel
from reflectioncoder.sandbox.runtime.work_files import restore, snapshot

CHANNEL_FD, REQUEST_FD = 4, 5
_MAX_REPORT_BYTES = 4096
_MAX_PID_BYTES = 20
_GRACE_S = 2.0  # from a cell's interrupt to its end
_START_PATIENCE_S = 10.0  # for a state to fork
_LOOK_S = 0.1  # between checks whether a process has ended: leftover processes may hold its descriptors open
_LINUX = sys.platform == "linux"


class LostError(Exception):
    """A cell's process, or the state before it, has ended or cannot be trusted."""

    def __init__(self, reason: str, status: str = "crashed"):
        super().__init__(reason)
        self.status = status


def serve_session(payload: dict[str, Any]) -> None:
    """Serve requests until their end. `payload`: file_name."""
    if _LINUX:
        kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
    keeper = Keeper(payload["file_name"])
    with open(REQUEST_FD, "rb", closefd=False) as requests:
        for line in requests:
            try:
                answer = keeper.run(json.loads(line))
            except LostError as lost:
                answer = {"lost": str(lost), "status": lost.status}
            data = memoryview(json.dumps(answer).encode() + b"\n")
            while data:
                data = data[os.write(CHANNEL_FD, data) :]


class Keeper:
    """The keeper of a session: `run(request)` returns the answer.

    Raises (from `run`):
        LostError: the cell gave no result.
    """

    def __init__(self, file_name: str):
        self._state = _first_state(file_name)
        self._next: _Process | None = None
        self._before = self._after = snapshot()

    def run(self, request: dict[str, Any]) -> dict[str, Any]:
        if request["advance"]:
            if self._next is not None:
                self._state.end()
                self._state, self._next = self._next, None
            self._before = self._after = snapshot()
        else:
            restore(self._before)
        with contextlib.closing(_Run(self._state, request)) as running:
            try:
                answer = running.follow(request["timeout_s"])
            except LostError:
                running.process.end()
                restore(self._after)
                raise
        if request["keep"]:
            if self._next is not None:
                self._next.end()
            self._next, self._after = running.process, snapshot()
        else:
            running.process.end()
            restore(self._after)
        return answer


class _Process:
    """A process that runs a cell or, afterwards, waits as a state. `pid` is 0 until it is known to be the keeper's child."""

    def __init__(self) -> None:
        self.messages, self.theirs = socket.socketpair()
        self.theirs.shutdown(socket.SHUT_WR)
        self.messages.settimeout(_START_PATIENCE_S)
        self.pid = 0

    def send(self, message: dict[str, Any], fds: list[int]) -> None:
        content = json.dumps(message).encode()
        try:
            socket.send_fds(self.messages, [cells.HEADER.pack(len(content))], fds)
            self.messages.sendall(content)
        except OSError as error:
            raise LostError(f"the interpreter takes no more cells ({error})") from error

    def exit_status(self) -> int | None:
        """Return the process's exit code (negative: the signal), None while it runs; reap all other ended children too."""
        found = None
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if not pid:
                    break
                if pid == self.pid:
                    self.pid, found = 0, os.waitstatus_to_exitcode(status)
        return found

    def end(self) -> None:
        self.messages.close()
        self.theirs.close()
        if self.pid:
            with contextlib.suppress(OSError):  # the system-call filter may forbid it; without messages the process ends by itself
                os.kill(self.pid, signal.SIGKILL)


def _first_state(file_name: str) -> _Process:
    state = _Process()
    state.pid = os.fork()
    if state.pid == 0:
        try:
            state.messages.close()
            for fd in (CHANNEL_FD, REQUEST_FD):
                os.close(fd)
            if _LINUX:
                kernel.prctl(kernel.PR_SET_DUMPABLE, 1)  # the watch must see the resources of cells
            cells.live(state.theirs, file_name)
        finally:
            os._exit(1)
    state.theirs.close()
    return state


class _Run:
    """A cell that runs from a state, in its own process."""

    def __init__(self, state: _Process, request: dict[str, Any]):
        self.process = _Process()
        self._output = CappedOutput(request["output_bytes"])
        self._report = bytearray()
        pipes = [os.pipe() for _ in range(3)]
        self._fds = self._output_fd, self._tripwire_fd, self._report_fd = [read for read, _ in pipes]
        for fd in self._fds:
            os.set_blocking(fd, False)
        output, tripwire, report = theirs = [write for _, write in pipes]
        try:
            asked = {key: request[key] for key in ("code", "number", "timeout_s")}
            state.send(asked, [output, tripwire, self.process.theirs.fileno()])
            self.process.send({}, [report])
        except LostError:
            self.close()
            raise
        finally:
            self.process.theirs.close()
            for fd in theirs:
                os.close(fd)

    def close(self) -> None:
        for fd in self._fds:
            os.close(fd)

    def follow(self, timeout_s: float) -> dict[str, Any]:
        self._await_start()
        deadline = time.monotonic() + timeout_s + _GRACE_S
        poll = select.poll()
        for fd in self._fds:
            poll.register(fd, select.POLLIN)
        poll.register(REQUEST_FD, 0)
        while True:
            ready = {fd for fd, _ in poll.poll(1000 * _LOOK_S)}
            if REQUEST_FD in ready:
                os._exit(0)  # the trusted side is gone
            exit_status = self.process.exit_status()  # read before the last output, so that none is missed
            if self._output_fd in ready and not self._read_output():
                poll.unregister(self._output_fd)
            if self._tripwire_fd in ready:
                self._require_untouched()
                poll.unregister(self._tripwire_fd)
            reports = self._report_fd not in ready or self._read_report()
            if self._report.endswith(b"\n"):
                break
            if exit_status is not None:
                raise LostError(_how(exit_status))
            if not reports:
                raise LostError(self._closed())
            if time.monotonic() > deadline:
                raise LostError(f"the cell ran longer than {timeout_s + _GRACE_S:.3g} s", "timeout")
        self._read_output()
        self._require_untouched()
        self._read_report()
        return {**_checked(self._report), "output": self._output.text()}

    def _await_start(self) -> None:
        """Wait until the process has sent its id, in the first line of its output, and is confirmed as the keeper's child."""
        said, deadline = b"", time.monotonic() + _START_PATIENCE_S
        while not said.endswith(b"\n"):
            if not select.select([self._output_fd], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise LostError("the interpreter takes no more cells")
            if not (byte := os.read(self._output_fd, 1)) or len(said) > _MAX_PID_BYTES:
                raise LostError("the interpreter takes no more cells")
            said += byte
        if not said.strip().isdigit():
            raise LostError("the interpreter takes no more cells")
        if _LINUX:
            self.process.pid = int(said)
            try:
                os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except (OSError, OverflowError) as error:
                self.process.pid = 0
                raise LostError("the interpreter takes no more cells") from error

    def _read_output(self) -> bool:
        """Read the available output; return False at its end."""
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self._output_fd, 1 << 18):
                self._output.add(data)
                if len(data) < 1 << 16:
                    return True
            return False
        return True

    def _read_report(self) -> bool:
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self._report_fd, _MAX_REPORT_BYTES):
                self._report += data
                if len(self._report) > _MAX_REPORT_BYTES:
                    raise LostError("the cell's report was broken")
            return False
        return True

    def _require_untouched(self) -> None:
        with contextlib.suppress(BlockingIOError):
            if os.read(self._tripwire_fd, 1):
                raise LostError("the cell wrote to a descriptor of the session")

    def _closed(self) -> str:
        """Return why no report can come: the process has ended, or has closed its descriptors."""
        deadline = time.monotonic() + 1.0
        while self.process.pid and time.monotonic() < deadline:
            if (status := self.process.exit_status()) is not None:
                return _how(status)
            time.sleep(0.001)
        return "the cell closed the descriptors of the session, or ended"


def _how(status: int) -> str:
    return f"the interpreter ended with {f'exit code {status}' if status >= 0 else f'signal {-status}'}"


def _checked(data: bytes | bytearray) -> dict[str, Any]:
    """Validate and return the report of a cell's process, which may be anything.

    Raises:
        LostError: the data is not a report.
    """
    with contextlib.suppress(ValueError, RecursionError, AttributeError):
        report = json.loads(data)
        error, line = report.get("error"), report.get("line")
        if (
            set(report) == {"status", "error", "line", "open"}
            and report["status"] in ("ok", "failed", "timeout")
            and (error is None or (isinstance(error, str) and error.isidentifier() and len(error) <= cells.MAX_NAME))
            and (line is None or type(line) is int)
            and report["open"] in ("nothing", "files", "more")
        ):
            return report
    raise LostError("the cell's report was broken")
