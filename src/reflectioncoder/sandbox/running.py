"""Follows a running program in the sandbox: its clocks, the limits enforced from outside, and its end."""

from __future__ import annotations

import contextlib
import select
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from reflectioncoder.sandbox.limits import Limits
from reflectioncoder.sandbox.process_tree import cpu_of, descendants, num_threads, resident_bytes, unmapped_bytes, waiting_seconds
from reflectioncoder.sandbox.runtime.seccomp import MAX_SHARED_BYTES

if TYPE_CHECKING:
    from reflectioncoder.sandbox.forkserver import ForkServer

WATCH_INTERVAL_S = 0.05
KILL_PATIENCE_S = 30.0  # for a server to end a program and all its processes


@dataclass(frozen=True)
class Excess:
    """The limit that a program has exceeded: the resulting status, and the reason in words."""

    status: Literal["timeout", "memory", "crashed"]
    reason: str


OUT_OF_MEMORY = Excess("memory", "used too much memory")


class Running:
    """A running program. `finish` must be called at the end; repeated calls are harmless."""

    def __init__(self, server: ForkServer, pid: int, limits: Limits):
        self.server = server
        self.pid = pid
        self.limits = limits
        self.started_at = time.monotonic()
        self._next_watch = self.started_at + WATCH_INTERVAL_S
        self.report: dict[str, Any] | None = None
        self._killed = False
        self._cpu_seen: dict[tuple[int, int], float] = {}
        # With a wrapper, the server is counted too, including its time for all earlier programs.
        self._cpu_s_before = self._cpu_s(self._pids()) if server.isolation.wrapper else 0.0
        self._measured_at, self._measured_s, self._cpu_used_s = self.started_at, 0.0, 0.0
        self._oom_kills_before = server.cgroup.num_oom_kills() if server.cgroup else 0

    @property
    def control_fd(self) -> int:
        """Return a descriptor that becomes readable when the program has ended (then call `poll`)."""
        return self.server.control.fileno()

    def poll(self) -> dict[str, Any] | None:
        """Return the program's end, {"exit", "signal", "cpu_s", "peak_memory_bytes"}; None while it runs.

        Raises:
            SandboxUnavailableError: the confinement failed, or the server died.
        """
        if self.report is None:
            self.report = self.server.read_message()
        return self.report

    def own_time_s(self) -> float:
        """Return the program's own time: seconds of wall time since its start minus the time it waited for a processor.

        Loops and sleeps count in full; the machine's load does not. The own time is at least the CPU time of all its threads and
        processes, which could keep its first thread waiting, and an eighth of the wall time; it never exceeds the wall time, however
        many processors they use.
        """
        return self._measure(self._pids())

    def own_time_estimate_s(self) -> float:
        """Estimate `own_time_s` without reading /proc, as if the program had not waited since the last measurement."""
        return self._measured_s + time.monotonic() - self._measured_at

    def _measure(self, pids: Sequence[int]) -> float:
        now = time.monotonic()
        wall_s = now - self.started_at
        self._cpu_used_s = self._cpu_s(pids) - self._cpu_s_before
        own_s = max(wall_s - waiting_seconds(self.pid), min(self._cpu_used_s, wall_s), wall_s / 8)
        self._measured_at, self._measured_s = now, max(own_s, self._measured_s)
        return self._measured_s

    def _cpu_s(self, pids: Sequence[int]) -> float:
        """Add up the CPU time so far. A process that ends between two calls is in its parent's time if reaped, or was seen before."""
        with_children_s = 0.0
        for pid in pids:
            used = cpu_of(pid)
            with_children_s += used.with_children_s
            self._cpu_seen[pid, used.started] = max(used.own_s, self._cpu_seen.get((pid, used.started), 0.0))
        return max(with_children_s, sum(self._cpu_seen.values()))

    def _pids(self) -> list[int]:
        """List the program's processes. Orphans are adopted by process 1, which is the program, or by the server, which runs one
        program at a time; with a wrapper, the server and the wrapper's own process are included."""
        alone = self.server.isolation.namespaces
        return [self.pid, *descendants(self.pid)] if alone else descendants(self.server.process.pid)

    def watch(self, max_own_s: float, since_s: float = 0.0) -> Excess | None:
        """Return the limit exceeded among those that the kernel does not enforce at this isolation: time, total memory, processes,
        disk.

        `max_own_s`: limit on own time, counted from the moment when it was `since_s`. Checks every `WATCH_INTERVAL_S`; calls in
        between return None.
        """
        if time.monotonic() < self._next_watch:
            return None
        self._next_watch = time.monotonic() + WATCH_INTERVAL_S
        pids = self._pids()
        if self._measure(pids) - since_s > max_own_s:
            return Excess("timeout", f"ran longer than {max_own_s:.3g} s")
        if sum(map(num_threads, pids)) > self.limits.processes + 2 * bool(self.server.isolation.wrapper):
            return Excess("crashed", f"started more than {self.limits.processes} processes and threads")
        if self._cpu_used_s > 1.5 * self.limits.cpu_s:  # the kernel limits only single processes
            return Excess("timeout", f"used more than {self.limits.cpu_s:g} s of CPU")
        memory_bytes = sum(map(resident_bytes, pids))
        if not self.server.cgroup:
            memory_bytes += unmapped_bytes(pids, MAX_SHARED_BYTES if self.server.isolation.seccomp else 0)
        if memory_bytes > self.limits.memory_bytes:
            return OUT_OF_MEMORY
        if self.server.private_dir:
            files, disk_bytes = self.server.private_dir.usage()
            if files > self.limits.disk_files or disk_bytes > self.limits.disk_bytes:
                return Excess("crashed", "wrote too much to disk")
        return None

    def out_of_memory(self) -> Excess | None:
        """Return OUT_OF_MEMORY if the kernel killed a process over the memory limit (known only with a control group); else None."""
        killed = self.server.cgroup is not None and self.server.cgroup.num_oom_kills() > self._oom_kills_before
        return OUT_OF_MEMORY if killed else None

    def out_of_cpu_time(self) -> bool:
        """Tell whether the kernel ended the program at its limit on CPU time.

        The kernel counts in ticks, so the measured time may be lower on a loaded machine.
        """
        report = self.report or {}
        return report.get("signal") == signal.SIGKILL and not self._killed and report["cpu_s"] > 0.5 * self.limits.cpu_s

    def kill(self) -> None:
        if not self._killed and self.report is None:
            self._killed = True
            with contextlib.suppress(OSError):
                self.server.control.sendall(b'{"kill": true}\n')

    def finish(self, patience_s: float = 0.0) -> dict[str, Any]:
        """Kill the program if it still runs after `patience_s`, and wait until all its processes are gone.

        Raises:
            SandboxUnavailableError: the server fails to end the program, or is gone.
        """
        if self.poll() is None:
            select.select([self.control_fd], [], [], patience_s)
        if self.poll() is None:
            self.kill()
            self.report = self.server.expect("exit", KILL_PATIENCE_S)
        assert self.report is not None
        return self.report
