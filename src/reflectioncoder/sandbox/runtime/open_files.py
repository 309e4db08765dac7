"""Tracks what a cell leaves open: two runs of the next cell share it, and each must find it unchanged.

The offsets of named files are restored (their content: see `work_files`). Other things that processes share cannot be restored:
unnamed files and files outside the working directory, memory, pipes, sockets, children.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import sys
from collections.abc import Collection

_MAX_FD = 256
_SHARED_BY = ("mmap", "_sqlite3")  # modules with memory without a descriptor, or with state about their file


class OpenFiles:
    """The open files of a process and its forks, without the descriptors `own` and those already open at construction."""

    def __init__(self, own: Collection[int]):
        self._own = own
        self._ours = {fd: (found.st_dev, found.st_ino) for fd, found in self._open()}
        self._offsets: dict[int, int] = {}

    def _open(self) -> list[tuple[int, os.stat_result]]:
        found = []
        for fd in set(range(_MAX_FD)).difference(self._own):
            with contextlib.suppress(OSError):
                found.append((fd, os.fstat(fd)))
        return found

    def look(self) -> str:
        """Record the file offsets, and tell what is open.

        Returns "nothing", "files" (only), or "more": something that cannot be restored.
        """
        self._offsets, shares = {}, _has_children() or any(name in sys.modules for name in _SHARED_BY)
        with contextlib.suppress(Exception):  # a cell may have patched functions used here
            here = os.stat(".").st_dev
            for fd, found in self._open():
                if self._ours.get(fd) == (found.st_dev, found.st_ino):
                    continue
                if stat.S_ISREG(found.st_mode):
                    writable = fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY
                    shares |= writable and (not found.st_nlink or found.st_dev != here)
                    self._offsets[fd] = os.lseek(fd, 0, os.SEEK_CUR)
                elif stat.S_ISFIFO(found.st_mode) or stat.S_ISSOCK(found.st_mode):
                    shares = True
        return "more" if shares else "files" if self._offsets else "nothing"

    def put_back(self) -> None:
        """Restore the offsets, in a newly forked process."""
        for fd, offset in self._offsets.items():
            with contextlib.suppress(OSError):
                os.lseek(fd, offset, os.SEEK_SET)


def _has_children() -> bool:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except Exception:  # no children
        return False
    return True
