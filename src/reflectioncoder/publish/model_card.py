"""Writes the card of a published model: front matter with the results in the hub's form, and the facts that users need.

Numbers come from the run's files; missing values are called unknown or left out.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from reflectioncoder.data.hub import HUB_PREFIX, parse_hub_address
from reflectioncoder.data.json_text import expected_form
from reflectioncoder.errors import require
from reflectioncoder.evaluate.benchmarks import BENCHMARKS
from reflectioncoder.evaluate.results import headline
from reflectioncoder.progress import format_duration
from reflectioncoder.publish.card import UNKNOWN, as_text, build_text, license_id, origin_text, table
from reflectioncoder.publish.export import CARD_SIGN
from reflectioncoder.publish.finished_run import Evaluation, FinishedRun
from reflectioncoder.publish.model_check import Checked

_ASSETS = Path(__file__).parent / "assets"
_WHOLE = (None, "base", "plus")  # subsets by tests; all others are subsets of the tasks
_NOT_SHOWN = ("reflection_data", "generation_data", "eval_data", "report_to")  # data is listed separately, without folders


def model_card(run: FinishedRun, license: str | None, gguf: str | None, checks: Sequence[Checked], *, num_rows: int | None) -> str:
    """Return the text of README.md.

    Args:
        license: the model's licence as the hub writes it; None if unknown.
        gguf: the name of the GGUF file, if there is one.
        checks: the outcome of loading the files with each reader; empty if they were not checked.
        num_rows: the number of embedding rows that the adapter needs, if it exceeds the base model's; else None.

    Raises:
        UsageError: a file of the run was changed since reflectioncoder wrote it.
    """
    environment = Environment(
        loader=FileSystemLoader(_ASSETS), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )  # not HTML: values from files are escaped for Markdown where they are inserted
    with expected_form(f"a file in {run.directory}"):
        values = {
            "name": as_text(run.name),
            "sign": CARD_SIGN,
            "description": as_text(run.recipe.description, ""),
            "base": as_text(run.base_name),
            "base_id": run.base_name,
            "rendering": run.recipe.model.rendering,
            "adapter": run.adapter is not None,
            "num_rows": num_rows,
            "gguf": gguf,
            "confidence": f"{100 * run.recipe.evaluate.confidence:g} %",
            "results": _results(run.evaluations),
            "conditions": _conditions(run),
            "data": _data(run),
            "benchmark_tasks": _benchmark_tasks(run),
            "origin": origin_text(run.tally) if run.samples else "",
            "build": build_text(run.samples) if run.samples else "",
            "written_by_models": _written_by_models(run),
            "training": _training(run),
            "settings": _settings(run),
            "hardware": _hardware(run),
            "verification": verification_table(checks) if checks else "",
            "limits": _limits(run),
            "licences": _licences(run, license),
        }
        return _front_matter(run, license) + environment.get_template("model_card.md.jinja").render(values)


def verification_table(checks: Sequence[Checked]) -> str:
    """Return the checks as a Markdown table."""
    rows = [[as_text(check.reader), as_text(check.found), as_text(check.completion)] for check in checks]
    return table(["reader", "found", "chat completion"], rows)


def verification_lines(checks: Sequence[Checked]) -> list[str]:
    """Return the checks for a terminal: each reader with its completion, followed by the findings."""
    width = max(len(check.reader) for check in checks)
    return [line for c in checks for line in (f"{c.reader:<{width}}  {c.completion}", f"{'':<{width}}  {c.found}")]


def _front_matter(run: FinishedRun, license: str | None) -> str:
    cards: Any = require("huggingface_hub", "train")
    data = cards.ModelCardData(
        base_model=run.base_name,
        datasets=sorted({parse_hub_address(row["spec"]).name for row in run.train["data"] if _is_on_hub(row["spec"])}) or None,
        eval_results=[result for evaluation in run.evaluations for result in _hub_results(evaluation, cards.EvalResult)] or None,
        language=["en", "code"],
        library_name="transformers",
        license=license or UNKNOWN,
        model_name=run.name,
        pipeline_tag="text-generation",
        tags=["code", "self-distillation", "reflection"],
    )
    return f"---\n{yaml.safe_dump(data.to_dict(), sort_keys=False)}---\n\n"


def _hub_results(evaluation: Evaluation, kind: Any) -> list[Any]:
    """Return the trained model's results in the form that the hub's package writes into `model-index`."""
    results = evaluation.trained
    return [
        kind(
            task_type="text-generation",
            dataset_type=evaluation.name,
            dataset_config=metric["subset"],
            dataset_name=_subset_name(evaluation.name, metric["subset"]),
            dataset_revision=results["benchmark"]["version"],
            metric_type=metric["name"],
            metric_value=metric["value"],
            metric_args={
                "num_tasks": metric["num_tasks"],
                "num_samples": metric["num_samples"],
                "temperature": results["sampling"]["temperature"] if results["sampling"] else None,
                "confidence": results["confidence"],
                "ci_low": metric["ci_low"],
                "ci_high": metric["ci_high"],
            },
        )
        for metric in results["metrics"]
        if metric["subset"] in _WHOLE
    ]


def _subset_name(name: str, subset: str | None) -> str:
    return name if subset is None else f"{name} ({subset})"


def _is_on_hub(spec: str) -> bool:
    return spec.startswith(HUB_PREFIX)


def _percent(metric: dict[str, Any] | None) -> str:
    return "" if metric is None else " [".join((f"{100 * metric['value']:.1f}", _ends(metric)))


def _ends(interval: dict[str, Any]) -> str:
    return f"{100 * interval['ci_low']:.1f}, {100 * interval['ci_high']:.1f}]"


def _results(evaluations: Sequence[Evaluation]) -> str:
    """Return a table row per benchmark, or one each for base and plus tests, which score the same answers twice."""
    rows = []
    for evaluation in evaluations:
        main = headline(evaluation.trained)
        before = {m["subset"]: m for m in (evaluation.base or {"metrics": []})["metrics"] if m["name"] == "pass@1"}
        for metric in evaluation.trained["metrics"]:
            if metric["name"] == "pass@1" and metric["subset"] in _WHOLE:
                compared = evaluation.compared if metric is main else None
                name = _subset_name(evaluation.name, metric["subset"])
                rows.append(
                    [f"`{name}`", metric["num_tasks"], _percent(before.get(metric["subset"])), _percent(metric), *_paired(compared)]
                )
    return table(["benchmark", "n", "before", "after", "difference", "gained / lost", "p"], rows) if rows else ""


def _paired(compared: dict[str, Any] | None) -> list[str]:
    if compared is None:
        return ["", "", ""]
    difference, flipped = compared["difference"], compared["flipped"]
    value = f"{100 * difference['value']:+.1f} [{_ends(difference)}"
    if flipped is None:
        return [value, "", ""]
    return [value, f"{len(flipped['only_b'])} / {len(flipped['only_a'])}", f"{compared['mcnemar']['p_value']:.2g}"]


def _conditions(run: FinishedRun) -> str:
    generate = run.recipe.generate
    how = "greedy" if generate.temperature == 0 else f"temperature {generate.temperature:g}, top-p {generate.top_p:g}"
    sandboxes = sorted({e.trained["sandbox"]["isolation"]["name"] for e in run.evaluations})
    return (
        f"Answers: {how}, {generate.num_samples} per task, at most {generate.max_new_tokens} tokens. n is the number of tasks. "
        "The difference is paired by task, its interval a bootstrap, p the exact McNemar test's. "
        f"Programs ran in a sandbox ({', '.join(sandboxes)}), under reflectioncoder {run.env['reflectioncoder']}."
    )


def _data(run: FinishedRun) -> str:
    rows = []
    for row in run.train["data"]:
        spec = row["spec"]
        name = as_text(spec if _is_on_hub(spec) else Path(spec).name)
        rows.append([name, row["kind"], as_text(row["form"]), as_text(row["revision"], "")])
    train = run.train
    text = (
        f"{train['num_samples']:,} samples, visited {train['visits']:,} times ({train['reflection_visits']:,} of them reflection "
        f"samples); {train['num_too_long']:,} others were left out because they are too long."
    )
    return f"{text}\n\n{table(['data', 'kind', 'form', 'commit'], rows)}" if rows else text


def _benchmark_tasks(run: FinishedRun) -> str:
    matches = run.training_data["matches"]
    if not matches:
        return "The training data was not compared with benchmarks: their data was not there."
    found = ", ".join(f"{as_text(family)}: {len(tasks)}" for family, tasks in matches.items())
    return f"Tasks of benchmarks that were found in all of the training data, by id and by words in a row: {found}."


def _written_by_models(run: FinishedRun) -> str:
    build = run.recipe.build
    models = sorted({model for _, model in run.tally.writers if model} | ({build.endpoint.model} if build.critic != "none" else set()))
    parts = []
    if models:
        parts.append(
            f"Texts or programs of the built samples were written by {', '.join(map(as_text, models))}. The terms of some providers "
            "limit what may be done with a model that was trained on their models' answers: read those of these models before you use "
            "this one."
        )
    elif run.samples:
        parts.append("No model wrote the built samples: attempts, diagnoses and repairs were made by rules from reference solutions.")
    if any(Path(row["spec"]).parts[-2:] != ("build", "reflections.jsonl") for row in run.train["data"]):
        parts.append("Whether models wrote the other training data is not recorded here; see its source.")
    return " ".join(parts) or "Whether models wrote the training data is not recorded; see its source."


def _training(run: FinishedRun) -> str:
    train = run.train
    trained = f"{train['trained_parameters']:,} of {train['parameters']:,} parameters were trained"
    lora = run.recipe.train.lora
    what = f"a LoRA of rank {lora.rank}: {trained}" if lora else trained
    return (
        f"{what[0].upper()}{what[1:]}, over {train['num_tokens']:,} tokens in {train['total_steps']:,} steps, seed {run.recipe.seed}."
    )


def _settings(run: FinishedRun) -> str:
    settings = {k: v for k, v in asdict(run.recipe.train).items() if v not in (None, ()) and k not in _NOT_SHOWN}
    return json.dumps(settings, indent=2)


def _hardware(run: FinishedRun) -> str:
    train, env = run.train, run.env
    gpus = env.get("gpus") or []
    machine = f"{', '.join(map(as_text, gpus))}; " if gpus else ""
    speed = f", {train['tokens_per_s']:,.0f} tokens per second" if train["tokens_per_s"] else ""
    part = " of its last session, which continued an earlier one" if train["resumed_from_step"] else ""
    text = (
        f"{machine}{env['cpus']} CPU cores. Trained on `{train['device']}`: {format_duration(train['duration_s'])}{part}{speed}. "
        f"torch {env['packages'].get('torch') or UNKNOWN}, transformers {env['packages'].get('transformers') or UNKNOWN}."
    )
    build = (run.samples.build if run.samples else None) or {}
    if not build.get("output_tokens"):
        return f"{text} Building the data took no paid requests."
    price = f", {build['usd']:.2f} USD" if build.get("usd") else ", without a stated price"
    return f"{text} Building the data took {build['input_tokens']:,} tokens in and {build['output_tokens']:,} out{price}."


def _limits(run: FinishedRun) -> list[str]:
    languages = ", ".join(title for title, _ in run.tally.languages.most_common()) or "not recorded here"
    limits = [
        f"Languages of the programs in the built samples: {languages}. Others were not trained, and are scored only where named.",
        "The numbers are for short functions with tests. They say nothing about whole projects, security or dialogues.",
        "Run the programs that it writes in a sandbox, and read them before you use them.",
    ]
    small = [evaluation for evaluation in run.evaluations if headline(evaluation.trained)["num_tasks"] < 100]
    if small:
        limits.append(f"{', '.join(f'`{e.name}`' for e in small)} {'has' if len(small) == 1 else 'have'} few tasks: wide intervals.")
    differences = {e.name: e.compared["difference"] for e in run.evaluations if e.compared}
    if unsure := [f"`{name}`" for name, found in differences.items() if found["ci_low"] <= 0 <= found["ci_high"]]:
        names = ", ".join(unsure)
        limits.append(f"The interval of the difference holds 0 on {names}: a gain or loss is not shown there.")
    if run.evaluations and len({evaluation.trained["benchmark"]["name"] for evaluation in run.evaluations}) == 1:
        limits.append("Only one benchmark was scored.")
    return limits


def _licences(run: FinishedRun, license: str | None) -> str:
    stated = f"Model: `{as_text(license)}`." if license else "Model: unknown."
    base = as_text(run.base_name)
    parts = [f"{stated} It is derived from {base}, whose licence still applies: read it before you redistribute the model."]
    data = sorted({as_text(name) for _, name in run.tally.origins})
    if data:
        parts.append(f"Problems of the built samples: {', '.join(data)}.")
    if others := sorted({row["spec"] for row in run.train["data"] if _is_on_hub(row["spec"])}):
        parts.append(f"See also the pages of {', '.join(as_text(spec) for spec in others)}.")
    known = sorted({facts for e in run.evaluations if (facts := _benchmark_licence(e.name))})
    if known:
        parts.append(f"Data of the benchmarks, which is not in this repository: {'; '.join(known)}.")
    return "\n\n".join(parts)


def _benchmark_licence(name: str) -> str:
    row = BENCHMARKS.get(name)
    return f"`{name}` {as_text(row.facts.license)}" if row else ""


def stated_license(text: str) -> str | None:
    """Return the licence in the front matter of a model's card; None if there is none."""
    if not text.startswith("---"):
        return None
    try:
        said = yaml.safe_load(text.split("---")[1])
    except yaml.YAMLError:
        return None
    stated = said.get("license") if isinstance(said, dict) else None
    return license_id(stated) if isinstance(stated, str) else None
