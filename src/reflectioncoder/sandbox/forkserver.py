"""The trusted side of the warm servers: start them, lend them out, run programs through them.

A `ForkServer` runs one program at a time; a `Running` program has its pipes, its clocks and its end. Servers are kept warm by what
they have imported and lent to one caller at a time; a server that misbehaves is thrown away with everything below it.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import marshal
import os
import re
import select
import signal
import socket
import subprocess
import sysconfig
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from reflectioncoder.sandbox.box import Box
from reflectioncoder.sandbox.cgroup import ControlGroup
from reflectioncoder.sandbox.isolation import Isolation
from reflectioncoder.sandbox.limits import Limits, SandboxUnavailableError
from reflectioncoder.sandbox.private_dir import PrivateDir
from reflectioncoder.sandbox.process_tree import cpu_of, descendants, num_threads, resident_bytes, unmapped_bytes, waiting_seconds
from reflectioncoder.sandbox.readable import ReadablePaths, base_interpreter, readable_paths
from reflectioncoder.sandbox.runtime.seccomp import MAX_SHARED_BYTES

PRELOADS: tuple[tuple[str, ...], ...] = (("pandas", "numpy"), ("numpy",), ())
COMMON_MODULES = (
    "abc", "array", "bisect", "cmath", "collections", "copy", "dataclasses", "datetime", "decimal", "enum", "fractions", "functools",
    "hashlib", "heapq", "inspect", "io", "itertools", "json", "math", "numbers", "operator", "random", "re", "shutil", "statistics",
    "string", "struct", "subprocess", "tempfile", "textwrap", "time", "types", "typing", "unicodedata",
)  # fmt: skip
# What a program's environment is made of, and the servers' own: a fixed hash seed makes the order of sets repeatable.
ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "PYTHONHASHSEED": "0",
    "PYTHONDONTWRITEBYTECODE": "1",
    "OMP_NUM_THREADS": "1",
}
_START = "import sys; sys.path.insert(0, sys.argv.pop(1)); from reflectioncoder.sandbox.runtime.server import main; main()"
_SOURCES = str(Path(__file__).resolve().parents[2])
WATCH_INTERVAL_S = 0.05
_START_PATIENCE_S = 60.0
_KILL_PATIENCE_S = 30.0
_ENDED = 2**31 - 1  # no process has this number


class ForkServer:
    """One warm server process and its private directory.

    Raises:
        SandboxUnavailableError: it cannot be started, or the isolation does not work here.
    """

    def __init__(self, isolation: Isolation, preload: Sequence[str] = ()):
        self.isolation = isolation
        self.cgroup = ControlGroup.create() if isolation.cgroup else None
        self.private_dir: PrivateDir | None = None
        self._pending = b""
        self._broken = ""
        self._running_group = 0
        self._box: Box | None = None
        self.control, theirs = socket.socketpair()
        try:
            self._box = Box()
            box = self._box.path
            world = isolation.world(str(box), self.cgroup.join_files if self.cgroup else [])
            if not isolation.namespaces:  # there the kernel keeps one, and within its size
                box.chmod(0o711)
                self.private_dir = PrivateDir(box / "work", world.user)
            argv = [base_interpreter(), "-S", "-P", "-X", "utf8", "-c", _START, _SOURCES, str(theirs.fileno())]
            self.process = subprocess.Popen(
                isolation.wrap(argv, str(box), _SOURCES),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
                env=ENVIRONMENT,
            )
        except BaseException as error:
            self.control.close()
            self._remove_places()
            if isinstance(error, OSError):
                raise SandboxUnavailableError(f"the sandbox cannot start a process: {error}") from error
            raise
        finally:
            theirs.close()
        self._environment = {**ENVIRONMENT, "HOME": world.work, "TMPDIR": world.work}
        standard = sysconfig.get_path("stdlib")
        setup = {
            "world": asdict(world),
            "import_paths": [standard, f"{standard}/lib-dynload"],
            "preload": [*COMMON_MODULES, *preload],
        }
        try:
            self.control.sendall(json.dumps(setup).encode() + b"\n")
            self._expect("ready", _START_PATIENCE_S)
            self._own_bytes = self.cgroup.used_bytes() if self.cgroup else 0
        except (OSError, SandboxUnavailableError) as error:
            self.close()
            raise SandboxUnavailableError(f"isolation {isolation.name}: {error}") from error

    def start(self, kind: str, payload: dict[str, Any], limits: Limits, fds: dict[int, int]) -> Running:
        """Start a program.

        Args:
            payload: what the kind of program takes (see `runtime.programs`), values that marshal knows; `env` is added to the usual
                environment, with the program's own directory for {work}.
            fds: the program's descriptor → ours. 0-2 are /dev/null where they are not given.
        """
        added = {name: value.replace("{work}", self._environment["HOME"]) for name, value in payload.get("env", {}).items()}
        payload = {**payload, "env": {**self._environment, **added}}
        with tempfile.TemporaryFile() as handle, open(os.devnull, "r+b") as null:
            marshal.dump(payload, handle, 2)
            handle.flush()
            handle.seek(0)
            all_fds = {0: null.fileno(), 1: null.fileno(), 2: null.fileno(), 3: handle.fileno(), **fds}
            request = {"run": kind, "limits": asdict(limits), "fds": list(all_fds)}
            try:
                if self.cgroup:
                    self.cgroup.limit(limits, self._own_bytes)
                socket.send_fds(self.control, [json.dumps(request).encode() + b"\n"], list(all_fds.values()))
                pid = self._expect("pid", _START_PATIENCE_S)["pid"]
            except OSError as error:
                raise SandboxUnavailableError(f"the sandbox's server is gone: {error}{self._last_words()}") from error
        self._running_group = 0 if self.isolation.wrapper else pid
        running = Running(self, self._pid_here(pid) if self.isolation.wrapper else pid, limits)
        running.poll()  # a short program may have ended: both messages have come at once, and the socket tells nothing more
        return running

    def _pid_here(self, pid: int) -> int:
        """The program's number as we see it, when the wrapper has put the server into a process namespace of its own."""
        for candidate in descendants(self.process.pid):
            with contextlib.suppress(OSError, StopIteration):
                lines = Path(f"/proc/{candidate}/status").read_text().splitlines()
                if int(next(line for line in lines if line.startswith("NSpid:")).split()[-1]) == pid:
                    return candidate
        return _ENDED  # already

    def read_message(self) -> dict[str, Any] | None:
        """A message if one is there now.

        Raises:
            SandboxUnavailableError: the server is gone, or says that the confinement failed.
        """
        if self._broken:
            raise SandboxUnavailableError(self._broken)
        while b"\n" not in self._pending:
            if not select.select([self.control], [], [], 0)[0]:
                return None
            try:
                data = self.control.recv(65536)
            except OSError:  # killed with something unread
                data = b""
            if not data:
                self._broken = f"the sandbox's server died{self._last_words()}"
                raise SandboxUnavailableError(self._broken)
            self._pending += data
        line, self._pending = self._pending.split(b"\n", 1)
        message = json.loads(line)
        if "exit" in message:
            self._running_group = 0
        if "unavailable" in message:
            self._broken = f"isolation {self.isolation.name}: {message['unavailable'].strip()}"
            raise SandboxUnavailableError(self._broken)
        return message

    def _expect(self, key: str, patience_s: float) -> dict[str, Any]:
        deadline = time.monotonic() + patience_s
        while (message := self.read_message()) is None:
            left = deadline - time.monotonic()
            if left <= 0:
                raise SandboxUnavailableError("the sandbox's server does not answer")
            select.select([self.control], [], [], left)
        if key not in message:
            raise SandboxUnavailableError(f"unexpected answer of the sandbox's server: {message}")
        return message

    def _last_words(self) -> str:
        assert self.process.stderr is not None
        os.set_blocking(self.process.stderr.fileno(), False)
        with contextlib.suppress(OSError, ValueError):
            return ": " + (self.process.stderr.read() or b"").decode("utf-8", "replace")[-500:].strip()
        return ""

    def tidy(self) -> None:
        """Remove what the last program has left.

        Raises:
            SandboxUnavailableError: something stays; this server must not be used again.
        """
        if self.private_dir:
            self.private_dir.empty()

    def close(self) -> None:
        """End the server and everything below it."""
        self.control.close()  # it kills its program and goes
        try:
            self.process.wait(_KILL_PATIENCE_S)
        except subprocess.TimeoutExpired:
            for pid in descendants(self.process.pid):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            self.process.kill()
            self.process.wait()
        if self._running_group:  # the server could not end its program: somebody has killed it
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._running_group, signal.SIGKILL)
        if self.process.stderr:
            self.process.stderr.close()
        self._remove_places()

    def _remove_places(self) -> None:
        if self.cgroup:
            self.cgroup.remove()
        with contextlib.suppress(OSError, SandboxUnavailableError):
            if self._box:
                self._box.remove()


@dataclass(frozen=True)
class Excess:
    """The limit that a program has exceeded: what that makes of it, and in words."""

    status: Literal["timeout", "memory", "crashed"]
    reason: str


OUT_OF_MEMORY = Excess("memory", "used too much memory")


class Running:
    """A program that runs. `finish` must be called in the end; it is harmless twice."""

    def __init__(self, server: ForkServer, pid: int, limits: Limits):
        self.server = server
        self.pid = pid
        self.limits = limits
        self.started_at = time.monotonic()
        self._next_watch = self.started_at + WATCH_INTERVAL_S
        self.report: dict[str, Any] | None = None
        self._killed = False
        self._cpu_seen: dict[tuple[int, int], float] = {}
        # Behind a wrapper the server is counted too, with the time of all programs before.
        self._cpu_s_before = self._cpu_s(self._pids()) if server.isolation.wrapper else 0.0
        self._measured_at, self._measured_s, self._cpu_used_s = self.started_at, 0.0, 0.0
        self._oom_kills_before = server.cgroup.num_oom_kills() if server.cgroup else 0

    @property
    def control_fd(self) -> int:
        """Readable when the program has ended (then `poll`)."""
        return self.server.control.fileno()

    def poll(self) -> dict[str, Any] | None:
        """How it ended: {"exit", "signal", "cpu_s", "peak_memory_bytes"}; None while it runs.

        Raises:
            SandboxUnavailableError: the confinement failed, or the server died.
        """
        if self.report is None:
            self.report = self.server.read_message()
        return self.report

    def own_time_s(self) -> float:
        """Seconds since its start in which it could have run: wall time less the time it has waited for a processor.

        A loop and a sleep both count in full; the load of the machine does not. At least the CPU time of all its threads and
        processes, which could keep its first thread waiting, and an eighth of the wall time; never more than the wall time, however
        many processors they have.
        """
        return self._measure(self._pids())

    def own_time_estimate_s(self) -> float:
        """The same as far as it is known without a look: as if it had not waited since the last one."""
        return self._measured_s + time.monotonic() - self._measured_at

    def _measure(self, pids: Sequence[int]) -> float:
        now = time.monotonic()
        wall_s = now - self.started_at
        self._cpu_used_s = self._cpu_s(pids) - self._cpu_s_before
        own_s = max(wall_s - waiting_seconds(self.pid), min(self._cpu_used_s, wall_s), wall_s / 8)
        self._measured_at, self._measured_s = now, max(own_s, self._measured_s)
        return self._measured_s

    def _cpu_s(self, pids: Sequence[int]) -> float:
        """CPU time so far. Whatever ends between two looks is in the time of who has waited for it, or was seen before."""
        with_children_s = 0.0
        for pid in pids:
            used = cpu_of(pid)
            with_children_s += used.with_children_s
            self._cpu_seen[pid, used.started] = max(used.own_s, self._cpu_seen.get((pid, used.started), 0.0))
        return max(with_children_s, sum(self._cpu_seen.values()))

    def _pids(self) -> list[int]:
        """The program's processes. What lost its parent has another: process 1, which is the program, or the server, which has one
        program at a time; behind a wrapper the server and the wrapper's own process are among them.
        """
        alone = self.server.isolation.namespaces
        return [self.pid, *descendants(self.pid)] if alone else descendants(self.server.process.pid)

    def watch(self, max_own_s: float, since_s: float = 0.0) -> Excess | None:
        """Which limit is exceeded of those that this isolation's kernel means do not hold: time, memory of all, processes, disk.

        `max_own_s`: of its own time, counted from when that was `since_s`. Looks every `WATCH_INTERVAL_S`: calls in
        between find nothing.
        """
        if time.monotonic() < self._next_watch:
            return None
        self._next_watch = time.monotonic() + WATCH_INTERVAL_S
        pids = self._pids()
        if self._measure(pids) - since_s > max_own_s:
            return Excess("timeout", f"ran longer than {max_own_s:.3g} s")
        if sum(map(num_threads, pids)) > self.limits.processes + 2 * bool(self.server.isolation.wrapper):
            return Excess("crashed", f"started more than {self.limits.processes} processes and threads")
        if self._cpu_used_s > 1.5 * self.limits.cpu_s:  # a single process is ended by the kernel
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
        """Whether the kernel has killed something of it for exceeding its memory (known with a control group only)."""
        killed = self.server.cgroup is not None and self.server.cgroup.num_oom_kills() > self._oom_kills_before
        return OUT_OF_MEMORY if killed else None

    def out_of_cpu_time(self) -> bool:
        """Whether the kernel has ended it at its limit on CPU time. It counts in ticks, so on a loaded machine less may be measured."""
        report = self.report or {}
        return report.get("signal") == signal.SIGKILL and not self._killed and report["cpu_s"] > 0.5 * self.limits.cpu_s

    def kill(self) -> None:
        if not self._killed and self.report is None:
            self._killed = True
            with contextlib.suppress(OSError):
                self.server.control.sendall(b'{"kill": true}\n')

    def finish(self, patience_s: float = 0.0) -> dict[str, Any]:
        """Kill it if it still runs after `patience_s`; wait until all of it is gone.

        Raises:
            SandboxUnavailableError: the server does not manage that, or is gone.
        """
        if self.poll() is None:
            select.select([self.control_fd], [], [], patience_s)
        if self.poll() is None:
            self.kill()
            self.report = self.server._expect("exit", _KILL_PATIENCE_S)
        assert self.report is not None
        return self.report


def preload_for(source: str) -> tuple[str, ...]:
    """Which warm server suits a program, by what it seems to import.

    Packages that use numpy count as numpy: it cannot be imported any more once EvalPlus's guard has taken its names away.
    """
    words = set(re.findall(r"\b(?:numpy|pandas|scipy|sympy|sklearn|networkx)\b", source))
    return PRELOADS[0] if "pandas" in words else PRELOADS[1] if words else PRELOADS[2]


class ServerPool:
    """Warm servers by isolation, preload and what programs may read, each lent to one caller at a time."""

    def __init__(self) -> None:
        self._idle: dict[tuple[Isolation, tuple[str, ...], ReadablePaths], list[ForkServer]] = {}
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def lend(self, isolation: Isolation, preload: Sequence[str] = ()):
        """A server for the length of a `with`; thrown away if the block raises."""
        key = (isolation, tuple(preload), readable_paths())
        with self._lock:
            idle = self._idle.setdefault(key, [])
            server = idle.pop() if idle else None
        server = server or _start_server(isolation, preload)
        try:
            yield server
            server.tidy()
        except BaseException:
            server.close()
            raise
        with self._lock:
            self._idle[key].append(server)

    def close(self) -> None:
        with self._lock:
            servers = [server for idle in self._idle.values() for server in idle]
            self._idle.clear()
        for server in servers:
            server.close()


def _start_server(isolation: Isolation, preload: Sequence[str]) -> ForkServer:
    installed = {Path(path).name for path in readable_paths().packages}
    return ForkServer(isolation, [name for name in preload if name in installed])


SERVERS = ServerPool()
"""The process's warm servers."""

atexit.register(SERVERS.close)
