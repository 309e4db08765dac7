"""Compares two scorings task by task for the page, as `compare` does: changes per task, and the paired statistics."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from reflectioncoder.errors import UsageError
from reflectioncoder.evaluate.compare import ScoredRun, compare_runs

CHANGES = ("both", "gained", "lost", "neither")
UNJUDGED = "unjudged"


@dataclass(frozen=True)
class Pair:
    """The comparison of scoring A with scoring B.

    Attributes:
        changes: a word from CHANGES for each task with a verdict in both, on the headline's tests.
        counts: number of tasks per word; None if nothing could be compared.
        statistics: a subset's entry of `compare_runs`; None if nothing could be compared.
        reason: the reason why there is no p-value; "" if there is one.
    """

    changes: dict[str, str] = field(default_factory=dict)
    counts: dict[str, int] | None = None
    statistics: dict[str, Any] | None = None
    reason: str = ""

    @property
    def p_value(self) -> float | None:
        return self.statistics["mcnemar"]["p_value"] if self.statistics else None


def pair_of(a: ScoredRun, b: ScoredRun) -> Pair:
    """Compare two scorings on the headline's tests; if they cannot be compared, the Pair has only a reason."""
    try:
        statistics = compare_runs(a, b, only_headline=True)["subsets"][0]
    except UsageError as error:
        return Pair(reason=str(error).splitlines()[0])
    return pair_from(a, b, statistics, a.samples.keys() & b.samples.keys())


def pair_from(a: ScoredRun, b: ScoredRun, statistics: dict[str, Any], tasks: Collection[str]) -> Pair:
    """Return the comparison on the subset of `statistics`, which is its entry of `compare_runs` for these tasks."""
    before, after = (run.rates(tasks, statistics["subset"]) for run in (a, b))
    changes = {task: _change(before[task][0], after[task][0]) for task in before.keys() & after.keys()}
    counts = {kind: sum(change == kind for change in changes.values()) for kind in CHANGES}
    return Pair(changes, counts, statistics, statistics["mcnemar"]["reason"] or "")


def _change(before: float, after: float) -> str:
    """Classify a task by its pass@1; `neither` includes tasks with an unchanged pass@1 below 1."""
    return "gained" if after > before else "lost" if before > after else "both" if before == 1 else "neither"
