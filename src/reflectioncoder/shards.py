"""Declares a shard: part I of N of a command's work. Shards run independently, at any time and on any machine.

A unit of work (a task, a problem, a sample of a data set) is never split. Its position alone decides its shard, so that all machines
agree on the parts. `shard_folders` and `sharded` define what a shard writes and how shards are merged.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")
ALLOWED = "I/N with I from 1 to N"


@dataclass(frozen=True)
class Shard:
    """Part `index` (from 1) of `count`."""

    index: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read `I/N`.

        Raises:
            ValueError: the text has another form.
        """
        found = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
        index, count = (int(found[1]), int(found[2])) if found else (0, 0)
        if not 1 <= index <= count:
            raise ValueError(f"got {text!r:.60}, allowed: {ALLOWED}")
        return cls(index, count)

    @property
    def folder(self) -> str:
        """Return the name of the shard's folder."""
        return f"shard-{self.index}-of-{self.count}"

    def takes(self, position: int) -> bool:
        """Tell whether this shard has the unit at a position (from 0); neighbours, often equally slow, go to different shards."""
        return position % self.count == self.index - 1

    def block(self, units: Sequence[T]) -> list[T]:
        """Return this shard's contiguous block of units whose neighbours belong together."""
        return [unit for position, unit in enumerate(units) if position * self.count // len(units) == self.index - 1]

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


WHOLE = Shard(1, 1)
"""The whole work as one shard."""
