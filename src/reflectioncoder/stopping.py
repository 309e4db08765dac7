"""Ends long work early and in good order: a flag for callers of the library, and one that signals raise for the commands."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator


class StopFlag:
    """A request to stop that any thread can make. Whoever works looks at it where stopping is cheap, and raises `StoppedError`."""

    def __init__(self) -> None:
        self._asked = threading.Event()

    def set(self) -> None:
        self._asked.set()

    def is_set(self) -> bool:
        return self._asked.is_set()

    def heeded(self) -> contextlib.AbstractContextManager[None]:
        """Mark the time in which the flag is looked at."""
        return contextlib.nullcontext()


class SigtermFlag(StopFlag):
    """A flag that SIGTERM raises while it is heeded, and SIGHUP unless it is ignored, as under nohup.

    At all other times the signals do what they did before.
    """

    @contextlib.contextmanager
    def heeded(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():  # handlers can be set there only
            yield
            return
        numbers = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) is not signal.SIG_IGN]
        before = {number: signal.signal(number, lambda *_: self.set()) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
