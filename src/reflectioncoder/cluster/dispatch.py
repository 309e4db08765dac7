"""Dispatches jobs to nodes: each node gets as many as it can run at a time and a few more, so that none waits for work.

Short jobs are batched. A job that is lost with its node goes to another one; a job that is lost three times is probably the cause, and
fails. A job whose node fails (a full disk, a broken sandbox) is tried on every other node; the failure counts against the node only if
another one can do the job.
"""

from __future__ import annotations

import contextlib
import itertools
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Protocol

from reflectioncoder.cluster.node import DoneBatch
from reflectioncoder.errors import MachineError

_BATCH_S = 0.3
_MAX_BATCH = 64
_MAX_LOSSES = 3  # per job; two may be chance, since jobs waiting at a lost node are lost too
_MAX_FAILURES = 5  # consecutive failures of a node with jobs that others could do
_AHEAD = 2  # jobs submitted ahead from a long sequence, as a multiple of those that fit at work


def batches_ahead(workers: int) -> int:
    """Return how many batches may wait at a node that runs `workers` at a time."""
    return max(1, workers // 4)


class LostError(Exception):
    """Set on the future of a batch whose node is gone."""


class Member(Protocol):
    """The local handle of a node with one duty. `workers`: batches it runs at a time; `ahead`: batches that may wait there."""

    @property
    def name(self) -> str: ...
    @property
    def workers(self) -> int: ...
    @property
    def ahead(self) -> int: ...

    def send(self, jobs: Sequence[Any]) -> Future[DoneBatch]:
        """Send a batch of jobs. The future raises `LostError` if the node is gone."""
        ...


@dataclass(eq=False)
class _Ticket:
    job: Any
    future: Future[Any] = field(default_factory=Future)
    num_losses: int = 0
    failed_on: dict[Member, Exception] = field(default_factory=dict)


@dataclass(eq=False)
class _Working:
    """A member at work. `job_s`: moving average of the seconds per job."""

    member: Member
    batches: list[list[_Ticket]] = field(default_factory=list)
    job_s: float = _BATCH_S
    num_failures: int = 0

    @property
    def room(self) -> int:
        return self.member.workers + self.member.ahead - len(self.batches)


class Dispatcher:
    """Takes jobs from any thread (`submit`) and sends them to members from its own thread.

    Args:
        on_lost: called with a member that is gone; must bring a replacement (`join`) or call `gave_up`, from any thread.
        say: receives messages for the user.
    """

    def __init__(
        self,
        members: Sequence[Member],
        on_lost: Callable[[Dispatcher, Member], None],
        say: Callable[[str], None] = lambda message: None,
    ):
        self._working = [_Working(member) for member in members]
        self._waiting: deque[_Ticket] = deque()
        self._events: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._on_lost, self._say = on_lost, say
        self._num_joining = 0
        self._closed = False
        self._lock = threading.Lock()
        self._why_ended: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="dispatcher", daemon=True)
        self._thread.start()

    def submit(self, job: Any) -> Future[Any]:
        """Submit a job. Its future raises the job's error, or MachineError if no node can do it."""
        ticket = _Ticket(job)
        with self._lock:
            if self._why_ended is None:
                self._events.put(lambda: self._waiting.append(ticket))
                return ticket.future
        ticket.future.set_exception(self._why_ended)
        return ticket.future

    def do(self, job: Any) -> Any:
        """Submit a job and wait for its result."""
        return self.submit(job).result()

    def map(self, jobs: Sequence[Any]) -> Iterator[tuple[int, Future[Any]]]:
        """Yield (index, finished future) for jobs as they end. The number of results in memory is bounded."""
        ended: queue.SimpleQueue[tuple[int, Future[Any]]] = queue.SimpleQueue()
        numbers = iter(range(len(jobs)))

        def give(count: int) -> None:
            for number in itertools.islice(numbers, count):
                self.submit(jobs[number]).add_done_callback(lambda future, number=number: ended.put((number, future)))

        give(_AHEAD * _MAX_BATCH * max(1, sum(working.member.workers for working in self._working)))
        for _ in range(len(jobs)):
            yield ended.get()
            give(1)

    def join(self, member: Member) -> None:
        """Add a member in place of a lost one."""

        def joined() -> None:
            self._num_joining -= 1
            self._working.append(_Working(member))

        self._events.put(joined)

    def gave_up(self) -> None:
        """Record that a lost member will not be replaced."""

        def gone() -> None:
            self._num_joining -= 1

        self._events.put(gone)

    def close(self) -> None:
        """Stop dispatching; the futures of unfinished jobs raise MachineError."""
        self._events.put(self._close)
        self._thread.join()

    def _close(self) -> None:
        self._closed = True

    def _run(self) -> None:
        why: Exception = MachineError("the work was stopped")
        try:
            while not self._closed:
                self._events.get()()
                while not self._events.empty():  # so that jobs submitted together are batched together
                    self._events.get()()
                self._give()
        except Exception as error:  # noqa: BLE001 (a bug in this program: nothing may wait for ever)
            why = error
        self._end(why)

    def _end(self, error: Exception) -> None:
        """End all waiting with an error."""
        with self._lock:
            self._why_ended = error
        while not self._events.empty():
            with contextlib.suppress(Exception):
                self._events.get_nowait()()
        for ticket in [*self._waiting, *(ticket for working in self._working for batch in working.batches for ticket in batch)]:
            if not ticket.future.done():
                ticket.future.set_exception(error)

    def _give(self) -> None:
        if not self._working and not self._num_joining:
            for ticket in self._waiting:
                ticket.future.set_exception(_nobody_left())
            self._waiting.clear()
        held: list[_Ticket] = []
        while self._waiting:
            working = max(self._working, key=lambda working: working.room / working.member.workers, default=None)
            if working is None or working.room <= 0:
                break
            total_room = sum(max(0, working.room) for working in self._working)
            fair = max(1, -(-len(self._waiting) // total_room))  # spread the last jobs over all members
            size = max(1, min(_MAX_BATCH, round(_BATCH_S / max(working.job_s, 1e-3)), fair))
            batch: list[_Ticket] = []
            while self._waiting and len(batch) < size:
                ticket = self._waiting.popleft()
                (held if working.member in ticket.failed_on else batch).append(ticket)
            if not batch:
                break
            self._send(working, batch)
        self._waiting.extendleft(reversed(held))
        for ticket in held:  # failed on the member with most room, and perhaps on all
            self._send_elsewhere(ticket)

    def _send_elsewhere(self, ticket: _Ticket) -> None:
        others = [working for working in self._working if working.member not in ticket.failed_on]
        if not others and not self._num_joining:  # no untried member is left
            self._waiting.remove(ticket)
            ticket.future.set_exception(next(reversed(ticket.failed_on.values()), _nobody_left()))
        elif free := [working for working in others if working.room > 0]:
            self._waiting.remove(ticket)
            self._send(free[0], [ticket])

    def _send(self, working: _Working, batch: list[_Ticket]) -> None:
        working.batches.append(batch)
        future = working.member.send([ticket.job for ticket in batch])
        future.add_done_callback(lambda done: self._events.put(lambda: self._ended(working, batch, done)))

    def _ended(self, working: _Working, batch: list[_Ticket], future: Future[DoneBatch]) -> None:
        if batch not in working.batches:
            return  # already taken away from the member
        working.batches.remove(batch)
        try:
            result = future.result()
        except LostError as lost:
            self._lose(working, batch, str(lost))
            return
        except Exception as error:  # noqa: BLE001 (a bug in this program: report it to the waiting callers)
            for ticket in batch:
                ticket.future.set_exception(error)
            return
        working.job_s = (working.job_s + result.seconds / len(batch)) / 2
        for ticket, done in zip(batch, result.done, strict=True):
            if isinstance(done.error, MachineError | OSError):
                self._fail(working, ticket, done.error)
            elif done.error is not None:
                ticket.future.set_exception(done.error)
            else:
                working.num_failures = 0
                for other in [other for other in self._working if other.member in ticket.failed_on]:
                    self._blame(other, ticket.failed_on[other.member])
                ticket.future.set_result(done.value)

    def _fail(self, working: _Working, ticket: _Ticket, error: Exception) -> None:
        ticket.failed_on[working.member] = error
        if self._num_joining or any(other.member not in ticket.failed_on for other in self._working):
            self._waiting.appendleft(ticket)
        else:
            ticket.future.set_exception(error)

    def _blame(self, working: _Working, error: Exception) -> None:
        """Count a member's failure with a job that another node could do."""
        working.num_failures += 1
        if working.num_failures == 1:
            self._say(f"{working.member.name}: {str(error).partition(chr(10))[0]}; done elsewhere")
        if working.num_failures >= _MAX_FAILURES:
            self._working.remove(working)
            self._say(f"{working.member.name} fails again and again, and gets no more work")
            self._waiting.extendleft(ticket for batch in reversed(working.batches) for ticket in reversed(batch))
            working.batches.clear()

    def _lose(self, working: _Working, batch: list[_Ticket], why: str) -> None:
        batches = [batch, *working.batches]
        working.batches.clear()
        num_again = 0
        for ticket in (ticket for lost in reversed(batches) for ticket in reversed(lost)):
            ticket.num_losses += 1
            if ticket.num_losses >= _MAX_LOSSES:
                what = f"the same work was lost with {_MAX_LOSSES} nodes, and may be the cause; the last: {working.member.name}: {why}"
                ticket.future.set_exception(MachineError(what))
            else:
                self._waiting.appendleft(ticket)
                num_again += 1
        if working in self._working:
            self._working.remove(working)
            self._num_joining += 1
            self._say(f"lost {working.member.name} ({why}); {num_again} units are done again elsewhere")
            self._on_lost(self, working.member)


def _nobody_left() -> MachineError:
    return MachineError("no node is left\n  hint:    what was done is kept: run the same command again")
