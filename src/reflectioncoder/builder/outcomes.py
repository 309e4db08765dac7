"""Keeps the outcome of every candidate on disk, in the order of the candidates and not of completion."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from reflectioncoder.builder.reasons import Reason
from reflectioncoder.data.problems import Problem
from reflectioncoder.data.samples import Sample, parse_sample

_MAX_DETAIL_CHARS = 500


@dataclass(frozen=True)
class Rejected:
    """An author's or a filter's reason for rejecting a candidate."""

    reason: Reason
    detail: str = ""


@dataclass(frozen=True)
class Rejection:
    """A row of rejected.jsonl. `operators`: the kinds of slips in the candidate."""

    id: str
    task_id: str
    operators: list[str]
    reason: Reason
    detail: str

    def to_json(self) -> dict[str, Any]:
        return {**vars(self)}


class Outcomes:
    """Samples and rejections, each at the position of its candidate. Not thread-safe."""

    def __init__(self) -> None:
        # An anonymous temporary SQLite file, deleted with the connection. It can be rebuilt from the log, so it need not survive.
        self._connection = sqlite3.connect("", isolation_level=None)
        self._connection.execute("CREATE TABLE outcomes (position INTEGER PRIMARY KEY, row TEXT NOT NULL)")
        self._connection.execute("PRAGMA synchronous=OFF")
        self.num_accepted = self.num_rejected = 0

    def accept(self, position: int, sample: Sample) -> None:
        self.num_accepted += 1
        self._put(position, {"sample": sample.to_json()})

    def reject(self, position: int, row: Rejection) -> None:
        self.num_rejected += 1
        self._put(position, {"rejected": row.to_json()})

    def _put(self, position: int, row: dict[str, Any]) -> None:
        self._connection.execute("INSERT INTO outcomes VALUES (?, ?)", (position, json.dumps(row)))

    def __iter__(self) -> Iterator[Sample | Rejection]:
        """Yield samples and rejections in the order of their positions."""
        for (text,) in self._connection.execute("SELECT row FROM outcomes ORDER BY position"):  # a separate cursor
            row = json.loads(text)
            yield parse_sample(row["sample"]) if "sample" in row else Rejection(**row["rejected"])

    def positions(self) -> list[int]:
        """Return the positions of all candidates, sorted."""
        return [position for (position,) in self._connection.execute("SELECT position FROM outcomes ORDER BY position")]

    def __len__(self) -> int:
        return self.num_accepted + self.num_rejected

    def close(self) -> None:
        self._connection.close()


def rejection(candidate_id: str, task_id: str, rejected: Rejected, operators: Sequence[str] = ()) -> Rejection:
    """Return the row of a rejected candidate; a long detail is cut to its end."""
    return Rejection(candidate_id, task_id, list(operators), rejected.reason, rejected.detail[-_MAX_DETAIL_CHARS:])


def rejected_problem(problem: Problem, rejected: Rejected) -> Rejection:
    """Return the row of a problem about which no sample can be written."""
    return rejection(f"problem:{problem.task_id}", problem.task_id, rejected)


def rejected_sample(sample: Sample, rejected: Rejected) -> Rejection:
    """Return the row of a sample that a filter dropped."""
    metadata = sample.extra["metadata"]
    return rejection(sample.id or "", metadata["task_id"], rejected, metadata["operators"])
