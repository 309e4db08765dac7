"""The data of a training run: samples → rendered → planned, the held-out samples, a preview for the viewer. Needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from reflectioncoder.config.declarations import Recipe, TrainConfig
from reflectioncoder.data.problems import load_problems
from reflectioncoder.data.prompts import one_off_sample
from reflectioncoder.data.render import IGNORE_INDEX, RenderReport, render_all
from reflectioncoder.data.samples import Sample, read_samples
from reflectioncoder.data.training_sets import TrainingSet, find_training_set
from reflectioncoder.errors import UsageError
from reflectioncoder.method.heldout import HeldOut
from reflectioncoder.method.plan import RunPlan
from reflectioncoder.method.views import student_kept
from reflectioncoder.models.tokens import make_renderer
from reflectioncoder.progress import say


def find_training_sets(recipe: Recipe) -> list[TrainingSet]:
    """Find the data that the recipe names, in its order; what is on the hub is downloaded.

    Raises:
        UsageError, MachineError: as `data.training_sets.find_training_set`.
    """
    train = recipe.train
    return [
        *(find_training_set(spec, "reflection", train.text_normalization) for spec in train.reflection_data),
        *(find_training_set(spec, "generation", train.text_normalization) for spec in train.generation_data),
    ]


def training_samples(recipe: Recipe, reflections: Path | None, sets: Sequence[TrainingSet]) -> list[Sample]:
    """Return all samples of a run: built ones, those of the sets that the recipe names, one-off samples of the problems."""
    if reflections is None and not recipe.train.reflection_data:
        raise UsageError("no reflection samples: nothing is built yet and train.reflection_data is empty\n  hint:    run build first")
    samples = list(read_samples(reflections)) if reflections else []
    samples += [sample for found in sets for sample in found.samples()]
    if recipe.train.generation_from_problems:
        samples += [one_off_sample(problem) for problem in load_problems(recipe.build.problems) if problem.has_reference]
    if not samples:
        raise UsageError("there is nothing to train on: no built reflections, no train.reflection_data, no train.generation_data")
    return samples


def plan_run(recipe: Recipe, tokenizer: Any, samples: Sequence[Sample]) -> tuple[RunPlan, RenderReport]:
    """Render and plan.

    Raises:
        UsageError: no sample fits into `train.max_length`.
    """
    renderer = make_renderer(recipe.model.rendering, tokenizer)
    rendered, indices, report = render_all(renderer, samples, recipe.train.max_length)
    if report.too_long:
        say(f"train: {len(report.too_long)} of {len(samples)} samples are longer than {recipe.train.max_length} tokens and left out")
    if not rendered:
        raise UsageError(
            f"all {len(samples)} samples are longer than train.max_length = {recipe.train.max_length} (longest: {report.longest})"
        )
    return RunPlan(rendered, recipe.train, recipe.seed, [samples[i].id or f"#{i}" for i in indices]), report


def held_out_samples(recipe: Recipe, tokenizer: Any) -> HeldOut | None:
    """Render the samples of `train.eval_data`; what is longer than `train.max_length` is left out and said.

    Raises:
        UsageError: nothing is left.
    """
    if not recipe.train.eval_data:
        return None
    found = [find_training_set(spec, "generation", recipe.train.text_normalization) for spec in recipe.train.eval_data]
    samples = [sample for each in found for sample in each.samples()]
    rendered, _, report = render_all(make_renderer(recipe.model.rendering, tokenizer), samples, recipe.train.max_length)
    if report.too_long:
        say(f"train: {len(report.too_long)} of {len(samples)} held-out samples are longer than {recipe.train.max_length} tokens")
    if not rendered:
        raise UsageError(f"train.eval_data: none of {len(samples)} samples fits into train.max_length = {recipe.train.max_length}")
    return HeldOut(rendered, recipe.train.micro_batch_tokens)


def preview(renderer: Any, samples: Sequence[Sample], config: TrainConfig, count: int = 8) -> list[dict[str, Any]]:
    """Return the first reflection samples as the model sees them, for the viewer: token texts, spans, labels, what is always hidden."""
    shown = []
    for sample in samples:
        rendered = renderer.render(sample) if sample.type == "reflection" else None
        if rendered is None or len(rendered.input_ids) > config.max_length:
            continue
        shown.append(
            {
                "id": sample.id,
                "operators": sample.metadata.get("operators", []),
                "tokens": [renderer.tokenizer.decode([i]) for i in rendered.input_ids],
                "spans": [asdict(span) for span in rendered.spans],
                "teacher_trained": [int(label != IGNORE_INDEX) for label in rendered.teacher_labels],
                "student_trained": [int(label != IGNORE_INDEX) for label in rendered.student_labels],
                "student_kept": student_kept(rendered, frozenset(), config.student_positions, mask_frame=config.mask_frame),
                "block_order": list(config.mask_block_order),
            }
        )
        if len(shown) == count:
            break
    return shown


def describe_plan(plan: RunPlan, report: RenderReport) -> dict[str, Any]:
    visits = [visit for step in plan.steps for visit in step]
    reflection = sum(plan.samples[visit.index].is_reflection for visit in visits)
    return {
        "num_samples": len(plan.samples),
        "num_too_long": len(report.too_long),
        "too_long": list(report.too_long),
        "longest_sample_tokens": report.longest,
        "total_steps": plan.total_steps,
        "visits": len(visits),
        "reflection_visits": reflection,
        "generation_visits": len(visits) - reflection,
        "num_tokens": plan.num_tokens,
    }
