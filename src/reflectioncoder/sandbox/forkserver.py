"""The trusted side of the warm servers: starts them, lends them out, runs programs through them.

A `ForkServer` runs one program at a time (`running.Running`). Servers are pooled by their imports and lent to one caller at a time; a
server that misbehaves is discarded with all its processes.
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
from dataclasses import asdict
from pathlib import Path
from typing import Any

from reflectioncoder.sandbox.box import Box
from reflectioncoder.sandbox.cgroup import ControlGroup
from reflectioncoder.sandbox.isolation import Isolation
from reflectioncoder.sandbox.limits import Limits, SandboxUnavailableError
from reflectioncoder.sandbox.private_dir import PrivateDir
from reflectioncoder.sandbox.process_tree import descendants
from reflectioncoder.sandbox.readable import ReadablePaths, base_interpreter, readable_paths
from reflectioncoder.sandbox.running import KILL_PATIENCE_S, Running

PRELOADS: tuple[tuple[str, ...], ...] = (("pandas", "numpy"), ("numpy",), ())
COMMON_MODULES = (
    "abc", "array", "bisect", "cmath", "collections", "copy", "dataclasses", "datetime", "decimal", "enum", "fractions", "functools",
    "hashlib", "heapq", "inspect", "io", "itertools", "json", "math", "numbers", "operator", "random", "re", "shutil", "statistics",
    "string", "struct", "subprocess", "tempfile", "textwrap", "time", "types", "typing", "unicodedata",
)  # fmt: skip
# The environment of programs and servers; the fixed hash seed makes the order of sets repeatable.
ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "PYTHONHASHSEED": "0",
    "PYTHONDONTWRITEBYTECODE": "1",
    "OMP_NUM_THREADS": "1",
}
_START = "import sys; sys.path.insert(0, sys.argv.pop(1)); from reflectioncoder.sandbox.runtime.server import main; main()"
_SOURCES = str(Path(__file__).resolve().parents[2])
_START_PATIENCE_S = 60.0
_ENDED = 2**31 - 1  # no process has this id


class ForkServer:
    """One warm server process and its private directory.

    Raises:
        SandboxUnavailableError: the server cannot be started, or the isolation does not work here.
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
            if not isolation.namespaces:  # with namespaces, the kernel provides one and enforces its size
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
            self.expect("ready", _START_PATIENCE_S)
            self._own_bytes = self.cgroup.used_bytes() if self.cgroup else 0
        except (OSError, SandboxUnavailableError) as error:
            self.close()
            raise SandboxUnavailableError(f"isolation {isolation.name}: {error}") from error

    def start(self, kind: str, payload: dict[str, Any], limits: Limits, fds: dict[int, int]) -> Running:
        """Start a program.

        Args:
            payload: the arguments of the kind of program (see `runtime.programs`), as values that marshal supports; `env` is added to
                the usual environment, with {work} replaced by the program's own directory.
            fds: the program's descriptor → this process's. 0-2 default to /dev/null.
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
                pid = self.expect("pid", _START_PATIENCE_S)["pid"]
            except OSError as error:
                raise SandboxUnavailableError(f"the sandbox's server is gone: {error}{self._last_words()}") from error
        self._running_group = 0 if self.isolation.wrapper else pid
        running = Running(self, self._pid_here(pid) if self.isolation.wrapper else pid, limits)
        running.poll()  # a short program may already have ended: both messages came at once, so the socket stays silent
        return running

    def _pid_here(self, pid: int) -> int:
        """Translate the program's id into this process's namespace, if a wrapper gave the server its own."""
        for candidate in descendants(self.process.pid):
            with contextlib.suppress(OSError, StopIteration):
                lines = Path(f"/proc/{candidate}/status").read_text().splitlines()
                if int(next(line for line in lines if line.startswith("NSpid:")).split()[-1]) == pid:
                    return candidate
        return _ENDED  # it has already ended

    def read_message(self) -> dict[str, Any] | None:
        """Return a message if one has arrived, without waiting.

        Raises:
            SandboxUnavailableError: the server is gone, or reports that the confinement failed.
        """
        if self._broken:
            raise SandboxUnavailableError(self._broken)
        while b"\n" not in self._pending:
            if not select.select([self.control], [], [], 0)[0]:
                return None
            try:
                data = self.control.recv(65536)
            except OSError:  # killed with unread data
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

    def expect(self, key: str, patience_s: float) -> dict[str, Any]:
        """Wait for the next message, which must have `key`.

        Raises:
            SandboxUnavailableError: the server is gone, silent for `patience_s`, or sends another message.
        """
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
        """Remove everything that the last program left behind.

        Raises:
            SandboxUnavailableError: something could not be removed; this server must not be used again.
        """
        if self.private_dir:
            self.private_dir.empty()

    def close(self) -> None:
        """End the server and all its processes."""
        self.control.close()  # the server kills its program and exits
        try:
            self.process.wait(KILL_PATIENCE_S)
        except subprocess.TimeoutExpired:
            for pid in descendants(self.process.pid):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            self.process.kill()
            self.process.wait()
        if self._running_group:  # the server was killed before it could end its program
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


def preload_for(source: str) -> tuple[str, ...]:
    """Choose the preloads of the warm server for a program, by the imports that its source seems to have.

    Packages that use numpy count as numpy, which can no longer be imported once EvalPlus's guard has removed names that it needs.
    """
    words = set(re.findall(r"\b(?:numpy|pandas|scipy|sympy|sklearn|networkx|matplotlib|seaborn|statsmodels|cv2)\b", source))
    return PRELOADS[0] if words & {"pandas", "seaborn", "statsmodels"} else PRELOADS[1] if words else PRELOADS[2]


class ServerPool:
    """Warm servers by isolation, preload and readable paths, each lent to one caller at a time."""

    def __init__(self) -> None:
        self._idle: dict[tuple[Isolation, tuple[str, ...], ReadablePaths], list[ForkServer]] = {}
        self._lent: set[ForkServer] = set()
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def lend(self, isolation: Isolation, preload: Sequence[str] = ()):
        """Lend a server for the duration of a `with` block; it is discarded if the block raises."""
        key = (isolation, tuple(preload), readable_paths())
        with self._lock:
            idle = self._idle.setdefault(key, [])
            server = idle.pop() if idle else None
        server = server or _start_server(isolation, preload)
        self._lent.add(server)
        try:
            yield server
            server.tidy()
        except BaseException:
            server.close()
            raise
        finally:
            self._lent.discard(server)
        with self._lock:
            self._idle[key].append(server)

    def interrupt(self) -> None:
        """End all lent servers; their borrowers get SandboxUnavailableError and dispose of them."""
        for server in list(self._lent):
            server.process.kill()

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
"""This process's warm servers."""

atexit.register(SERVERS.close)
