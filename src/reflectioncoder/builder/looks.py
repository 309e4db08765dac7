"""Looks, cells that print the value of the failing call of an attempt."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Look:
    """A standalone program that prints the value of the failing call. `value` is the last line of its output."""

    cell: str
    output: str
    value: str
