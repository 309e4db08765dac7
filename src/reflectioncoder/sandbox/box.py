"""Creates this package's temporary folders. A killed process leaves its folders behind, and the next process removes them.

The process that creates a folder holds a lock on it, which the kernel releases when the process ends. An unlocked folder is a leftover.
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
    """A new private folder in `directory` (by default the temporary directory).

    Raises:
        OSError: the directory is not writable.
    """

    def __init__(self, directory: str | None = None) -> None:
        directory = directory or tempfile.gettempdir()
        _remove_leftovers_once(directory)
        for _ in range(_ATTEMPTS):
            self.path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=directory))
            if (lock := _lock(self.path)) is not None:
                self._lock = lock
                return  # otherwise another process removed it as a leftover before it was locked
            with contextlib.suppress(OSError):
                self.path.rmdir()
        raise OSError(f"no folder can be locked in {directory}")

    def remove(self) -> None:
        """Remove the folder and its content. A second call does nothing.

        Raises:
            SandboxUnavailableError: something could not be removed.
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
    """Remove anything that a program left behind, even if it is unreadable or nested too deep for recursion."""
    if path.is_dir() and not path.is_symlink():
        # chmod and rm do not recurse, and handle paths longer than the kernel accepts.
        for command in (["chmod", "-R", "u+rwx"], ["rm", "-rf"]):
            subprocess.run([*command, "--", str(path)], check=False, capture_output=True, env={"PATH": "/usr/bin:/bin"})
    else:
        path.unlink(missing_ok=True)
    if os.path.lexists(path):
        raise SandboxUnavailableError(f"what a program has left cannot be removed: {path}")


def _lock(path: Path) -> int | None:
    """Return a descriptor that holds the lock; None if the folder is gone or another process holds the lock."""
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
    """Remove leftovers, once per directory and process."""
    remove_leftovers(directory)


def remove_leftovers(directory: str | None = None) -> None:
    """Remove the folders left by this user's killed processes, by default in the temporary directory."""
    for path in sorted(Path(directory or tempfile.gettempdir()).glob(f"{_PREFIX}*")):
        with contextlib.suppress(OSError, SandboxUnavailableError):
            if path.lstat().st_uid == os.getuid() and (lock := _lock(path)) is not None:
                try:
                    remove(path)
                finally:
                    os.close(lock)
