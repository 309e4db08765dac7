"""Declares the ways to confine programs: the tiers and their components. `sandbox.detect` finds which hold on this machine.

tier  name        means
3     cgroup      tier 2, and the kernel limits memory and processes of the whole tree (needs a writable cgroup)
2     namespaces  own users, processes, network, IPC and file system (nothing but the interpreter and /usr, read-only), tier 1
1     landlock    Landlock on files, sockets and signals; system-call filter; no new privileges; limits; watched memory
0     rlimits     limits, a process group, a clean environment: a program can read files and use the network
"""

from __future__ import annotations

import itertools
import os
import secrets
import shutil
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reflectioncoder.sandbox.limits import SandboxUnavailableError
from reflectioncoder.sandbox.readable import expand, is_below, readable_paths
from reflectioncoder.sandbox.runtime.confine import World

# Each of root's servers uses one: the kernel counts processes per user, so programs of the same user could exhaust each other's limit.
# systemd assigns these ids to services while they run.
PROGRAM_USERS: Sequence[int] = range(61184, 65520)
_users = itertools.count(secrets.randbelow(len(PROGRAM_USERS)))  # random start, so that processes use different ids
_NOBODY = "65534"


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
    """A program that starts the server and creates the namespaces for it."""
    readable_proc: bool = False
    """With namespaces: programs may read /proc, which shows only their own processes but also paths of the machine."""

    @property
    def network(self) -> str:
        return "none" if self.tier >= 1 else "open"

    def describe(self) -> dict[str, Any]:
        return {"name": self.name, "tier": self.tier, "network": self.network}

    def wrap(self, argv: list[str], box: str, sources: str) -> list[str]:
        """Return the command that starts the server: `argv`, or `argv` inside the wrapper.

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
        """Return the configuration with which a server confines programs this way. `box`: an empty private directory."""
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
"""The isolations that are tried in order, followed by those used only when named."""


def _open_to_all(path: str) -> bool:
    """Tell whether an unprivileged user can reach the path."""
    ancestors = Path(path).resolve().parents
    return all(ancestor.stat().st_mode & stat.S_IXOTH for ancestor in ancestors)
