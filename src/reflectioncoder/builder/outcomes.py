"""Keeps what became of every candidate, on disk and not in memory, in the order of the candidates, whatever ended first."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from typing import Any

from reflectioncoder.builder.reasons import Reason
from reflectioncoder.data.samples import Sample, parse_sample


class Outcomes:
    """The outcomes of a build: samples, and rejections as {"id", "task_id", "operators", "reason", "detail"}. For one thread."""

    def __init__(self) -> None:
        # A nameless file of SQLite's own, which goes with the connection. The log can make it anew: nothing of it has to survive.
        self._connection = sqlite3.connect("", isolation_level=None)
        self._connection.execute("CREATE TABLE outcomes (position INTEGER PRIMARY KEY, row TEXT NOT NULL)")
        self._connection.execute("PRAGMA synchronous=OFF")
        self.num_accepted = self.num_rejected = 0

    def accept(self, position: int, sample: Sample) -> None:
        self.num_accepted += 1
        self._put(position, {"sample": sample.to_json()})

    def reject(self, position: int, row: dict[str, Any]) -> None:
        self.num_rejected += 1
        self._put(position, {"rejected": row})

    def _put(self, position: int, row: dict[str, Any]) -> None:
        self._connection.execute("INSERT INTO outcomes VALUES (?, ?)", (position, json.dumps(row)))

    def __iter__(self) -> Iterator[Sample | dict[str, Any]]:
        """Yield samples and rejections in the order of their positions."""
        for (text,) in self._connection.execute("SELECT row FROM outcomes ORDER BY position"):  # a cursor of its own
            row = json.loads(text)
            yield parse_sample(row["sample"]) if "sample" in row else row["rejected"]

    def __len__(self) -> int:
        return self.num_accepted + self.num_rejected

    def close(self) -> None:
        self._connection.close()


def rejection(identity: str, task_id: str, reason: Reason, detail: str = "", operators: list[str] | None = None) -> dict[str, Any]:
    """Return a row of rejected.jsonl; of a long detail the end is kept."""
    return {"id": identity, "task_id": task_id, "operators": operators or [], "reason": reason, "detail": detail[-500:]}


def rejected_sample(sample: Sample, reason: Reason, detail: str = "") -> dict[str, Any]:
    metadata = sample.extra["metadata"]
    return rejection(sample.id or "", metadata["task_id"], reason, detail, metadata["operators"])
