"""Trains on runs/<name>/build/reflections.jsonl, if there is one, and on the further data that the
recipe names. Writes runs/<name>/train/ (checkpoints, metrics) and runs/<name>/model/.
"""

from __future__ import annotations

import argparse
import os

from reflectioncoder.commands import Outcome, add_data_dir_argument, add_recipe_arguments, resolve_recipe
from reflectioncoder.errors import UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_recipe_arguments(parser)
    add_data_dir_argument(parser)
    parser.add_argument("--dry-run", action="store_true", help="plan the run, count tokens and forecast the memory, without training")
    parser.add_argument("--resume", action="store_true", help="continue from the newest complete checkpoint")


def run(args: argparse.Namespace) -> Outcome:
    from reflectioncoder.contamination.records import record_training_data, refuse_contaminated_data
    from reflectioncoder.models.sources import resolve_model
    from reflectioncoder.stopping import SigtermFlag
    from reflectioncoder.train.checks import check_model, check_recipe
    from reflectioncoder.train.data import data_key, describe_plan, held_out_samples, plan_run, training_samples
    from reflectioncoder.train.job import TrainingJob
    from reflectioncoder.train.launch import carry_out, training_processes
    from reflectioncoder.train.prepare import forecast_run, needs_checkpointing

    recipe = resolve_recipe(args).recipe
    check_recipe(recipe)
    training_processes(recipe)
    directory = args.runs_dir / recipe.name
    built = directory / "build" / "reflections.jsonl"
    reflections = built if built.is_file() and recipe.build.problems else None
    samples = training_samples(recipe, reflections, args.limit)
    key, allow = data_key(samples), recipe.evaluate.allow_contaminated
    refuse_contaminated_data(samples, recipe.evaluate.benchmarks, args.data_dir, allow=allow, identity=key)
    source = resolve_model(recipe.model)
    if args.dry_run:
        tokenizer = check_model(recipe, source)
        plan, rendered = plan_run(recipe, source.path, tokenizer, samples)
        held_out_samples(recipe, tokenizer)
        value = describe_plan(plan, rendered.report)
        lines = [f"{key:<24} {value}" for key, value in value.items() if not isinstance(value, list)]
        checkpointing = needs_checkpointing(recipe, source, tokenizer, plan)
        memory = forecast_run(recipe, source, tokenizer, plan, checkpointing=checkpointing).to_json()
        lines.append(f"{'gradient_checkpointing':<24} {checkpointing}")
        lines += [f"{'memory_' + key:<24} {size / 1e9:.2f} GB" for key, size in memory.items()]
        return Outcome({**value, "gradient_checkpointing": checkpointing, "memory_bytes": memory}, lines)
    if any((directory / "train").glob("checkpoint-*")) and not args.resume:
        raise UsageError(f"{directory / 'train'} has checkpoints already\n  hint:    --resume continues, or choose another name")
    summary = carry_out(TrainingJob(recipe, source, reflections, directory, args.limit, args.resume), SigtermFlag())
    if os.environ.get("RANK", "0") == "0":
        record_training_data(directory / "model", samples, source.path, args.data_dir, identity=key)
    return Outcome(
        {k: v for k, v in summary.items() if k != "history"},
        [f"{summary['num_tokens']:,} tokens in {summary['total_steps']} steps, {summary['tokens_per_s']} tokens/s"],
        [directory / "model", directory / "train" / "train.json"],
    )
