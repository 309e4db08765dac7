"""Writes the page of `compare --html`: two scorings, their paired differences, and every task with both programs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from reflectioncoder.data.files import write_atomic
from reflectioncoder.evaluate.compare import ScoredRun, common_tasks
from reflectioncoder.report.page import render_page
from reflectioncoder.report.pairs import pair_from
from reflectioncoder.report.tasks import MAX_LISTED, Compared, Programs, Side, TaskSet, for_page, rows_of_results


def write_comparison(a: ScoredRun, b: ScoredRun, comparison: dict[str, Any], output: Path) -> Path:
    """Write the page about two scorings.

    Args:
        comparison: the output of `compare_runs`.

    Raises:
        UsageError: a file of a scoring is damaged.
    """
    compared = set(common_tasks(a, b)[: comparison["num_compared_tasks"]])
    sides = [
        Side("", name, run, {task: row for task, row in rows_of_results(run.path).items() if task in compared})
        for name, run in (("A", a), ("B", b))
    ]
    pairs = [Compared(0, 1, subset["subset"] or "all tests", pair_from(a, b, subset, compared)) for subset in comparison["subsets"]]
    name = comparison["benchmark"] or "two scorings"
    programs = Programs()
    listed = for_page(TaskSet(name, sides, pairs), programs, MAX_LISTED)
    page = render_page(
        "compare.html.jinja",
        {"benchmarks": [listed], "programs": programs.texts},
        title=f"{name}: A and B",
        comparison=comparison,
        pairs=pairs,
        cut=listed["cut"],
    )
    return write_atomic(output, page)
