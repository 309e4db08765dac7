"""Makes our folders in the temporary directory. A killed process leaves its folders there, and the next process removes them.

Whoever has made a folder holds a lock on it for as long as it lives, and the kernel releases it with the process. What is not locked
belongs to nobody any more.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from reflectioncoder.sandbox.limits import SandboxUnavailableError

_PREFIX = "reflectioncoder-"
_ATTEMPTS = 20


class Box:
    """A new folder, closed to others, in `directory` (by default the temporary directory).

    Raises:
        OSError: the directory cannot be written.
    """

    def __init__(self, directory: str | None = None) -> None:
        directory = directory or tempfile.gettempdir()
        _remove_leftovers_once(directory)
        for _ in range(_ATTEMPTS):
            self.path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=directory))
            if (lock := _lock(self.path)) is not None:
                self._lock = lock
                return  # else another process has taken it for a leftover, in the moment before it was locked
            with contextlib.suppress(OSError):
                self.path.rmdir()
        raise OSError(f"no folder can be locked in {directory}")

    def remove(self) -> None:
        """Remove the folder with all that is in it. A second call does nothing.

        Raises:
            SandboxUnavailableError: something stays.
        """
        if self._lock < 0:
            return
        try:
            remove(self.path)
        finally:
            os.close(self._lock)
            self._lock = -1


@contextlib.contextmanager
def temporary_folder(directory: str | None = None) -> Iterator[Path]:
    box = Box(directory)
    try:
        yield box.path
    finally:
        box.remove()


def remove(path: Path) -> None:
    """Remove whatever a program has left, unreadable or nested too deep for recursion as it may be."""
    if path.is_dir() and not path.is_symlink():
        # By programs of the system: they do not recurse, and a path may be longer than any that the kernel takes.
        for command in (["chmod", "-R", "u+rwx"], ["rm", "-rf"]):
            subprocess.run([*command, "--", str(path)], check=False, capture_output=True, env={"PATH": "/usr/bin:/bin"})
    else:
        path.unlink(missing_ok=True)
    if os.path.lexists(path):
        raise SandboxUnavailableError(f"what a program has left cannot be removed: {path}")


def _lock(path: Path) -> int | None:
    """Return a descriptor that holds the lock; None if the folder is gone or another process holds it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(descriptor), os.lstat(path)):
            return descriptor
    except OSError:
        pass
    os.close(descriptor)
    return None


@cache
def _remove_leftovers_once(directory: str) -> None:
    """Remove leftovers, once for each directory and process."""
    remove_leftovers(directory)


def remove_leftovers(directory: str | None = None) -> None:
    """Remove the folders that killed processes of this user have left, by default in the temporary directory."""
    for path in sorted(Path(directory or tempfile.gettempdir()).glob(f"{_PREFIX}*")):
        with contextlib.suppress(OSError, SandboxUnavailableError):
            if path.lstat().st_uid == os.getuid() and (lock := _lock(path)) is not None:
                try:
                    remove(path)
                finally:
                    os.close(lock)
