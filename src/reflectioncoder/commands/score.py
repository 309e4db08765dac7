"""Writes DIR/samples.jsonl (a verdict per sample) and DIR/results.json. Needs no model and no torch."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from reflectioncoder.choices import CUT_RULES
from reflectioncoder.commands import Outcome, add_benchmark_arguments, add_scoring_arguments, limited, percent, positive


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "samples",
        type=Path,
        metavar="SAMPLES",
        help="JSON Lines, rows with task_id and solution or completion, or a folder as EvalPlus writes it",
    )
    add_benchmark_arguments(parser)
    add_scoring_arguments(parser)
    parser.add_argument("--wall-s", type=positive, metavar="S", help="time limit of one program with its tests (bundled benchmarks)")
    parser.add_argument("--partial", action="store_true", help="score what is there although tasks are missing")
    parser.add_argument("--cut", choices=CUT_RULES, default=CUT_RULES[0], help="multipl-e: whose rule cuts completions, not solutions")
    parser.add_argument("--extract", action="store_true", help="take the programs out of the samples, which are a model's answers")
    parser.add_argument("--format", choices=("evalplus",), help="also write EvalPlus's own <samples>.eval_results.json")


def run(args: argparse.Namespace) -> Outcome:
    from reflectioncoder.data.answer_reasons import answer_lines, has_no_program_at_all
    from reflectioncoder.errors import EXIT_CHECK_FAILED, EXIT_DONE, EXIT_ENVIRONMENT
    from reflectioncoder.evaluate.benchmarks import load_benchmark
    from reflectioncoder.evaluation import ScoreOptions, score_file

    benchmark = load_benchmark(limited(args.benchmark, args.limit), args.data_dir)
    options = ScoreOptions(
        args.wall_s, args.rules, args.workers, args.floor, args.cut, extract=args.extract, partial=args.partial, result_file=args.format
    )
    scored = score_file(args.samples, benchmark, args.output, options)
    results = scored.results
    if scored.is_skipped:
        line = f"{benchmark.name}: {len(benchmark.tasks)} tasks skipped: {results['reason']}"
        return Outcome({"status": "skipped", "reason": results["reason"]}, [line], scored.paths, EXIT_ENVIRONMENT)
    answers = results["answers"]
    code = EXIT_CHECK_FAILED if has_no_program_at_all(answers) else EXIT_DONE
    lines = [*score_lines(results), *answer_lines(answers), *([scored.warning] if scored.warning else [])]
    return Outcome(results, lines, scored.paths, code)


def score_lines(results: dict[str, Any]) -> list[str]:
    """A line per subset, then what the statuses were and what the verdicts rest on."""
    name = results["benchmark"]["name"]
    subsets = [m for m in results["metrics"] if m["name"] == "pass@1" and not str(m["subset"]).startswith("grade")]
    lines = [f"{name}{' (' + m['subset'] + ')' if m['subset'] else ''}: pass@1 {percent(m)}" for m in subsets]
    lines.append(", ".join(f"{status} {count}" for status, count in results["counts"].items()))
    isolation = results["sandbox"]["isolation"]
    lines.append(
        f"isolation: {isolation['name']} (tier {isolation['tier']}); verdicts that rest on a time limit: {results['num_on_limit']}"
    )
    if not results["sandbox"]["safe"]:
        lines.append("UNSAFE: the programs could read your files and use the network")
    return lines
