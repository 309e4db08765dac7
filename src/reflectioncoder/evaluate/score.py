"""Scoring: samples → verdicts in the sandbox → `samples.jsonl` and `results.json`. No model, no GPU, no torch.

Input rows follow EvalPlus (`evaluate.sample_files`). Several rows of a task are several samples.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from reflectioncoder.choices import CUT_RULES, RULES, CutRule, Rules
from reflectioncoder.data.answer_reasons import Reason
from reflectioncoder.data.files import JsonlAppender, content_hash, read_jsonl, write_jsonl
from reflectioncoder.errors import SandboxUnavailableError, UsageError
from reflectioncoder.evaluate.benchmarks import Benchmark, ProgramTests, Task
from reflectioncoder.evaluate.evalplus import FunctionTests
from reflectioncoder.evaluate.judge import FunctionJudge, describe_limits
from reflectioncoder.evaluate.multipl_e import LanguageTests, judge_program
from reflectioncoder.evaluate.preflight import require_preflight
from reflectioncoder.evaluate.sample_files import read_row, sample_rows
from reflectioncoder.places import cache_dir
from reflectioncoder.progress import Progress
from reflectioncoder.sandbox.asserted import run_tests
from reflectioncoder.sandbox.isolation import FLOOR, Isolation, detect_isolation, require_floor
from reflectioncoder.sandbox.languages import LANGUAGES
from reflectioncoder.sandbox.limits import Limits
from reflectioncoder.sandbox.pool import map_ordered, workers_within_memory
from reflectioncoder.sandbox.toolchain import trim_builds

Status = Literal["passed", "failed", "timeout", "memory", "compile_error", "crashed", "no_code", "sandbox_error"]
_TAIL_CHARS = 400
_FIRST_WALL_S = 2.0  # own time of a first run in company; only a run alone gets the whole limit


@dataclass(frozen=True)
class SampleToScore:
    task: Task
    sample: int
    solution: str
    extraction: Reason = "given"


@dataclass(frozen=True)
class Verdict:
    """`on_limit`: it rests on a limit of time. `tests`: outcome of each test program, where there are such.

    `failed_inputs`: part → number of the input at which it failed (-1: before any), where there are inputs.
    `reason`, `harness_status`: of MultiPL-E's programs (`evaluate.multipl_e`).
    """

    status: Status
    base_status: Status
    plus_status: Status | None = None
    duration_s: float = 0.0
    detail: str = ""
    on_limit: bool = False
    tests: tuple[dict[str, Any], ...] = ()
    failed_inputs: dict[str, int] = field(default_factory=dict)
    reason: str = ""
    harness_status: str = ""


@dataclass(frozen=True)
class Scorer:
    """Judges samples of one benchmark.

    Args:
        limits: of tests that are programs; answers to inputs are limited as EvalPlus does (`evaluate.judge`).
        floor: the weakest isolation tier that is accepted.

    Raises:
        SandboxUnavailableError: no program can be confined here, or only below the floor.
    """

    benchmark: Benchmark
    limits: Limits = field(default_factory=Limits)
    rules: Rules = RULES[0]
    floor: int = FLOOR
    isolation: Isolation = field(default_factory=detect_isolation)

    def __post_init__(self) -> None:
        require_floor(self.isolation, self.floor)
        judge = FunctionJudge(self.isolation, self.rules, cache_dir() / "expected")
        object.__setattr__(self, "_function_judge", judge)

    _function_judge: FunctionJudge = field(init=False, repr=False, compare=False)

    def describe_limits(self) -> dict[str, Any]:
        """The limits that hold for this benchmark's samples."""
        if self.benchmark.language is not None:
            language = LANGUAGES[self.benchmark.language]
            return {"run": asdict(language.limits), "build": asdict(language.build_limits) if language.build else None}
        return describe_limits(self.rules) if self.benchmark.is_judged_by_answers else asdict(self.limits)

    def prepare(self, workers: int) -> int:
        """Make sure that verdicts can be believed; how many programs may be judged at a time.

        Raises:
            PreflightError: known programs of the benchmark's language are not judged rightly here.
        """
        if self.benchmark.language is None:
            return workers
        trim_builds()
        require_preflight(self.benchmark.language, self.isolation, workers)
        return workers_within_memory(LANGUAGES[self.benchmark.language].memory_bytes, workers)

    def key(self, sample: SampleToScore) -> str:
        """Identifies verdicts that can be reused when a scoring run is resumed."""
        rules = self.rules if self.benchmark.is_judged_by_answers else None
        settings = [self.describe_limits(), rules, self.isolation.name, self.benchmark.parts]
        return content_hash(sample.task.task_id, sample.sample, sample.solution, sample.task.tests.key(), settings)

    def judge(self, task: Task, solution: str, *, alone: bool = True) -> Verdict:
        """The verdict on one solution. One that is `on_limit` counts only if nothing else was running (`alone`)."""
        if not solution.strip():
            return Verdict("no_code", "no_code", "no_code" if "plus" in self.benchmark.parts else None)
        try:
            if isinstance(task.tests, FunctionTests):
                return self._judge_function(task, task.tests, solution, alone)
            if isinstance(task.tests, LanguageTests):
                return self._judge_language(task.tests, solution)
            return self._judge_programs(task, task.tests, solution, alone)
        except SandboxUnavailableError as error:
            return Verdict("sandbox_error", "sandbox_error", detail=str(error)[-_TAIL_CHARS:])

    def _judge_function(self, task: Task, tests: FunctionTests, solution: str, alone: bool) -> Verdict:
        verdicts = [
            self._function_judge.judge_part(task.task_id, task.entry_point, tests, part, solution, alone=alone)
            for part in self.benchmark.parts
        ]
        base, plus = verdicts[0], verdicts[1] if len(verdicts) > 1 else None
        deciding = base if plus is None or base.status != "passed" else plus
        return Verdict(
            status=deciding.status,
            base_status=base.status,
            plus_status=plus.status if plus else None,
            duration_s=sum(verdict.duration_s for verdict in verdicts),
            detail=deciding.detail,
            on_limit=any(verdict.on_limit for verdict in verdicts),
            failed_inputs={
                part: verdict.failed_input
                for part, verdict in zip(self.benchmark.parts, verdicts, strict=True)
                if verdict.failed_input is not None
            },
        )

    def _judge_language(self, tests: LanguageTests, solution: str) -> Verdict:
        judged = judge_program(solution, tests, self.isolation)
        return Verdict(
            judged.status,
            judged.status,
            duration_s=judged.duration_s,
            detail=judged.detail[-_TAIL_CHARS:],
            on_limit=judged.on_limit,
            reason=judged.reason,
            harness_status=judged.harness_status,
        )

    def _judge_programs(self, task: Task, tests: ProgramTests, solution: str, alone: bool) -> Verdict:
        limits = self.limits if alone else replace(self.limits, wall_s=min(self.limits.wall_s, _FIRST_WALL_S))
        report = run_tests(solution, task.entry_point, tests.setup, tests.programs, limits, self.isolation)
        outcomes = tuple({"passed": row["passed"], "detail": row["detail"]} for row in report.rows if "test" in row)
        done = any(row.get("done") for row in report.rows)
        errors = [str(row.get(key)) for row in report.rows for key in ("compile_error", "load_error", "detail") if row.get(key)]
        status: Status
        if report.end != "ended":
            status = report.end
        elif any("compile_error" in row for row in report.rows):
            status = "compile_error"
        elif any(error.startswith("MemoryError") for error in errors):
            status = "memory"
        else:
            complete = done and len(outcomes) == len(tests.programs)
            status = "passed" if complete and all(outcome["passed"] for outcome in outcomes) else "failed"
        detail = next(iter(errors), report.detail or ("" if done else "ended before its tests did"))
        return Verdict(status, status, None, report.duration_s, detail[-_TAIL_CHARS:], status == "timeout", outcomes)


def read_samples_to_score(
    path: Path, benchmark: Benchmark, cut: CutRule = CUT_RULES[0], *, extract: bool = False
) -> list[SampleToScore]:
    """The samples of a file or folder (`evaluate.sample_files`).

    Args:
        cut: whose rule cuts completions in other languages than Python.
        extract: the rows hold answers, and the programs in them are looked for.

    Raises:
        UsageError: malformed row, unknown task, or no row at all (file and line are named).
    """
    tasks = {task.task_id: task for task in benchmark.tasks}
    counts: Counter[str] = Counter()
    samples, numbers = [], []
    for where, row in sample_rows(path, benchmark):
        task_id = row.get("task_id")
        if task_id in benchmark.left_out:
            continue
        if task_id not in tasks:
            what = "no task_id" if task_id is None else f"unknown task of {benchmark.name}"
            raise UsageError.for_value(what, f"{where}: task_id", task_id, f"e.g. {next(iter(tasks))}")
        read = read_row(row, tasks[task_id], cut, where, extract=extract)
        samples.append(SampleToScore(tasks[task_id], counts[task_id], read.solution, read.reason))
        counts[task_id] += 1
        numbers.append(row.get("sample"))
    if not samples:
        raise UsageError(f"{path}: no samples in it")
    named = {(sample.task.task_id, number) for sample, number in zip(samples, numbers, strict=True) if type(number) is int}
    if len(named) == len(samples):  # the rows of `generate` come in any order
        return [replace(sample, sample=number) for sample, number in zip(samples, numbers, strict=True)]
    return samples


def require_all_tasks(samples: Sequence[SampleToScore], benchmark: Benchmark, path: Path) -> None:
    """Raises UsageError if tasks have no sample: a mean over the rest would not be the benchmark's."""
    there = {sample.task.task_id for sample in samples}
    missing = [task.task_id for task in benchmark.tasks if task.task_id not in there]
    if missing:
        raise UsageError(
            f"{path}: {len(missing)} of {len(benchmark.tasks)} tasks of {benchmark.name} have no sample, e.g. {missing[0]}\n"
            f"  hint:    --partial scores what is there; {benchmark.name}:N or --limit N takes the first N tasks"
        )


def score_samples(
    samples: Iterable[SampleToScore], output: Path, scorer: Scorer, workers: int = 0, label: str = "score"
) -> list[dict[str, Any]]:
    """Judge samples into `output` (`samples.jsonl`), appended as they come; rows that are there are not judged again.

    A verdict that rests on a limit is taken once more at the end, with nothing else running, and only that one counts. In the end
    `output` holds just the rows of these samples, in their order.

    Returns the rows in the order of the samples.
    """
    samples = list(samples)
    keys = [scorer.key(sample) for sample in samples]
    known = {row["key"]: row for _, row in read_jsonl(output, tolerate_torn_tail=True)} if output.exists() else {}
    # A sandbox error is no verdict: it is tried again.
    known = {key: row for key, row in known.items() if row["status"] != "sandbox_error"}
    todo = [(key, sample) for key, sample in zip(keys, samples, strict=True) if key not in known]
    if todo:
        workers = scorer.prepare(workers)
    again: list[tuple[str, SampleToScore]] = []
    with JsonlAppender(output) as appender, Progress(label, len(samples), len(samples) - len(todo)) as progress:

        def keep(key: str, sample: SampleToScore, verdict: Verdict) -> None:
            known[key] = {**_sample_row(sample, verdict), "key": key}
            appender.append(known[key])
            progress.update(len(known))

        verdicts = map_ordered(lambda item: scorer.judge(item[1].task, item[1].solution, alone=False), todo, workers)
        for (key, sample), verdict in zip(todo, verdicts, strict=True):
            if verdict.on_limit:
                again.append((key, sample))
            else:
                keep(key, sample, verdict)
        for key, sample in again:
            keep(key, sample, scorer.judge(sample.task, sample.solution, alone=True))
    rows = [known[key] for key in keys]
    write_jsonl(output, rows)
    return rows


def _sample_row(sample: SampleToScore, verdict: Verdict) -> dict[str, Any]:
    return {
        "task_id": sample.task.task_id,
        "sample": sample.sample,
        "solution": sample.solution,
        "status": verdict.status,
        "base_status": verdict.base_status,
        "plus_status": verdict.plus_status,
        "duration_s": round(verdict.duration_s, 4),
        "stderr_tail": verdict.detail,
        "on_limit": verdict.on_limit,
        "failed_inputs": verdict.failed_inputs,
        "tests": list(verdict.tests),
        **({"reason": verdict.reason, "harness_status": verdict.harness_status} if verdict.harness_status else {}),
    }
