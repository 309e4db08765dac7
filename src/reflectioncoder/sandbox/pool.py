"""Runs many independent jobs, a bounded number at a time; the input may be endless.

Jobs run in threads, each in a copy of the caller's context (`contextvars`), as if the caller had called them.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from typing import TypeVar

_AHEAD = 16  # jobs taken ahead, so that a slow job delays the results but not the other workers

Job = TypeVar("Job")
Result = TypeVar("Result")


def default_workers() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def workers_within_memory(bytes_each: int, workers: int = 0) -> int:
    """Cap `workers` (0 = one per core) so that jobs of `bytes_each` fit into half of the free memory; at least 1."""
    workers = workers or default_workers()
    try:
        with open("/proc/meminfo") as handle:
            free = next(int(line.split()[1]) * 1024 for line in handle if line.startswith("MemAvailable:"))
    except (OSError, ValueError, StopIteration):
        return workers  # the system does not report free memory
    return max(1, min(workers, free // 2 // bytes_each))


def map_ordered(
    function: Callable[[Job], Result], jobs: Iterable[Job], workers: int = 0, stop: Callable[[], None] = lambda: None
) -> Generator[Result, None, None]:
    """Yield the results of `function` for every job, in order. A bounded number of jobs is taken ahead, so the input may be endless.

    Threads suffice, since each job waits for its own process. A job's exception is raised where its result is due. At the end, early or
    not, `stop` is called before running jobs are waited for.
    """
    workers = workers or default_workers()
    pending: deque[Future[Result]] = deque()
    executor = ThreadPoolExecutor(workers)
    try:
        for job in jobs:
            pending.append(executor.submit(copy_context().run, function, job))
            if len(pending) >= _AHEAD * workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        stop()
        executor.shutdown(wait=True, cancel_futures=True)


def map_unordered(
    function: Callable[[Job], Result], jobs: Iterable[Job], workers: int = 0, stop: Callable[[], None] = lambda: None
) -> Generator[Result, None, None]:
    """Yield the results of `function` for every job as they end, so that a slow job delays no other result.

    Unlike in `map_ordered`, `stop` is called only at an early end, since jobs of the same kind may follow.
    """
    workers = workers or default_workers()
    pending: set[Future[Result]] = set()
    executor = ThreadPoolExecutor(workers)
    try:
        for job in jobs:
            pending.add(executor.submit(copy_context().run, function, job))
            if len(pending) >= 2 * workers:
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        while pending:
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)
    except BaseException:
        stop()
        raise
    finally:
        executor.shutdown(wait=True, cancel_futures=True)
