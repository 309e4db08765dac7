"""How programs are confined here: the tiers, what each is made of, and which of them hold on this machine.

    tier  name        means
    3     cgroup      tier 2, and memory and processes of the whole tree counted by the kernel (a writable cgroup is needed)
    2     namespaces  own users, processes, network, IPC and file system (nothing but the interpreter and /usr, read-only), tier 1
    1     landlock    Landlock on files, sockets and signals; system-call filter; no new privileges; limits; watched memory
    0     rlimits     limits, a process group, a clean environment: a program can read files and use the network

The strongest that holds is found by a small attack at the start (`probe`), never by looking at versions. Every result names it.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import secrets
import shutil
import socket
import stat
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from reflectioncoder.errors import UsageError
from reflectioncoder.paths import cache_dir
from reflectioncoder.sandbox.box import temporary_folder
from reflectioncoder.sandbox.limits import Limits, SandboxUnavailableError
from reflectioncoder.sandbox.readable import expand, is_below, readable_paths, secret_folders
from reflectioncoder.sandbox.runtime.confine import World

# Root's servers each take one: the kernel counts processes by user, so programs of one user could take them from each other. These are
# the numbers that systemd gives to services for as long as they run.
PROGRAM_USERS: Sequence[int] = range(61184, 65520)
_users = itertools.count(secrets.randbelow(len(PROGRAM_USERS)))  # other processes of ours begin elsewhere
_NOBODY = "65534"
FLOOR = 1


@dataclass(frozen=True)
class Isolation:
    """One way to confine programs."""

    name: str
    tier: int
    namespaces: bool = False
    landlock: bool = False
    seccomp: bool = False
    cgroup: bool = False
    wrapper: str = ""
    """A program that the server is started through and that makes the namespaces in its place."""
    readable_proc: bool = False
    """With namespaces, programs may read /proc, which holds no processes but their own, but does hold paths of the machine."""

    @property
    def network(self) -> str:
        return "none" if self.tier >= 1 else "open"

    def describe(self) -> dict[str, Any]:
        return {"name": self.name, "tier": self.tier, "network": self.network}

    def wrap(self, argv: list[str], box: str, sources: str) -> list[str]:
        """The command that starts the server: `argv`, or `argv` inside of the wrapper.

        Raises:
            SandboxUnavailableError: the wrapper is not installed.
        """
        if not self.wrapper:
            return argv
        path = shutil.which(self.wrapper)
        if path is None:
            raise SandboxUnavailableError(f"{self.wrapper} is not installed")
        paths = readable_paths()
        binds = [("--ro-bind", source) for source in paths.bind] + [
            ("--tmpfs", hidden) for hidden in paths.hide if is_below(hidden, paths.bind)
        ]
        binds += [("--ro-bind", source) for source in (*paths.show, f"{sources}/reflectioncoder")] + [("--bind", box)]
        mounts = [part for kind, place in binds for part in ((kind, place) if kind == "--tmpfs" else (kind, place, place))]
        flags = [
            "--unshare-user",
            "--unshare-pid",
            "--unshare-net",
            "--unshare-ipc",
            "--unshare-uts",
            "--die-with-parent",
            "--proc",
            "/proc",
        ]
        if os.getuid() == 0:
            flags += ["--uid", _NOBODY, "--gid", _NOBODY]
        return [path, *flags, "--dev", "/dev", *mounts, "--", *argv]

    def world(self, box: str, cgroup_files: list[str]) -> World:
        """What a server needs to confine programs this way. `box`: an empty directory of ours."""
        paths = readable_paths()
        as_root = os.name == "posix" and os.getuid() == 0 and self.tier >= 1
        user = PROGRAM_USERS[next(_users) % len(PROGRAM_USERS)] if as_root and not self.wrapper else None
        return World(
            namespaces=self.namespaces,
            landlock=self.landlock,
            seccomp=self.seccomp,
            box=box,
            bind=list(paths.bind),
            hide=list(paths.hide),
            show=list(paths.show),
            packages=list(paths.packages),
            readable_proc=self.readable_proc,
            readable=expand(paths) if self.landlock and not self.namespaces else [],
            user=(user, user) if user is not None else None,
            keep_read_search=user is not None and not all(map(_open_to_all, paths.bind)),
            cgroup_files=cgroup_files,
        )


CGROUP = Isolation("cgroup", 3, namespaces=True, landlock=True, seccomp=True, cgroup=True)
NAMESPACES = Isolation("namespaces", 2, namespaces=True, landlock=True, seccomp=True)
LANDLOCK = Isolation("landlock", 1, landlock=True, seccomp=True)
RLIMITS = Isolation("rlimits", 0)
BUBBLEWRAP = Isolation("bubblewrap", 1, landlock=True, seccomp=True, wrapper="bwrap")
AUTOMATIC = (CGROUP, NAMESPACES, LANDLOCK, RLIMITS)
ISOLATIONS = {isolation.name: isolation for isolation in (*AUTOMATIC, BUBBLEWRAP)}
"""Those that are tried one after another, and those that are used when they are named."""


def _open_to_all(path: str) -> bool:
    """Whether a user without any rights can reach the path."""
    ancestors = Path(path).resolve().parents
    return all(ancestor.stat().st_mode & stat.S_IXOTH for ancestor in ancestors)


# Run inside the candidate. It holds if none of these attempts gets through.
_ATTACK = """
import os, signal, socket
won = []
def attempt(name, action):
    try:
        action()
    except BaseException:
        return
    won.append(name)
attempt("network", lambda: socket.create_connection(("127.0.0.1", {port}), timeout=2))
attempt("secret file", lambda: open({secret!r}).read())
attempt("write outside", lambda: open({secret!r} + ".planted", "w"))
attempt("change outside", lambda: os.chmod({secret!r}, 0o600))
attempt("signal", lambda: os.kill({pid}, 0))
attempt("process table", lambda: open("/proc/{pid}/environ").read())
for path in {data!r}:
    attempt("data that answers are compared with", lambda: open(path).read(1))
open("mine", "w").write("x")
print(",".join(won) or "held")
"""

# Four processes, each below the limit, together above it.
_HOG_LIMIT_BYTES = 2**27
_HOG = """
import os
for _ in range(2): os.fork()
x = bytearray(2**26)
for at in range(0, len(x), 4096): x[at] = 1
os.wait()
"""


@contextlib.contextmanager
def _examples_of_data() -> Iterator[list[str]]:
    """Yield a file of each secret folder; in the cache one that everybody may read."""
    found = []
    for folder in secret_folders():
        with contextlib.suppress(OSError):
            found += [str(path) for path in itertools.islice(folder.iterdir(), 100) if path.is_file()][:1]
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            example = stack.enter_context(tempfile.NamedTemporaryFile(dir=cache_dir(), prefix=".example-"))
            os.chmod(example.name, 0o644)
            found.append(example.name)
        yield found


def probe(isolation: Isolation) -> str | None:
    """Try the isolation with a small attack; None if it holds, else what went wrong."""
    from reflectioncoder.sandbox.process import run_python

    if isolation.tier >= 1 and sys.platform != "linux":
        return "only on Linux"
    with temporary_folder() as folder, socket.create_server(("127.0.0.1", 0)) as listener, _examples_of_data() as data:
        folder.chmod(0o755)
        secret = folder / "secret"
        secret.write_text("secret")
        secret.chmod(0o666)
        source = _ATTACK.format(port=listener.getsockname()[1], secret=str(secret), pid=os.getpid(), data=data)
        try:
            result = run_python(source, Limits(wall_s=20), isolation)
        except SandboxUnavailableError as error:
            return str(error)
    if result.status != "ok":
        return f"the probe ended with {result.status}: {result.reason} {result.stderr[-200:]}".strip()
    if isolation.tier >= 1 and result.stdout != "held\n":
        return f"the probe got through: {result.stdout.strip()}"
    if isolation.cgroup:
        hog = run_python(_HOG, Limits(wall_s=20, memory_bytes=_HOG_LIMIT_BYTES), isolation)
        if hog.status != "memory":
            return f"the memory of several processes is not limited together: {hog.status} {hog.stderr[-200:]}".strip()
    return None


def detect_isolation() -> Isolation:
    """The strongest isolation that holds on this machine; `REFLECTIONCODER_ISOLATION` names another.

    Raises:
        SandboxUnavailableError: not even the weakest one can run a program here.
    """
    return _detect(secret_folders())


@cache
def _detect(secret: frozenset[Path]) -> Isolation:
    if os.name != "posix":
        raise SandboxUnavailableError("programs are confined with POSIX means only; on Windows use WSL 2 or a container")
    wanted = os.environ.get("REFLECTIONCODER_ISOLATION")
    if wanted is not None and wanted not in ISOLATIONS:
        raise UsageError.for_value("unknown isolation", "REFLECTIONCODER_ISOLATION", wanted, list(ISOLATIONS))
    reasons = []
    for isolation in [ISOLATIONS[wanted]] if wanted else AUTOMATIC:
        reason = probe(isolation)
        if reason is None:
            return isolation
        reasons.append(f"{isolation.name}: {reason}")
    raise SandboxUnavailableError("no way to run programs here:\n  " + "\n  ".join(reasons))


def require_floor(isolation: Isolation, floor: int = FLOOR) -> None:
    """Refuse to go below a tier.

    Raises:
        SandboxUnavailableError: the isolation is weaker.
    """
    if isolation.tier < floor:
        raise SandboxUnavailableError(
            f"programs would run at isolation tier {isolation.tier} ({isolation.name}); tier {floor} is demanded\n"
            "  meaning: they could read your files and use the network\n"
            "  hint:    reflectioncoder doctor says why; --floor 0 accepts it and marks the results as unsafe"
        )
