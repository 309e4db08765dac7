"""Puts the page together: data of the runs, charts, one template with its style sheet and script inlined."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template, UndefinedError
from markupsafe import Markup

from reflectioncoder import __version__
from reflectioncoder.data.files import write_atomic
from reflectioncoder.data.json_text import expected_form
from reflectioncoder.data.run_folders import run_folders
from reflectioncoder.errors import UsageError
from reflectioncoder.progress import format_duration
from reflectioncoder.report.charts import bars, differences, intervals, line_chart
from reflectioncoder.report.collect import RATES, collect_run, funnel

ASSETS = Path(__file__).parent / "assets"


def write_report(runs: Sequence[Path], output: Path) -> Path:
    """Write the page about `runs` to `output`; the folder of an `improve` brings its rounds along.

    Raises:
        UsageError: one of the folders is not a run, or a file in it is damaged.
    """
    collected, shown = [], []
    for folder in (folder for run in runs for folder in run_folders(run)):
        with expected_form(f"a file in {folder.path}"):
            collected.append(collect_run(folder))
            shown.append(_for_page(collected[-1]))
    environment = Environment(loader=FileSystemLoader(ASSETS), autoescape=True, undefined=StrictUndefined)
    environment.filters["percent"] = lambda value: f"{100 * value:.1f}"
    environment.filters["duration"] = format_duration
    template = environment.get_template("page.html.jinja")
    page = _rendered(
        template,
        runs=shown,
        version=__version__,
        style=Markup((ASSETS / "page.css").read_text(encoding="utf-8")),
        script=Markup((ASSETS / "page.js").read_text(encoding="utf-8")),
        data=_embedded([{"sequences": run["sequences"], "benchmarks": _tasks(run)} for run in collected]),
    )
    return write_atomic(output, page)


def _rendered(template: Template, **values: Any) -> str:
    try:
        return template.render(**values)
    except UndefinedError as error:
        names = ", ".join(run["name"] for run in values["runs"])
        raise UsageError(f"a file in one of the runs ({names}) is not as reflectioncoder wrote it: {error}") from error


def _tasks(run: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"name": b["name"], "tasks": b["tasks"]} for b in run["benchmarks"]]


def _embedded(value: Any) -> Markup:
    """Return JSON that cannot end the script element it stands in, whatever a model wrote."""
    text = json.dumps({"rates": RATES, "runs": value}, ensure_ascii=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029"))


def _for_page(run: dict[str, Any]) -> dict[str, Any]:
    build, train = run["build"], run["train"]
    return {
        **run,
        "intervals": {b["name"]: Markup(intervals(_interval_rows(b))) for b in run["benchmarks"]},
        "funnel": Markup(bars(funnel(build))) if build else None,
        "operators": Markup(bars([(k.replace("_", " "), v) for k, v in build["operators"].items()])) if build else None,
        "differences": [Markup(chart) for chart in _differences(run["ablation"])],
        "curves": [Markup(chart) for chart in _curves(train["history"])] if train else [],
    }


def _differences(ablation: dict[str, Any] | None) -> list[str]:
    """Return a chart for each metric of an ablation, in the metrics' order."""
    charts = []
    for metric in ablation["metrics"] if ablation else ():
        scale, unit = (100.0, "points") if metric["kind"] == "pass@1" else (1.0, "nats")
        rows = [(row["arm"], row["difference"]) for row in metric["arms"] if "difference" in row]
        charts.append(differences(rows, scale, unit, higher_is_better=metric["higher_is_better"]))
    return charts


def _interval_rows(benchmark: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    sides = benchmark["sides"]
    rows = [(f"all, {which}", which, side["headline"]) for which, side in sides.items()]
    subsets = [metric["subset"] for side in list(sides.values())[:1] for metric in side["subsets"] if metric["name"] == "pass@1"]
    for subset in subsets:
        for which, side in sides.items():
            metric = next((m for m in side["subsets"] if m["subset"] == subset and m["name"] == "pass@1"), None)
            if metric is not None:
                rows.append((f"{subset}, {which}", which, metric))
    return rows


def _curves(history: Sequence[dict[str, float]]) -> list[str]:
    series = [
        ("loss of the step", "loss", "loss", None),
        ("cross-entropy, nats per token", "ce", "ce", None),
        ("KL(teacher ‖ student), nats per token", "kl", "kl", None),
        ("mask rate", "mask_rate", "mask", 1.0),
    ]
    return [
        line_chart(title, [(e["step"], e[key]) for e in history if key in e], css_class, top) for title, key, css_class, top in series
    ]
