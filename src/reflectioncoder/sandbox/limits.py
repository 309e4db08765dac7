"""Defines the limits of a program and the result of its run.

A `RunResult` is always about the program. If the sandbox itself fails, `SandboxUnavailableError` is raised instead, so that a
broken machine can never look like a failing program.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from reflectioncoder.errors import SandboxUnavailableError, UsageError

RunStatus = Literal["ok", "failed", "timeout", "memory", "crashed"]
"""ok: exit code 0; failed: another exit code; timeout: wall or CPU limit; memory: memory limit; crashed: killed by a signal."""

__all__ = ["CappedOutput", "Limits", "RunResult", "RunStatus", "SandboxUnavailableError"]


@dataclass(frozen=True)
class Limits:
    """Limits of one run. Seconds and bytes.

    `memory_bytes` holds for all processes together (resident) and, where `address_space_bytes` is None, for the address space of each;
    runtimes that reserve far more than they use (JVM, Go, .NET, Node) need another bound there.
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
            if value < 0 or (value == 0 and name != "file_bytes"):
                raise UsageError.for_value("a sandbox limit must be positive", name, value, "a number above 0")


@dataclass(frozen=True)
class RunResult:
    """Outcome of one run. `stdout` and `stderr` are capped (head and tail kept); `*_length` are the true byte counts."""

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
    """Keeps the first and the last bytes of a stream within `cap`, and counts all of them."""

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
