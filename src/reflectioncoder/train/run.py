"""One training run: a prepared model, a plan and a Trainer that resumes from its own checkpoints; writes `train/` and `model/`.

`train_model` is a library call: it installs no signal handler and never destroys the caller's process group.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

from reflectioncoder.config.declarations import Recipe
from reflectioncoder.data.files import claim, content_hash, explain_full_disk, put_aside, write_json
from reflectioncoder.errors import StoppedError
from reflectioncoder.method.heldout import HeldOut
from reflectioncoder.method.plan import RunPlan
from reflectioncoder.models.digests import model_hash
from reflectioncoder.models.load import autocast_dtype, pick_device
from reflectioncoder.models.sources import ModelSource
from reflectioncoder.progress import Progress, say
from reflectioncoder.stopping import StopFlag
from reflectioncoder.train.checks import check_model, check_recipe
from reflectioncoder.train.data import Samples, TrainingData, data_key, describe_plan, held_out_samples, plan_run, preview
from reflectioncoder.train.sharding import has_process_group, is_sharded, set_up_sharding

HOW_IT_RUNS = frozenset(
    {
        *("gradient_checkpointing", "micro_batch_tokens", "torch_compile", "offload_activations", "dataloader_workers"),
        *("eval_data", "eval_steps", "save_steps", "keep_checkpoints", "report_to", "processes"),
    }
)
"""Settings of `train` that affect how a run is carried out but not its result; they may change when a run is resumed."""


def settings_key(recipe: Recipe, source: ModelSource, samples: Samples) -> str:
    """Return a key of everything that the result of a run depends on; checkpoints with another key cannot be resumed."""
    by_content = {"reflection_data", "generation_data"}  # data sets count by content (`data_key`), not by name
    train = {key: value for key, value in asdict(recipe.train).items() if key not in HOW_IT_RUNS | by_content}
    model = {key: value for key, value in asdict(recipe.model).items() if key != "device"}
    return content_hash(train, model, recipe.seed, model_hash(source.path), data_key(samples))


def own_checkpoints(train_dir: Path, key: str) -> None:
    """Make `train_dir` the folder of `key`: checkpoints of other settings are moved aside under a free name."""
    if not claim(train_dir, key):
        aside = put_aside(train_dir)
        say(f"train: the settings have changed; earlier checkpoints are kept in {aside}")
        claim(train_dir, key)


def train_model(
    recipe: Recipe,
    source: ModelSource,
    samples: Samples,
    run_dir: Path,
    *,
    resume: bool = True,
    stop: StopFlag | None = None,
) -> dict[str, Any]:
    """Train; write `run_dir/train/` (checkpoints, train.json) and `run_dir/model/`; return the content of train.json.

    An interrupted run continues from its newest complete checkpoint.

    Args:
        samples: in memory, or in files that are rendered once for all runs and processes.
        stop: checked after every optimizer step; once it is set, a checkpoint is saved and the run ends. With several processes
            setting it in one is enough.

    Raises:
        CheckFailedError: a gradient is not finite.
        UsageError: impossible settings, or an architecture that cannot be trained exactly.
        StoppedError: `stop` was set; a checkpoint has been saved.
    """
    from accelerate import PartialState

    from reflectioncoder.train.prepare import decide_checkpointing, prepare_model, whole_model
    from reflectioncoder.train.save import save_model
    from reflectioncoder.train.trainer import seed_everything

    check_recipe(recipe)
    set_up_sharding(recipe.train.sharding)
    tokenizer = check_model(recipe, source)
    seed_everything(recipe.seed)
    is_guest = has_process_group()
    # A long timeout: the others wait while the first process renders, and while it builds and saves the whole model.
    processes = PartialState(cpu=pick_device(recipe.model.device) == "cpu", timeout=timedelta(hours=6))
    with processes.local_main_process_first():
        plan, data = plan_run(recipe, source.path, tokenizer, samples)
    held_out = held_out_samples(recipe, tokenizer)
    train_dir = run_dir / "train"
    if processes.is_main_process:
        own_checkpoints(train_dir, settings_key(recipe, source, samples))
    processes.wait_for_everyone()
    checkpointing = decide_checkpointing(recipe, source, tokenizer, plan, processes.num_processes)
    model, tokenizer, vocab_size = prepare_model(recipe, source)
    summary = describe_plan(plan, data.report)
    if processes.is_main_process:
        ranks = f" in {processes.num_processes} processes" if processes.num_processes > 1 else ""
        say(
            f"train: {summary['visits']} visits of {summary['num_samples']} samples, {plan.total_steps} steps, "
            f"{summary['num_tokens']:,} tokens on {pick_device(recipe.model.device)}{ranks}"
        )
        write_json(train_dir / "preview.json", preview(tokenizer, data, recipe.train))
    results, weights = _fit(
        model, vocab_size, plan, held_out, recipe, train_dir, resume=resume, checkpointing=checkpointing, stop=stop or StopFlag()
    )
    summary |= {"data": samples.describe() if isinstance(samples, TrainingData) else [], **results}
    if processes.is_main_process:
        if weights is not None:
            model = whole_model(recipe, source, weights)
        save_model(model, tokenizer, recipe, run_dir / "model", summary)
        write_json(train_dir / "train.json", summary)
    processes.wait_for_everyone()
    if processes.num_processes > 1 and not is_guest:  # else the group's threads may be cut off at exit, which aborts the process
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
    stop: StopFlag,
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Run the Trainer, from the newest complete checkpoint if there is one.

    Returns its part of the summary, and the trained weights if the model itself cannot be saved: sharded or quantized.
    """
    from transformers import PrinterCallback

    from reflectioncoder.train.callbacks import MetricsCallback, StepCallback, StopCallback
    from reflectioncoder.train.prepare import is_quantized, num_parameters, trained_weights
    from reflectioncoder.train.trainer import ReflectionTrainer, resumable_checkpoint, training_arguments

    checkpoint = resumable_checkpoint(train_dir) if resume else None
    done_before = int(checkpoint.name.rsplit("-", 1)[1]) if checkpoint else 0
    if checkpoint:
        say(f"train: continuing after step {done_before}")
    on_gpu = pick_device(recipe.model.device).startswith("cuda")
    autocast = autocast_dtype(recipe.model)
    settings = {"bf16": autocast is not None, "gradient_checkpointing": checkpointing}
    args = training_arguments(recipe.train, plan, train_dir, recipe.seed, use_cpu=not on_gpu, **settings)
    with Progress("train", plan.total_steps, done_before) as progress:

        def report_step(step: int, total: int, entry: dict[str, float]) -> None:
            shown = (("loss", 3), ("ce", 3), ("kl", 3), ("mask_rate", 2))
            progress.update(step, "  ".join(f"{name} {entry.get(name, 0.0):.{digits}f}" for name, digits in shown))

        stopping = StopCallback(stop)
        callbacks = [StepCallback(report_step), MetricsCallback(train_dir / "metrics.jsonl"), stopping]
        trainer = ReflectionTrainer(model, args, plan, held_out=held_out, vocab_size=vocab_size, callbacks=callbacks)
        trainer.remove_callback(PrinterCallback)  # the progress line replaces its print of every log entry
        started = time.monotonic()
        with contextlib.closing(trainer.engine), explain_full_disk(train_dir):
            with stop.heeded():
                trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
            if stopping.stopped:
                said = f"stopped after step {trainer.state.global_step}, its checkpoint is complete"
                say(f"train: {said}")
                raise StoppedError(f"{said}\n  where:   {train_dir}")
            weights = None
            if is_sharded() or trainer.is_deepspeed_enabled:
                weights = trainer.whole_weights()
            elif is_quantized(recipe):
                weights = trained_weights(model)
        duration_s = time.monotonic() - started
    results = {
        "schema_version": 1,
        "trained_parameters": num_parameters(model, trained_only=True),
        "parameters": num_parameters(model),
        "tokens_this_session": trainer.num_tokens_seen,
        "duration_s": round(duration_s, 2),
        "tokens_per_s": round(trainer.num_tokens_seen / duration_s, 2) if duration_s > 0 else None,
        "device": str(trainer.args.device),
        "autocast": str(autocast).removeprefix("torch.") if autocast is not None else None,
        "gradient_checkpointing": checkpointing,
        "resumed_from_step": done_before,
        "history": [entry for entry in trainer.state.log_history if "loss" in entry],
        "evaluations": [entry for entry in trainer.state.log_history if "eval_loss" in entry],
    }
    return results, weights
