"""Measure a training step with three ways of waiting for other threads, alone and beside busy processes.

Ours looks for a moment and then sleeps; "asleep" sleeps at once; "default" is OpenMP's own way, which looks for long.

    python benchmarks/waiting.py

Each way of waiting has a process of its own with the same model and samples. They take steps in turn, so that what the machine does
meanwhile meets all. About four minutes on two cores.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import subprocess
import sys
import time
from statistics import median
from typing import Any

from reflectioncoder.waiting import SETTINGS, wait_briefly

WAYS = ("ours", "asleep", "default")
VOCAB_SIZE = 4096
BUSY = "import os\nparent = os.getppid()\nwhile os.getppid() == parent:  # it ends with the benchmark\n    sum(range(100_000))"


def take_steps(args: argparse.Namespace) -> None:
    """Take steps in the child: one for each line of stdin, its seconds printed to stdout; at the end print the peak memory in bytes."""
    if args.way == "asleep":
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    elif args.way == "ours":
        wait_briefly()
    import torch
    from steps.samples import rendered_sample
    from transformers import LlamaConfig, LlamaForCausalLM

    from reflectioncoder.config.declarations import TrainConfig
    from reflectioncoder.method.plan import RunPlan
    from reflectioncoder.train.engine import Engine

    torch.manual_seed(0)
    torch.set_num_threads(args.threads)
    rng = random.Random(1)
    samples = [rendered_sample(rng, VOCAB_SIZE, args.scale) for _ in range(2)]
    plan = RunPlan(samples, TrainConfig(epochs=1, global_batch_size=2, mask_schedule="constant", mask_constant_rate=0.5), seed=1)
    settings: dict[str, Any] = {
        "hidden_size": 192,
        "intermediate_size": 512,
        "num_hidden_layers": 4,
        "num_attention_heads": 6,
        "num_key_value_heads": 3,
    }
    model = LlamaForCausalLM(LlamaConfig(vocab_size=VOCAB_SIZE, **settings)).train()
    engine, optimizer, device = Engine(model), torch.optim.AdamW(model.parameters(), 1e-4), torch.device("cpu")

    def step() -> None:
        optimizer.zero_grad()
        for batch in plan.batches(0):
            engine.loss(model, batch, device).loss.backward()
        optimizer.step()

    step()
    print("ready", flush=True)
    for _ in sys.stdin:
        started = time.perf_counter()
        step()
        print(time.perf_counter() - started, flush=True)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, flush=True)


def start(way: str, args: argparse.Namespace) -> subprocess.Popen[str]:
    env = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    command = [sys.executable, __file__, "--way", way, "--threads", str(args.threads), "--scale", str(args.scale)]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)
    assert read(child) == "ready"
    return child


def read(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    return child.stdout.readline().strip()


def one_step(child: subprocess.Popen[str]) -> float:
    assert child.stdin is not None
    child.stdin.write("\n")
    child.stdin.flush()
    return float(read(child))


def measure(children: dict[str, subprocess.Popen[str]], rounds: int, num_busy: int) -> dict[str, list[float]]:
    """Measure the seconds of each step, the ways of waiting in turn, beside `num_busy` processes that never wait."""
    busy = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(num_busy)]
    try:
        seconds: dict[str, list[float]] = {way: [] for way in children}
        for number in range(rounds):
            for way in children if number % 2 else reversed(children):
                seconds[way].append(one_step(children[way]))
        return seconds
    finally:
        for process in busy:
            process.kill()
            process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="of torch (default: one per core)")
    parser.add_argument("--rounds", type=int, default=7, help="steps of each way")
    parser.add_argument("--busy", type=int, default=5, help="busy processes")
    parser.add_argument("--scale", type=float, default=0.1, help="of the samples' lengths")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.way:
        take_steps(args)
        return
    children = {way: start(way, args) for way in WAYS}
    print(
        f"{args.threads} threads, {len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f}; medians of {args.rounds} steps"
    )
    print(f"{'':<26}" + "".join(f"{way:>12}" for way in WAYS) + "".join(f"{f'{way} / ours':>18}" for way in WAYS[1:]))
    for num_busy in (0, args.busy):
        seconds = measure(children, args.rounds, num_busy)
        ours, *others = (median(seconds[way]) for way in WAYS)
        label = f"beside {num_busy} busy processes" if num_busy else "alone"
        times = "".join(f"{value:>10.3f} s" for value in (ours, *others))
        print(f"{label:<26}{times}" + "".join(f"{other / ours:>18.2f}" for other in others), flush=True)
        spans = "   ".join(f"{way} {min(seconds[way]):.3f} to {max(seconds[way]):.3f} s" for way in WAYS)
        print(f"{'':<26}{spans}", flush=True)
    for way, child in children.items():
        assert child.stdin is not None
        child.stdin.close()
        print(f"peak memory, {way:<13}{int(read(child)) / 1e6:>10.0f} MB")
        child.wait()


if __name__ == "__main__":
    main()
