"""Writes the page about runs: each run separately and, if there are several, all side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from markupsafe import Markup

from reflectioncoder.data.files import write_atomic
from reflectioncoder.data.json_text import expected_form
from reflectioncoder.data.run_folders import run_folders
from reflectioncoder.report.charts import Line, bars, difference_chart, intervals, line_chart, swatch
from reflectioncoder.report.collect import WHICH, collect_run, funnel
from reflectioncoder.report.page import render_page
from reflectioncoder.report.pairs import Pair
from reflectioncoder.report.provenance import chosen, differences
from reflectioncoder.report.sequences import within
from reflectioncoder.report.tasks import MAX_LISTED, Programs, Side, TaskSet, for_page, task_set

MAX_SEQUENCE_BYTES = 800_000

_CURVES = (
    ("loss of the step", "loss", None),
    ("cross-entropy, nats per token", "ce", None),
    ("KL(teacher ‖ student), nats per token", "kl", None),
    ("mask rate", "mask_rate", 1.0),
)


def write_report(runs: Sequence[Path], output: Path) -> Path:
    """Write the page about `runs` to `output`; an `improve` folder includes its rounds.

    Raises:
        UsageError: a folder is not a run, or a file in it is damaged.
    """
    folders = [folder for run in runs for folder in run_folders(run)]
    names = Counter(folder.name for folder in folders)
    collected, shown = [], []
    for folder in folders:
        if names[folder.name] > 1:
            folder = replace(folder, name=str(folder.path))
        with expected_form(f"a file in {folder.path}"):
            collected.append(collect_run(folder))
            shown.append(_for_page(collected[-1]))
    which = f"a file in {folders[0].path}" if len(folders) == 1 else f"a file in one of the runs ({', '.join(names)})"
    with expected_form(which):
        page = _page(collected, shown)
    return write_atomic(output, page)


def _page(collected: Sequence[dict[str, Any]], shown: Sequence[dict[str, Any]]) -> str:
    """Return the page of runs, as they were collected and as `_for_page` shows them."""
    sets = _task_sets(collected)
    programs = Programs()
    listed = [for_page(tasks, programs, MAX_LISTED // len(sets)) for tasks in sets]
    viewers = within([run["sequences"] for run in collected], MAX_SEQUENCE_BYTES)
    for run, kept in zip(shown, viewers, strict=True):
        run["num_sequences_left_out"] = len(run["sequences"]) - len(kept)
    return render_page(
        "report.html.jinja",
        {"benchmarks": listed, "programs": programs.texts, "viewers": viewers},
        title=", ".join(run["name"] for run in shown),
        runs=shown,
        task_sets=[
            {"name": tasks.name, "cut": of_page["cut"], "pairs": tasks.pairs} for tasks, of_page in zip(sets, listed, strict=True)
        ],
        together=_together(collected) if len(collected) > 1 else None,
    )


def _for_page(run: dict[str, Any]) -> dict[str, Any]:
    build = run["build"]
    return {
        **run,
        "intervals": {b["name"]: Markup(intervals(_interval_rows(b))) for b in run["benchmarks"]},
        "funnel": Markup(bars(funnel(build))) if build else None,
        "operators": Markup(bars([(k.replace("_", " "), v) for k, v in build["operators"].items()])) if build else None,
        "differences": [Markup(chart) for chart in _differences(run["ablation"])],
        "curves": _curves([run]),
        "rounds_chart": Markup(_rounds_chart(run["rounds"])) if run["rounds"] else None,
        "chosen": chosen(run["settings"]),
    }


def _task_sets(runs: Sequence[dict[str, Any]]) -> list[TaskSet]:
    """Return every benchmark's tasks with the scorings of all runs."""
    names = dict.fromkeys(benchmark["name"] for run in runs for benchmark in run["benchmarks"])
    sets = []
    for name in names:
        sides: list[Side] = []
        known: dict[tuple[int, int], Pair] = {}  # a run's base and trained model were compared when it was collected
        for benchmark in (found for run in runs for found in run["benchmarks"] if found["name"] == name):
            if len(benchmark["sides"]) == len(WHICH):
                known[len(sides), len(sides) + 1] = benchmark["pair"]
            sides += [side["side"] for side in benchmark["sides"].values()]
        if sides:
            labelled = sides if len(runs) > 1 else [replace(side, run="") for side in sides]
            sets.append(task_set(name, labelled, _wanted_pairs([side.kind for side in sides]), known))
    return sets


def _wanted_pairs(kinds: Sequence[str]) -> list[tuple[int, int]]:
    """Choose the pairs to compare: each trained model with the base before it, and the first trained model with each other one."""
    trained = [i for i, kind in enumerate(kinds) if kind == "trained"]
    before = [max((j for j in range(i) if kinds[j] == "base"), default=None) for i in trained]
    pairs = [(j, i) for j, i in zip(before, trained, strict=True) if j is not None]
    return [*pairs, *((trained[0], i) for i in trained[1:])]


def _together(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the data for showing several runs side by side."""
    parts = [run for run in runs if run["ablation"] is None]
    names = list(dict.fromkeys(benchmark["name"] for run in runs for benchmark in run["benchmarks"]))
    builds = [run["build"] for run in runs if run["build"]]
    return {
        "has_author": any(build["output_tokens"] for build in builds),
        "has_price": any(build["usd"] for build in builds),
        "benchmarks": names,
        "scores": [_scores(run) for run in runs],
        "curves": _curves(runs),
        "keys": [(run["name"], Markup(swatch(number))) for number, run in enumerate(runs) if run["train"]],
        "names": [run["name"] for run in parts],
        "settings": differences([run["settings"] for run in parts]) if len(parts) > 1 else [],
    }


def _scores(run: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {b["name"]: {which: side["headline"] for which, side in b["sides"].items()} for b in run["benchmarks"]}


def _differences(ablation: dict[str, Any] | None) -> list[str]:
    """Return a chart for each metric of an ablation, in the metrics' order."""
    charts = []
    for metric in ablation["metrics"] if ablation else ():
        scale, unit = (100.0, "points") if metric["kind"] == "pass@1" else (1.0, "nats")
        rows = [(row["arm"], row["difference"]) for row in metric["arms"] if "difference" in row]
        charts.append(difference_chart(rows, scale, unit, higher_is_better=metric["higher_is_better"]))
    return charts


def _interval_rows(benchmark: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    sides = benchmark["sides"]
    rows = [(f"all, {which}", which, side["headline"]) for which, side in sides.items()]
    rows += [(whose, "known", found) for whose, found in benchmark["known"].items()]
    subsets = [metric["subset"] for side in list(sides.values())[:1] for metric in side["subsets"] if metric["name"] == "pass@1"]
    for subset in subsets:
        for which, side in sides.items():
            metric = next((m for m in side["subsets"] if m["subset"] == subset and m["name"] == "pass@1"), None)
            if metric is not None:
                rows.append((f"{subset}, {which}", which, metric))
    return rows


def _curves(runs: Sequence[dict[str, Any]]) -> list[Markup]:
    """Draw the runs' training curves on common axes; a run's position selects its colour."""
    trained = [(number, run["name"], run["train"]) for number, run in enumerate(runs) if run["train"]]

    def lines(key: str) -> list[Line]:
        return [Line(name, n, [(e["step"], e[key]) for e in train["history"] if key in e]) for n, name, train in trained]

    charts = [line_chart(title, lines(key), top) for title, key, top in _CURVES]
    held_out = [Line(name, n, [(e["step"], e["eval_loss"]) for e in train.get("evaluations", ())]) for n, name, train in trained]
    charts.append(line_chart("loss of held-out answers, nats per token", held_out))
    return [Markup(chart) for chart in charts if chart]


def _rounds_chart(rounds: Sequence[dict[str, Any]]) -> str:
    """Draw the held-out scores of the rounds of `improve`, one line per benchmark."""
    names = dict.fromkeys(name for found in rounds for name in found["pass_at_1"])
    lines = [
        Line(name, n, [(found["number"], 100 * found["pass_at_1"][name]) for found in rounds if name in found["pass_at_1"]])
        for n, name in enumerate(names)
    ]
    return line_chart("held-out pass@1, %, by round", lines, x_label="round")
