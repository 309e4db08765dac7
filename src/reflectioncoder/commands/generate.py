"""Writes DIR/completions.jsonl: task_id, completion (raw), solution (the program in it), extraction (how it was found)."""

from __future__ import annotations

import argparse

from reflectioncoder.commands import Outcome, add_benchmark_arguments, at_least, limited, not_negative


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_benchmark_arguments(parser)
    add_model_arguments(parser)


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="model directory or hub id; openai: its name there; local: a GGUF file")
    parser.add_argument(
        "--backend",
        choices=("transformers", "openai", "local", "vllm"),
        default="transformers",
        help="what runs the model: transformers; an OpenAI-compatible server; llama.cpp on this CPU; vLLM on these GPUs",
    )
    parser.add_argument("--num-samples", type=at_least(1), default=1, metavar="N", help="completions per task")
    parser.add_argument("--temperature", type=not_negative, default=0.0, metavar="T", help="0: greedy (default)")
    parser.add_argument("--max-new-tokens", type=at_least(1), default=512, metavar="N")
    parser.add_argument("--batch-size", type=at_least(1), default=20, metavar="N", help="completions at a time")
    parser.add_argument("--device", default="auto", help="transformers: auto, cpu, cuda")
    server = parser.add_argument_group("openai")
    server.add_argument("--base-url", default="http://127.0.0.1:8080/v1", metavar="URL", help="of the server, with /v1")
    server.add_argument("--api-key-env", default="", metavar="NAME", help="environment variable that holds the key")
    server.add_argument("--api", choices=("chat", "completion"), default="chat", help="completion: plain text, for base models")
    server.add_argument(
        "--assistant-prefix",
        choices=("none", "vllm", "llama.cpp", "deepseek"),
        default="none",
        help="how the server is told to go on with the beginning of the answer (other languages than Python need one); none: it cannot",
    )


def generation_recipe(args: argparse.Namespace):
    """The command line as a recipe, so that the same code runs."""
    from reflectioncoder.config import GenerateConfig, ModelConfig, Recipe
    from reflectioncoder.generate.base import check_sampling

    config = GenerateConfig(args.batch_size, args.max_new_tokens, args.temperature, num_samples=args.num_samples)
    check_sampling(config)
    seed = 3407 if args.seed is None else args.seed
    return Recipe(name="evaluate", model=ModelConfig(args.model, device=args.device), seed=seed, generate=config)


def model_of(args: argparse.Namespace):
    from reflectioncoder.config import EndpointConfig, ModelConfig
    from reflectioncoder.generate.backends import asked_model

    endpoint = EndpointConfig(
        base_url=args.base_url,
        api_key_env=args.api_key_env,
        api=args.api,
        assistant_prefix=args.assistant_prefix,
        max_in_flight=args.batch_size,
    )
    return asked_model(ModelConfig(args.model, device=args.device), args.backend, endpoint)


def run(args: argparse.Namespace) -> Outcome:
    from reflectioncoder.data.files import claim
    from reflectioncoder.errors import UsageError
    from reflectioncoder.evaluate.benchmarks import load_benchmark, requests_for
    from reflectioncoder.generate.base import generate, longest
    from reflectioncoder.pipeline import completions_key

    recipe = generation_recipe(args)
    benchmark = load_benchmark(limited(args.benchmark, args.limit), args.data_dir)
    model = model_of(args)
    path = args.output / "completions.jsonl"
    if not claim(args.output, completions_key(benchmark, recipe, model.key)) and path.exists():
        raise UsageError(f"{path} holds completions of another model or other settings\n  hint:    choose another --output")
    requests = requests_for(benchmark, recipe.generate.num_samples)
    with model.open(longest(requests), recipe.generate.max_new_tokens) as backend:
        counts = generate(backend, requests, recipe.generate, recipe.seed, path, f"generate {benchmark.name}")
    return Outcome(counts, [f"{counts['num_completions']} completions, {counts['num_tokens']} new tokens"], [path])
