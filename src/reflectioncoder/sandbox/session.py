"""A stateful interpreter: cells run one after another, names stay defined, as in a notebook.

The author of reflection sequences runs its attempts here. A cell that outlives its time is interrupted inside the interpreter; if
that does not help the interpreter is killed, a new one is started for the next cell, and that result says so.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from reflectioncoder.sandbox.isolation import Isolation
from reflectioncoder.sandbox.limits import CappedOutput, Limits, SandboxUnavailableError
from reflectioncoder.sandbox.process import ConfinedProcess, python_argv

CellStatus = Literal["ok", "failed", "timeout", "crashed"]
_GRACE_S = 1.0
_WORKER = Path(__file__).with_name("session_worker.py").read_text(encoding="utf-8")


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

    Raises (from `run`):
        SandboxUnavailableError: the sandbox failed, not the program.
    """

    def __init__(self, limits: Limits | None = None, isolation: Isolation | None = None):
        self._limits = limits or Limits()
        self._isolation = isolation
        self._process: ConfinedProcess | None = None
        self._answers = -1
        self._lost_state = False

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        if self._process is not None:
            self._process.close()
            os.close(self._answers)
            self._process = None

    def _start(self) -> ConfinedProcess:
        self._answers, write = os.pipe()
        try:
            self._process = ConfinedProcess(
                python_argv("session_worker.py"),
                self._limits,
                self._isolation,
                files={"session_worker.py": _WORKER},
                stdin=subprocess.PIPE,
                env={"RESULT_FD": str(write)},
                pass_fds=(write,),
            )
        except BaseException:
            os.close(self._answers)
            raise
        finally:
            os.close(write)
        return self._process

    def run(self, code: str) -> CellResult:
        """Run one cell and wait for it."""
        process = self._process or self._start()
        restarted, self._lost_state = self._lost_state, False
        started = time.monotonic()
        assert process.process.stdin is not None
        request = json.dumps({"code": code, "timeout_s": self._limits.wall_s}).encode() + b"\n"
        with contextlib.suppress(BrokenPipeError):  # it died; the reason is found below
            process.process.stdin.write(request)
        answer, reason = self._wait(process, started + self._limits.wall_s + _GRACE_S)
        duration_s = time.monotonic() - started
        if answer is None:
            self.close()
            self._lost_state = True
            note = f"{reason}; the interpreter was restarted and its state is lost\n"
            status: CellStatus = "timeout" if "longer" in reason else "crashed"
            return CellResult(status, note, None, duration_s, restarted)
        output = CappedOutput(self._limits.output_bytes)
        output.add(answer["output"].encode("utf-8", "replace"))
        return CellResult(answer["status"], output.text(), answer["error"], duration_s, restarted)

    def _wait(self, process: ConfinedProcess, deadline: float) -> tuple[dict | None, str]:
        """The cell's answer, or (None, why there is none)."""
        buffer = bytearray()
        assert process.process.stdout is not None
        assert process.process.stderr is not None
        ignored = (process.process.stdout.fileno(), process.process.stderr.fileno())
        next_watch = time.monotonic() + 0.1
        with selectors.DefaultSelector() as selector:
            for fd in (self._answers, process.status_fd, *ignored):
                selector.register(fd, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select(0.1):
                    if key.fd == process.status_fd:
                        process.read_status()
                        report = process.report()
                        if report is None:
                            raise SandboxUnavailableError("the session's first process died without a report")
                        how = f"signal {report['signal']}" if report["signal"] else f"exit code {report['exit']}"
                        return None, f"the interpreter ended with {how}"
                    data = os.read(key.fd, 65536)
                    if not data:
                        selector.unregister(key.fd)
                    elif key.fd == self._answers:
                        buffer += data
                        if buffer.endswith(b"\n"):
                            return json.loads(buffer), ""
                        if len(buffer) > 64 * self._limits.output_bytes + 2**20:
                            return None, "the cell wrote too much"
                now = time.monotonic()
                if now > deadline:
                    return (
                        None,
                        f"the cell ran longer than {self._limits.wall_s:g} seconds and could not be interrupted",
                    )
                if now > next_watch:
                    next_watch = now + 0.1
                    if process.excess():
                        return None, "the cell used too much memory or too many processes"
