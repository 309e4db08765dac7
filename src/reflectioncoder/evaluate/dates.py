"""Date windows, which select the tasks of a dated benchmark by their publication date."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from reflectioncoder.errors import UsageError
from reflectioncoder.evaluate.judges.base import Task


@dataclass(frozen=True)
class DateWindow:
    """The days from `since` to `until`, both included, as YYYY-MM-DD; "" leaves a side open.

    Raises:
        UsageError: a bound is not a date, or `since` is after `until`.
    """

    since: str = ""
    until: str = ""

    def __post_init__(self) -> None:
        for option, text in (("--from", self.since), ("--to", self.until)):
            if text and not _is_date(text):
                raise UsageError.for_value("not a date", option, text, "YYYY-MM-DD")
        if self.since and self.until and self.since > self.until:
            raise UsageError.for_value("the window is empty", "--to", self.until, f"a day from {self.since} on")

    def __bool__(self) -> bool:
        return bool(self.since or self.until)

    def __str__(self) -> str:
        parts = (f"from {self.since}" if self.since else "", f"to {self.until}" if self.until else "")
        return f"the window {' '.join(filter(None, parts))}"

    def holds(self, date: str) -> bool:
        return self.since <= date and (not self.until or date <= self.until)


EVER = DateWindow()


def _is_date(text: str) -> bool:
    try:
        return datetime.date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def within(tasks: Sequence[Task[Any]], window: DateWindow, name: str) -> list[Task[Any]]:
    """Return the tasks that were published within a window.

    Raises:
        UsageError: the tasks are not dated, or none lies within the window.
    """
    if not window:
        return list(tasks)
    dates = [task.date for task in tasks]
    if not all(dates):
        raise UsageError(f"the tasks of {name} are not dated\n  hint:    --from and --to are for leetcode and livecodebench")
    chosen = [task for task in tasks if window.holds(task.date)]
    if not chosen:
        raise UsageError(f"no task of {name} lies within the window; its tasks are dated {min(dates)} to {max(dates)}")
    return chosen


def dates_of(tasks: Sequence[Task[Any]]) -> dict[str, str] | None:
    """Return the first and last date of the tasks; None if they are not dated."""
    dates = [task.date for task in tasks]
    return {"from": min(dates), "to": max(dates)} if dates and all(dates) else None
