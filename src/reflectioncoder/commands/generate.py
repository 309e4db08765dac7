"""Writes DIR/completions.jsonl with task_id, completion (the raw text), solution (the program in
it) and extraction (how the program was found). Running it again continues.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reflectioncoder.choices import (
    APIS,
    APIS_HELP,
    ASSISTANT_PREFIXES,
    ASSISTANT_PREFIXES_HELP,
    BACKENDS,
    BACKENDS_HELP,
    MAX_TOKENS_FIELDS,
    MAX_TOKENS_FIELDS_HELP,
    OMITTABLE,
)
from reflectioncoder.commands import (
    Outcome,
    add_benchmark_arguments,
    add_shard_argument,
    at_least,
    benchmark_of_shards,
    described,
    not_negative,
    seconds,
    shard_outcome,
    wanted_benchmark,
)

if TYPE_CHECKING:
    from reflectioncoder.evaluate.benchmarks import Benchmark
    from reflectioncoder.shard_folders import ShardFolder

SHARDS_OF_SERVED_MODELS = "written to DIR/shard-I-of-N, for merge; with --backend openai, local or vllm"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_benchmark_arguments(parser)
    add_model_arguments(parser)
    add_shard_argument(parser, SHARDS_OF_SERVED_MODELS)


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    from reflectioncoder.config.checks import MAX_AT_ONCE, MAX_SAMPLES

    parser.add_argument(
        "model",
        metavar="MODEL",
        help="folder or hub id; with --backend openai the model's name at the server, with local a GGUF file or a packaged model",
    )
    parser.add_argument(
        "--backend",
        choices=BACKENDS,
        default=BACKENDS[0],
        help=described("what runs the model", BACKENDS_HELP, BACKENDS[0]),
    )
    parser.add_argument(
        "--num-samples",
        type=at_least(1, MAX_SAMPLES),
        default=1,
        metavar="N",
        help="completions per task (default: 1); more than 1 needs --temperature",
    )
    parser.add_argument("--temperature", type=not_negative, default=0.0, metavar="T", help="sampling temperature (default: 0, greedy)")
    parser.add_argument(
        "--max-new-tokens", type=at_least(1), default=512, metavar="N", help="length limit of a completion, tokens (default: 512)"
    )
    parser.add_argument(
        "--batch-size", type=at_least(1, MAX_AT_ONCE), default=20, metavar="N", help="completions made at once (default: 20)"
    )
    parser.add_argument("--device", help="--backend transformers: auto (default), cpu, cuda or cuda:N")
    parser.add_argument("--api", choices=APIS, help=described("all other backends: what the server is asked for", APIS_HELP, APIS[0]))
    server = parser.add_argument_group("--backend openai")
    server.add_argument(
        "--base-url",
        metavar="URL",
        help="address of the server, including /v1, or /beta for DeepSeek (default: http://127.0.0.1:8080/v1)",
    )
    server.add_argument("--extra-body", type=_mapping, metavar="JSON", help='further parameters for every request, e.g. {"top_k": 20}')
    server.add_argument(
        "--omit", nargs="+", choices=OMITTABLE, help="parameters to leave out of requests, because the server refuses them"
    )
    server.add_argument(
        "--max-tokens-field",
        choices=MAX_TOKENS_FIELDS,
        help=described("name of the parameter that limits an answer's length", MAX_TOKENS_FIELDS_HELP, MAX_TOKENS_FIELDS[0]),
    )
    server.add_argument(
        "--timeout", type=seconds, metavar="S", help="time limit of a request and its whole answer, seconds (default: 600)"
    )
    server.add_argument("--api-key-env", metavar="NAME", help="name of the environment variable that holds the API key")
    server.add_argument(
        "--assistant-prefix",
        choices=ASSISTANT_PREFIXES,
        help=described(
            "how the server is told to continue the beginning of the answer; required for other languages than Python. The value must "
            "match the server: one that is told in another way begins its answer anew, and is judged wrongly",
            ASSISTANT_PREFIXES_HELP,
            ASSISTANT_PREFIXES[0],
        ),
    )


_OPTIONS = {  # the options that each backend takes
    "transformers": ("device",),
    "openai": ("api", "base_url", "api_key_env", "assistant_prefix", "extra_body", "omit", "max_tokens_field", "timeout"),
    "local": ("api",),
    "vllm": ("api",),
}


def _mapping(text: str) -> dict[str, Any]:
    """Parse a JSON object, as an argparse type."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError('not a JSON object, such as {"top_k": 20}')
    return value


def generation_recipe(args: argparse.Namespace):
    """Return the command line as a recipe, so that it runs the same code."""
    from reflectioncoder.config.declarations import GenerateConfig, ModelConfig, Recipe
    from reflectioncoder.generate.base import check_sampling

    config = GenerateConfig(args.batch_size, args.max_new_tokens, args.temperature, num_samples=args.num_samples)
    check_sampling(config)
    seed = 3407 if args.seed is None else args.seed
    return Recipe(name="evaluate", model=ModelConfig(args.model), seed=seed, generate=config)


def model_of(args: argparse.Namespace):
    """Return the model that the command line names.

    Raises:
        UsageError: an option that the backend does not take; no such model.
    """
    from reflectioncoder.config.building import EndpointConfig
    from reflectioncoder.config.declarations import ModelConfig
    from reflectioncoder.errors import UsageError
    from reflectioncoder.generate.backends import asked_model

    options = {name for names in _OPTIONS.values() for name in names}
    given = {name: value for name in options if (value := getattr(args, name)) is not None}
    for name in sorted(given.keys() - set(_OPTIONS[args.backend])):
        allowed = [backend for backend, names in _OPTIONS.items() if name in names]
        raise UsageError.for_value(f"--{name.replace('_', '-')} is not for this backend", "--backend", args.backend, allowed)
    device = given.pop("device", "auto")
    if "timeout" in given:
        given["timeout_s"] = given.pop("timeout")
    given["omit"] = tuple(given.get("omit", ()))
    return asked_model(ModelConfig(args.model, device=device), args.backend, EndpointConfig(max_in_flight=args.batch_size, **given))


def run(args: argparse.Namespace) -> Outcome:
    from reflectioncoder.data.file_lock import alone_in
    from reflectioncoder.data.files import claim_for_answers
    from reflectioncoder.evaluation import completions_key
    from reflectioncoder.generate.base import generate, longest

    recipe = generation_recipe(args)
    benchmark = wanted_benchmark(args.benchmark, args)
    model = model_of(args)
    if args.shard:
        from reflectioncoder.sharded.generate import run_shard

        wanted = benchmark_of_shards(args.benchmark, args)
        return shard_outcome(run_shard(model, benchmark, wanted, recipe, args.output / args.shard.folder, args.shard))
    path = args.output / "completions.jsonl"
    key = completions_key(benchmark, recipe, model)
    requests = benchmark.requests(recipe.generate.num_samples)
    with alone_in(args.output):
        claim_for_answers(args.output, key)
        with model.open(longest(requests), recipe.generate.max_new_tokens) as backend:
            counts = generate(backend, requests, recipe.generate, recipe.seed, path, f"generate {benchmark.name}")
    return _outcome(counts, benchmark, path)


def merged(shards: Sequence[ShardFolder], directory: Path) -> Outcome:
    """Merge shards of this command."""
    from reflectioncoder.sharded.generate import merge

    return _outcome(*merge(shards, directory), directory / "completions.jsonl")


def _outcome(counts: dict[str, Any], benchmark: Benchmark[Any], path: Path) -> Outcome:
    from reflectioncoder.data.answer_reasons import answer_lines, has_no_program_at_all
    from reflectioncoder.errors import EXIT_CHECK_FAILED, EXIT_DONE

    lines = [*benchmark.date_lines(), *answer_lines(counts["answers"])]
    code = EXIT_CHECK_FAILED if has_no_program_at_all(counts["answers"]) else EXIT_DONE
    ended = ", ".join(f"{reason} {count}" for reason, count in sorted(counts["finish_reasons"].items()))
    line = f"{counts['num_completions']} completions ({ended}), {counts['num_tokens']} new tokens"
    return Outcome(counts, [line, *lines], [path], code)
