"""The training stage: samples → rendered → planned → trained → `model/`, resumable from its own checkpoints."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

from reflectioncoder.config.declarations import Recipe, TrainConfig
from reflectioncoder.data.files import claim, content_hash, explain_full_disk, put_aside, write_json
from reflectioncoder.data.problems import load_problems
from reflectioncoder.data.prompts import one_off_sample
from reflectioncoder.data.render import IGNORE_INDEX, RenderReport, render_all
from reflectioncoder.data.samples import Sample, read_samples
from reflectioncoder.errors import UsageError
from reflectioncoder.method.heldout import HeldOut
from reflectioncoder.method.plan import RunPlan
from reflectioncoder.method.views import student_kept
from reflectioncoder.models.load import pick_device
from reflectioncoder.models.sources import ModelSource, model_hash
from reflectioncoder.models.tokens import make_renderer
from reflectioncoder.progress import Progress, say
from reflectioncoder.train.checks import check_model, check_recipe
from reflectioncoder.train.sharding import is_sharded, set_up_sharding


def training_samples(recipe: Recipe, reflections: Path | None) -> list[Sample]:
    """All samples that the recipe names: built ones, further files, one-off samples of the problems."""
    files = [*([str(reflections)] if reflections else []), *recipe.train.reflection_data, *recipe.train.generation_data]
    if reflections is None and not recipe.train.reflection_data:
        raise UsageError("no reflection samples: nothing is built yet and train.reflection_data is empty\n  hint:    run build first")
    samples = [sample for file in files for sample in read_samples(file)]
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
    """Of `train.eval_data`; what is longer than `train.max_length` is left out and said.

    Raises:
        UsageError: nothing is left.
    """
    if not recipe.train.eval_data:
        return None
    samples = [sample for file in recipe.train.eval_data for sample in read_samples(file)]
    rendered, _, report = render_all(make_renderer(recipe.model.rendering, tokenizer), samples, recipe.train.max_length)
    if report.too_long:
        say(f"train: {len(report.too_long)} of {len(samples)} held-out samples are longer than {recipe.train.max_length} tokens")
    if not rendered:
        raise UsageError(f"train.eval_data: none of {len(samples)} samples fits into train.max_length = {recipe.train.max_length}")
    return HeldOut(rendered, recipe.train.micro_batch_tokens)


def preview(renderer: Any, samples: Sequence[Sample], config: TrainConfig, count: int = 8) -> list[dict[str, Any]]:
    """The first reflection samples as the model sees them, for the viewer: token texts, spans, labels, what is always hidden."""
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


# How a run is carried out, not what comes out: these may change when it is continued.
_WITHOUT_EFFECT = frozenset(
    {
        *("gradient_checkpointing", "micro_batch_tokens", "torch_compile", "offload_activations", "dataloader_workers"),
        *("eval_data", "eval_steps", "save_steps", "keep_checkpoints", "report_to"),
    }
)


def settings_key(recipe: Recipe, source: ModelSource, samples: Sequence[Sample]) -> str:
    """What the result of a training run depends on; checkpoints of another key cannot be continued."""
    rows = [sample.to_json() for sample in samples]
    train = {key: value for key, value in asdict(recipe.train).items() if key not in _WITHOUT_EFFECT}
    model = {key: value for key, value in asdict(recipe.model).items() if key != "device"}
    return content_hash(train, model, recipe.seed, model_hash(source.path), rows)


def own_checkpoints(train_dir: Path, key: str) -> None:
    """Make `train_dir` the folder of `key`: what other settings have left there is put aside under a free name."""
    if not claim(train_dir, key):
        aside = put_aside(train_dir)
        say(f"train: the settings have changed; earlier checkpoints are kept in {aside}")
        claim(train_dir, key)


def train_model(
    recipe: Recipe, source: ModelSource, samples: Sequence[Sample], run_dir: Path, *, resume: bool = True
) -> dict[str, Any]:
    """Train and write `run_dir/train/` (checkpoints, train.json) and `run_dir/model/`; returns what train.json says.

    An interrupted run continues from its newest complete checkpoint.

    Raises:
        CheckFailedError: a gradient is not finite.
        UsageError: impossible settings, or an architecture that cannot be trained exactly.
        KeyboardInterrupt: stopped by SIGTERM, after a checkpoint.
    """
    from accelerate import PartialState

    from reflectioncoder.train.prepare import decide_checkpointing, prepare_model, whole_model
    from reflectioncoder.train.save import save_model
    from reflectioncoder.train.trainer import seed_everything

    check_recipe(recipe)
    set_up_sharding(recipe.train.sharding)
    tokenizer = check_model(recipe, source)
    seed_everything(recipe.seed)
    plan, report = plan_run(recipe, tokenizer, samples)
    held_out = held_out_samples(recipe, tokenizer)
    # The others wait while the first builds and saves the whole model.
    processes = PartialState(cpu=pick_device(recipe.model.device) == "cpu", timeout=timedelta(hours=6))
    train_dir = run_dir / "train"
    if processes.is_main_process:
        own_checkpoints(train_dir, settings_key(recipe, source, samples))
    processes.wait_for_everyone()
    checkpointing = decide_checkpointing(recipe, source, tokenizer, plan, processes.num_processes)
    model, tokenizer, vocab_size = prepare_model(recipe, source)
    summary = describe_plan(plan, report)
    if processes.is_main_process:
        ranks = f" in {processes.num_processes} processes" if processes.num_processes > 1 else ""
        say(
            f"train: {summary['visits']} visits of {summary['num_samples']} samples, {plan.total_steps} steps, "
            f"{summary['num_tokens']:,} tokens on {pick_device(recipe.model.device)}{ranks}"
        )
        shown = preview(make_renderer(recipe.model.rendering, tokenizer), samples, recipe.train)
        write_json(train_dir / "preview.json", shown)
    results, weights = _fit(model, vocab_size, plan, held_out, recipe, train_dir, resume=resume, checkpointing=checkpointing)
    summary |= results
    if processes.is_main_process:
        if weights is not None:
            model = whole_model(recipe, source, weights)
        save_model(model, tokenizer, recipe, run_dir / "model", summary)
        write_json(train_dir / "train.json", summary)
    processes.wait_for_everyone()
    if processes.num_processes > 1:  # else its threads may be cut off at the end, which aborts the process
        processes.destroy_process_group()
    return summary


def _fit(
    model: Any,
    vocab_size: int | None,
    plan: RunPlan,
    held_out: HeldOut | None,
    recipe: Recipe,
    train_dir: Path,
    *,
    resume: bool,
    checkpointing: bool,
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Run the Trainer, from the newest complete checkpoint if there is one.

    Returns its part of the summary, and the trained weights where the model cannot be saved as it is: spread, or quantized.
    """
    from transformers import PrinterCallback

    from reflectioncoder.train.callbacks import MetricsCallback, StepCallback, StopOnSignal
    from reflectioncoder.train.prepare import is_quantized, num_parameters, trained_weights
    from reflectioncoder.train.trainer import ReflectionTrainer, resumable_checkpoint, training_arguments

    checkpoint = resumable_checkpoint(train_dir) if resume else None
    done_before = int(checkpoint.name.rsplit("-", 1)[1]) if checkpoint else 0
    if checkpoint:
        say(f"train: continuing after step {done_before}")
    on_gpu = pick_device(recipe.model.device).startswith("cuda")
    settings = {"bf16": on_gpu and recipe.model.dtype == "auto", "gradient_checkpointing": checkpointing}
    args = training_arguments(recipe.train, plan, train_dir, recipe.seed, use_cpu=not on_gpu, **settings)
    with Progress("train", plan.total_steps, done_before) as progress:

        def report_step(step: int, total: int, entry: dict[str, float]) -> None:
            shown = (("loss", 3), ("ce", 3), ("kl", 3), ("mask_rate", 2))
            progress.update(step, "  ".join(f"{name} {entry.get(name, 0.0):.{digits}f}" for name, digits in shown))

        stop = StopOnSignal()
        callbacks = [StepCallback(report_step), MetricsCallback(train_dir / "metrics.jsonl"), stop]
        trainer = ReflectionTrainer(model, args, plan, held_out=held_out, vocab_size=vocab_size, callbacks=callbacks)
        trainer.remove_callback(PrinterCallback)  # the progress line replaces its print of every log entry
        started = time.monotonic()
        with contextlib.closing(trainer.engine), explain_full_disk(train_dir):
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
            weights = None
            if (is_sharded() or trainer.is_deepspeed_enabled) and not stop.stopped:
                weights = trainer.whole_weights()
            elif is_quantized(recipe):
                weights = trained_weights(model)
            if stop.stopped:
                say(f"train: stopped after step {trainer.state.global_step}, its checkpoint is complete")
                raise KeyboardInterrupt
        duration_s = time.monotonic() - started
    results = {
        "schema_version": 1,
        "trained_parameters": num_parameters(model, trained_only=True),
        "parameters": num_parameters(model),
        "tokens_this_session": trainer.num_tokens_seen,
        "duration_s": round(duration_s, 2),
        "tokens_per_s": round(trainer.num_tokens_seen / duration_s, 2) if duration_s > 0 else None,
        "device": str(trainer.args.device),
        "gradient_checkpointing": checkpointing,
        "resumed_from_step": done_before,
        "history": [entry for entry in trainer.state.log_history if "loss" in entry],
        "evaluations": [entry for entry in trainer.state.log_history if "eval_loss" in entry],
    }
    return results, weights
