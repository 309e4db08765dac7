"""One run of one program: a process group of its own, watched until it ends or meets a limit.

`ConfinedProcess` is the shared part of single runs and sessions: start, watch (resident memory and number of processes), kill.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reflectioncoder.sandbox.isolation import Isolation, detect_isolation
from reflectioncoder.sandbox.limits import CappedOutput, Limits, RunResult, RunStatus, SandboxUnavailableError

_WATCH_INTERVAL_S = 0.1
_KILL_PATIENCE_S = 2.0
_CHANNEL_CAP_BYTES = 1 << 20


def descendants(pid: int) -> list[int]:
    """Process ids of all descendants, from /proc; empty where the kernel does not tell."""
    found: list[int] = []
    pending = [pid]
    while pending:
        current = pending.pop()
        with contextlib.suppress(OSError):  # processes come and go while we look
            for task in os.listdir(f"/proc/{current}/task"):
                children = [int(child) for child in Path(f"/proc/{current}/task/{task}/children").read_text().split()]
                found += children
                pending += children
    return found


def resident_bytes(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        return 0


class ConfinedProcess:
    """A confined process tree with its private directory, its pipes and a report of how the program ended.

    Args:
        argv: absolute path and arguments of the program; `{dir}` in an argument stands for the private directory.
        files: name → content, written into the private directory before the start.
        pass_fds: descriptors that the program inherits.
    """

    def __init__(
        self,
        argv: Sequence[str],
        limits: Limits,
        isolation: Isolation | None = None,
        *,
        files: dict[str, str] | None = None,
        stdin: int = subprocess.DEVNULL,
        env: dict[str, str] | None = None,
        pass_fds: Sequence[int] = (),
    ):
        self.limits = limits
        self.isolation = isolation or detect_isolation()
        self.started_at = time.monotonic()
        self._reported = b""
        self.directory = ""
        status_write = -1
        try:
            self.directory = tempfile.mkdtemp(prefix="reflectioncoder-")
            for name, content in (files or {}).items():
                Path(self.directory, name).write_text(content, encoding="utf-8", errors="surrogatepass")
            self._status_read, status_write = os.pipe()
            command = [part.replace("{dir}", self.directory) for part in argv]
            self.process = subprocess.Popen(
                self.isolation.command(command, self.directory, limits, status_write, env or {}),
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                pass_fds=(status_write, *pass_fds),
                env={},
                bufsize=0,
            )
        except OSError as error:
            shutil.rmtree(self.directory, ignore_errors=True)
            raise SandboxUnavailableError(f"the sandbox cannot start a process: {error}") from error
        finally:
            if status_write >= 0:
                os.close(status_write)

    def excess(self) -> RunStatus | None:
        """Which limit the tree exceeds now that the kernel does not enforce itself: memory of all, number of processes."""
        pids = descendants(self.process.pid)
        # The tree holds at most two processes of the sandbox beside the program's own.
        if len(pids) > self.limits.processes + 2:
            return "crashed"
        return "memory" if sum(map(resident_bytes, pids)) > self.limits.memory_bytes else None

    @property
    def status_fd(self) -> int:
        return self._status_read

    def read_status(self) -> bytes:
        data = os.read(self._status_read, 4096)
        self._reported += data
        return data

    def report(self) -> dict[str, Any] | None:
        """What confine.py reported, or None if it was killed before.

        Raises:
            SandboxUnavailableError: the confinement failed; the program never ran.
        """
        line = self._reported.split(b"\n")[0]
        if not line:
            return None
        report = json.loads(line)
        if "unavailable" in report:
            raise SandboxUnavailableError(f"sandbox {self.isolation.name}: {report['unavailable']}")
        return report

    def kill(self) -> None:
        """Kill the whole tree and wait for its first process."""
        deadline = time.monotonic() + _KILL_PATIENCE_S
        # Without namespaces the first process adopts what the program has detached: as long as it lives nothing is out of reach.
        while not self.isolation.namespaces and time.monotonic() < deadline and (pids := descendants(self.process.pid)):
            for pid in pids:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.002)
        # With namespaces the death of init takes everything along.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def close(self) -> None:
        self.kill()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream:
                stream.close()
        os.close(self._status_read)
        shutil.rmtree(self.directory, ignore_errors=True)


def python_argv(script: str) -> list[str]:
    """Isolated mode, site-packages kept; the script is a file in the private directory."""
    return [sys.executable, "-I", "-X", "utf8", f"{{dir}}/{script}"]


def run_python(
    source: str,
    limits: Limits | None = None,
    isolation: Isolation | None = None,
    *,
    files: dict[str, str] | None = None,
    with_channel: bool = False,
) -> RunResult:
    """Run a Python program and wait for it.

    Args:
        files: further files of the private directory, name → content.
        with_channel: the program also inherits a pipe, its number in the variable RESULT_FD; what it writes there comes back in
            `RunResult.channel` (at most 1 MiB).

    Raises:
        SandboxUnavailableError: the sandbox failed, not the program.
    """
    channel_read, channel_write = os.pipe() if with_channel else (-1, -1)
    env = {"RESULT_FD": str(channel_write)} if with_channel else {}
    fds = (channel_write,) if with_channel else ()
    try:
        confined = ConfinedProcess(
            python_argv("main.py"),
            limits or Limits(),
            isolation,
            files={"main.py": source, **(files or {})},
            env=env,
            pass_fds=fds,
        )
    except BaseException:
        if with_channel:
            os.close(channel_read)
        raise
    finally:
        if with_channel:
            os.close(channel_write)
    try:
        return _watch(confined, channel_read)
    finally:
        confined.close()
        if with_channel:
            os.close(channel_read)


def _watch(confined: ConfinedProcess, channel_read: int) -> RunResult:
    """Read everything until the report arrives, a limit is met or the tree is gone."""
    limits = confined.limits
    out, err = CappedOutput(limits.output_bytes), CappedOutput(limits.output_bytes)
    channel = bytearray()
    assert confined.process.stdout is not None
    assert confined.process.stderr is not None
    sinks: dict[int, Any] = {confined.process.stdout.fileno(): out.add, confined.process.stderr.fileno(): err.add}
    if channel_read >= 0:
        sinks[channel_read] = lambda data: channel.extend(data[: _CHANNEL_CAP_BYTES - len(channel)])
    exceeded: RunStatus | None = None
    deadline = confined.started_at + limits.wall_s
    next_watch = confined.started_at + _WATCH_INTERVAL_S
    with selectors.DefaultSelector() as selector:
        for fd in (*sinks, confined.status_fd):
            selector.register(fd, selectors.EVENT_READ)
        running = True
        while running:
            for key, _ in selector.select(_WATCH_INTERVAL_S):
                if key.fd == confined.status_fd:
                    running = bool(confined.read_status()) and confined.report() is None
                else:
                    data = os.read(key.fd, 65536)
                    sinks[key.fd](data)
                    if not data:
                        selector.unregister(key.fd)
            now = time.monotonic()
            if now >= next_watch:
                next_watch = now + _WATCH_INTERVAL_S
                exceeded = confined.excess()
            if now >= deadline:
                exceeded = "timeout"
            if exceeded:
                break
        report = None if exceeded else confined.report()
        confined.kill()
        _drain(sinks)
    duration_s = time.monotonic() - confined.started_at
    return _result(report, exceeded, out, err, bytes(channel), duration_s, limits)


def _drain(sinks: dict[int, Any]) -> None:
    """What is still in the pipes after the tree is dead."""
    for fd, sink in sinks.items():
        os.set_blocking(fd, False)
        with contextlib.suppress(BlockingIOError):
            while data := os.read(fd, 65536):
                sink(data)


def _result(
    report: dict[str, Any] | None,
    exceeded: RunStatus | None,
    out: CappedOutput,
    err: CappedOutput,
    channel: bytes,
    duration_s: float,
    limits: Limits,
) -> RunResult:
    if report is None and exceeded is None:
        raise SandboxUnavailableError("the sandbox's first process died without a report")
    report = report or {"exit": None, "signal": None, "cpu_s": 0.0, "peak_memory_bytes": 0}
    stderr = err.text()
    last_line = stderr.rstrip().rsplit("\n", 1)[-1]
    status: RunStatus
    reason = ""
    if exceeded:
        status = exceeded
        reason = {"timeout": f"ran longer than {limits.wall_s:g} s", "memory": "used too much memory"}.get(
            exceeded, f"started more than {limits.processes} processes"
        )
    elif report["signal"] == signal.SIGXCPU or (report["signal"] == signal.SIGKILL and report["cpu_s"] > limits.cpu_s):
        status, reason = "timeout", f"used more than {limits.cpu_s:g} s of CPU"
    elif report["signal"] is not None:
        status, reason = "crashed", f"killed by signal {report['signal']}"
    elif report["exit"] != 0 and last_line.startswith("MemoryError"):
        status, reason = "memory", "MemoryError"
    else:
        status = "ok" if report["exit"] == 0 else "failed"
    return RunResult(
        status=status,
        exit_code=report["exit"],
        signal=report["signal"],
        stdout=out.text(),
        stderr=stderr,
        stdout_length=out.length,
        stderr_length=err.length,
        duration_s=duration_s,
        cpu_s=report["cpu_s"],
        peak_memory_bytes=report["peak_memory_bytes"],
        reason=reason,
        channel=channel,
    )
