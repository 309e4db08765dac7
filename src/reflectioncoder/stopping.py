"""Stops long work early and cleanly: a flag for library callers, and one set by signals for the commands."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator


class StopFlag:
    """A request to stop that any thread can make. Long work checks it where stopping is cheap, and raises `StoppedError`."""

    def __init__(self) -> None:
        self._asked = threading.Event()

    def set(self) -> None:
        self._asked.set()

    def is_set(self) -> bool:
        return self._asked.is_set()

    def heeded(self) -> contextlib.AbstractContextManager[None]:
        """Return a context manager for the time in which the flag is checked."""
        return contextlib.nullcontext()


class SigtermFlag(StopFlag):
    """A flag that SIGTERM and SIGHUP set while it is heeded; ignored signals, as under nohup, stay ignored.

    At all other times the signals keep their previous handlers.
    """

    @contextlib.contextmanager
    def heeded(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():  # only the main thread can set handlers
            yield
            return
        numbers = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) is not signal.SIG_IGN]
        before = {number: signal.signal(number, lambda *_: self.set()) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
