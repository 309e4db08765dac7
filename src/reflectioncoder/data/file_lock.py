"""Keeps a folder to one process, by a lock on a file in it that ends with the process."""

from __future__ import annotations

import errno
from functools import cache
from pathlib import Path

from reflectioncoder.data.files import writing
from reflectioncoder.errors import MachineError
from reflectioncoder.progress import say

_UNSUPPORTED = (errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP)  # Lustre without -o flock, some NFS and FUSE


def lock_alone(descriptor: int, path: Path, who: str = "another process") -> None:
    """Lock an open file, without waiting. Where there are no such locks, that is said, and nothing is locked.

    Args:
        who: what messages call the process that may hold the lock.

    Raises:
        MachineError: another process holds it; or the file system fails.
    """
    try:
        import fcntl
    except ImportError:  # not POSIX
        return
    with writing(path):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise MachineError(f"{who} is at work in {path.parent}") from None
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
            _say_unsupported(path.parent)


@cache
def _say_unsupported(directory: Path) -> None:
    """Say it once for each folder, however many files in it are to be locked."""
    say(f"the file system of {directory} has no locks: see to it that no second process works there")
