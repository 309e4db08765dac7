"""Defines the limits of a program and the result of its run.

A `RunResult` is always about the program. If the sandbox itself fails, `SandboxUnavailableError` is raised instead, so that a broken
machine never looks like a failing program.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from reflectioncoder.errors import SandboxUnavailableError, UsageError

RunStatus = Literal["ok", "failed", "timeout", "memory", "crashed"]
"""ok: exit code 0; failed: another exit code; timeout: wall or CPU limit; memory: memory limit; crashed: killed by a signal."""

_MAX_SECONDS = 1e9
_MAX_WHOLE = 2**63 - 1  # what the operating system takes

__all__ = ["CappedOutput", "Limits", "RunResult", "RunStatus", "SandboxUnavailableError"]


@dataclass(frozen=True)
class Limits:
    """Limits of one run, in seconds and bytes.

    `memory_bytes` limits the resident memory of all processes together and, if `address_space_bytes` is None, the address space of
    each; runtimes that reserve far more than they use (JVM, Go, .NET, Node) need a separate `address_space_bytes`.
    """

    wall_s: float = 10.0
    cpu_s: float = 5.0
    memory_bytes: int = 2**30
    output_bytes: int = 64 * 1024
    file_bytes: int = 16 * 2**20
    disk_bytes: int = 64 * 2**20
    disk_files: int = 4096
    processes: int = 32
    open_files: int = 64
    address_space_bytes: int | None = None

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value is None:
                continue
            most = _MAX_SECONDS if name.endswith("_s") else _MAX_WHOLE
            if not 0 <= value <= most or (value == 0 and name != "file_bytes"):
                raise UsageError.for_value("a sandbox limit is out of range", name, value, f"a number above 0, at most {most:.0f}")


@dataclass(frozen=True)
class RunResult:
    """The outcome of one run. `stdout` and `stderr` are capped (head and tail kept); `*_length` are the true byte counts."""

    status: RunStatus
    exit_code: int | None
    signal: int | None
    stdout: str
    stderr: str
    stdout_length: int
    stderr_length: int
    duration_s: float
    cpu_s: float
    peak_memory_bytes: int
    reason: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class CappedOutput:
    """Keeps the first and last bytes of a stream, at most `cap` in all, and counts all bytes."""

    def __init__(self, cap: int):
        self.length = 0
        self._cap = cap
        self._head = bytearray()
        self._tail = bytearray()

    def add(self, data: bytes) -> None:
        self.length += len(data)
        room = self._cap // 2 - len(self._head)
        if room > 0:
            self._head += data[:room]
            data = data[room:]
        if data:
            self._tail += data
            del self._tail[: max(0, len(self._tail) - (self._cap - self._cap // 2))]

    def content(self) -> bytes | None:
        """Return the whole stream; None if something was left out."""
        return bytes(self._head + self._tail) if len(self._head) + len(self._tail) == self.length else None

    def text(self) -> str:
        kept = len(self._head) + len(self._tail)
        if kept == self.length:
            return (self._head + self._tail).decode("utf-8", "replace")
        note = f"\n... {self.length - kept} bytes left out ...\n"
        return self._head.decode("utf-8", "replace") + note + self._tail.decode("utf-8", "replace")
