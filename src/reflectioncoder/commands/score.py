"""Writes DIR/samples.jsonl (a verdict per sample) and DIR/results.json (pass@k with intervals).
Needs neither a model nor torch.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from reflectioncoder.choices import CUT_RULES, CUT_RULES_HELP
from reflectioncoder.commands import Outcome, add_benchmark_arguments, add_scoring_arguments, described, limited, percent, positive


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "samples",
        type=Path,
        metavar="SAMPLES",
        help="JSON Lines whose rows have task_id and solution or completion, or a folder in EvalPlus's layout",
    )
    add_benchmark_arguments(parser)
    add_scoring_arguments(parser)
    parser.add_argument(
        "--wall-s", type=positive, metavar="S", help="time limit of a program with its tests, seconds (bundled benchmarks; default: 10)"
    )
    parser.add_argument("--partial", action="store_true", help="accept samples that do not cover every task")
    parser.add_argument(
        "--cut",
        choices=CUT_RULES,
        default=CUT_RULES[0],
        help=described("MultiPL-E: how `completion` rows are truncated (`solution` rows never are)", CUT_RULES_HELP, CUT_RULES[0]),
    )
    parser.add_argument("--extract", action="store_true", help="the samples are a model's raw answers: extract the program from each")
    parser.add_argument(
        "--format", choices=("evalplus",), help="also write the verdicts as EvalPlus does, to <samples>.eval_results.json"
    )


def run(args: argparse.Namespace) -> Outcome:
    from reflectioncoder.data.answer_reasons import answer_lines, count_answers, has_no_program_at_all
    from reflectioncoder.data.files import write_json
    from reflectioncoder.errors import EXIT_CHECK_FAILED, EXIT_DONE, EXIT_ENVIRONMENT, UsageError
    from reflectioncoder.evaluate.benchmarks import EVALPLUS, load_benchmark
    from reflectioncoder.evaluate.judges.evalplus.result_file import evalplus_results
    from reflectioncoder.evaluate.results import require_sandbox, skipped, summarize
    from reflectioncoder.evaluate.sample_files import is_fenced, require_programs
    from reflectioncoder.evaluate.score import Scorer, read_samples_to_score, require_all_tasks, score_samples
    from reflectioncoder.sandbox.limits import Limits

    benchmark = load_benchmark(limited(args.benchmark, args.limit), args.data_dir)
    if args.wall_s is not None and benchmark.is_judged_by_answers:
        raise UsageError.for_value("this benchmark has EvalPlus's time limits", "--wall-s", args.wall_s, "no --wall-s", "see --rules")
    if args.format == "evalplus" and not benchmark.is_judged_by_answers:
        raise UsageError.for_value("EvalPlus has no result file for this benchmark", "--format", args.format, ", ".join(EVALPLUS))
    limits = Limits() if args.wall_s is None else replace(Limits(), wall_s=args.wall_s)
    if reason := benchmark.why_skipped(args.workers):
        path = write_json(args.output / "results.json", skipped(benchmark, reason))
        line = f"{benchmark.name}: {len(benchmark.tasks)} tasks skipped: {reason}"
        return Outcome({"status": "skipped", "reason": reason}, [line], [path], EXIT_ENVIRONMENT)
    samples = read_samples_to_score(args.samples, benchmark, args.cut, extract=args.extract)
    num_fenced = 0 if args.extract else sum(is_fenced(sample.solution, sample.task) for sample in samples)
    warning = require_programs(num_fenced, [sample.solution for sample in samples], args.samples)
    if not args.partial:
        require_all_tasks(samples, benchmark, args.samples)
    scorer = Scorer(benchmark, limits, args.rules, args.floor)
    rows = score_samples(samples, args.output / "samples.jsonl", scorer, args.workers, f"score {benchmark.name}")
    answers = count_answers(sample.extraction for sample in samples)
    results = {**summarize(scorer, rows), "answers": answers}
    paths = [args.output / "samples.jsonl", write_json(args.output / "results.json", results)]
    if args.format == "evalplus":
        path = args.output / f"{args.samples.stem}.eval_results.json"
        paths.append(write_json(path, evalplus_results(benchmark, rows)))
    require_sandbox(results)
    code = EXIT_CHECK_FAILED if has_no_program_at_all(answers) else EXIT_DONE
    return Outcome(results, [*score_lines(results), *answer_lines(answers), *([warning] if warning else [])], paths, code)


def score_lines(results: dict[str, Any]) -> list[str]:
    """Return a line per subset, then the counts of statuses, the isolation and the number of verdicts that rest on a time limit."""
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
