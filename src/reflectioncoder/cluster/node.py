"""Runs on a node: one process, whose children its fork servers are. It knows neither Ray nor the other nodes."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from reflectioncoder.errors import MachineError, SandboxUnavailableError
from reflectioncoder.evaluate.judges.evalplus.reference import slowness
from reflectioncoder.sandbox.box import remove_leftovers
from reflectioncoder.sandbox.detect import detect_isolation
from reflectioncoder.sandbox.forkserver import SERVERS
from reflectioncoder.shard_folders import versions

_MAX_WAIT_S = 10.0  # for programs that have been interrupted


@dataclass(frozen=True)
class NodeFacts:
    """Tells what a node is.

    Attributes:
        host, pid: of the process.
        isolation, tier: that which holds there, found by trying it.
        slowness: seconds that a fixed piece of work takes there, by which time limits are calibrated.
        versions: as `shard_folders.versions` says.
    """

    host: str
    pid: int
    isolation: str
    tier: int
    slowness: float
    versions: dict[str, Any]

    def of_row(self) -> dict[str, Any]:
        """Return what a row of results says of the node that it comes from."""
        return {"host": self.host, "isolation": self.isolation, "tier": self.tier, "calibration_s": round(self.slowness, 5)}


@dataclass(frozen=True)
class OpenDuty:
    """A duty that a node can do. `workers`: batches at a time; `same`: what must be the same on all nodes, by what it is called.

    A node has more batches than that, so that it never waits for work: `running` holds them back.
    """

    do: Callable[[Any], Any]
    workers: int
    same: dict[str, Any]
    running: threading.Semaphore = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "running", threading.Semaphore(self.workers))


class Duty(Protocol):
    """Something that nodes do. It is sent to each."""

    def open(self, node: NodeFacts, workers: int) -> OpenDuty:
        """Make ready on a node.

        Raises:
            MachineError, UsageError: this node cannot do it.
        """
        ...


@dataclass(frozen=True)
class Done:
    """Holds the result of a job, or why there is none."""

    value: Any = None
    error: Exception | None = None


@dataclass(frozen=True)
class DoneBatch:
    """Holds the results of some jobs, and the seconds that they took together."""

    done: list[Done]
    seconds: float


class Node:
    """A node's process. Its methods are called from several threads."""

    def __init__(self) -> None:
        package = Path(__file__).resolve().parents[1]
        sys.path[:] = [path for path in sys.path if Path(path or ".").resolve() != package]  # `python -m` leads there: it hides others
        self._open: dict[str, OpenDuty] = {}
        self._changed = threading.Condition()
        self._num_at_work = 0
        self._closed = False
        self._facts: NodeFacts | None = None

    def facts(self) -> NodeFacts | Exception:
        """Return what this node is, or why it can run no programs."""
        try:
            with self._at_work():
                isolation = detect_isolation()
                self._facts = NodeFacts(socket.gethostname(), os.getpid(), isolation.name, isolation.tier, slowness(), versions())
        except (MachineError, OSError, ValueError) as error:  # the last: REFLECTIONCODER_ISOLATION there names none
            return error
        return self._facts

    def open(self, name: str, duty: Duty, workers: int) -> tuple[int, dict[str, Any]] | Exception:
        """Make ready for a duty; return how many jobs it does at a time and what must be the same on all nodes, or why it cannot."""
        assert self._facts is not None
        try:
            with self._at_work():
                opened = self._open[name] = duty.open(self._facts, workers)
        except (MachineError, OSError, ValueError) as error:
            return error
        return opened.workers, opened.same

    def do(self, name: str, jobs: Sequence[Any]) -> DoneBatch:
        """Do some jobs, one after another, when fewer than `workers` batches are being done."""
        duty = self._open[name]
        with self._counted(), duty.running:
            began = time.monotonic()
            done = [self._do(duty.do, job) for job in jobs]
        return DoneBatch(done, time.monotonic() - began)

    @contextlib.contextmanager
    def _at_work(self) -> Iterator[None]:
        """Mark the time in which folders and programs are made that `close` must find or wait for.

        Raises:
            SandboxUnavailableError: the node has been stopped.
        """
        with self._counted():
            if self._closed:
                raise _stopped()
            yield

    @contextlib.contextmanager
    def _counted(self) -> Iterator[None]:
        with self._changed:
            self._num_at_work += 1
        try:
            yield
        finally:
            with self._changed:
                self._num_at_work -= 1
                self._changed.notify_all()

    def _do(self, do: Callable[[Any], Any], job: Any) -> Done:
        if self._closed:
            return Done(error=_stopped())
        try:
            return Done(do(job))
        except Exception as error:  # noqa: BLE001 (whoever gave the job is told)
            return Done(error=error)

    def close(self) -> None:
        """End all programs and fork servers, and remove their folders."""
        self._closed = True
        SERVERS.interrupt()
        with self._changed:
            self._changed.wait_for(lambda: not self._num_at_work, _MAX_WAIT_S)
        SERVERS.close()
        remove_leftovers()  # of nodes of this machine that were killed


def _stopped() -> SandboxUnavailableError:
    return SandboxUnavailableError("the node has been stopped")
