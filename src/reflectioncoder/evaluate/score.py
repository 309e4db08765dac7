"""Scoring: samples → verdicts in the sandbox → `samples.jsonl` and `results.json`. No model, no GPU, no torch.

Input rows follow EvalPlus (`evaluate.sample_files`). Several rows of a task are several samples.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from reflectioncoder.choices import CUT_RULES, RULES, CutRule, Rules
from reflectioncoder.data.answer_reasons import Reason
from reflectioncoder.data.files import JsonlAppender, content_hash, read_jsonl, write_jsonl
from reflectioncoder.errors import SandboxUnavailableError, UsageError
from reflectioncoder.evaluate.benchmarks import Benchmark, ProgramTests, Task
from reflectioncoder.evaluate.judges.evalplus.data import FunctionTests
from reflectioncoder.evaluate.judges.evalplus.judge import SHARED_FACTOR, FunctionJudge, PartVerdict, describe_limits
from reflectioncoder.evaluate.judges.multipl_e.preflight import require_preflight
from reflectioncoder.evaluate.judges.multipl_e.programs import LanguageTests, judge_program
from reflectioncoder.evaluate.sample_files import read_row, sample_rows
from reflectioncoder.evaluate.second_look import judge_again
from reflectioncoder.evaluate.versions import judge_version, versions_for
from reflectioncoder.languages import LANGUAGES
from reflectioncoder.paths import cache_dir
from reflectioncoder.progress import Progress
from reflectioncoder.sandbox.asserted import run_tests
from reflectioncoder.sandbox.detect import FLOOR, detect_isolation, require_floor
from reflectioncoder.sandbox.execution import trim_builds
from reflectioncoder.sandbox.isolation import Isolation
from reflectioncoder.sandbox.limits import Limits
from reflectioncoder.sandbox.pool import map_ordered, workers_within_memory

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
    `is_unsure`: as `PartVerdict` has it. `parts`: of a solution that is judged by its answers.
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
    is_unsure: bool = False
    parts: tuple[PartVerdict, ...] = field(default=(), repr=False)


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
            toolchain = LANGUAGES[self.benchmark.language].toolchain
            return {"run": asdict(toolchain.limits), "build": asdict(toolchain.build_limits) if toolchain.build else None}
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
        return workers_within_memory(LANGUAGES[self.benchmark.language].toolchain.memory_bytes, workers)

    @cached_property
    def settings(self) -> str:
        """Return a hash of what all verdicts of one scoring run have in common: rules, limits, isolation, data and versions."""
        benchmark = self.benchmark
        rules = self.rules if benchmark.is_judged_by_answers else None
        toolchain = LANGUAGES[benchmark.language].toolchain.version() if benchmark.language else None
        data = [benchmark.name, benchmark.version, benchmark.sha256, benchmark.parts]
        return content_hash(self.describe_limits(), rules, self.isolation.name, data, toolchain, judge_version())

    def key(self, sample: SampleToScore) -> str:
        """Identifies verdicts that can be reused when a scoring run is resumed."""
        task, source = sample.task, sample.solution
        return content_hash(task.task_id, sample.sample, source, task.tests.key(), self.settings, versions_for(source))

    def judge(
        self, task: Task, solution: str, *, alone: bool = True, core: int | None = None, earlier: Verdict | None = None
    ) -> Verdict:
        """Return the verdict on one solution.

        Args:
            alone: nothing else is running; otherwise a verdict that is `on_limit` does not count.
            core: nothing else is running there, but on others; what `is_unsure` then does not count.
            earlier: a verdict that does not count; what was certain in it is not judged again.
        """
        if not solution.strip():
            return Verdict("no_code", "no_code", "no_code" if "plus" in self.benchmark.parts else None)
        try:
            if isinstance(task.tests, FunctionTests):
                return self._judge_function(task, task.tests, solution, alone, core, earlier.parts if earlier else ())
            if isinstance(task.tests, LanguageTests):
                return self._judge_language(task.tests, solution)
            return self._judge_programs(task, task.tests, solution, alone, shared=core is not None)
        except SandboxUnavailableError as error:
            return Verdict("sandbox_error", "sandbox_error", detail=str(error)[-_TAIL_CHARS:])

    def _judge_function(
        self, task: Task, tests: FunctionTests, solution: str, alone: bool, core: int | None, earlier: Sequence[PartVerdict]
    ) -> Verdict:
        known = dict(zip(self.benchmark.parts, earlier, strict=False))
        verdicts = [
            known[part]
            if part in known and not (known[part].on_limit or known[part].is_unsure)
            else self._function_judge.judge_part(task.task_id, task.entry_point, tests, part, solution, alone=alone, core=core)
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
            is_unsure=any(verdict.is_unsure for verdict in verdicts),
            parts=tuple(verdicts),
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

    def _judge_programs(self, task: Task, tests: ProgramTests, solution: str, alone: bool, shared: bool) -> Verdict:
        wall_s = self.limits.wall_s
        limits = self.limits if alone else replace(self.limits, wall_s=min(wall_s, _FIRST_WALL_S))
        limits = replace(limits, wall_s=wall_s * SHARED_FACTOR) if shared else limits
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
        return Verdict(
            status,
            status,
            duration_s=report.duration_s,
            detail=detail[-_TAIL_CHARS:],
            on_limit=status == "timeout",
            tests=outcomes,
            is_unsure=shared and status != "timeout" and report.duration_s > wall_s,
        )


def read_samples_to_score(
    path: Path, benchmark: Benchmark, cut: CutRule = CUT_RULES[0], *, extract: bool = False
) -> list[SampleToScore]:
    """Read the samples of a file or folder (`evaluate.sample_files`).

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
        if not isinstance(task_id, str | None):
            raise UsageError.for_value("the task_id of a sample is text", f"{where}: task_id", task_id, "text")
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

    A verdict that rests on a limit is taken once more at the end (`judge_again`), and only that one counts. In the end `output`
    holds one row for each of these samples, in their order, and after them the rows of other samples that were there.

    Returns the rows in the order of the samples.

    Raises:
        UsageError: rows of other samples are there whose verdicts were made in another way; together they would be no scoring.
    """
    samples = list(samples)
    keys = [scorer.key(sample) for sample in samples]
    stored = _stored_rows(output)
    others = _rows_of_others(stored, samples, scorer, output)
    # A sandbox error is no verdict: it is tried again.
    known = {row["key"]: row for row in stored if row["status"] != "sandbox_error"}
    todo = [(key, sample) for key, sample in zip(keys, samples, strict=True) if key not in known]
    if todo:
        workers = scorer.prepare(workers)
    num_done = len(samples) - len(todo)
    again: list[tuple[str, SampleToScore, Verdict]] = []
    with JsonlAppender(output) as appender, Progress(label, len(samples), num_done) as progress:

        def keep(key: str, sample: SampleToScore, verdict: Verdict) -> None:
            nonlocal num_done
            known[key] = {**_sample_row(sample, verdict, scorer.settings), "key": key}
            appender.append(known[key])
            num_done += 1
            progress.update(num_done)

        verdicts = map_ordered(lambda item: scorer.judge(item[1].task, item[1].solution, alone=False), todo, workers)
        for (key, sample), verdict in zip(todo, verdicts, strict=True):
            if verdict.on_limit:
                again.append((key, sample, verdict))
            else:
                keep(key, sample, verdict)
        for number, verdict in judge_again(scorer, [(sample, verdict) for _, sample, verdict in again], workers):
            keep(*again[number][:2], verdict)
    rows = [known[key] for key in keys]
    write_jsonl(output, [*rows, *others])
    return rows


def _stored_rows(output: Path) -> list[dict[str, Any]]:
    """Read the rows of earlier scorings.

    Raises:
        UsageError: the file holds anything else, samples to be scored for instance.
    """
    rows = list(read_jsonl(output, tolerate_torn_tail=True)) if output.exists() else []
    for number, row in rows:
        texts = (row.get(name) for name in ("key", "status", "task_id"))
        whole = type(row.get("sample")) is int and isinstance(row.get("on_limit"), bool)
        whole = whole and isinstance(row.get("base_status", 0), str | None)
        if not (whole and all(isinstance(text, str) for text in texts)):
            raise UsageError(f"{output}:{number}: not a verdict\n  hint:    choose another folder for the results")
    return [row for _, row in rows]


def _rows_of_others(
    stored: Sequence[dict[str, Any]], samples: Sequence[SampleToScore], scorer: Scorer, output: Path
) -> list[dict[str, Any]]:
    """Return the last row of each stored sample that is not among `samples`.

    Raises:
        UsageError: they do not belong together.
    """
    solutions = {(sample.task.task_id, sample.sample): sample.solution for sample in samples}
    last = {(row["task_id"], row["sample"]): row for row in stored}
    others = [row for sample, row in last.items() if sample not in solutions]
    other_programs = any(last[sample].get("solution") != solution for sample, solution in solutions.items() if sample in last)
    if others and (other_programs or any(row.get("settings") != scorer.settings for row in others)):
        how = "of other programs" if other_programs else "made with other data, rules, limits, isolation or versions"
        raise UsageError(
            f"{output} holds verdicts on {len(others)} other samples, e.g. of {others[0]['task_id']}, {how}\n"
            "  hint:    choose another folder, or score those samples again too"
        )
    return others


def _sample_row(sample: SampleToScore, verdict: Verdict, settings: str) -> dict[str, Any]:
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
        "settings": settings,
    }
