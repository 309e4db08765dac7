"""Checks everything that a run needs before its first stage, so that hours of work do not end in a foreseeable error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from reflectioncoder.builder.authors.registry import check_author
from reflectioncoder.choices import RunBackend
from reflectioncoder.config.declarations import Recipe
from reflectioncoder.contamination.records import refuse_contaminated_data
from reflectioncoder.data.problems import Problem, iter_problems
from reflectioncoder.errors import CheckFailedError, UsageError
from reflectioncoder.evaluate.benchmarks import load_benchmark, require_distinct
from reflectioncoder.evaluate.specs import OWN
from reflectioncoder.evaluation import check_benchmarks
from reflectioncoder.generate.backends import check_backend
from reflectioncoder.generate.base import check_sampling
from reflectioncoder.models.sources import ModelSource
from reflectioncoder.terminal import in_line

_SHOWN = 3


def check_run(
    recipe: Recipe, find_source: Callable[[], ModelSource], choose_backend: Callable[[], RunBackend], data_dir: str | None
) -> None:
    """Check the configuration, the data and the model, quick checks first.

    Args:
        find_source: finds the base model, which can take minutes.
        choose_backend: returns the backend that runs the models here.

    Raises:
        UsageError: impossible settings, unknown benchmark, missing or malformed file, a model that cannot be trained.
        CheckFailedError: the training data holds benchmark tasks.
        MachineError: benchmark data is missing; the device does not exist.
    """
    from reflectioncoder.models.gguf_export import check_gguf
    from reflectioncoder.train.checks import check_model, check_recipe
    from reflectioncoder.train.data import TrainingData, find_training_sets, held_out_samples, rendered_data
    from reflectioncoder.train.launch import training_processes

    check_recipe(recipe)
    _require_data(recipe)
    training_processes(recipe)
    check_author(recipe.build)
    check_sampling(recipe.generate)
    require_distinct(recipe.evaluate.benchmarks)
    check_benchmarks(recipe, data_dir)
    for file in problem_files(recipe):
        if not file.is_file():
            raise UsageError(f"file not found: {file}")
    backend = choose_backend()
    check_backend(backend)
    named = TrainingData(tuple(find_training_sets(recipe)))
    allow = recipe.evaluate.allow_contaminated
    refuse_contaminated_data(named, recipe.evaluate.benchmarks, data_dir, allow=allow, identity=named.identity)
    if not allow:
        _refuse_shared_problems(recipe)
    source = find_source()
    tokenizer = check_model(recipe, source)
    if recipe.export.gguf != "none" or backend == "local":
        check_gguf(source.path)
    held_out_samples(recipe, tokenizer)
    rendered_data(recipe, source.path, tokenizer, named)  # checks every row; training reuses the rendering


def problem_files(recipe: Recipe) -> list[Path]:
    """Return the user's own problem files."""
    return [Path(source) for source in recipe.build.problems if not source.startswith("bundled:")]


def _require_data(recipe: Recipe) -> None:
    """Check that a run without problems does not need any for its training.

    Raises:
        UsageError: training needs problems and `build.problems` is empty.
    """
    if recipe.build.problems:
        return
    train = recipe.train
    wanted = "train.generation_from_problems" if train.generation_from_problems else "train.self_samples" if train.self_samples else ""
    if not wanted and not (train.reflection_data or train.generation_data):
        wanted = "a training without train.reflection_data and train.generation_data"
    if wanted:
        raise UsageError.for_value(f"{wanted} needs problems", "build.problems", [], "problem files, bundled:SPLIT")


def _refuse_shared_problems(recipe: Recipe) -> None:
    """Check that the user's own benchmark files share no problem with the training.

    Raises:
        CheckFailedError: a benchmark holds problems that the model would be trained on.
    """
    own = [spec for spec in recipe.evaluate.benchmarks if spec.startswith(OWN)]
    trained = {name for problem in iter_problems(recipe.build.problems if own else ()) for name in _names(problem)}
    for spec in own:
        tasks = load_benchmark(spec).tasks
        shared = [t.task_id for t in tasks if t.task_id in trained or (t.prompt.strip(), t.instruction.strip()) in trained]
        if shared:
            named = ", ".join(map(in_line, shared[:_SHOWN]))
            more = f" and {len(shared) - _SHOWN} more" if len(shared) > _SHOWN else ""
            raise CheckFailedError(
                f"{len(shared)} of {len(tasks)} tasks of {spec} are among build.problems: {named}{more}\n"
                "  hint:    leave them out of one of the two, or evaluate.allow_contaminated: true"
            )


def _names(problem: Problem) -> Iterator[object]:
    """Yield the values that identify a problem: its name, and its statement."""
    yield problem.task_id
    yield problem.prompt.strip(), problem.instruction.strip()
