"""The data of a training run: samples → rendered → planned; held-out samples; a preview for the viewer. Needs no torch."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from reflectioncoder.config.declarations import Recipe, TrainConfig
from reflectioncoder.data.files import content_hash
from reflectioncoder.data.problems import iter_problems
from reflectioncoder.data.prompts import one_off_sample
from reflectioncoder.data.render import RenderedSample, RenderReport, render_all
from reflectioncoder.data.rendered import span_table
from reflectioncoder.data.samples import Sample, operators_of
from reflectioncoder.data.training_sets import TrainingSet, find_training_set
from reflectioncoder.errors import UsageError
from reflectioncoder.method.heldout import HeldOut
from reflectioncoder.method.plan import RunPlan
from reflectioncoder.method.views import shown_sample
from reflectioncoder.models.tokens import make_renderer
from reflectioncoder.progress import say
from reflectioncoder.train.rendered_files import SampleSet, render_files


@dataclass(frozen=True)
class OneOffSet:
    """The reference solutions of problems as plain one-off answers: a set built from the problems, not read from sample files."""

    problems: tuple[str, ...]

    @property
    def identity(self) -> str:
        return content_hash([sample.to_json() for sample in self.samples()])

    @property
    def num_bytes(self) -> int:
        return sum(len(problem.reference) for problem in iter_problems(self.problems))

    def parts(self, num_parts: int) -> list[OneOffSet]:
        return [self]

    def samples(self) -> Iterator[Sample]:
        return (one_off_sample(problem) for problem in iter_problems(self.problems) if problem.has_reference)


@dataclass(frozen=True)
class TrainingData:
    """The samples of a run, set by set, in files; iterating parses them."""

    sets: tuple[SampleSet, ...]

    @property
    def identity(self) -> str:
        """Return a key of the samples' content."""
        return content_hash([one.identity for one in self.sets])

    def __iter__(self) -> Iterator[Sample]:
        for one in self.sets:
            for part in one.parts(1):
                yield from part.samples()

    def describe(self) -> list[dict[str, Any]]:
        """Return the run's record of the training sets that its recipe names."""
        return [one.to_json() for one in self.sets if isinstance(one, TrainingSet)]


Samples = Sequence[Sample] | TrainingData
"""The samples of a training: in memory, or in files that are rendered once for all runs and processes."""


def data_key(samples: Samples) -> str:
    """Return a key of the samples' content."""
    return samples.identity if isinstance(samples, TrainingData) else content_hash([sample.to_json() for sample in samples])


def find_training_sets(recipe: Recipe) -> list[TrainingSet]:
    """Find the training sets that the recipe names, in its order; sets on the hub are downloaded.

    Raises:
        UsageError, MachineError: see `data.training_sets.find_training_set`.
    """
    train = recipe.train
    return [
        *(find_training_set(spec, "reflection", train.text_normalization) for spec in train.reflection_data),
        *(find_training_set(spec, "generation", train.text_normalization) for spec in train.generation_data),
    ]


def training_samples(recipe: Recipe, reflections: Path | None, limit: int | None = None) -> Samples:
    """Return all samples of the recipe: built reflections, further sets, one-off samples of the problems.

    Args:
        limit: use only the first `limit` samples, read into memory.

    Raises:
        UsageError: there are no reflections, a set does not exist, or the recipe asks for the model's own answers (`self_samples`),
            which only a run can sample.
    """
    if recipe.train.self_samples:
        raise UsageError.for_value(
            "the model's own answers are sampled in a run", "train.self_samples", recipe.train.self_samples, "0 here", "use `run`"
        )
    if reflections is None and not recipe.train.reflection_data and (recipe.build.problems or not recipe.train.generation_data):
        hint = "run build first; build.problems: [] trains on train.generation_data alone"
        if not recipe.build.problems:
            hint = "build.problems is empty: name samples in train.reflection_data or train.generation_data"
        raise UsageError(f"no reflection samples: nothing is built yet and train.reflection_data is empty\n  hint:    {hint}")
    built = [find_training_set(str(reflections), "reflection")] if reflections else []
    one_off = [OneOffSet(recipe.build.problems)] if recipe.train.generation_from_problems else []
    data = TrainingData((*built, *find_training_sets(recipe), *one_off))
    return data if limit is None else list(itertools.islice(data, limit))


@dataclass(frozen=True)
class RenderedData:
    """Rendered samples with their names for messages and the mistakes (`operators`) that each one corrects."""

    samples: Sequence[RenderedSample]
    names: Sequence[str]
    operators: Sequence[Sequence[str]]
    report: RenderReport


def rendered_data(recipe: Recipe, path: Path, tokenizer: Any, samples: Samples) -> RenderedData:
    """Render samples: file-based ones once for all runs (`rendered_files`), in-memory ones in this process.

    Args:
        path: folder of the base model.
        tokenizer: in the form used for training.
    """
    limit = recipe.train.max_length
    if isinstance(samples, TrainingData):
        table = render_files(samples.sets, recipe.model, path, limit)
        report = RenderReport(len(table), tuple(table.names(table.left_out)), table.longest)
        return RenderedData(table, table.names(table.rows), table.column("operators"), report)
    rendered, indices, report = render_all(make_renderer(recipe.model.rendering, tokenizer), samples, limit)
    return RenderedData(rendered, [samples[i].id or f"#{i}" for i in indices], [operators_of(samples[i]) for i in indices], report)


def plan_run(recipe: Recipe, path: Path, tokenizer: Any, samples: Samples) -> tuple[RunPlan, RenderedData]:
    """Render the samples and plan the run.

    Raises:
        UsageError: there are no samples, or none fits into `train.max_length`.
    """
    data = rendered_data(recipe, path, tokenizer, samples)
    report, num_all = data.report, data.report.num_kept + len(data.report.too_long)
    if not num_all:
        raise UsageError("there is nothing to train on: no built reflections, no train.reflection_data, no train.generation_data")
    if report.too_long:
        say(f"train: {len(report.too_long)} of {num_all} samples are longer than {recipe.train.max_length} tokens and left out")
    if not data.samples:
        raise UsageError(
            f"all {num_all} samples are longer than train.max_length = {recipe.train.max_length} (longest: {report.longest})"
        )
    return RunPlan(data.samples, recipe.train, recipe.seed, data.names), data


def held_out_samples(recipe: Recipe, tokenizer: Any) -> HeldOut | None:
    """Render the samples of `train.eval_data`; leave out, with a message, those longer than `train.max_length`.

    Raises:
        UsageError: no sample is left.
    """
    if not recipe.train.eval_data:
        return None
    sets = [find_training_set(spec, "generation", recipe.train.text_normalization) for spec in recipe.train.eval_data]
    samples = list(TrainingData(tuple(sets)))
    rendered, _, report = render_all(make_renderer(recipe.model.rendering, tokenizer), samples, recipe.train.max_length)
    if report.too_long:
        say(f"train: {len(report.too_long)} of {len(samples)} held-out samples are longer than {recipe.train.max_length} tokens")
    if not rendered:
        raise UsageError(f"train.eval_data: none of {len(samples)} samples fits into train.max_length = {recipe.train.max_length}")
    return HeldOut(rendered, recipe.train.micro_batch_tokens)


def preview(tokenizer: Any, data: RenderedData, config: TrainConfig, count: int = 8) -> list[dict[str, Any]]:
    """Return the first `count` reflection samples for the viewer: token texts, spans, labels, which tokens are always hidden."""
    first = itertools.islice(np.flatnonzero(span_table(data.samples).is_reflection).tolist(), count)
    return [
        shown_sample(
            tokenizer,
            data.samples[i],
            data.names[i],
            data.operators[i],
            positions=config.student_positions,
            mask_frame=config.mask_frame,
            student_view=config.student_view,
            failed_attempts=config.failed_attempts,
            teacher_targets=config.teacher_targets,
            block_order=config.mask_block_order,
        )
        for i in first
    ]


def describe_plan(plan: RunPlan, report: RenderReport) -> dict[str, Any]:
    reflection = int(plan.is_reflection[plan.visited].sum())
    return {
        "num_samples": len(plan.samples),
        "num_too_long": len(report.too_long),
        "too_long": list(report.too_long),
        "longest_sample_tokens": report.longest,
        "total_steps": plan.total_steps,
        "visits": len(plan.visited),
        "reflection_visits": reflection,
        "generation_visits": len(plan.visited) - reflection,
        "num_tokens": plan.num_tokens,
        "reflection_tokens": int(plan.costs()[plan.is_reflection[plan.visited]].sum()),
    }
