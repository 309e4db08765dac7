"""Each RESULTS is a folder with results.json and samples.jsonl, the path of such a results.json, or
an EvalPlus *eval_results.json.

The difference is B - A. The output shows pass@1 of both, a bootstrap interval of the difference, the
exact McNemar test, and the tasks that only one of them solves. The interval is at least as wide as the
number of tasks allows, so runs that solve the same tasks have one too. With several samples per task
the pairs are the tasks' pass@1, and McNemar's test does not apply.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from reflectioncoder.commands import Outcome
from reflectioncoder.terminal import in_line

MAX_SHOWN_TASKS = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("results_a", type=Path, metavar="RESULTS_A", help="results A, for example of the base model")
    parser.add_argument("results_b", type=Path, metavar="RESULTS_B", help="results B, for example of the trained model")
    parser.add_argument("--html", type=Path, metavar="FILE", help="also write a page with the programs of every task, as a diff")


def run(args: argparse.Namespace) -> Outcome:
    from reflectioncoder.data.json_text import expected_form
    from reflectioncoder.evaluate.compare import compare_runs, read_run

    runs = []
    for path in (args.results_a, args.results_b):
        with expected_form(path):
            runs.append(read_run(path))
    a, b = runs
    with expected_form(f"a file of {args.results_a} or {args.results_b}"):
        comparison = compare_runs(a, b, seed=args.seed or 0, limit=args.limit)
        if args.html is None:
            return Outcome(comparison, _lines(comparison))
        from reflectioncoder.report.compare_page import write_comparison

        return Outcome(comparison, _lines(comparison), [write_comparison(a, b, comparison, args.html)])


def _lines(comparison: dict[str, Any]) -> list[str]:
    head = [f"{side.upper()}  {comparison[side]['path']}  ({comparison[side]['num_tasks']} tasks)" for side in ("a", "b")]
    warnings = [f"warning: {warning}" for warning in comparison["warnings"]]
    subsets = (_subset_lines(comparison["benchmark"], subset) for subset in comparison["subsets"])
    return [*head, *warnings, *(line for lines in subsets for line in lines)]


def _subset_lines(benchmark: str | None, subset: dict[str, Any]) -> list[str]:
    difference, p_value = subset["difference"], subset["mcnemar"]["p_value"]
    low, high = (_points(difference[end]) for end in ("ci_low", "ci_high"))
    rows = [
        ("pass@1", f"A {100 * subset['pass@1']['a']:.1f} %   B {100 * subset['pass@1']['b']:.1f} %"),
        ("B - A", f"{_points(difference['value'])} points   95 % [{low}, {high}] by paired bootstrap"),
        *_task_rows(subset),
        ("exact McNemar", f"none ({subset['mcnemar']['reason']})" if p_value is None else f"p = {p_value:.2g}"),
    ]
    if subset["flipped"] is not None:
        rows += [(f"only {side[-1].upper()}", _names(tasks)) for side, tasks in subset["flipped"].items() if tasks]
    title = ", ".join(name for name in (in_line(benchmark or ""), subset["subset"]) if name) or "overall"
    left_out = f", {subset['num_left_out']} left out (no verdict)" if subset["num_left_out"] else ""
    width = max(len(label) for label, _ in rows)
    return [f"{title}: {subset['num_tasks']} tasks{left_out}", *(f"  {label:<{width}}  {text}" for label, text in rows)]


def _task_rows(subset: dict[str, Any]) -> list[tuple[str, str]]:
    if subset["counts"] is not None:
        return [("solved by", "   ".join(f"{_solvers(key)} {count}" for key, count in subset["counts"].items()))]
    better_a = sum(task["a"] > task["b"] for task in subset["changed"])
    better_b = len(subset["changed"]) - better_a
    return [("better in", f"A {better_a}   B {better_b}   equal {subset['num_tasks'] - better_a - better_b}")]


def _solvers(key: str) -> str:
    return {"only_a": "only A", "only_b": "only B"}.get(key, key)


def _points(share: float) -> str:
    return f"{100 * share:+.1f}"


def _names(tasks: list[str]) -> str:
    more = f" and {len(tasks) - MAX_SHOWN_TASKS} more (all: --json)" if len(tasks) > MAX_SHOWN_TASKS else ""
    return " ".join(map(in_line, tasks[:MAX_SHOWN_TASKS])) + more
