"""Tokens a second of the ways to generate on a CPU: transformers in batches, llama.cpp with 16, 8 and 4 bits.

    python benchmarks/generation.py                                   SmolLM2-135M-Instruct
    python benchmarks/generation.py --model DIR_OR_ID --no-package    another model, as f16 and q8_0 alone

Each way has a process of its own and answers the same requests of bundled tasks, greedily, up to the closing fence. They take turns, so
that what the machine does meanwhile meets all of them. Tokens are those of the answers; what is padded in a batch does not count. The
4-bit file (q4_1) is the package's own. Needs the extras train and local. About ten minutes on two cores.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import subprocess
import sys
import time
from statistics import median
from typing import Any

NAME = "HuggingFaceTB/SmolLM2-135M-Instruct"
WAYS = {
    "transformers": "transformers, float32, in batches",
    "f16": "llama.cpp, f16",
    "q8_0": "llama.cpp, q8_0",
    "package": "llama.cpp, q4_1 of the package",
}


def take_turns(args: argparse.Namespace) -> None:
    """Take a turn for each line of stdin and print its seconds and tokens as JSON; at the end print the peak memory in bytes."""
    import torch

    from reflectioncoder.config.building import EndpointConfig
    from reflectioncoder.config.declarations import GenerateConfig, ModelConfig
    from reflectioncoder.data.completion_requests import python_request
    from reflectioncoder.data.problems import bundled_problems
    from reflectioncoder.generate.backends import asked_model
    from reflectioncoder.generate.base import longest
    from reflectioncoder.models.gguf_export import gguf_of
    from reflectioncoder.models.packaged import resolve_gguf
    from reflectioncoder.models.sources import resolve_model

    torch.set_num_threads(args.threads)
    problems = bundled_problems("test_seen")[: args.requests]
    requests = [python_request(p.task_id, 0, p.prompt, p.entry_point, p.instruction) for p in problems]
    config = GenerateConfig(batch_size=args.parallel, max_new_tokens=args.max_new_tokens)
    is_local, stack = args.way != "transformers", contextlib.ExitStack()
    if args.way == "package":
        name = str(resolve_gguf(args.model))
    else:
        folder = resolve_model(ModelConfig(args.model)).path
        name = str(stack.enter_context(gguf_of(folder, args.way)) if is_local else folder)
    endpoint = EndpointConfig(max_in_flight=args.parallel)
    asked = asked_model(ModelConfig(name, device="cpu"), "local" if is_local else "transformers", endpoint)
    with stack, asked.open(longest(requests), args.max_new_tokens) as backend:

        def turn() -> tuple[float, int]:
            started = time.perf_counter()
            num_tokens = sum(answer.num_tokens for _, answer in backend.complete(requests, set(), config, 1))
            return time.perf_counter() - started, num_tokens

        list(backend.complete(requests[:1], set(), config, 1))
        print("ready", flush=True)
        for _ in sys.stdin:
            print(json.dumps(turn()), flush=True)
    whose = resource.RUSAGE_CHILDREN if is_local else resource.RUSAGE_SELF
    print(resource.getrusage(whose).ru_maxrss * 1024, flush=True)


class Way:
    """A child process that takes turns."""

    def __init__(self, way: str, args: argparse.Namespace):
        options = [f"--{name.replace('_', '-')}={getattr(args, name)}" for name in CHILD_OPTIONS]
        command = [sys.executable, __file__, "--way", way, *options]
        self._child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.seconds: list[float] = []
        self.num_tokens: list[int] = []
        if self._read() != "ready":
            raise SystemExit(f"{WAYS[way]} did not start")

    def _read(self) -> str:
        assert self._child.stdout is not None
        return self._child.stdout.readline().strip()

    def turn(self) -> None:
        assert self._child.stdin is not None
        self._child.stdin.write("\n")
        self._child.stdin.flush()
        seconds, num_tokens = json.loads(self._read())
        self.seconds.append(seconds)
        self.num_tokens.append(num_tokens)

    def close(self) -> int:
        """End the process; return its peak memory in bytes."""
        assert self._child.stdin is not None
        self._child.stdin.close()
        peak = int(self._read())
        self._child.wait()
        return peak

    @property
    def rates(self) -> list[float]:
        return [tokens / seconds for tokens, seconds in zip(self.num_tokens, self.seconds, strict=True)]


CHILD_OPTIONS = ("model", "requests", "parallel", "max_new_tokens", "threads")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=NAME, help="folder or hub id")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each way")
    parser.add_argument("--requests", type=int, default=20, help="bundled tasks of a turn")
    parser.add_argument("--parallel", type=int, default=20, help="size of a batch; requests at a time of llama.cpp")
    parser.add_argument("--max-new-tokens", type=int, default=96, help="length limit of an answer")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="of torch (default: one per core)")
    parser.add_argument("--no-package", action="store_true", help="leave the package's 4-bit file out")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.way:
        take_turns(args)
        return
    ways = {name: Way(name, args) for name in WAYS if not (args.no_package and name == "package")}
    for number in range(args.rounds):
        for name in ways if number % 2 else reversed(ways):
            ways[name].turn()
    print_table(ways, args)


def print_table(ways: dict[str, Any], args: argparse.Namespace) -> None:
    print(
        f"{args.model}: {args.requests} requests of at most {args.max_new_tokens} tokens, {args.parallel} at a time; "
        f"{len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f}; medians of {args.rounds} turns\n"
    )
    print("| backend | tokens/s | lowest to highest | seconds of a turn | tokens of a turn | times transformers | peak memory |")
    print("|---|---|---|---|---|---|---|")
    reference = median(ways["transformers"].rates)
    for name, way in ways.items():
        rates = way.rates
        print(
            f"| {WAYS[name]} | {median(rates):.1f} | {min(rates):.1f} to {max(rates):.1f} | {median(way.seconds):.1f} "
            f"| {median(way.num_tokens):.0f} | {median(rates) / reference:.2f} | {way.close() / 1e6:.0f} MB |",
            flush=True,
        )


if __name__ == "__main__":
    main()
