"""Finds idle cores, on which timed programs can run in parallel, one per core."""

from __future__ import annotations

import os
import time
from pathlib import Path

_LOOK_S = 0.2
_IDLE_SHARE = 0.9
_TOPOLOGY = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"


def idle_cores(look_s: float = _LOOK_S) -> list[int]:
    """List one processor per idle physical core that this process may use; empty if the system does not report them."""
    try:
        usable = os.sched_getaffinity(0)
        before = _busy_and_idle()
        time.sleep(look_s)
        after = _busy_and_idle()
        siblings = {number: _siblings(number) for number in usable}
    except (AttributeError, OSError, ValueError):
        return []
    idle = {number for number, (busy, free) in after.items() if number in before and _is_idle(before[number], busy, free)}
    return sorted(number for number in usable if number == min(siblings[number] & usable) and siblings[number] <= idle)


def _is_idle(before: tuple[int, int], busy: int, free: int) -> bool:
    spent, left = busy - before[0], free - before[1]
    return left > 0 and left >= _IDLE_SHARE * (spent + left)


def _busy_and_idle() -> dict[int, tuple[int, int]]:
    """Read the ticks of each processor: (busy, idle)."""
    ticks = {}
    for line in Path("/proc/stat").read_text().splitlines():
        name, *fields = line.split()
        if name.startswith("cpu") and name != "cpu":
            counts = list(map(int, fields[:8]))  # user nice system idle iowait irq softirq steal
            idle = counts[3] + counts[4]
            ticks[int(name[3:])] = sum(counts) - idle, idle
    return ticks


def _siblings(number: int) -> set[int]:
    """Return the processors that share a physical core; Linux writes such lists as `0,4` or `0-1`."""
    found: set[int] = set()
    for part in Path(_TOPOLOGY.format(number)).read_text().strip().split(","):
        first, _, last = part.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return found
