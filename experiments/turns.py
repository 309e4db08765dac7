"""Measures contenders against each other: each once for what it takes, then all in turns, so that a drift of the machine meets all."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any, Protocol

from experiments.runner import Measure, Rows, Settings

NUM_TURNS = 5


class Contenders(Protocol):
    """What measures contenders by name."""

    def check(self, name: str) -> dict[str, Any]:
        """Run it for the first time and return what does not need repeating: its loss, its memory."""
        ...

    def seconds(self, name: str) -> float:
        """Run it once more and return the time that it took."""
        ...


def units(settings: Settings, names: Sequence[str]) -> tuple[str, ...]:
    num_turns = 2 if settings.tiny else NUM_TURNS
    return (*names, *(f"turn {number}" for number in range(1, num_turns + 1)))


def measuring(contenders: Contenders, names: Sequence[str], group: str, rows: Rows) -> Measure:
    """Return what measures the units of `names`. A contender that failed, here or in an earlier process, takes part in no turn."""
    working = {name for name in names if "result" in rows.get(f"{group}/{name}", {})}
    warm: set[str] = set()

    def measure(unit: str) -> dict[str, Any]:
        if not unit.startswith("turn "):
            checked = contenders.check(unit)
            working.add(unit)
            warm.add(unit)
            return checked
        for name in working - warm:  # of an earlier process
            contenders.seconds(name)
            warm.add(name)
        start = int(unit.removeprefix("turn ")) % len(names)  # nobody is always the first
        return {"seconds": {name: contenders.seconds(name) for name in (*names[start:], *names[:start]) if name in working}}

    return measure


def median_seconds(rows: Rows, group: str) -> dict[str, float]:
    """Return the median of each contender's turns."""
    turns = [row["result"]["seconds"] for key, row in rows.items() if key.startswith(f"{group}/turn ") and "result" in row]
    return {name: statistics.median(turn[name] for turn in turns if name in turn) for turn in turns for name in turn}
