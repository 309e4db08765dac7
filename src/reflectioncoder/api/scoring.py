"""Scores and compares in memory: `score` and `compare` without results folders."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from reflectioncoder.choices import RULES, Rules
from reflectioncoder.data.files import write_jsonl
from reflectioncoder.evaluate.benchmarks import Benchmark
from reflectioncoder.evaluate.compare import ScoredRun, Subset, compare_runs, read_run
from reflectioncoder.evaluate.judges.base import Status
from reflectioncoder.evaluate.metrics import Interval
from reflectioncoder.evaluate.results import headline
from reflectioncoder.evaluate.score import SAMPLES, score_samples
from reflectioncoder.evaluation import ScoreOptions, prepare_scoring


@dataclass(frozen=True)
class SampleVerdict:
    """The verdict on one sample.

    Attributes:
        task_id: the sample's task.
        sample: its index among the task's samples, from 0.
        status: `passed`, or the kind of failure.
        detail: the end of the error message, if there is one.
        duration_s: seconds that the program and its tests took.
    """

    task_id: str
    sample: int
    status: Status
    detail: str
    duration_s: float


@dataclass(frozen=True)
class ScoreResult:
    """The outcome of a scoring.

    Attributes:
        benchmark: the benchmark's name.
        pass_at_1: the share of tasks solved, in [0, 1], with its confidence interval; for the plus tests, if there are any.
        counts: status → number of samples.
        verdicts: one per sample, in the order of the samples.
    """

    benchmark: str
    pass_at_1: Interval
    counts: dict[str, int]
    verdicts: tuple[SampleVerdict, ...]
    _results: dict[str, Any] = field(repr=False)
    _run: ScoredRun = field(repr=False)

    def to_json(self) -> dict[str, Any]:
        """Return the content of `results.json`: all metrics, limits, isolation and versions."""
        return dict(self._results)


def score(
    samples: Iterable[Mapping[str, Any]],
    benchmark: Benchmark,
    *,
    extract: bool = False,
    partial: bool = False,
    rules: Rules = RULES[0],
    floor: int = 1,
    workers: int = 0,
) -> ScoreResult:
    """Run samples against a benchmark's tests in the sandbox.

    Args:
        samples: rows in EvalPlus's schema: `task_id` with `solution`, a whole program, or `completion`, which continues the prompt.
            Several rows of one task are several samples.
        benchmark: see `load_benchmark`.
        extract: the texts are a model's answers, from which programs are extracted.
        partial: allow tasks of the benchmark without a sample.
        rules: the rules for verdicts on HumanEval(+) and MBPP(+).
        floor: the weakest isolation tier accepted, 0 to 3; at tier 0 programs can read your files and use the network.
        workers: number of programs run at once; 0: one per core.

    Raises:
        UsageError: malformed rows, an unknown task, or a task without a sample.
        MachineError: more than 1 % of the samples could not be run in the sandbox.
        SandboxUnavailableError: no isolation of this machine reaches `floor`.

    Example:
        >>> from reflectioncoder import load_benchmark, load_problems, score
        >>> benchmark = load_benchmark("bundled/seen:2")
        >>> first, second = load_problems(["bundled:test_seen"])[:2]
        >>> right = {"task_id": first.task_id, "solution": first.reference}
        >>> wrong = {"task_id": second.task_id, "solution": second.prompt + "    pass"}
        >>> result = score([right, wrong], benchmark)
        >>> result.pass_at_1.value, result.counts
        (0.5, {'passed': 1, 'failed': 1})
    """
    options = ScoreOptions(extract=extract, partial=partial, rules=rules, floor=floor, workers=workers)
    with TemporaryDirectory() as folder:
        given = Path(folder, "given.jsonl")
        write_jsonl(given, [dict(row) for row in samples])
        prepared = prepare_scoring(given, benchmark, options)
        rows = score_samples(prepared.samples, Path(folder, SAMPLES), prepared.scorer, workers)
        results = prepared.finish(rows, Path(folder)).results
        run = read_run(Path(folder))
    metric = headline(results)
    return ScoreResult(
        benchmark.name,
        Interval(metric["value"], metric["ci_low"], metric["ci_high"]),
        results["counts"],
        tuple(SampleVerdict(r["task_id"], r["sample"], r["status"], r["stderr_tail"], r["duration_s"]) for r in rows),
        results,
        run,
    )


@dataclass(frozen=True)
class SubsetComparison:
    """Two runs on the same tasks with the same tests.

    Attributes:
        subset: `"base"` or `"plus"` tests; None if a benchmark has no plus tests.
        num_tasks: number of tasks with a verdict in both runs.
        pass_at_1: pass@1 of both runs, in [0, 1].
        difference: the second run's pass@1 minus the first's, with its interval (95 %, paired bootstrap over tasks).
        p_value: p-value of the exact McNemar test; None if tasks have several samples.
        only_a, only_b: tasks that one run solves and the other does not; empty if tasks have several samples.
    """

    subset: Subset
    num_tasks: int
    pass_at_1: tuple[float, float]
    difference: Interval
    p_value: float | None
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """The paired statistics of two scoring runs.

    Attributes:
        subsets: one for each kind of test that both runs have.
        warnings: limitations of the comparison, as text.
    """

    subsets: tuple[SubsetComparison, ...]
    warnings: tuple[str, ...]
    _content: dict[str, Any] = field(repr=False)

    def to_json(self) -> dict[str, Any]:
        """Return the value that `reflectioncoder compare --json` prints."""
        return dict(self._content)


def compare(a: ScoreResult | str | Path, b: ScoreResult | str | Path, *, seed: int = 0) -> Comparison:
    """Compare two scoring runs task by task: is one better, or is the difference chance?

    Args:
        a: a result of `score`, a folder with `results.json` and `samples.jsonl`, or an EvalPlus `*eval_results.json`.
        b: the same for the other run; differences are `b` minus `a`.
        seed: seed of the bootstrap.

    Raises:
        UsageError: the runs used different benchmarks or data, or have no task in common; a file is missing or malformed.

    Example:
        >>> from reflectioncoder import compare, load_benchmark, load_problems, score
        >>> benchmark = load_benchmark("bundled/seen:3")
        >>> problems = load_problems(["bundled:test_seen"])[:3]
        >>> before = score([{"task_id": p.task_id, "solution": p.prompt + "    pass"} for p in problems], benchmark)
        >>> after = score([{"task_id": p.task_id, "solution": p.reference} for p in problems], benchmark)
        >>> overall = compare(before, after).subsets[0]
        >>> overall.difference.value, overall.p_value, len(overall.only_b)
        (1.0, 0.25, 3)
    """
    content = compare_runs(_run_of(a), _run_of(b), seed=seed)
    return Comparison(tuple(map(_subset, content["subsets"])), tuple(content["warnings"]), content)


def _run_of(scored: ScoreResult | str | Path) -> ScoredRun:
    return scored._run if isinstance(scored, ScoreResult) else read_run(Path(scored))


def _subset(content: dict[str, Any]) -> SubsetComparison:
    flipped = content["flipped"] or {"only_a": (), "only_b": ()}
    return SubsetComparison(
        content["subset"],
        content["num_tasks"],
        (content["pass@1"]["a"], content["pass@1"]["b"]),
        Interval(**content["difference"]),
        content["mcnemar"]["p_value"],
        tuple(flipped["only_a"]),
        tuple(flipped["only_b"]),
    )
