"""The input for writing a scoring in another tool's format: the benchmark, samples with their verdicts, and `results.json`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from time import time
from typing import Any

from reflectioncoder.data.completion_requests import Request
from reflectioncoder.evaluate.benchmarks import Benchmark
from reflectioncoder.evaluate.judges.base import Row, Subset
from reflectioncoder.evaluate.metrics import pass_at_k, standard_error
from reflectioncoder.evaluate.score import SampleToScore
from reflectioncoder.server_address import scrub_urls

UNKNOWN = "unknown"


@dataclass(frozen=True)
class Scoring:
    """One scoring. `rows` are the verdicts, in the order of `samples`; `written_s` is the time of writing in Unix seconds."""

    benchmark: Benchmark[Any]
    samples: Sequence[SampleToScore]
    rows: Sequence[Row]
    results: dict[str, Any]
    model: str = UNKNOWN
    written_s: float = field(default_factory=time)

    def __post_init__(self) -> None:
        object.__setattr__(self, "model", scrub_urls(self.model))  # the files are for others: no password of a server's address

    @cached_property
    def subsets(self) -> list[Subset]:
        """Return the subsets that the results have scores for, without samples that the sandbox could not run."""
        judged = [row for row in self.rows if row["status"] != "sandbox_error"]
        return self.benchmark.judge.subsets(self.benchmark.tasks, judged)

    @cached_property
    def requests(self) -> dict[str, Request]:
        """Return the requests by task."""
        return {request.task_id: request for request in self.benchmark.requests(1)}

    def pairs(self) -> Iterator[tuple[SampleToScore, Row]]:
        return zip(self.samples, self.rows, strict=True)

    def error_of(self, metric: dict[str, Any]) -> float:
        """Return the standard error of a metric in the results, from its tasks' values."""
        rows = next(rows for name, rows in self.subsets if name == metric["subset"])
        return standard_error(values_of_tasks(rows, k_of(metric)))


def k_of(metric: dict[str, Any]) -> int:
    return int(metric["name"].rpartition("@")[2])


def values_of_tasks(rows: Sequence[Row], k: int) -> list[float]:
    """Return pass@k of each task."""
    passed: dict[str, list[bool]] = defaultdict(list)
    for row in rows:
        passed[row["task_id"]].append(row["status"] == "passed")
    return [pass_at_k(len(outcomes), sum(outcomes), k) for outcomes in passed.values()]
