"""Reads a finished run: the facts for its card and the files to publish."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reflectioncoder.config.declarations import Recipe
from reflectioncoder.config.loading import load_recipe
from reflectioncoder.data.files import read_json
from reflectioncoder.data.json_text import expected_form
from reflectioncoder.data.run_folders import run_folders
from reflectioncoder.data.samples import read_samples
from reflectioncoder.errors import UsageError
from reflectioncoder.evaluate.benchmarks import split_name
from reflectioncoder.evaluate.compare import compare_folders
from reflectioncoder.evaluate.results import headline
from reflectioncoder.publish.export import Source, Tally, find_source
from reflectioncoder.stage_marker import BASE, TRAINED, WHOLE_RUN, Marker, evaluation_stage, marker_path

_MAX_NAMED = 5
_CONTINUE = "run the same command again: it continues"


@dataclass(frozen=True)
class Evaluation:
    """The results of a benchmark: `results.json` before training (None if the base model was not scored) and after.

    `compared`: the paired statistics of the two, from `compare_folders`.
    """

    name: str
    base: dict[str, Any] | None
    trained: dict[str, Any]
    compared: dict[str, Any] | None


@dataclass(frozen=True)
class FinishedRun:
    """A run whose training and evaluations are done.

    Attributes:
        base_name: the base model's public name; for a local folder only the folder's name.
        model_files: the files that training wrote into `model`, without files added later.
        adapter: the folder of the LoRA that was merged into the weights; None if there was none, or it no longer exists.
        samples: the built samples and their build's report; None if the run built none.
        train, env, training_data: the contents of train.json, env.json and training_data.json.
    """

    directory: Path
    name: str
    recipe: Recipe
    base_name: str
    model: Path
    model_files: tuple[Path, ...]
    adapter: Path | None
    samples: Source | None
    tally: Tally
    train: dict[str, Any]
    env: dict[str, Any]
    training_data: dict[str, Any]
    evaluations: tuple[Evaluation, ...]


def read_finished_run(directory: Path, base_name: str | None = None) -> FinishedRun:
    """Read a run.

    Args:
        base_name: the base model's public name, if the recipe names a folder.

    Raises:
        UsageError: not a run, not finished, changed since it finished, or with a file that reflectioncoder did not write.
    """
    if not (directory / "config.yaml").is_file():
        raise UsageError(f"{directory} is not a run folder: it has no config.yaml")
    whole, *rounds = run_folders(directory)
    if whole.ablation is not None or whole.rounds is not None:
        where = f"such as {rounds[-1].path}" if rounds else "below it"
        raise UsageError(f"{directory} holds several models\n  hint:    name the folder of one run, {where}")
    _require_done(directory, WHOLE_RUN, directory / "config.yaml")
    recipe = load_recipe(directory / "config.yaml").recipe
    model = directory / "model"
    if recipe.build.problems:
        _require_done(directory, "build", directory / "build" / "build.json")
    trained = _require_done(directory, "train", model / "config.json")
    model_files = _written_into(model, trained)
    evaluations = tuple(_evaluations(directory, recipe))
    with expected_form(f"a file in {directory}"):
        train = read_json(directory / "train" / "train.json")
        samples = find_source(directory) if (directory / "build" / "build.json").is_file() else None
        tally = Tally()
        for sample in read_samples(samples.samples) if samples else ():
            tally.add(sample)
        env = read_json(directory / "env.json")
        return FinishedRun(
            directory,
            _name(directory, recipe),
            recipe,
            base_name or (Path(recipe.model.name).name if env["model"]["origin"] == "local" else recipe.model.name),
            model,
            model_files,
            _adapter(directory / "train" / f"checkpoint-{train['total_steps']}", recipe),
            samples,
            tally,
            train,
            env,
            read_json(model / "training_data.json"),
            evaluations,
        )


def _require_done(directory: Path, stage: str, output: Path) -> Marker:
    """Return the marker of a stage; refuse a run whose stage is not done or whose files changed since."""
    marker = Marker.read(marker_path(directory, stage))
    if marker is None or not output.is_file():
        raise UsageError(f"{directory} is not finished: its stage {stage} is not done\n  hint:    {_CONTINUE}")
    if changed := marker.changed(directory):
        raise UsageError(f"{changed[0]} is missing or was changed since the stage {stage} wrote it\n  hint:    {_CONTINUE}")
    return marker


def _written_into(model: Path, trained: Marker) -> tuple[Path, ...]:
    """Return the files of a model; refuse other files among them, since the folder will be published."""
    written = {model.parent / name for name in trained.outputs if Path(name).is_relative_to(model.name)}
    if others := sorted(str(file) for file in model.rglob("*") if file.is_file() and file not in written):
        shown = ", ".join(others[:_MAX_NAMED]) + (", …" if len(others) > _MAX_NAMED else "")
        raise UsageError(f"the training did not write {shown}\n  hint:    move what is not to be published out of {model}")
    return tuple(sorted(written))


def _evaluations(directory: Path, recipe: Recipe) -> list[Evaluation]:
    if "pass_rate" not in recipe.evaluate.measures:
        return []
    return [_evaluation(directory, split_name(spec)[0]) for spec in recipe.evaluate.benchmarks]


def _evaluation(directory: Path, name: str) -> Evaluation:
    folder = directory / "eval" / name
    _require_done(directory, evaluation_stage(name, TRAINED), folder / TRAINED / "results.json")
    has_base = (folder / BASE / "results.json").is_file()  # rounds of `improve` do not score the base model
    if has_base:
        _require_done(directory, evaluation_stage(name, BASE), folder / BASE / "results.json")
    with expected_form(f"the results in {folder}"):
        base = read_json(folder / BASE / "results.json") if has_base else None
        trained = read_json(folder / TRAINED / "results.json")
        headline(trained)
        return Evaluation(name, base, trained, compare_folders(folder, BASE, TRAINED))


def _name(directory: Path, recipe: Recipe) -> str:
    folder = Path(os.path.realpath(directory))
    return f"{folder.parent.parent.name}-round-{folder.name}" if folder.parent.name == "rounds" else recipe.name


def _adapter(checkpoint: Path, recipe: Recipe) -> Path | None:
    """Return the last checkpoint if it holds the trained LoRA."""
    found = recipe.train.lora is not None and (checkpoint / "adapter_model.safetensors").is_file()
    return checkpoint if found else None
