"""Runs the warm fork server: a small interpreter that confines itself once and then forks a confined process for every program.

`reflectioncoder.sandbox.forkserver` starts it and talks to it over one socket in JSON lines:

    →  {"run": kind, "limits": {...}}      with the program's descriptors (0, 1, 2, 3 = payload, 4 = channel, 5 = requests, ...)
    ←  {"pid": n}                          the program's process id as the other side sees it
    →  {"kill": true}                      at any time while it runs
    ←  {"exit": code | null, "signal": n | null, "cpu_s", "peak_memory_bytes"}   all processes of the program are dead and reaped
    ←  {"unavailable": reason}             the confinement failed; nothing untrusted has run

It runs one program at a time in one thread, and holds no secrets: no test data, no expected values, no earlier programs.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import importlib
import json
import os
import resource
import select
import signal
import socket
import sys
import traceback
from collections.abc import Mapping

from reflectioncoder.sandbox.runtime import confine, programs, semaphores
from reflectioncoder.sandbox.runtime.packages import ShownPackages, keep_listings

_FIRST_FREE_FD = 7
_CONFINEMENT_FAILED = 125
_NUM_FDS = 7
_HIGH_FDS = 64  # the server's own descriptors start here; a program's are below


class Server:
    def __init__(self, control: socket.socket):
        self._control = control
        self._pending = b""
        self._pending_fds: list[int] = []
        self._wakeup, wakeup_write = (_out_of_the_way(fd) for fd in os.pipe())
        for fd in (self._wakeup, wakeup_write):
            os.set_blocking(fd, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wakeup_write, warn_on_full_buffer=False)
        self._entered: confine.Entered | None = None

    def send(self, value: Mapping[str, object]) -> None:
        self._control.sendall(json.dumps(value).encode() + b"\n")

    def receive(self) -> dict | None:
        """Return the next message; None once the other side is gone. Received descriptors are kept for their message."""
        while b"\n" not in self._pending:
            data, fds, _, _ = socket.recv_fds(self._control, 65536, _NUM_FDS)
            if not data:
                return None
            self._pending_fds += fds
            self._pending += data
        line, self._pending = self._pending.split(b"\n", 1)
        return json.loads(line)

    def serve(self) -> None:
        setup = self.receive()
        if setup is None:
            return
        sys.path[:] = [*setup["import_paths"]]
        sys.meta_path.append(ShownPackages(setup["world"]["packages"]))
        keep_listings()
        try:
            self._entered = confine.enter_world(confine.World(**setup["world"]))
            if self._entered.ruleset >= 0:
                self._entered.ruleset = _out_of_the_way(self._entered.ruleset)
        except OSError as error:
            self.send({"unavailable": str(error)})
            return
        if not self._entered.world.namespaces:
            semaphores.replace_those_of_the_c_library()
        # After the confinement, and with a finder for the shown packages only: pandas would load pyarrow, which programs cannot see.
        for name in setup["preload"]:
            with contextlib.suppress(Exception):  # a failed import will recur in the program itself
                importlib.import_module(name)
        # Objects alive now never become garbage: keep the collector from touching (and so copying) their pages in every child.
        gc.collect()
        gc.freeze()
        self.send({"ready": True})
        while (request := self.receive()) is not None:
            if "run" in request:  # ignores a late "kill" for a program that has ended
                fds, self._pending_fds = self._pending_fds, []
                self._run(request, fds)

    def _run(self, request: dict, fds: list[int]) -> None:
        assert self._entered is not None
        failure_read, failure_write = os.pipe()
        try:
            pid = confine.fork_program(self._entered)
        except OSError as error:
            for fd in (*fds, failure_read, failure_write):
                os.close(fd)
            self.send({"unavailable": f"cannot start a process: {error}"})
            return
        if pid == 0:
            self._become_program(request, fds, failure_write)
        for fd in (*fds, failure_write):
            os.close(fd)
        self.send({"pid": pid})
        report = self._wait(pid)
        with open(failure_read, "rb") as failure:
            reason = failure.read()
        if reason:
            report = {"unavailable": reason.decode("utf-8", "replace")}
        self.send(report)

    def _wait(self, pid: int) -> dict[str, object]:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(self._wakeup, select.POLLIN)
        status = None
        while status is None:
            for fd, _ in poll.poll():
                if fd == self._wakeup:
                    with contextlib.suppress(BlockingIOError):
                        os.read(self._wakeup, 4096)
                else:
                    message = self.receive()
                    self._kill(pid)
                    if message is None:  # the other side is gone
                        os._exit(0)
            status = self._reap(pid)
        self._kill_leftovers(pid)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        code, usage = status
        return {
            "exit": code if code >= 0 else None,
            "signal": -code if code < 0 else None,
            "cpu_s": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
            "peak_memory_bytes": usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
        }

    @staticmethod
    def _reap(pid: int) -> tuple[int, resource.struct_rusage] | None:
        """Reap ended processes; return (exit code, usage) of the program itself if it is among them."""
        found = None
        with contextlib.suppress(ChildProcessError):
            while True:
                ended, status, usage = os.wait4(-1, os.WNOHANG)
                if ended == 0:
                    break
                if ended == pid:
                    found = os.waitstatus_to_exitcode(status), usage
        return found

    def _kill(self, pid: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            os.killpg(pid, signal.SIGKILL)  # without namespaces: the program cannot leave its group

    def _kill_leftovers(self, pid: int) -> None:
        """Kill the program's remaining processes. In a namespace, the end of process 1 has ended them; elsewhere the server, as
        subreaper, has adopted them."""
        assert self._entered is not None
        if self._entered.world.namespaces:
            return
        while True:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
            for child in _children():
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(child, signal.SIGKILL)
            try:
                os.waitpid(-1, 0)
            except ChildProcessError:
                return

    def _become_program(self, request: dict, fds: list[int], failure_write: int) -> None:
        """Become the program in the forked process. Never returns."""
        try:
            assert self._entered is not None
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            failure_write = _out_of_the_way(failure_write)
            theirs = [_out_of_the_way(fd) for fd in fds]
            os.closerange(0, _HIGH_FDS)
            for fd, target in zip(theirs, request["fds"], strict=True):
                os.dup2(fd, target)
            confine.confine_program(self._entered, request["limits"], hidden=request["run"] == "session")
        except BaseException:
            with contextlib.suppress(OSError):
                os.write(failure_write, traceback.format_exc(limit=-2).encode())
            os._exit(_CONFINEMENT_FAILED)
        # Closes the failure pipe too, so that the program cannot claim that the confinement failed.
        os.closerange(_FIRST_FREE_FD, _HIGH_FDS + 64)
        try:
            programs.start(request["run"])
        finally:
            os._exit(1)  # in any case: the server's code must not continue in this process


def _out_of_the_way(fd: int) -> int:
    return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _HIGH_FDS)


def _children() -> list[int]:
    try:
        with open(f"/proc/self/task/{os.getpid()}/children") as handle:
            return [int(pid) for pid in handle.read().split()]
    except OSError:
        return []


def _restore_signals() -> None:
    """Reset signals: ones ignored or blocked by the parent's launcher (nohup, `&` in a script) must not affect how a program ends."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in signal.valid_signals() - {signal.SIGPIPE, signal.SIGXFSZ}:  # Python ignores these
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def main() -> None:
    """Serve on the inherited socket, whose descriptor is the only argument."""
    control = socket.socket(fileno=_out_of_the_way(int(sys.argv[1])))
    os.closerange(3, _HIGH_FDS)
    _restore_signals()
    Server(control).serve()
    os._exit(0)
