"""The process on a node, parent of its fork servers. It knows neither Ray nor the other nodes."""

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

_MAX_WAIT_S = 10.0  # wait for interrupted programs to end


@dataclass(frozen=True)
class NodeFacts:
    """Facts about a node.

    Attributes:
        host, pid: the host name and the process id.
        isolation, tier: the isolation that works there, found by trying it.
        slowness: CPU seconds of a fixed workload there, for calibrating time limits.
        versions: see `shard_folders.versions`.
    """

    host: str
    pid: int
    isolation: str
    tier: int
    slowness: float
    versions: dict[str, Any]

    def of_row(self) -> dict[str, Any]:
        """Return the fields that identify this node in a row of results."""
        return {"host": self.host, "isolation": self.isolation, "tier": self.tier, "calibration_s": round(self.slowness, 5)}


@dataclass(frozen=True)
class OpenDuty:
    """A duty that a node is ready for. `workers`: batches run at a time; `same`: values that must match on all nodes, by name.

    A node holds more batches than it runs, so that it never waits for work; `running` is the semaphore that limits them.
    """

    do: Callable[[Any], Any]
    workers: int
    same: dict[str, Any]
    running: threading.Semaphore = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "running", threading.Semaphore(self.workers))


class Duty(Protocol):
    """A kind of work for nodes. The object is sent to each node."""

    def open(self, node: NodeFacts, workers: int) -> OpenDuty:
        """Prepare the duty on a node.

        Raises:
            MachineError, UsageError: this node cannot do it.
        """
        ...


@dataclass(frozen=True)
class Done:
    """The result of a job, or its error."""

    value: Any = None
    error: Exception | None = None


@dataclass(frozen=True)
class DoneBatch:
    """The results of a batch of jobs, and their total seconds."""

    done: list[Done]
    seconds: float


class Node:
    """A node's process. Its methods are called from several threads."""

    def __init__(self) -> None:
        package = Path(__file__).resolve().parents[1]
        sys.path[:] = [path for path in sys.path if Path(path or ".").resolve() != package]  # `python -m` adds it: shadows others
        self._open: dict[str, OpenDuty] = {}
        self._changed = threading.Condition()
        self._num_at_work = 0
        self._closed = False
        self._facts: NodeFacts | None = None

    def facts(self) -> NodeFacts | Exception:
        """Return the facts about this node, or the reason why it cannot run programs."""
        try:
            with self._at_work():
                isolation = detect_isolation()
                self._facts = NodeFacts(socket.gethostname(), os.getpid(), isolation.name, isolation.tier, slowness(), versions())
        except (MachineError, OSError, ValueError) as error:  # ValueError: REFLECTIONCODER_ISOLATION names no isolation
            return error
        return self._facts

    def open(self, name: str, duty: Duty, workers: int) -> tuple[int, dict[str, Any]] | Exception:
        """Prepare for a duty; return (batches run at a time, values that must match on all nodes), or the reason why it cannot."""
        assert self._facts is not None
        try:
            with self._at_work():
                opened = self._open[name] = duty.open(self._facts, workers)
        except (MachineError, OSError, ValueError) as error:
            return error
        return opened.workers, opened.same

    def do(self, name: str, jobs: Sequence[Any]) -> DoneBatch:
        """Run a batch of jobs one after another, once fewer than `workers` batches are running."""
        duty = self._open[name]
        with self._counted(), duty.running:
            began = time.monotonic()
            done = [self._do(duty.do, job) for job in jobs]
        return DoneBatch(done, time.monotonic() - began)

    @contextlib.contextmanager
    def _at_work(self) -> Iterator[None]:
        """Mark a block that creates folders and programs, which `close` must find or wait for.

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
        except Exception as error:  # noqa: BLE001 (the error is returned with the job)
            return Done(error=error)

    def close(self) -> None:
        """End all programs and fork servers, and remove their folders."""
        self._closed = True
        SERVERS.interrupt()
        with self._changed:
            self._changed.wait_for(lambda: not self._num_at_work, _MAX_WAIT_S)
        SERVERS.close()
        remove_leftovers()  # left by killed nodes on this machine


def _stopped() -> SandboxUnavailableError:
    return SandboxUnavailableError("the node has been stopped")
