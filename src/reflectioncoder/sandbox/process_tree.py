"""Reads the resources of a process and its descendants from /proc. Missing information counts as zero children, memory or time."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_PIPE_BYTES, _MAPPING_BYTES = 65536, 256
_TICKS_PER_S = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


def descendants(pid: int) -> list[int]:
    """Return the process ids of all descendants."""
    found: list[int] = []
    pending = [pid]
    while pending:
        current = pending.pop()
        with contextlib.suppress(OSError):  # processes come and go meanwhile
            for task in os.listdir(f"/proc/{current}/task"):
                children = [int(child) for child in Path(f"/proc/{current}/task/{task}/children").read_text().split()]
                found += children
                pending += children
    return found


def num_threads(pid: int) -> int:
    try:
        return len(os.listdir(f"/proc/{pid}/task"))
    except OSError:
        return 0


def resident_bytes(pid: int) -> int:
    """Return the resident memory of a process, including pages shared with the warm server."""
    for path in (f"/proc/{pid}/statm", *_thread_files(pid)):
        try:
            if pages := int(Path(path).read_text().split()[1]):
                return pages * os.sysconf("SC_PAGE_SIZE")
        except (OSError, IndexError, ValueError):
            continue
    return 0


def unmapped_bytes(pids: Iterable[int], shared_bytes: float) -> float:
    """Return an upper bound on the memory that the kernel may hold for these processes without any of them mapping it.

    It covers pages of shared mappings, which stay allocated after unmapping, unread data in sockets and pipes, and the descriptions of
    mappings.

    Args:
        shared_bytes: the largest possible size of an anonymous shared mapping, of which /proc shows only the part still mapped.
    """
    num_mappings, shared, sockets, pipes = 0, dict[bytes, float](), set[str](), set[str]()
    for pid in pids:
        with contextlib.suppress(OSError):
            maps = Path(f"/proc/{pid}/maps").read_bytes().splitlines()
            num_mappings += len(maps)
            for line in maps:
                if line.endswith(b"/dev/zero (deleted)") and line.split(None, 2)[1].endswith(b"s"):
                    begin, end, offset, inode = _extent(line)
                    shared[inode] = max(shared.get(inode, shared_bytes), offset + end - begin)
        with contextlib.suppress(OSError):
            for entry in os.listdir(f"/proc/{pid}/fd"):
                kind, _, number = os.readlink(f"/proc/{pid}/fd/{entry}").partition(":")
                if kind in ("socket", "pipe"):
                    (sockets if kind == "socket" else pipes).add(number)
    queued = _socket_bytes() * len(sockets) + _PIPE_BYTES * len(pipes)
    return sum(shared.values()) + queued + _MAPPING_BYTES * num_mappings


def _extent(line: bytes) -> tuple[int, int, int, bytes]:
    """Return begin, end, file offset and file of a line of /proc/PID/maps."""
    place, _, offset, _, inode = line.split(None, 5)[:5]
    begin, _, end = place.partition(b"-")
    return int(begin, 16), int(end, 16), int(offset, 16), inode


@cache
def _socket_bytes() -> int:
    """Return how many unread bytes a socket of a pair may hold. A sender may exceed the buffer size by one message."""
    try:
        return int(Path("/proc/sys/net/core/wmem_default").read_text()) + 65536
    except (OSError, ValueError):
        return 2**18


def _thread_files(pid: int) -> Iterator[str]:
    """Yield a file of each thread: once the first thread has ended, only the other threads show the process's memory."""
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            yield f"/proc/{pid}/task/{task}/statm"


@dataclass(frozen=True)
class CpuTime:
    """The CPU time of a process that began at `started`: seconds of all its threads, without and with its reaped children."""

    started: int
    own_s: float
    with_children_s: float


def cpu_of(pid: int) -> CpuTime:
    try:
        fields = [int(field) for field in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:20]]
        return CpuTime(fields[8], sum(fields[:2]) / _TICKS_PER_S, sum(fields[:4]) / _TICKS_PER_S)
    except (OSError, IndexError, ValueError):
        return CpuTime(0, 0.0, 0.0)


def waiting_seconds(pid: int) -> float:
    """Return the seconds that a process was runnable but waiting for a processor."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_bytes().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0
