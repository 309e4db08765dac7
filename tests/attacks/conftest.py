"""The means of attack: hostile programs, a host full of things to steal or to break, and eyes outside of the sandbox.

An attack is judged from outside wherever that is possible. Each program carries a mark (the name of its process), and after every
run nothing on the host may carry it. An attempt that fails for another reason than the confinement (a typing error, say) is a
failed test, because the program must end by itself and say "lost".
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import secrets
import shutil
import socket
import subprocess
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from reflectioncoder.sandbox import isolation as isolations
from reflectioncoder.sandbox.detect import probe
from reflectioncoder.sandbox.forkserver import SERVERS
from reflectioncoder.sandbox.isolation import ISOLATIONS, PROGRAM_USERS, RLIMITS, Isolation
from reflectioncoder.sandbox.limits import Limits, RunResult
from reflectioncoder.sandbox.process import run_python
from tests.attacks.judges import Judge

LIMITS = Limits(
    wall_s=5,
    cpu_s=2,
    memory_bytes=2**29,
    output_bytes=4096,
    file_bytes=2**23,
    disk_bytes=2**24,
    disk_files=512,
    processes=16,
    open_files=64,
)
SOON_S = 50  # what ends within it has not hung, on a busy machine too: what these programs leave behind would stay a minute
ROOT = os.getuid() == 0
# One user for all programs of this worker, so that a program can be given what belongs to its user.
PROGRAM_USER = PROGRAM_USERS[int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))]
isolations.PROGRAM_USERS = [PROGRAM_USER]
X86_64 = platform.machine() == "x86_64"
needs_x86_64 = pytest.mark.skipif(not X86_64, reason="the numbers of the system calls are those of x86_64")

PRELUDE = """
import ctypes, errno, os, signal, socket, sys, threading, time
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
def check(result):
    if result == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
def syscall(number, *arguments):
    return check(libc.syscall(ctypes.c_long(number), *(ctypes.c_long(a) if isinstance(a, int) else a for a in arguments)))
libc.prctl(15, mark.encode())
"""
_ATTEMPT = """
def attempt():
{body}
try:
    verdict = "won " + repr(attempt())
except OSError as error:
    verdict = "lost " + errno.errorcode.get(error.errno, "?") + " " + str(error)
print(verdict)
"""


_NAMES = [name for name, isolation in ISOLATIONS.items() if isolation.tier >= 1]
_AUTOMATIC = ("cgroup", "namespaces", "landlock")


def _params(*quick: str) -> list[Any]:
    return [pytest.param(name, marks=() if name in quick else pytest.mark.slow) for name in _NAMES]


@pytest.fixture(scope="session", params=_params(*_AUTOMATIC))
def isolation(request) -> Isolation:
    """Every way of confinement that promises something. The weakest promises next to nothing; it serves as the control."""
    return _working(request.param)


@pytest.fixture(scope="session", params=_params("namespaces", "landlock"))
def ending(request) -> Isolation:
    """The same, for what takes long and does not depend on a control group."""
    return _working(request.param)


def _working(name: str) -> Isolation:
    reason = _probe(name)
    if reason is not None:
        pytest.skip(f"{name} does not work here: {reason}")
    return ISOLATIONS[name]


@cache
def _probe(name: str) -> str | None:
    return probe(ISOLATIONS[name])


@pytest.fixture
def hidden_world(isolation) -> Isolation:
    """A confinement with a file system of its own. Landlock hides contents, not names, sizes and times."""
    if not isolation.namespaces:
        pytest.skip("Landlock lets a program ask whether a file exists: a known limit of tier 1")
    return isolation


def new_mark() -> str:
    return "rc" + secrets.token_hex(5)  # the kernel keeps 15 characters of a process's name


def attack(source: str, isolation: Isolation, given: dict[str, Any] | None = None, mark: str = "", **limits: Any) -> RunResult:
    """Run a hostile program to its end; nothing of it may be left on the host."""
    mark = mark or new_mark()
    result = run_python(program(source, mark, given), replace(LIMITS, **limits), isolation)
    assert survivors(mark) == [], "processes of the program are left on the host"
    return result


def program(source: str, mark: str, given: dict[str, Any] | None = None) -> str:
    constants = "\n".join(f"{name} = {value!r}" for name, value in {"mark": mark, **(given or {})}.items())
    return constants + PRELUDE + textwrap.dedent(source)


def attempt(body: str, isolation: Isolation, given: dict[str, Any] | None = None, **limits: Any) -> str:
    """Run the body of a function that either raises OSError ("lost ERRNO ...") or gets through ("won ...")."""
    source = _ATTEMPT.format(body=textwrap.indent(textwrap.dedent(body).strip("\n"), "    "))
    result = attack(source, isolation, given, **limits)
    assert result.status == "ok", result
    assert result.stdout.startswith(("won ", "lost ")), result.stdout
    return result.stdout.strip()


def assert_lost(verdict: str, *errors: str) -> None:
    """The attempt got nowhere, and if `errors` are given, it is one of these that it met."""
    assert verdict.startswith("lost "), verdict
    assert not errors or verdict.split()[1] in errors, verdict


def survivors(mark: str) -> list[str]:
    """What on the host carries the mark, in its name or on its command line."""
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        try:
            texts = Path(f"/proc/{entry}/comm").read_bytes(), Path(f"/proc/{entry}/cmdline").read_bytes()
            if any(mark.encode() in text for text in texts):
                state = Path(f"/proc/{entry}/stat").read_text().rsplit(")", 1)[1].split()[0]
                if state != "X":  # dead, and about to be taken off the list
                    found.append(f"{entry} ({state})")
        except OSError:
            continue
    return found


def wait_for(condition: Callable[[], Any], patience_s: float = 10.0) -> Any:
    """The condition's value as soon as it is true; its last value when patience is over."""
    deadline = time.monotonic() + patience_s
    while not (value := condition()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return value


class Watch:
    """Counts, from outside and all the time, what a program with this mark has running."""

    def __init__(self, mark: str, find: Callable[[str], list[str]] = survivors):
        self.mark, self.find = mark, find
        self.most_processes = self.most_tasks = self.most_resident = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(0.02):
            found: dict[str, tuple[int, int]] = {}
            for survivor in self.find(self.mark):
                folder = f"/proc/{survivor.split()[0]}"
                with contextlib.suppress(OSError):
                    resident = int(Path(f"{folder}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
                    found[folder] = len(os.listdir(f"{folder}/task")), resident
            # Looking takes time, in which some end and others begin: those that are still there have been there together.
            together = [found[folder] for folder in found if os.path.exists(folder)]
            self.most_processes = max(self.most_processes, len(together))
            self.most_tasks = max(self.most_tasks, sum(tasks for tasks, _ in together))
            self.most_resident = max(self.most_resident, sum(resident for _, resident in together))


@dataclass(frozen=True)
class Condition:
    """What others may not change about a process."""

    stopped_or_dead: bool
    nice: int
    io_priority: int
    policy: int
    processors: frozenset[int]
    limits: str


def condition_of(pid: int) -> Condition:
    libc = ctypes.CDLL(None)
    return Condition(
        stopped_or_dead=Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] in "TtZX",
        nice=os.getpriority(os.PRIO_PROCESS, pid),
        io_priority=libc.syscall(252, 1, pid) if X86_64 else 0,
        policy=os.sched_getscheduler(pid),
        processors=frozenset(os.sched_getaffinity(pid)),
        limits=Path(f"/proc/{pid}/limits").read_text(),
    )


@dataclass
class Host:
    """What there is to steal and to break.

    `target` and `open_folder` belong to the user that programs run as, with all rights: no file mode protects them. `own_secret`
    too; `public_secret` may be read by everybody, `private_secret` only by us.
    """

    folder: Path
    secret: str
    sockets: dict[str, socket.socket]
    victims: dict[str, subprocess.Popen]
    given: dict[str, Any] = field(default_factory=dict)
    _before: dict[str, Any] = field(default_factory=dict)

    def remember(self) -> None:
        self._before = self._state()

    def _state(self) -> dict[str, Any]:
        state: dict[str, Any] = {}
        for path in sorted([self.folder, *self.folder.rglob("*")]):
            found = path.lstat()
            state[str(path)] = (found.st_mode, found.st_uid, found.st_gid, found.st_nlink, found.st_size, found.st_mtime_ns)
            if path.is_file():
                state[f"{path}: content"] = path.read_bytes()
                state[f"{path}: attributes"] = os.listxattr(path)
        for name, victim in self.victims.items():
            state[f"victim {name}"] = condition_of(victim.pid) if victim.poll() is None else "dead"
        return state

    def assert_untouched(self) -> None:
        """No file changed, none came, nobody called, no victim was hurt."""
        state = self._state()
        assert state.keys() == self._before.keys()
        for name, value in state.items():
            assert value == self._before[name], name
        for name, listener in self.sockets.items():
            try:
                listener.accept() if listener.type == socket.SOCK_STREAM else listener.recv(100)
            except BlockingIOError:
                continue
            pytest.fail(f"somebody called at {name}")


def _listen(family: int, kind: int, address: Any) -> socket.socket:
    listener = socket.socket(family, kind)
    listener.setblocking(False)
    listener.bind(address)
    if kind == socket.SOCK_STREAM:
        listener.listen()
    return listener


@pytest.fixture
def host() -> Iterator[Host]:
    folder = Path(tempfile.mkdtemp(prefix="host-"))
    secret = "secret-" + secrets.token_hex(8)
    user = (PROGRAM_USER, PROGRAM_USER) if ROOT else (os.getuid(), os.getgid())
    for name, mode, owner in (
        ("public_secret", 0o644, None),
        ("private_secret", 0o600, None),
        ("own_secret", 0o600, user),
        ("target", 0o666, user),
        ("secret_module.py", 0o644, None),
        ("program.sh", 0o755, None),
    ):
        content = {"secret_module.py": f"value = {secret!r}\n", "program.sh": f"#!/bin/sh\necho {secret}\n"}.get(name, secret)
        (folder / name).write_text(content)
        (folder / name).chmod(mode)
        if owner:
            os.chown(folder / name, *owner)
    (folder / "open_folder" / "empty").mkdir(parents=True)
    (folder / "open_folder" / "file").write_text(secret)
    (folder / "link").symlink_to(folder / "public_secret")
    token = folder.name
    sockets = {
        "tcp": _listen(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0)),
        "udp": _listen(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0)),
        "stream_path": _listen(socket.AF_UNIX, socket.SOCK_STREAM, str(folder / "stream.sock")),
        "datagram_path": _listen(socket.AF_UNIX, socket.SOCK_DGRAM, str(folder / "datagram.sock")),
        "stream_name": _listen(socket.AF_UNIX, socket.SOCK_STREAM, f"\0stream-{token}"),
        "datagram_name": _listen(socket.AF_UNIX, socket.SOCK_DGRAM, f"\0datagram-{token}"),
    }
    for path in (folder / "stream.sock", folder / "datagram.sock"):
        path.chmod(0o777)
    for path in (folder / "open_folder", folder / "open_folder" / "file", folder / "open_folder" / "empty"):
        os.chown(path, *user)
        path.chmod(0o777)
    folder.chmod(0o755)
    command, environment = ["sleep", "600"], {"VICTIM_SECRET": secret, "PATH": os.environ["PATH"]}
    victims = {"ours": subprocess.Popen(command, env=environment, start_new_session=True)}
    if ROOT:
        victims["of the program's user"] = subprocess.Popen(
            command, env=environment, user=PROGRAM_USER, group=PROGRAM_USER, extra_groups=[], start_new_session=True
        )
    wait_for(lambda: all(Path(f"/proc/{victim.pid}/comm").read_text() == "sleep\n" for victim in victims.values()))
    host = Host(folder, secret, sockets, victims)
    host.given = {
        "folder": str(folder),
        **{name: str(folder / name) for name in ("public_secret", "private_secret", "own_secret", "target", "open_folder")},
        "tcp_port": sockets["tcp"].getsockname()[1],
        "udp_port": sockets["udp"].getsockname()[1],
        "stream_path": str(folder / "stream.sock"),
        "datagram_path": str(folder / "datagram.sock"),
        "stream_name": f"\0stream-{token}",
        "datagram_name": f"\0datagram-{token}",
        "victims": [victim.pid for victim in victims.values()],
        "trusted": os.getpid(),
    }
    host.remember()
    try:
        yield host
    finally:
        for victim in victims.values():
            victim.kill()
            victim.wait()
        for listener in sockets.values():
            listener.close()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def own_servers(isolation, monkeypatch) -> Iterator[Path]:
    """Fresh servers, whose private directories lie in a folder of the test's own; all of it is gone afterwards."""
    SERVERS.close()
    folder = Path(tempfile.mkdtemp(prefix="boxes-"))
    folder.chmod(0o755)
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    try:
        yield folder
    finally:
        try:
            SERVERS.close()
        finally:
            subprocess.run(["rm", "-rf", str(folder)], check=False)


def unconfined(body: str, given: dict[str, Any] | None = None, **limits: Any) -> str:
    """The control: the same attempt where nothing but limits holds. An attack that loses here too shows nothing."""
    return attempt(body, RLIMITS, given, **limits)


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    folder = Path(tempfile.mkdtemp(prefix="forged-"))
    folder.chmod(0o755)
    judge = Judge(folder)
    judge.start()
    try:
        yield judge
    finally:
        judge.close()
        subprocess.run(["rm", "-rf", str(folder)], check=False)
