"""Adapts the number of parallel requests to a server's complaints.

It doubles every round until the first complaint, then grows by one per round, and drops to three quarters after a 429 or 503 (slow
start, additive increase, multiplicative decrease).
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
_DECREASE = 0.75  # halving, as in TCP, would leave a quarter of the server's capacity unused


class EndpointError(MachineError):
    """Raised if the server permanently fails to answer properly; earlier answers are logged."""


class Limiter:
    """Permits for sending requests, lowest order first. Their number adapts between 1 and `most`; `adapts=False` fixes it at `most`."""

    def __init__(self, most: int, *, adapts: bool = True):
        self._most = most
        self._adapts = adapts
        self._permits = float(min(most, _FIRST_PERMITS) if adapts else most)
        self._has_been_too_many = False
        self._in_use = 0
        self._not_before = self._lowered_at = 0.0
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._waiting: list[tuple[int, int, threading.Event]] = []  # each waits on its own event: there may be thousands
        self._num_tickets = itertools.count()

    @contextlib.contextmanager
    def permit(self, order: int = 0) -> Iterator[None]:
        """Hold a permit to send one request; wait for it, requests of a lower order first.

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
        """Admit the requests that may be sent now. Call it with the lock held."""
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
        """Admit no more requests: waiting ones raise EndpointError."""
        self._stopped.set()
        with self._lock:
            self._admit()

    def pause(self, seconds: float) -> None:
        """Sleep for `seconds`, or until stopped."""
        self._stopped.wait(seconds)

    def too_many(self, asked_at: float, pause_s: float) -> None:
        """After a complaint, lower the number of permits (if it adapts) and admit no request for `pause_s`.

        `asked_at`: when the request was sent. Complaints about requests sent before the last decrease are about the same overload.
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
