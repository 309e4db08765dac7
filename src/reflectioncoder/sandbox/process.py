"""Runs one program until it ends or hits a limit."""

from __future__ import annotations

import contextlib
import os
import selectors
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from reflectioncoder.sandbox.forkserver import SERVERS, preload_for
from reflectioncoder.sandbox.isolation import Isolation
from reflectioncoder.sandbox.limits import CappedOutput, Limits, RunResult, RunStatus
from reflectioncoder.sandbox.running import WATCH_INTERVAL_S, Excess, Running


def run_python(source: str, limits: Limits, isolation: Isolation, *, files: dict[str, str] | None = None) -> RunResult:
    """Run a Python program as `python main.py` would, and wait until it ends.

    Args:
        files: further files in the private directory, name → content.

    Raises:
        SandboxUnavailableError: the sandbox failed, not the program.
    """
    contents = {"main.py": source, **(files or {})}
    encoded = {name: content.encode("utf-8", "surrogatepass") for name, content in contents.items()}
    return _run("script", {"source": source, "files": encoded}, preload_for(_code_of(source, files)), limits, isolation)


def run_with_input(
    source: str,
    given: str,
    max_output_bytes: int,
    limits: Limits,
    isolation: Isolation,
    *,
    files: dict[str, str] | None = None,
) -> tuple[RunResult, str | None]:
    """Run a Python program that reads stdin; return its result and its complete output (None if that exceeds `max_output_bytes`).

    Raises:
        SandboxUnavailableError: the sandbox failed, not the program.
    """
    encoded = {name: content.encode("utf-8", "surrogatepass") for name, content in (files or {}).items()}
    printed = CappedOutput(2 * max_output_bytes)  # half of the cap is for the beginning
    with tempfile.NamedTemporaryFile() as handle:
        handle.write(given.encode("utf-8", "surrogatepass"))
        handle.flush()
        stdin = os.open(handle.name, os.O_RDONLY)
    try:
        preload = preload_for(_code_of(source, files))
        ran = _run("script", {"source": source, "files": encoded}, preload, limits, isolation, printed, stdin)
    finally:
        os.close(stdin)
    content = printed.content()
    return replace(ran, stdout=""), None if content is None else content.decode("utf-8", "replace")


def _code_of(source: str, files: dict[str, str] | None) -> str:
    """Return the source of the program and its modules; names in its other files are not imports."""
    return "\n".join((source, *(content for name, content in (files or {}).items() if name.endswith(".py"))))


@dataclass(frozen=True)
class Traced:
    """The input of a traced run (see `runtime.tracer`): a program, statements run after it untraced, and a test that calls it.

    Attributes:
        max_s: limit on wall time, checked at every statement.
        is_buffered: rows are written a few milliseconds late, and are lost if the program is killed meanwhile.
    """

    source: str
    before: str
    test: str
    max_events: int = 4000
    max_bytes: int = 2**20
    max_s: float = 1.0
    is_buffered: bool = True


def run_traced(traced: Traced, limits: Limits, isolation: Isolation) -> tuple[RunResult, bytes]:
    """Run a program under a tracer; return its result and the tracer's rows (the first ones, if there are too many).

    Raises:
        SandboxUnavailableError: the sandbox failed, not the program.
    """
    rows = CappedOutput(4 * traced.max_bytes)  # half of the cap is for the beginning
    ran = _run("trace", vars(traced), preload_for(traced.source), limits, isolation, rows)
    return replace(ran, stdout=""), rows.content() or b""


def run_command(
    argv: Sequence[str],
    limits: Limits,
    isolation: Isolation,
    *,
    files: dict[str, bytes] | None = None,
    env: dict[str, str] | None = None,
) -> RunResult:
    """Run an executable (absolute path in the sandbox's file system), and wait until it ends.

    Raises:
        SandboxUnavailableError: the sandbox failed, not the program.
    """
    return _run("exec", {"argv": list(argv), "files": files or {}, "env": env or {}}, (), limits, isolation)


def build_command(
    argv: Sequence[str],
    outputs: Sequence[str],
    limits: Limits,
    isolation: Isolation,
    *,
    files: dict[str, bytes],
    env: dict[str, str] | None = None,
) -> tuple[RunResult, bytes | None]:
    """Run a compiler; return (its result, with all its output in stderr; a tar archive of `outputs`, given as shell patterns).

    The archive is None if the compiler failed or the archive exceeds `limits.file_bytes`.

    Raises:
        SandboxUnavailableError: the sandbox failed, not the compiler.
    """
    script = f'"$@" 1>&2 && exec tar -cf - -- {" ".join(outputs)}'
    payload = {"argv": ["/bin/sh", "-c", script, "sh", *argv], "files": files, "env": env or {}}
    archive = CappedOutput(2 * limits.file_bytes)
    ran = _run("exec", payload, (), limits, isolation, archive)
    return replace(ran, stdout=""), archive.content() if ran.status == "ok" else None


def _run(
    kind: str,
    payload: dict[str, Any],
    preload: Sequence[str],
    limits: Limits,
    isolation: Isolation,
    stdout: CappedOutput | None = None,
    stdin: int | None = None,
) -> RunResult:
    """Run a program of the given kind; `stdin`: a descriptor to read from, by default none."""
    with SERVERS.lend(isolation, preload) as server, Pipes(1, 2) as pipes:
        running = server.start(kind, payload, limits, pipes.theirs if stdin is None else {0: stdin, **pipes.theirs})
        pipes.close_theirs()
        return _watch(running, pipes.ours[1], pipes.ours[2], stdout)


class Pipes(contextlib.AbstractContextManager["Pipes"]):
    """A pipe for each of the program's descriptors; `reading`: the ones that the program reads from."""

    def __init__(self, *fds: int, reading: Sequence[int] = ()):
        self.ours: dict[int, int] = {}
        self.theirs: dict[int, int] = {}
        for fd in fds:
            read, write = os.pipe()
            self.ours[fd], self.theirs[fd] = (write, read) if fd in reading else (read, write)

    def close_theirs(self) -> None:
        while self.theirs:
            os.close(self.theirs.popitem()[1])

    def close_ours(self) -> None:
        while self.ours:
            os.close(self.ours.popitem()[1])

    def __exit__(self, *exc: object) -> None:
        self.close_theirs()
        self.close_ours()


def _watch(running: Running, stdout: int, stderr: int, out: CappedOutput | None = None) -> RunResult:
    """Read all output until the program ends or hits a limit."""
    limits = running.limits
    out, err = out or CappedOutput(limits.output_bytes), CappedOutput(limits.output_bytes)
    sinks = {stdout: out.add, stderr: err.add}
    exceeded: Excess | None = None
    with selectors.DefaultSelector() as selector:
        for fd in (*sinks, running.control_fd):
            selector.register(fd, selectors.EVENT_READ)
        while exceeded is None and running.report is None:
            for key, _ in selector.select(WATCH_INTERVAL_S):
                if key.fd == running.control_fd:
                    running.poll()
                    continue
                data = os.read(key.fd, 65536)
                sinks[key.fd](data)
                if not data:
                    selector.unregister(key.fd)
            exceeded = running.watch(limits.wall_s)
    report = running.finish()
    exceeded = running.out_of_memory() or exceeded
    for fd, sink in sinks.items():  # data still in the pipes after all processes have ended
        os.set_blocking(fd, False)
        with contextlib.suppress(BlockingIOError):
            while data := os.read(fd, 65536):
                sink(data)
    duration_s = time.monotonic() - running.started_at
    return _result(report, exceeded, running.out_of_cpu_time(), out, err, duration_s, limits)


def _result(
    report: dict[str, Any],
    exceeded: Excess | None,
    out_of_cpu_time: bool,
    out: CappedOutput,
    err: CappedOutput,
    duration_s: float,
    limits: Limits,
) -> RunResult:
    stderr = err.text()
    last_line = stderr.rstrip().rsplit("\n", 1)[-1]
    status: RunStatus
    reason = ""
    if exceeded:
        status, reason = exceeded.status, exceeded.reason
    elif out_of_cpu_time:
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
    )
