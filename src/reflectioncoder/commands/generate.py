"""Writes DIR/completions.jsonl: task_id, completion (raw), solution (the program in it), extraction (how it was found)."""

from __future__ import annotations

import argparse

from reflectioncoder.commands import Outcome, add_benchmark_arguments, at_least, limited, not_negative


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_benchmark_arguments(parser)
    add_model_arguments(parser)


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="model directory or hub id")
    parser.add_argument("--backend", choices=("transformers",), default="transformers", help="what runs the model")
    parser.add_argument("--num-samples", type=at_least(1), default=1, metavar="N", help="completions per task")
    parser.add_argument("--temperature", type=not_negative, default=0.0, metavar="T", help="0: greedy (default)")
    parser.add_argument("--max-new-tokens", type=at_least(1), default=512, metavar="N")
    parser.add_argument("--batch-size", type=at_least(1), default=20, metavar="N")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda")


def generation_recipe(args: argparse.Namespace):
    """The command line as a recipe, so that the same code runs."""
    from reflectioncoder.config import GenerateConfig, ModelConfig, Recipe
    from reflectioncoder.generate.base import check_sampling

    config = GenerateConfig(args.batch_size, args.max_new_tokens, args.temperature, num_samples=args.num_samples)
    check_sampling(config)
    seed = 3407 if args.seed is None else args.seed
    return Recipe(name="evaluate", model=ModelConfig(args.model, device=args.device), seed=seed, generate=config)


def run(args: argparse.Namespace) -> Outcome:
    from reflectioncoder.data.files import claim
    from reflectioncoder.errors import UsageError
    from reflectioncoder.evaluate.benchmarks import load_benchmark, requests_for
    from reflectioncoder.generate.base import generate
    from reflectioncoder.pipeline import completions_key

    recipe = generation_recipe(args)
    benchmark = load_benchmark(limited(args.benchmark, args.limit), args.data_dir)
    from reflectioncoder.generate.transformers_backend import TransformersBackend
    from reflectioncoder.model_source import resolve_model

    source = resolve_model(recipe.model)
    backend = TransformersBackend(recipe.model, source.path)
    path = args.output / "completions.jsonl"
    key = completions_key(benchmark, recipe, source.path)
    if not claim(args.output, key) and path.exists():
        raise UsageError(f"{path} holds completions of another model or other settings\n  hint:    choose another --output")
    requests = requests_for(benchmark, recipe.generate.num_samples)
    counts = generate(backend, requests, recipe.generate, recipe.seed, path, f"generate {benchmark.name}")
    return Outcome(counts, [f"{counts['num_completions']} completions, {counts['num_tokens']} new tokens"], [path])
