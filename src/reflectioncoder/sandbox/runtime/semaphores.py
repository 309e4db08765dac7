"""Provides semaphores for `multiprocessing` if the C library's are unavailable: those live in /dev/shm, which belongs to the host.

A semaphore is a pipe that holds one byte per unit, so it works between threads and after a fork alike.
"""

from __future__ import annotations

import fcntl
import os
import select
import threading
import time

_RECURSIVE_MUTEX = 0
_MAX_UNITS = 4096  # a pipe always has this capacity


class SemLock:
    """A semaphore with the interface of `_multiprocessing.SemLock`, which is undocumented; see `multiprocessing.synchronize`."""

    SEM_VALUE_MAX = 2**31 - 1
    name = None  # no other process can open it
    handle = -1

    def __init__(self, kind: int, value: int, maxvalue: int, name: str = "", unlink: bool = True):
        if not 0 <= value <= min(maxvalue, _MAX_UNITS):
            raise ValueError("a semaphore cannot begin with that many units")
        self.kind, self.maxvalue = kind, maxvalue
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)
        os.write(self._write, b"x" * value)
        self._held = 0
        self._owner: tuple[int, int] | None = None

    def __del__(self) -> None:
        for fd in (self._read, self._write):
            os.close(fd)

    def acquire(self, block: bool = True, timeout: float | None = None) -> bool:
        if self.kind == _RECURSIVE_MUTEX and self._is_mine():
            self._held += 1
            return True
        deadline = None if timeout is None else time.monotonic() + max(0.0, timeout)
        while True:
            try:
                os.read(self._read, 1)
            except BlockingIOError:
                left = None if deadline is None else deadline - time.monotonic()
                if not block or (left is not None and left <= 0):
                    return False
                select.select([self._read], [], [], left)
                continue
            self._held += 1
            self._owner = _me()
            return True

    def release(self) -> None:
        if self.kind == _RECURSIVE_MUTEX:
            if not self._is_mine():
                raise AssertionError("attempt to release recursive lock not owned by thread")
            if self._held > 1:
                self._held -= 1
                return
            self._owner = None
        elif self._get_value() >= self.maxvalue:
            raise ValueError("semaphore or lock released too many times")
        self._held -= 1
        os.write(self._write, b"x")

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *exc: object) -> None:
        self.release()

    def _count(self) -> int:
        return self._held

    def _is_mine(self) -> bool:
        return self._held > 0 and self._owner == _me()

    def _get_value(self) -> int:
        return int.from_bytes(fcntl.ioctl(self._read, _FIONREAD, bytes(4)), "little")

    def _is_zero(self) -> bool:
        return self._get_value() == 0

    def _after_fork(self) -> None:
        self._held = 0


_FIONREAD = 0x541B


def _me() -> tuple[int, int]:
    return os.getpid(), threading.get_ident()


def replace_those_of_the_c_library() -> None:
    """Replace the C library's semaphores in this process, whether or not `multiprocessing` is already imported."""
    import _multiprocessing

    _multiprocessing.SemLock = SemLock  # type: ignore[misc, assignment]
