"""Measure what a session costs: `python benchmarks/sessions.py` prints milliseconds per cell (wall, processor of all processes)."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable

from reflectioncoder.sandbox.detect import detect_isolation
from reflectioncoder.sandbox.forkserver import SERVERS
from reflectioncoder.sandbox.limits import Limits
from reflectioncoder.sandbox.session import Session

PASSES = "def f(x):\n    return x + 1\n\nassert f(1) == 2\nprint('All tests passed.')"
FAILS = PASSES.replace("== 2", "== 3")
NUM_CELLS = 100


def measure(name: str, work: Callable[[], object]) -> None:
    began, used = time.perf_counter(), _cpu_s()
    work()
    SERVERS.close()  # the time of children counts when they are gone
    wall_s, cpu_s = time.perf_counter() - began, _cpu_s() - used
    print(f"{name}: {1000 * wall_s / NUM_CELLS:.1f} ms wall, {1000 * cpu_s / NUM_CELLS:.1f} ms of CPU")


def _cpu_s() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def one_session(cell: str) -> None:
    with Session(Limits(wall_s=10), detect_isolation()) as session:
        for _ in range(NUM_CELLS):
            session.run(cell)


def many_sessions() -> None:
    for _ in range(NUM_CELLS):
        with Session(Limits(wall_s=10), detect_isolation()) as session:
            session.run(PASSES)


if __name__ == "__main__":
    measure("a cell that passes", lambda: one_session(PASSES))
    measure("a cell that fails", lambda: one_session(FAILS))
    measure("a session of one cell that passes", many_sessions)
