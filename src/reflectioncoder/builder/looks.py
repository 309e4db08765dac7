"""A look at a failing attempt: a cell that shows the value of a call."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Look:
    """A cell that shows the value of the failing call: a program of its own. `value` is the last line of its output."""

    cell: str
    output: str
    value: str
