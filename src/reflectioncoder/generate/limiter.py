"""Finds out how many requests a server accepts at once, from its complaints.

Twice as many after every round until the first complaint, from then on one more after every round without, three quarters after a 429
or 503 (slow start, additive increase, multiplicative decrease).
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import threading
import time
from collections.abc import Iterator

from reflectioncoder.errors import MachineError

_FIRST_PERMITS = 4
_DECREASE = 0.75  # by a half, as TCP does, a quarter of the server's capacity is never used


class EndpointError(MachineError):
    """Raised if the server does not answer as it should, for good; what was answered before is logged."""


class Limiter:
    """Permits to send requests, whose number adapts between 1 and `most`; with `adapts=False` it is always `most`. The lowest order is
    served first."""

    def __init__(self, most: int, *, adapts: bool = True):
        self._most = most
        self._adapts = adapts
        self._permits = float(min(most, _FIRST_PERMITS) if adapts else most)
        self._has_been_too_many = False
        self._in_use = 0
        self._not_before = self._lowered_at = 0.0
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._waiting: list[tuple[int, int, threading.Event]] = []  # each is woken alone: there may be thousands
        self._num_tickets = itertools.count()

    @contextlib.contextmanager
    def permit(self, order: int = 0) -> Iterator[None]:
        """Wait for the permit to send one request; requests of a lower order go first.

        Raises:
            EndpointError: `stop` has been called.
        """
        admitted = threading.Event()
        with self._lock:
            heapq.heappush(self._waiting, (order, next(self._num_tickets), admitted))
            self._admit()
        admitted.wait()
        try:
            if self._stopped.is_set():
                raise EndpointError("it has been stopped")
            yield
        finally:
            with self._lock:
                self._in_use -= 1
                self._admit()

    def _admit(self) -> None:
        """Let in the requests that may be sent. Called with the lock held."""
        while self._waiting and (self._stopped.is_set() or (self._in_use < self.permits and time.monotonic() >= self._not_before)):
            self._in_use += 1
            heapq.heappop(self._waiting)[2].set()

    def _admit_later(self, seconds: float) -> None:
        def admit() -> None:
            with self._lock:
                self._admit()

        timer = threading.Timer(seconds, admit)
        timer.daemon = True
        timer.start()

    def succeeded(self) -> None:
        if not self._adapts:
            return
        with self._lock:
            more = 1 / max(1.0, self._permits) if self._has_been_too_many else 1.0
            self._permits = min(self._most, self._permits + more)
            self._admit()

    def stop(self) -> None:
        """Let nobody in any more, not even those that wait."""
        self._stopped.set()
        with self._lock:
            self._admit()

    def pause(self, seconds: float) -> None:
        """Sleep for some seconds, unless stopped."""
        self._stopped.wait(seconds)

    def too_many(self, asked_at: float, pause_s: float) -> None:
        """Lower the number of permits after a complaint, if it adapts, and let nobody in for `pause_s`.

        `asked_at`: one overload causes many complaints, about requests that were made before it was known; it counts once.
        """
        now = time.monotonic()
        with self._lock:
            self._has_been_too_many = True
            if self._adapts and asked_at >= self._lowered_at:
                self._permits = max(1.0, self._permits * _DECREASE)
                self._lowered_at = now
            if now + pause_s > self._not_before:
                self._not_before = now + pause_s
                self._admit_later(pause_s + 0.001)

    @property
    def permits(self) -> int:
        return max(1, int(self._permits))
