"""Provides a stateful interpreter: cells run one after another, names stay defined, as in a notebook.

The author of reflection sequences runs its attempts here. A cell that exceeds its time is interrupted inside the interpreter; if that
does not help, the interpreter is killed. The next cell then starts a new one, in which on request (`replay`) the earlier successful
cells run again, and its result says that the interpreter was restarted.

A cell's report about itself is not trusted (docs/sandbox.md, "Sessions"): each cell runs in its own process, and one that passes must
fail in a control run. A session that is caught cheating is lost, as if the interpreter had crashed.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import selectors
import time
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from reflectioncoder.sandbox.control import control_of
from reflectioncoder.sandbox.forkserver import SERVERS
from reflectioncoder.sandbox.isolation import Isolation
from reflectioncoder.sandbox.limits import Limits
from reflectioncoder.sandbox.process import Pipes
from reflectioncoder.sandbox.running import WATCH_INTERVAL_S, Running

CellStatus = Literal["ok", "failed", "timeout", "crashed"]
_PATIENCE_S = 20.0  # beyond the time of a cell: the keeper ends it long before
_KEEPER_PROCESSES = 4  # the keeper, the state before, the cell's process, and one that is between them for a moment
_LOST_STATE = "; the interpreter was restarted and its state is lost"  # `data.failed_attempts` knows lost cells by it
_DRAW = random.SystemRandom()


@dataclass(frozen=True)
class CellResult:
    """The result of a cell. `output`: capped, as a terminal would show it; `error`: the exception's class name; `restarted`: earlier
    state was lost."""

    status: CellStatus
    output: str
    error: str | None
    duration_s: float
    restarted: bool = False

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class Session:
    """A session, used as a context manager. `limits.wall_s` applies to each cell, the other limits to the interpreter's life.

    Args:
        replay: after a restart, first run the successful cells again, so that their names are defined.
        file_name: the name of every cell in tracebacks; empty: `<cell N>`.

    Raises (from `run`):
        SandboxUnavailableError: the sandbox failed, not the program.
    """

    def __init__(self, limits: Limits, isolation: Isolation, *, replay: bool = False, file_name: str = "main.py"):
        self._limits = limits
        self._isolation = isolation
        self._replay = replay
        self._file_name = file_name
        self._open = contextlib.ExitStack()
        self._running: Running | None = None
        self._pipes: Pipes | None = None
        self._lost_state = False
        self._runs_once = False  # the next cell has no control, which would disturb what an earlier cell left open
        self._num_cells = 0
        self._succeeded: list[str] = []

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """End the interpreter; a later `run` starts a new one."""
        self._running, self._runs_once = None, False
        self._open.close()

    def _start(self) -> tuple[Running, Pipes]:
        with contextlib.ExitStack() as opening:
            server = opening.enter_context(SERVERS.lend(self._isolation))
            pipes = opening.enter_context(Pipes(4, 5, reading=(5,)))
            running = server.start("session", {"file_name": self._file_name}, self._limits_of_all(), pipes.theirs)
            pipes.close_theirs()
            opening.callback(running.finish)
            self._open = opening.pop_all()
        self._running, self._pipes, self._num_cells = running, pipes, 0
        return running, pipes

    def _limits_of_all(self) -> Limits:
        """Return the limits for all processes: per-process limits as requested, totals for a state, a cell and its control."""
        limits = self._limits
        return replace(
            limits,
            memory_bytes=3 * limits.memory_bytes,
            address_space_bytes=limits.address_space_bytes or limits.memory_bytes,
            processes=limits.processes + _KEEPER_PROCESSES,
            cpu_s=2 * limits.cpu_s,
        )

    def run(self, code: str) -> CellResult:
        """Run one cell and wait until it ends."""
        restarted, self._lost_state = self._lost_state, False
        if restarted and self._replay:
            for cell in self._succeeded:
                self._run(cell)
        result = self._run(code)
        if result.status == "ok":
            self._succeeded.append(code)
        return replace(result, restarted=restarted)

    def _run(self, code: str) -> CellResult:
        """Run the cell and, if it is reported as passed, its control.

        The control runs before or after it, at random, so that code cannot tell which of the two counts.
        """
        started = time.monotonic()
        control = control_of(code)
        wall_s = self._limits.wall_s
        once = self._runs_once
        controlled = self._ask(control.code, 2 * wall_s, advance=True, keep=False) if not once and _DRAW.random() < 0.5 else None
        if controlled is not None and controlled.keeper_ended:  # the cell's code ended the keeper
            answer = controlled
        else:
            answer = self._ask(code, wall_s, advance=controlled is None, keep=True)
        if answer.status == "ok" and not once:
            runs_after = controlled is None
            controlled = controlled or self._ask(control.code, 2 * wall_s, advance=False, keep=False)
            if controlled.status == "ok" and control.second is not None:
                runs_after = True
                controlled = self._ask(control.second, 2 * wall_s, advance=False, keep=False)
            if not control.is_met_by(controlled.status, controlled.error, controlled.line):
                answer = _Answer("crashed", "the session reports what does not hold as passed", lost=True)
            elif runs_after and answer.open != "nothing":  # the control's run replaced files that the state holds open
                answer = self._ask(code, wall_s, advance=False, keep=True)
        self._runs_once = answer.open == "more"
        if answer.lost:
            self.close()
            self._lost_state = True
            answer = replace(answer, output=f"{answer.output}{_LOST_STATE}\n")
        return CellResult(answer.status, answer.output, answer.error, time.monotonic() - started)

    def _ask(self, code: str, timeout_s: float, *, advance: bool, keep: bool) -> _Answer:
        """Let the keeper run a cell (see `runtime.keeper`)."""
        running, pipes = (self._running, self._pipes) if self._running and self._pipes else self._start()
        self._num_cells += advance
        request = {
            "code": code,
            "number": self._num_cells,
            "timeout_s": timeout_s,
            "output_bytes": self._limits.output_bytes,
            "advance": advance,
            "keep": keep,
        }
        return self._exchange(running, pipes, json.dumps(request).encode() + b"\n", timeout_s + _PATIENCE_S)

    def _exchange(self, running: Running, pipes: Pipes, request: bytes, limit_s: float) -> _Answer:
        buffer, unsent = bytearray(), memoryview(request)
        for fd in (4, 5):
            os.set_blocking(pipes.ours[fd], False)
        began = running.own_time_s()
        with selectors.DefaultSelector() as selector:
            for fd in (pipes.ours[4], running.control_fd):
                selector.register(fd, selectors.EVENT_READ)
            selector.register(pipes.ours[5], selectors.EVENT_WRITE)
            while True:
                ready = {key.fd for key, _ in selector.select(WATCH_INTERVAL_S)}
                if pipes.ours[5] in ready:
                    try:
                        unsent = unsent[os.write(pipes.ours[5], unsent) :]
                    except BrokenPipeError:  # the keeper died; the reason comes over the control socket
                        unsent = unsent[:0]
                    if not unsent:
                        selector.unregister(pipes.ours[5])
                if running.control_fd in ready:
                    running.poll()
                if (pipes.ours[4] in ready or running.report) and not _read(pipes.ours[4], buffer) and pipes.ours[4] in ready:
                    selector.unregister(pipes.ours[4])
                if buffer.endswith(b"\n"):
                    return _read_answer(buffer)
                if running.report:
                    how = f"signal {running.report['signal']}" if running.report["signal"] else f"exit code {running.report['exit']}"
                    return _Answer("crashed", f"the interpreter ended with {how}", lost=True, keeper_ended=True)
                if len(buffer) > 8 * self._limits.output_bytes + 2**20:
                    return _Answer("crashed", "the cell wrote too much", lost=True, keeper_ended=True)
                if exceeded := running.watch(limit_s, since_s=began):
                    status: CellStatus = "timeout" if exceeded.status == "timeout" else "crashed"
                    return _Answer(status, f"the cell {exceeded.reason}", lost=True, keeper_ended=True)


@dataclass(frozen=True)
class _Answer:
    """The answer to a request. `lost`: the state is lost, and `output` says why; `keeper_ended`: so is the keeper."""

    status: CellStatus
    output: str
    error: str | None = None
    line: int | None = None
    lost: bool = False
    keeper_ended: bool = False
    open: str = "nothing"


def _read(channel: int, data: bytearray) -> bool:
    """Read the available data; return False at end of file."""
    with contextlib.suppress(BlockingIOError):
        while more := os.read(channel, 65536):
            data += more
        return False
    return True


def _read_answer(data: bytes | bytearray) -> _Answer:
    """Read and validate the keeper's answer: its process never runs a cell, but is confined together with processes that do."""
    with contextlib.suppress(ValueError, RecursionError, AttributeError, TypeError):
        answer = json.loads(data)
        lost, output, error, line = (answer.get(name) for name in ("lost", "output", "error", "line"))
        if isinstance(lost, str):
            return _Answer("timeout" if answer.get("status") == "timeout" else "crashed", lost, lost=True)
        if (
            answer.get("status") in ("ok", "failed", "timeout")
            and isinstance(output, str)
            and (error is None or (isinstance(error, str) and error.isidentifier()))
            and (line is None or type(line) is int)
        ):
            return _Answer(answer["status"], output, error, line, open=str(answer.get("open")))
    return _Answer("crashed", "the interpreter's answer was broken", lost=True, keeper_ended=True)
