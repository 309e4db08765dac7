"""Creates a control group per server, if permitted, so that the kernel limits memory and processes of the whole process tree.

Uses version 2 (one directory) if memory and pids are delegated, else version 1 (one directory per controller). Works as root, or in a
delegated scope (`systemd-run --user --scope -p Delegate=yes ...`).
"""

from __future__ import annotations

import contextlib
import secrets
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from reflectioncoder.sandbox.limits import Limits, SandboxUnavailableError

_MOUNTS = Path("/proc/self/mountinfo")
_CONTROLLERS = ("memory", "pids")
_LEFT_OVER_AFTER_S = 60.0


@dataclass(frozen=True)
class ControlGroup:
    """A control group. `directories`: controller → directory; in version 2 all are the same."""

    directories: dict[str, Path]
    version: int

    @classmethod
    def create(cls) -> ControlGroup:
        """Create a new, empty group below this process's own.

        Raises:
            SandboxUnavailableError: this machine does not permit it.
        """
        name = f"reflectioncoder-{secrets.token_hex(8)}"
        reasons = []
        for version, parents in _candidates():
            for parent in {*parents.values()}:
                _remove_leftovers(parent)
            group = cls({controller: parent / name for controller, parent in parents.items()}, version)
            try:
                group._make()
            except OSError as error:
                reasons.append(f"version {version}: {error.strerror}: {error.filename}")
                group.remove()
            else:
                return group
        raise SandboxUnavailableError("no control group: " + ("; ".join(reasons) or "no memory and pids controllers"))

    def _make(self) -> None:
        for directory in {*self.directories.values()}:
            directory.mkdir()
        for controller, name in (("memory", self._memory_file), ("pids", "pids.max")):
            if not (self.directories[controller] / name).exists():
                raise OSError(None, "not delegated", str(self.directories[controller] / name))

    @property
    def _memory_file(self) -> str:
        return "memory.max" if self.version == 2 else "memory.limit_in_bytes"

    @property
    def join_files(self) -> list[str]:
        """Return the files that a process writes 0 to in order to join the group."""
        return sorted({str(directory / "cgroup.procs") for directory in self.directories.values()})

    def used_bytes(self) -> int:
        name = "memory.current" if self.version == 2 else "memory.usage_in_bytes"
        return int((self.directories["memory"] / name).read_text())

    def limit(self, limits: Limits, server_bytes: int) -> None:
        """Set the limits for the next program, plus one process and `server_bytes` for the server, which is in the group too."""
        self._write("memory", self._memory_file, limits.memory_bytes + server_bytes)
        self._write("pids", "pids.max", limits.processes + 1)
        if self.version == 2:
            with contextlib.suppress(OSError):
                self._write("memory", "memory.swap.max", 0)

    def _write(self, controller: str, name: str, value: int) -> None:
        (self.directories[controller] / name).write_text(str(value))

    def num_oom_kills(self) -> int:
        name = "memory.events" if self.version == 2 else "memory.oom_control"
        with contextlib.suppress(OSError, ValueError, KeyError):
            fields = dict(line.split() for line in (self.directories["memory"] / name).read_text().splitlines())
            return int(fields["oom_kill"])
        return 0

    def remove(self) -> None:
        for directory in {*self.directories.values()}:
            for _ in range(50):  # the kernel releases the last process with a delay
                try:
                    directory.rmdir()
                except FileNotFoundError:
                    break
                except OSError:
                    time.sleep(0.02)
                else:
                    break


@cache
def _remove_leftovers(parent: Path) -> None:
    """Remove the groups left by killed processes. A group with a server in it cannot be removed."""
    with contextlib.suppress(OSError):
        for group in list(parent.glob("reflectioncoder-*")):
            with contextlib.suppress(OSError):
                if time.time() - group.stat().st_mtime > _LEFT_OVER_AFTER_S:
                    group.rmdir()


def _candidates() -> list[tuple[int, dict[str, Path]]]:
    """Return pairs of (version, controller → directory of this process's own group)."""
    with contextlib.suppress(OSError):
        mounted = _mounted()
        own = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
        found: list[tuple[int, dict[str, Path]]] = []
        if "" in mounted:
            path = next((path for _, names, path in own if names == ""), "/")
            directory = mounted[""] / path.lstrip("/")
            found.append((2, dict.fromkeys(_CONTROLLERS, directory)))
        paths = {name: path for _, names, path in own for name in names.split(",")}
        if all(controller in mounted and controller in paths for controller in _CONTROLLERS):
            found.append((1, {c: mounted[c] / paths[c].lstrip("/") for c in _CONTROLLERS}))
        return found
    return []


def _mounted() -> dict[str, Path]:
    """Return controller → mount point of its version 1 hierarchy; "" → version 2."""
    mounted: dict[str, Path] = {}
    for line in _MOUNTS.read_text().splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        if kind == "cgroup2":
            mounted[""] = Path(before.split()[4])
        elif kind == "cgroup":
            for controller in set(options.split(",")) & set(_CONTROLLERS):
                mounted[controller] = Path(before.split()[4])
    return mounted
