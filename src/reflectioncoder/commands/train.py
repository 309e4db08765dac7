"""Trains on runs/<name>/build/reflections.jsonl, if there is one, and on the further data that the
recipe names. Writes runs/<name>/train/ (checkpoints, metrics) and runs/<name>/model/.
"""

from __future__ import annotations

import argparse
import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from reflectioncoder.commands import Outcome, add_data_dir_argument, add_recipe_arguments, resolve_recipe
from reflectioncoder.errors import UsageError

if TYPE_CHECKING:
    from reflectioncoder.config.declarations import Recipe
    from reflectioncoder.models.sources import ModelSource
    from reflectioncoder.train.data import Samples


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_recipe_arguments(parser)
    add_data_dir_argument(parser)
    parser.add_argument("--dry-run", action="store_true", help="plan the run, count tokens and forecast the memory, without training")
    parser.add_argument("--resume", action="store_true", help="continue from the newest complete checkpoint")


def run(args: argparse.Namespace) -> Outcome:
    from reflectioncoder.contamination.records import record_training_data, refuse_contaminated_data
    from reflectioncoder.data.file_lock import alone_in
    from reflectioncoder.models.sources import resolve_model
    from reflectioncoder.stopping import SigtermFlag
    from reflectioncoder.train.checks import check_recipe
    from reflectioncoder.train.data import data_key, training_samples
    from reflectioncoder.train.job import TrainingJob
    from reflectioncoder.train.launch import carry_out, training_processes

    recipe = resolve_recipe(args).recipe
    check_recipe(recipe)
    num_processes = training_processes(recipe)
    directory = args.runs_dir / recipe.name
    built = directory / "build" / "reflections.jsonl"
    reflections = built if built.is_file() and recipe.build.problems else None
    samples = training_samples(recipe, reflections, args.limit)
    key, allow = data_key(samples), recipe.evaluate.allow_contaminated
    refuse_contaminated_data(samples, recipe.evaluate.benchmarks, args.data_dir, allow=allow, identity=key)
    source = resolve_model(recipe.model)
    if args.dry_run:
        return _dry_run(recipe, source, samples, directory, num_processes)
    if any((directory / "train").glob("checkpoint-*")) and not args.resume:
        raise UsageError(f"{directory / 'train'} has checkpoints already\n  hint:    --resume continues, or choose another name")
    is_first = os.environ.get("RANK", "0") == "0"
    with alone_in(directory) if is_first else contextlib.nullcontext():
        summary = carry_out(TrainingJob(recipe, source, reflections, directory, args.limit, args.resume), SigtermFlag())
        if is_first:
            record_training_data(directory / "model", samples, source.path, args.data_dir, identity=key)
    return Outcome(
        {k: v for k, v in summary.items() if k != "history"},
        [f"{summary['num_tokens']:,} tokens in {summary['total_steps']} steps, {summary['tokens_per_s']} tokens/s"],
        [directory / "model", directory / "train" / "train.json"],
    )


def _dry_run(recipe: Recipe, source: ModelSource, samples: Samples, directory: Path, num_processes: int) -> Outcome:
    from reflectioncoder.run_plan import expected_training_seconds
    from reflectioncoder.train.checks import check_model
    from reflectioncoder.train.data import describe_plan, held_out_samples, plan_run
    from reflectioncoder.train.dry_run import memory_lines, plan_lines, time_line
    from reflectioncoder.train.prepare import device_bytes, forecast_run, needs_checkpointing, pick_device

    tokenizer = check_model(recipe, source)
    plan, rendered = plan_run(recipe, source.path, tokenizer, samples)
    held_out_samples(recipe, tokenizer)
    checkpointing = needs_checkpointing(recipe, source, tokenizer, plan, num_processes)
    memory = forecast_run(recipe, source, tokenizer, plan, checkpointing=checkpointing)
    seconds = expected_training_seconds(plan.num_tokens, directory, recipe.model.name)
    value = {
        **describe_plan(plan, rendered.report),
        "gradient_checkpointing": checkpointing,
        "memory_bytes": memory.to_json(),
        "expected_seconds": seconds,
    }
    available = device_bytes(pick_device(recipe.model.device), num_processes)
    lines = [
        *plan_lines(plan, rendered.report),
        time_line(seconds),
        *memory_lines(memory, available, checkpointing=checkpointing),
    ]
    return Outcome(value, lines)
