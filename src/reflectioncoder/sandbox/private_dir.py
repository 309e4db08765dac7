"""The directory that a program without a file system of its own writes into: on the host's disk, and whatever it holds, hostile."""

from __future__ import annotations

import contextlib
import math
import os
from pathlib import Path

from reflectioncoder.sandbox.box import remove

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MAX_FOLDERS = 64  # one in another


class PrivateDir:
    """Made empty; `owner`: the user and group whom the programs run as, if not as us."""

    def __init__(self, path: Path, owner: tuple[int, int] | None):
        self.path = path
        path.mkdir(mode=0o700)
        if owner:
            os.chown(path, *owner)

    def usage(self) -> tuple[float, float]:
        """Files and bytes in it. If it cannot be listed (no right to read, nested too deep) infinitely many: it may hide any."""
        try:
            return _usage(os.open(self.path, _DIRECTORY), 0)
        except OSError:
            return math.inf, math.inf

    def empty(self) -> None:
        """For the next program: the directory itself stays, Landlock knows it by its inode.

        Raises:
            SandboxUnavailableError: something stays; no program must be run in it again.
        """
        for name in os.listdir(self.path):
            remove(self.path / name)


def _usage(directory: int, depth: int) -> tuple[float, float]:
    """Files and bytes below an open directory, which is closed. By descriptors: no link can lead out of it."""
    count: float = 0
    total: float = 0
    try:
        if depth > _MAX_FOLDERS:
            return math.inf, math.inf
        with os.scandir(directory) as entries:
            for entry in entries:
                count += 1
                with contextlib.suppress(FileNotFoundError, NotADirectoryError):  # gone or replaced while we look
                    total += entry.stat(follow_symlinks=False).st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        more, bytes_more = _usage(os.open(entry.name, _DIRECTORY, dir_fd=directory), depth + 1)
                        count, total = count + more, total + bytes_more
    finally:
        os.close(directory)
    return count, total
