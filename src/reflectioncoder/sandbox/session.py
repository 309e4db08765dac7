"""A stateful interpreter: cells run one after another, names stay defined, as in a notebook.

The author of reflection sequences runs its attempts here. A cell that outlives its time is interrupted inside the interpreter; if
that does not help the interpreter is killed. The next cell then starts a new one, in which the earlier cells that succeeded are
run again on request (`replay`), and its result says that it was restarted.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import time
from dataclasses import dataclass, replace
from typing import Any, Literal

from reflectioncoder.sandbox.forkserver import SERVERS, WATCH_INTERVAL_S, Excess, Running
from reflectioncoder.sandbox.isolation import Isolation, detect_isolation
from reflectioncoder.sandbox.limits import CappedOutput, Limits
from reflectioncoder.sandbox.process import Pipes

CellStatus = Literal["ok", "failed", "timeout", "crashed"]
_GRACE_S = 1.0


@dataclass(frozen=True)
class CellResult:
    """`output` as a terminal would show it, capped; `error` is the exception's class name; `restarted`: state was lost before."""

    status: CellStatus
    output: str
    error: str | None
    duration_s: float
    restarted: bool = False


class Session:
    """Use as a context manager. `limits.wall_s` holds for each cell, the other limits for the interpreter's life.

    Args:
        replay: after a restart first run the cells again that had succeeded, so that their names are there.
        file_name: what tracebacks call every cell; empty: `<cell N>`.

    Raises (from `run`):
        SandboxUnavailableError: the sandbox failed, not the program.
    """

    def __init__(
        self, limits: Limits | None = None, isolation: Isolation | None = None, *, replay: bool = False, file_name: str = "main.py"
    ):
        self._limits = limits or Limits()
        self._isolation = isolation
        self._replay = replay
        self._file_name = file_name
        self._open = contextlib.ExitStack()
        self._running: Running | None = None
        self._pipes: Pipes | None = None
        self._lost_state = False
        self._succeeded: list[str] = []

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """End the interpreter; a later `run` starts a new one."""
        self._running = None
        self._open.close()

    def _start(self) -> tuple[Running, Pipes]:
        with contextlib.ExitStack() as opening:
            server = opening.enter_context(SERVERS.lend(self._isolation or detect_isolation()))
            pipes = opening.enter_context(Pipes(4, 5, reading=(5,)))
            running = server.start("session", {"file_name": self._file_name}, self._limits, pipes.theirs)
            pipes.close_theirs()
            opening.callback(running.finish)
            self._open = opening.pop_all()
        self._running, self._pipes = running, pipes
        return running, pipes

    def run(self, code: str) -> CellResult:
        """Run one cell and wait for it."""
        restarted, self._lost_state = self._lost_state, False
        if restarted and self._replay:
            for cell in self._succeeded:
                self._run(cell)
        result = self._run(code)
        if result.status == "ok":
            self._succeeded.append(code)
        return replace(result, restarted=restarted)

    def _run(self, code: str) -> CellResult:
        running, pipes = (self._running, self._pipes) if self._running and self._pipes else self._start()
        started = time.monotonic()
        request = json.dumps({"code": code, "timeout_s": self._limits.wall_s}).encode() + b"\n"
        answer = self._exchange(running, pipes, request)
        duration_s = time.monotonic() - started
        if isinstance(answer, Excess):
            self.close()
            self._lost_state = True
            status: CellStatus = "timeout" if answer.status == "timeout" else "crashed"
            return CellResult(status, f"{answer.reason}; the interpreter was restarted and its state is lost\n", None, duration_s)
        return CellResult(answer["status"], _cap(answer, self._limits.output_bytes), answer["error"], duration_s)

    def _exchange(self, running: Running, pipes: Pipes, request: bytes) -> dict[str, Any] | Excess:
        """The cell's answer, or why there is none."""
        buffer, unsent = bytearray(), memoryview(request)
        os.set_blocking(pipes.ours[5], False)
        began = running.own_time_s()
        with selectors.DefaultSelector() as selector:
            for fd in (pipes.ours[4], running.control_fd):
                selector.register(fd, selectors.EVENT_READ)
            selector.register(pipes.ours[5], selectors.EVENT_WRITE)
            while True:
                if running.report:
                    return _ending(running.report)
                for key, _ in selector.select(WATCH_INTERVAL_S):
                    if key.fd == pipes.ours[5]:
                        try:
                            unsent = unsent[os.write(key.fd, unsent) :]
                        except BrokenPipeError:  # it died; the reason comes over the control socket
                            unsent = unsent[:0]
                        if not unsent:
                            selector.unregister(key.fd)
                    elif key.fd == running.control_fd:
                        running.poll()
                    else:
                        data = os.read(key.fd, 65536)
                        buffer += data
                        if buffer.endswith(b"\n"):
                            return _read_answer(buffer)
                        if not data:
                            selector.unregister(key.fd)
                        if len(buffer) > 64 * self._limits.output_bytes + 2**20:
                            return Excess("crashed", "the cell wrote too much")
                if exceeded := running.watch(self._limits.wall_s + _GRACE_S, since_s=began):
                    return replace(exceeded, reason=f"the cell {exceeded.reason}")


def _ending(report: dict[str, Any]) -> Excess:
    how = f"signal {report['signal']}" if report["signal"] else f"exit code {report['exit']}"
    return Excess("crashed", f"the interpreter ended with {how}")


def _read_answer(data: bytes | bytearray) -> dict[str, Any] | Excess:
    """The cell's own process writes this: it may be anything."""
    with contextlib.suppress(ValueError, RecursionError):
        answer = json.loads(data)
        if (
            isinstance(answer, dict)
            and answer.get("status") in ("ok", "failed", "timeout")
            and isinstance(answer.get("output"), str)
            and (answer.get("error") is None or (isinstance(answer["error"], str) and answer["error"].isidentifier()))
            and len(answer.get("error") or "") <= 200
        ):
            return answer
    return Excess("crashed", "the interpreter's answer was broken")


def _cap(answer: dict[str, Any], output_bytes: int) -> str:
    """Head and tail of the output; a traceback is at its end and stays."""
    output = CappedOutput(output_bytes)
    output.add(answer["output"].encode("utf-8", "replace"))
    return output.text()
