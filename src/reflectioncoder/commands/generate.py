"""Writes DIR/completions.jsonl: task_id, completion (raw), solution (the program in it), extraction (how it was found)."""

from __future__ import annotations

import argparse

from reflectioncoder.commands import Outcome, add_benchmark_arguments, limited


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_benchmark_arguments(parser)
    add_model_arguments(parser)


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="model directory or hub id")
    parser.add_argument("--backend", choices=("transformers",), default="transformers", help="what runs the model")
    parser.add_argument("--num-samples", type=int, default=1, metavar="N", help="completions per task")
    parser.add_argument("--temperature", type=float, default=0.0, metavar="T", help="0: greedy (default)")
    parser.add_argument("--max-new-tokens", type=int, default=512, metavar="N")
    parser.add_argument("--batch-size", type=int, default=20, metavar="N")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda")


def generation_recipe(args: argparse.Namespace):
    """The command line as a recipe, so that the same checks and code run."""
    from reflectioncoder.config import GenerateConfig, ModelConfig, Recipe
    from reflectioncoder.generate.base import check_sampling

    config = GenerateConfig(args.batch_size, args.max_new_tokens, args.temperature, num_samples=args.num_samples)
    check_sampling(config)
    seed = 3407 if args.seed is None else args.seed
    return Recipe(name="evaluate", model=ModelConfig(args.model, device=args.device), seed=seed, generate=config)


def run(args: argparse.Namespace) -> Outcome:
    from reflectioncoder.evaluate.benchmarks import load_benchmark, requests_for
    from reflectioncoder.generate.base import generate

    recipe = generation_recipe(args)
    benchmark = load_benchmark(limited(args.benchmark, args.limit), args.data_dir)
    from reflectioncoder.generate.transformers_backend import TransformersBackend
    from reflectioncoder.model_source import resolve_model

    backend = TransformersBackend(recipe.model, resolve_model(recipe.model).path)
    path = args.output / "completions.jsonl"
    requests = requests_for(benchmark, recipe.generate.num_samples)
    counts = generate(backend, requests, recipe.generate, recipe.seed, path, f"generate {benchmark.name}")
    return Outcome(counts, [f"{counts['num_completions']} completions, {counts['num_tokens']} new tokens"], [path])
