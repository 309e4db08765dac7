"""Writes DIR/samples.jsonl (a verdict per sample) and DIR/results.json. Needs no model and no torch."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from reflectioncoder.commands import Outcome, add_benchmark_arguments, limited, percent


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("samples", type=Path, metavar="SAMPLES.jsonl", help="rows with task_id and solution or completion")
    add_benchmark_arguments(parser)
    parser.add_argument("--wall-s", type=float, metavar="S", help="wall-clock limit of one program")


def run(args: argparse.Namespace) -> Outcome:
    from reflectioncoder.data.files import write_json
    from reflectioncoder.evaluate.benchmarks import load_benchmark
    from reflectioncoder.evaluate.results import headline, require_sandbox, summarize
    from reflectioncoder.evaluate.score import read_samples_to_score, score_samples
    from reflectioncoder.sandbox.limits import Limits

    benchmark = load_benchmark(limited(args.benchmark, args.limit), args.data_dir)
    limits = Limits() if args.wall_s is None else replace(Limits(), wall_s=args.wall_s)
    samples = read_samples_to_score(args.samples, benchmark)
    rows = score_samples(samples, args.output / "samples.jsonl", limits, args.workers, f"score {benchmark.name}")
    results = summarize(benchmark, rows, limits)
    path = write_json(args.output / "results.json", results)
    require_sandbox(results)
    counts = ", ".join(f"{status} {count}" for status, count in results["counts"].items())
    lines = [f"{benchmark.name}: pass@1 {percent(headline(results))}  ({counts})"]
    return Outcome(results, lines, [args.output / "samples.jsonl", path])
