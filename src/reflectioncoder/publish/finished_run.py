"""Reads a finished run: what its card says and its published folder holds."""

from __future__ import annotations

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
from reflectioncoder.stage_marker import Marker

_MAX_NAMED = 5
_CONTINUE = "run the same command again: it continues"


@dataclass(frozen=True)
class Evaluation:
    """The results of a benchmark: `results.json` before (None if the base model was not scored) and after the training.

    `compared`: the paired statistics of the two, as `compare_folders` returns them.
    """

    name: str
    base: dict[str, Any] | None
    trained: dict[str, Any]
    compared: dict[str, Any] | None


@dataclass(frozen=True)
class FinishedRun:
    """A run whose training and evaluations are done.

    Attributes:
        base_name: what the base model is called in public; of a folder on somebody's machine only its own name.
        model_files: what the training has written into `model`, and nothing that came to lie there later.
        adapter: the folder of the LoRA that was merged into the weights; None if there was none, or if it is not here any more.
        samples: the built samples and the report of their build; None if the run built none.
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
        base_name: of the base model, where the recipe names a folder.

    Raises:
        UsageError: it is no run, is not finished, has changed since it was, or holds a file that reflectioncoder did not write.
    """
    if not (directory / "config.yaml").is_file():
        raise UsageError(f"{directory} is not a run folder: it has no config.yaml")
    whole, *rounds = run_folders(directory)
    if whole.ablation is not None or whole.rounds is not None:
        where = f"such as {rounds[-1].path}" if rounds else "below it"
        raise UsageError(f"{directory} holds several models\n  hint:    name the folder of one run, {where}")
    recipe = load_recipe(directory / "config.yaml").recipe
    model = directory / "model"
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
    """Return the marker of a stage; refuse a run of which it is not done, or whose files are not as the stage wrote them."""
    marker = Marker.read(directory / "stages" / f"{stage}.json")
    if marker is None or not output.is_file():
        raise UsageError(f"{directory} is not finished: its stage {stage} is not done\n  hint:    {_CONTINUE}")
    if changed := marker.changed(directory):
        raise UsageError(f"{changed[0]} is missing or was changed since the stage {stage} wrote it\n  hint:    {_CONTINUE}")
    return marker


def _written_into(model: Path, trained: Marker) -> tuple[Path, ...]:
    """Return the files of a model; refuse others that lie among them, for its folder is to be published."""
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
    scored = {which: f"eval-{name}-{which}".replace("/", "-") for which in ("base", "trained")}
    _require_done(directory, scored["trained"], folder / "trained" / "results.json")
    has_base = (folder / "base" / "results.json").is_file()  # rounds of `improve` have none of their own
    if has_base:
        _require_done(directory, scored["base"], folder / "base" / "results.json")
    with expected_form(f"the results in {folder}"):
        base = read_json(folder / "base" / "results.json") if has_base else None
        trained = read_json(folder / "trained" / "results.json")
        headline(trained)
        return Evaluation(name, base, trained, compare_folders(folder, "base", "trained"))


def _name(directory: Path, recipe: Recipe) -> str:
    folder = directory.resolve()
    return f"{folder.parent.parent.name}-round-{folder.name}" if folder.parent.name == "rounds" else recipe.name


def _adapter(checkpoint: Path, recipe: Recipe) -> Path | None:
    """Return the last checkpoint if it holds the trained LoRA."""
    found = recipe.train.lora is not None and (checkpoint / "adapter_model.safetensors").is_file()
    return checkpoint if found else None
