"""Restricts a folder to one process by locking a file in it; the lock ends with the process."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from reflectioncoder.data.files import LOCK_FILE, writing
from reflectioncoder.errors import MachineError
from reflectioncoder.progress import say

_WAIT_S = 0.5  # between two looks whether the other process has ended
_UNSUPPORTED = (errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP)  # Lustre without -o flock, some NFS and FUSE


class OccupiedError(MachineError):
    """Another process is at work in a folder."""


def lock_alone(descriptor: int, path: Path, who: str = "another process") -> None:
    """Lock an open file without waiting. On a file system without locks, print a message and lock nothing.

    Args:
        who: a name for the process that may hold the lock, used in messages.

    Raises:
        OccupiedError: another process holds the lock.
        MachineError: the file system fails.
    """
    try:
        import fcntl
    except ImportError:  # not POSIX
        return
    with writing(path):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OccupiedError(f"{who} is at work in {path.parent}") from None
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
            _say_unsupported(path.parent)


@contextlib.contextmanager
def alone_in(directory: Path, name: str = LOCK_FILE, who: str = "another command") -> Iterator[None]:
    """Keep a folder, which is made if need be, to this process until the block ends, or the process does.

    The file that is locked is removed at the end of the block; a process that is killed leaves it, which does no harm.

    Raises:
        OccupiedError: another process is at work there.
        MachineError: the folder cannot be written.
    """
    path = directory / name
    while True:
        with writing(path):
            directory.mkdir(parents=True, exist_ok=True)
            lock = open(path, "ab")  # noqa: SIM115 (closed below)
        with lock:
            lock_alone(lock.fileno(), path, who)
            if not _is_open_file(path, lock.fileno()):  # the process before removed it after we had opened it
                continue
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
            return


@contextlib.contextmanager
def in_turn(directory: Path, name: str, work: str) -> Iterator[None]:
    """Keep a piece of work to this process, as `alone_in` does, but wait for another process that is at it.

    Args:
        name: of the file that is locked.
        work: the name of the work, used in the message that says what is waited for.

    Raises:
        MachineError: the folder cannot be written.
    """
    with contextlib.ExitStack() as stack:
        is_waiting = False
        while True:
            try:
                stack.enter_context(alone_in(directory, name))
                break
            except OccupiedError:
                if not is_waiting:
                    say(f"{work}: another process is at it; waiting for its result")
                is_waiting = True
                time.sleep(_WAIT_S)
        yield


def _is_open_file(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


@cache
def _say_unsupported(directory: Path) -> None:
    """Print the message once per folder, however many of its files are locked."""
    say(f"the file system of {directory} has no locks: see to it that no second process works there")
