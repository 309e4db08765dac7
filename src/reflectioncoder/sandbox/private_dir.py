"""Manages the writable directory of a program without a private file system. It is on the host's disk, and its content untrusted."""

from __future__ import annotations

import contextlib
import math
import os
from pathlib import Path

from reflectioncoder.sandbox.box import remove

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MAX_FOLDERS = 64  # nesting depth


class PrivateDir:
    """A private directory, initially empty. `owner`: the programs' user and group, if they differ from this process's."""

    def __init__(self, path: Path, owner: tuple[int, int] | None):
        self.path = path
        path.mkdir(mode=0o700)
        if owner:
            os.chown(path, *owner)

    def usage(self) -> tuple[float, float]:
        """Count the files and bytes in it. A directory that cannot be listed (unreadable, nested too deep) counts as infinite, since it
        may hide any number."""
        try:
            return _usage(os.open(self.path, _DIRECTORY), 0)
        except OSError:
            return math.inf, math.inf

    def empty(self) -> None:
        """Empty it for the next program. The directory itself stays, because Landlock identifies it by its inode.

        Raises:
            SandboxUnavailableError: something could not be removed; no program may run in it again.
        """
        for name in os.listdir(self.path):
            remove(self.path / name)


def _usage(directory: int, depth: int) -> tuple[float, float]:
    """Count files and bytes below an open directory, and close it. Uses descriptors, so that no link can lead out of it."""
    count: float = 0
    total: float = 0
    try:
        if depth > _MAX_FOLDERS:
            return math.inf, math.inf
        with os.scandir(directory) as entries:
            for entry in entries:
                count += 1
                with contextlib.suppress(FileNotFoundError, NotADirectoryError):  # gone or replaced meanwhile
                    total += entry.stat(follow_symlinks=False).st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        more, bytes_more = _usage(os.open(entry.name, _DIRECTORY, dir_fd=directory), depth + 1)
                        count, total = count + more, total + bytes_more
    finally:
        os.close(directory)
    return count, total
