"""Evaluates a model or a file of samples on a benchmark: writes `completions.jsonl`, `samples.jsonl` and `results.json` to a folder.

Shared by the commands `run`, `evaluate` and `score`; the only layer that uses both `generate` and `evaluate`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from reflectioncoder.choices import CUT_RULES, RULES, CutRule, ResultFormat, Rules
from reflectioncoder.config.declarations import GenerateConfig, Recipe
from reflectioncoder.data.answer_reasons import count_answers
from reflectioncoder.data.completion_requests import Request
from reflectioncoder.data.file_lock import alone_in
from reflectioncoder.data.files import content_hash, write_json
from reflectioncoder.errors import CannotError, MachineError, UsageError
from reflectioncoder.evaluate.benchmarks import BENCHMARKS, Benchmark, load_benchmarks, split_name
from reflectioncoder.evaluate.dates import DateWindow
from reflectioncoder.evaluate.references import with_references
from reflectioncoder.evaluate.results import require_sandbox, skipped, summarize
from reflectioncoder.evaluate.sample_files import is_fenced, require_programs
from reflectioncoder.evaluate.score import (
    SAMPLES,
    Judges,
    SampleToScore,
    Scorer,
    read_samples_to_score,
    require_all_tasks,
    score_samples,
)
from reflectioncoder.evaluate.specs import with_absolute_path
from reflectioncoder.evaluate.versions import package_versions, source_hash
from reflectioncoder.generate.backends import AskedModel
from reflectioncoder.generate.base import Backend, generate
from reflectioncoder.progress import say
from reflectioncoder.result_formats import WRITERS
from reflectioncoder.result_formats.scoring import UNKNOWN, Scoring
from reflectioncoder.sandbox.detect import FLOOR, detect_isolation
from reflectioncoder.sandbox.isolation import Isolation
from reflectioncoder.sandbox.limits import Limits
from reflectioncoder.server_address import scrub_urls


def check_benchmarks(recipe: Recipe, data_dir: str | None) -> None:
    """Check that the recipe's benchmarks can be loaded and judged; report known results on other benchmarks, which will not be shown.

    Raises:
        UsageError, MachineError: as `load_benchmarks`.
        UsageError: a known result is on an unknown benchmark.
        MachineError: this machine cannot judge one of them.
    """
    for spec, benchmark in named_benchmarks(recipe, data_dir).items():
        if reason := benchmark.judge.why_skipped(recipe.sandbox.workers):
            raise MachineError(f"{spec} cannot be run here: {reason}")
    evaluated = set(map(with_absolute_path, recipe.evaluate.benchmarks))
    for whose, rates in recipe.evaluate.known.items():
        for spec in rates:
            split_name(spec)
        if others := [spec for spec in rates if with_absolute_path(spec) not in evaluated]:
            say(f"evaluate.known: {whose}: not shown for {', '.join(others)}, which this run does not evaluate")


def judged_benchmarks(recipe: Recipe, data_dir: str | None) -> dict[str, Benchmark[Any]]:
    """Load the recipe's benchmarks, keyed by their names in it, with the tasks that can be judged here; report the tasks' dates.

    Raises:
        UsageError, MachineError: as `load_benchmarks` and `with_references`.
    """
    found = {}
    for spec, benchmark in named_benchmarks(recipe, data_dir).items():
        found[spec] = with_references(benchmark, recipe.sandbox.floor, recipe.sandbox.workers)
        for line in found[spec].date_lines():
            say(line)
    return found


def named_benchmarks(recipe: Recipe, data_dir: str | None) -> dict[str, Benchmark[Any]]:
    """Load the recipe's benchmarks, keyed by their names in it, with all tasks in its date window.

    Raises:
        UsageError, MachineError: as `load_benchmarks`.
    """
    evaluate = recipe.evaluate
    return load_benchmarks(evaluate.benchmarks, data_dir, DateWindow(evaluate.from_date, evaluate.to_date))


def completions_key(benchmark: Benchmark, recipe: Recipe, model: AskedModel) -> str:
    """Return the cache key of a benchmark's completions by a model.

    The key ignores which references pass here: a task that is left out now may be judged later, and the other way round. Greedy
    answers do not depend on the seed.
    """
    whole = benchmark.whole
    sampling = sampling_settings(recipe.generate, in_batches=model.in_batches)
    requests = [request.instruction for request in whole.requests(1)]
    is_greedy = recipe.generate.temperature == 0 and model.takes_temperature
    return content_hash(whole.describe(), requests, sampling, None if is_greedy else recipe.seed, model.key)


def sampling_settings(config: GenerateConfig, *, in_batches: bool = True) -> dict[str, Any]:
    """Return the settings that completions depend on, except the backend: the one in use is part of the model's key."""
    settings = {name: value for name, value in asdict(config).items() if name != "backend"}
    return settings if in_batches else {**settings, "batch_size": None}


def verdicts_key(benchmark: Benchmark, recipe: Recipe, limits: Limits) -> str:
    """Return the cache key of verdicts, apart from the completions: the judge, its rules, limits and isolation, and all versions,
    including the code that makes requests and reads answers."""
    scorer = Scorer(benchmark, limits, recipe.sandbox.rules, recipe.sandbox.floor)
    return content_hash(scorer.settings, package_versions(), source_hash("data", "generate", "models"))


def evaluate_model(
    model: Backend,
    benchmark: Benchmark,
    recipe: Recipe,
    limits: Limits,
    directory: Path,
    label: str,
    formats: Sequence[ResultFormat] = (),
    ready: ReadyJudges | None = None,
) -> dict[str, Any]:
    """Complete and judge a benchmark, and write results.json to `directory`, which must be free or hold the same completions (`claim`).

    Args:
        limits: limits of one program with its tests.
        formats: other tools' formats to write as well.
        ready: judges on other machines.

    Raises:
        MachineError: too many samples could not be run in the sandbox.
    """
    requests = benchmark.requests(recipe.generate.num_samples)
    return complete_and_judge(model, benchmark, requests, recipe, limits, directory, label, ready).finish(model.describe(), formats)


@dataclass(frozen=True)
class JudgesElsewhere:
    """Judges on other machines: their isolation, and a factory `of` from a scorer (CannotError: no machine can judge it)."""

    isolation: Isolation
    of: Callable[[Scorer], Judges]

    def ready(self, benchmark: Benchmark, recipe: Recipe, limits: Limits) -> ReadyJudges:
        """Prepare the judges before the model is loaded (CannotError: no machine can judge the benchmark)."""
        scorer = Scorer(benchmark, limits, recipe.sandbox.rules, recipe.sandbox.floor, self.isolation)
        return ReadyJudges(scorer, self.of(scorer))


@dataclass(frozen=True)
class ReadyJudges:
    """Judges on other machines, prepared for `scorer`."""

    scorer: Scorer
    judges: Judges


@dataclass(frozen=True)
class JudgedCompletions:
    """Judged completions of a benchmark: `completions.jsonl` and `samples.jsonl` are written, the results are not yet.

    `rows`: the verdicts, one per sample, in the samples' order.
    """

    directory: Path
    recipe: Recipe
    scorer: Scorer
    samples: Sequence[SampleToScore]
    rows: Sequence[dict[str, Any]]
    finish_reasons: dict[str, int]

    def finish(self, model: dict[str, Any], formats: Sequence[ResultFormat]) -> dict[str, Any]:
        """Write and return the results. `model`: the backend's `describe()`.

        Raises:
            MachineError: too many samples could not be run in the sandbox.
        """
        recipe, rows = self.recipe, self.rows
        sampling = {**sampling_settings(recipe.generate), "seed": recipe.seed, "finish_reasons": self.finish_reasons}
        summary = summarize(self.scorer, rows, recipe.evaluate.confidence, model, sampling)
        results = _write_results(self.directory, summary, self.samples)
        require_sandbox(results)
        scoring = Scoring(self.scorer.benchmark, self.samples, rows, results, str(model["path"]))
        write_formats(formats, scoring, self.directory, Path(COMPLETIONS).stem)
        return results


def complete_and_judge(
    model: Backend,
    benchmark: Benchmark,
    requests: Sequence[Request],
    recipe: Recipe,
    limits: Limits,
    directory: Path,
    label: str,
    ready: ReadyJudges | None = None,
) -> JudgedCompletions:
    """Complete requests and judge the completions in `directory`, which must be free or hold the same completions (`claim`)."""
    scorer = ready.scorer if ready else Scorer(benchmark, limits, recipe.sandbox.rules, recipe.sandbox.floor)
    completions = directory / COMPLETIONS
    of_whole = benchmark.whole.requests(recipe.generate.num_samples)
    counts = generate(model, requests, recipe.generate, recipe.seed, completions, f"generate {label}", of_whole=of_whole)
    samples = read_samples_to_score(completions, benchmark) if requests else []
    judges = ready.judges if ready else None
    rows = score_samples(samples, directory / SAMPLES, scorer, recipe.sandbox.workers, f"score {label}", judges)
    return JudgedCompletions(directory, recipe, scorer, samples, rows, counts["finish_reasons"])


COMPLETIONS = "completions.jsonl"


@dataclass(frozen=True)
class ScoreOptions:
    """Options for scoring a file of samples.

    `wall_s`: time limit in seconds of one program with its tests, for judges without `rules`. `workers`: programs run at a time;
    0: one per core. `floor`: the weakest isolation tier accepted. `cut`: the rule that truncates completions in languages other than
    Python. `extract`: the rows hold answers, from which programs are extracted. `partial`: tasks may lack samples. `formats`: other
    tools' formats to write as well. `model`: the name given in them for the model that wrote the samples.
    """

    wall_s: float | None = None
    rules: Rules = RULES[0]
    workers: int = 0
    floor: int = FLOOR
    cut: CutRule = CUT_RULES[0]
    extract: bool = False
    partial: bool = False
    formats: tuple[ResultFormat, ...] = ()
    model: str = UNKNOWN

    def __post_init__(self) -> None:
        object.__setattr__(self, "model", scrub_urls(self.model))  # a shard's folder keeps it

    @property
    def limits(self) -> Limits:
        return Limits() if self.wall_s is None else replace(Limits(), wall_s=self.wall_s)


@dataclass(frozen=True)
class ScoredFile:
    """The content of `results.json`, the paths written, and a warning if some samples are not programs."""

    results: dict[str, Any]
    paths: tuple[Path, ...]
    warning: str | None = None

    @property
    def is_skipped(self) -> bool:
        return self.results["status"] == "skipped"


@dataclass(frozen=True)
class PreparedScoring:
    """All samples of a file, ready to be scored."""

    path: Path
    options: ScoreOptions
    scorer: Scorer
    samples: Sequence[SampleToScore]
    warning: str | None

    @property
    def benchmark(self) -> Benchmark:
        return self.scorer.benchmark

    def finish(self, rows: Sequence[dict[str, Any]], directory: Path) -> ScoredFile:
        """Write the results of all samples.

        Args:
            rows: the rows of `samples.jsonl`, which is already written; one per sample, in the samples' order.

        Raises:
            MachineError: too many samples could not be run in the sandbox.
        """
        results = _write_results(directory, summarize(self.scorer, rows), self.samples)
        require_sandbox(results)
        scoring = Scoring(self.benchmark, self.samples, rows, results, self.options.model)
        written = write_formats(self.options.formats, scoring, directory, self.path.stem)
        return ScoredFile(results, (directory / SAMPLES, directory / "results.json", *written), self.warning)


def prepare_scoring(path: Path, benchmark: Benchmark, options: ScoreOptions, isolation: Isolation | None = None) -> PreparedScoring:
    """Read the samples of a file or folder, then find the tasks that can be judged here, which can take minutes.

    Args:
        isolation: the isolation that verdicts are made under; by default this machine's.

    Raises:
        UsageError: malformed samples; tasks without samples.
        MachineError, SandboxUnavailableError: as `with_references`.
    """
    samples = read_samples_to_score(path, benchmark, options.cut, extract=options.extract)
    benchmark = with_references(benchmark, options.floor, options.workers)
    samples = [sample for sample in samples if sample.task.task_id not in benchmark.left_out]
    if not samples:
        raise UsageError(f"{path}: all samples are of tasks that are left out here, for their references fail")
    warning = None if options.extract else _warning(samples, benchmark, path)
    if not options.partial:
        require_all_tasks(samples, benchmark, path)
    scorer = Scorer(benchmark, options.limits, options.rules, options.floor, isolation or detect_isolation())
    return PreparedScoring(path, options, scorer, samples, warning)


def score_file(
    path: Path, benchmark: Benchmark, directory: Path, options: ScoreOptions, elsewhere: JudgesElsewhere | None = None
) -> ScoredFile:
    """Score the samples of a file or folder into `directory`; a benchmark that cannot be judged is skipped.

    Args:
        elsewhere: judges on other machines.

    Raises:
        UsageError: options that the benchmark's judge does not take; malformed samples; tasks without samples.
        MachineError: too many samples could not be run in the sandbox.
    """
    require_applicable(options, benchmark)
    if elsewhere is None and (results := skip(benchmark, directory, options.workers)):
        return ScoredFile(results, (directory / "results.json",))
    prepared = prepare_scoring(path, benchmark, options, elsewhere.isolation if elsewhere else None)
    try:
        judges = elsewhere.of(prepared.scorer) if elsewhere else None
    except CannotError as error:
        return ScoredFile(write_skipped(benchmark, directory, str(error)), (directory / "results.json",))
    with alone_in(directory):
        rows = score_samples(prepared.samples, directory / SAMPLES, prepared.scorer, options.workers, f"score {benchmark.name}", judges)
        return prepared.finish(rows, directory)


def write_formats(formats: Sequence[ResultFormat], scoring: Scoring, directory: Path, stem: str) -> list[Path]:
    """Write a scoring in other tools' formats, to files whose names begin with `stem`."""
    written: list[Path] = []
    for name in dict.fromkeys(formats):
        if name in WRITERS:
            written += WRITERS[name](scoring, directory, stem)
        else:
            benchmark = scoring.benchmark
            content = benchmark.judge.result_files[name](benchmark.tasks, scoring.rows, benchmark.md5)
            written.append(write_json(directory / f"{stem}.eval_results.json", content))
    return written


def require_formats(formats: Sequence[ResultFormat], benchmark: Benchmark) -> None:
    """Raise UsageError if a format does not exist for this benchmark."""
    for wanted in formats:
        if wanted not in WRITERS and wanted not in benchmark.judge.result_files:
            having = ", ".join(name for name, row in BENCHMARKS.items() if wanted in row.judge.result_files)
            raise UsageError.for_value("no such file for this benchmark", "--format", wanted, having)


def skip(benchmark: Benchmark, directory: Path, workers: int) -> dict[str, Any] | None:
    """If this machine cannot judge the benchmark, write and return results without scores; else return None."""
    reason = benchmark.judge.why_skipped(workers)
    return None if reason is None else write_skipped(benchmark, directory, reason)


def write_skipped(benchmark: Benchmark, directory: Path, reason: str) -> dict[str, Any]:
    """Write and return results that hold the reason instead of scores."""
    results = skipped(benchmark, reason)
    write_json(directory / "results.json", results)
    return results


def require_applicable(options: ScoreOptions, benchmark: Benchmark) -> None:
    """Raise UsageError if the benchmark's judge does not take the options."""
    if options.wall_s is not None and benchmark.judge.has_rules:
        raise UsageError.for_value(
            "this benchmark has EvalPlus's time limits", "--wall-s", options.wall_s, "no --wall-s", "see --rules"
        )
    require_formats(options.formats, benchmark)


def _warning(samples: Sequence[SampleToScore], benchmark: Benchmark, path: Path) -> str | None:
    requests = {request.task_id: request for request in benchmark.requests(1)}
    num_fenced = sum(is_fenced(sample.solution, requests[sample.task.task_id]) for sample in samples)
    return require_programs(num_fenced, [sample.solution for sample in samples], path)


def _write_results(directory: Path, summary: dict[str, Any], samples: Sequence[SampleToScore]) -> dict[str, Any]:
    results = {**summary, "answers": count_answers(sample.extraction for sample in samples)}
    write_json(directory / "results.json", results)
    return results
