"""Scores samples: judges them in the sandbox and writes the verdicts to `samples.jsonl`. Needs no model, no GPU and no torch.

Input rows follow EvalPlus (`evaluate.sample_files`). Several rows of a task are several samples.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, get_args

from reflectioncoder.choices import CUT_RULES, RULES, CutRule, Rules
from reflectioncoder.data.answer_reasons import Reason
from reflectioncoder.data.files import JsonlAppender, content_hash, read_jsonl, write_jsonl
from reflectioncoder.errors import SandboxUnavailableError, UsageError
from reflectioncoder.evaluate.benchmarks import Benchmark
from reflectioncoder.evaluate.judges.base import ALONE, TAIL_CHARS, Conditions, Judging, Look, Status, Task, Verdict
from reflectioncoder.evaluate.sample_files import read_row, sample_rows
from reflectioncoder.evaluate.second_look import judge_again
from reflectioncoder.evaluate.versions import judge_version, versions_for
from reflectioncoder.progress import Progress, say
from reflectioncoder.sandbox.detect import FLOOR, detect_isolation, require_floor
from reflectioncoder.sandbox.isolation import Isolation
from reflectioncoder.sandbox.limits import Limits
from reflectioncoder.sandbox.pool import map_ordered
from reflectioncoder.terminal import in_line

MAX_SAMPLE = 999_999
"""The largest number of a sample among those of its task; other tools count up to it."""
SAMPLES = "samples.jsonl"
"""Name of the file with the verdicts of a scoring, beside its `results.json`."""
_STATUSES = get_args(Status)


@dataclass(frozen=True)
class SampleToScore:
    """A sample: its program and, if known, the answer it came from, why that answer ended and how the program was extracted."""

    task: Task[Any]
    sample: int
    solution: str
    extraction: Reason = "given"
    answer: str = ""
    finish_reason: str = ""


@dataclass(frozen=True)
class Scorer:
    """Judges samples of one benchmark.

    Args:
        limits: limits for tests that are programs; calls on inputs have EvalPlus's limits (`evaluate.judges.evalplus`).
        floor: the weakest isolation tier accepted.

    Raises:
        SandboxUnavailableError: no program can be confined here, or only below the floor.
    """

    benchmark: Benchmark[Any]
    limits: Limits = field(default_factory=Limits)
    rules: Rules = RULES[0]
    floor: int = FLOOR
    isolation: Isolation = field(default_factory=detect_isolation)
    judging: Judging[Any] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        require_floor(self.isolation, self.floor)
        object.__setattr__(self, "judging", self.benchmark.judge.under(self.conditions))

    @property
    def conditions(self) -> Conditions:
        return Conditions(self.isolation, self.limits, self.rules)

    def describe_limits(self) -> dict[str, Any]:
        """Return the limits that apply to this benchmark's samples."""
        return self.benchmark.judge.limits(self.conditions)

    def prepare(self, workers: int) -> int:
        """Check that the judge is reliable here; return how many programs to judge at a time.

        Raises:
            MachineError: known programs in the benchmark's language get wrong verdicts here.
        """
        return self.benchmark.judge.prepare(self.isolation, workers)

    @cached_property
    def settings(self) -> str:
        """Return a hash of the settings that all verdicts of a scoring run share: rules, limits, isolation, data and versions."""
        benchmark, judge = self.benchmark, self.benchmark.judge
        rules = self.rules if judge.has_rules else None
        data = [benchmark.name, benchmark.version, benchmark.sha256, repr(judge)]
        return content_hash(self.describe_limits(), rules, self.isolation.name, data, judge.environment(), judge_version())

    def key(self, sample: SampleToScore) -> str:
        """Return the cache key of a sample's verdict, for resuming a scoring run."""
        task, source = sample.task, sample.solution
        return content_hash(task.task_id, sample.sample, source, task.tests.key(), self.settings, versions_for(source))

    def judge(self, task: Task[Any], solution: str, look: Look = ALONE) -> Verdict:
        """Return the verdict on one solution; a failure of the sandbox has its own verdict, which says nothing about the solution."""
        if not solution.strip():
            return self.benchmark.judge.no_code()
        try:
            return self.judging(task, solution, look)
        except SandboxUnavailableError as error:
            return Verdict("sandbox_error", "sandbox_error", detail=str(error)[-TAIL_CHARS:])


def read_samples_to_score(
    path: Path, benchmark: Benchmark, cut: CutRule = CUT_RULES[0], *, extract: bool = False
) -> list[SampleToScore]:
    """Read the samples of a file or folder (`evaluate.sample_files`).

    Args:
        cut: the rule that truncates completions in languages other than Python.
        extract: the rows hold answers, from which programs are extracted.

    Raises:
        UsageError: malformed row, unknown task, or no row at all; the message names file and line.
    """
    tasks = {task.task_id: task for task in benchmark.tasks}
    requests = {task.task_id: benchmark.request(task, 0) for task in benchmark.tasks}
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
            raise UsageError.for_value(what, f"{where}: task_id", task_id, f"e.g. {in_line(next(iter(tasks)))}")
        task = tasks[task_id]
        read = read_row(row, task.prompt, requests[task_id], cut, where, extract=extract)
        said, end = row.get("completion") or row.get("solution"), row.get("finish_reason")
        answer, finish_reason = (text if isinstance(text, str) else "" for text in (said, end))
        samples.append(SampleToScore(task, counts[task_id], read.solution, read.reason, answer, finish_reason))
        counts[task_id] += 1
        numbers.append(number := row.get("sample"))
        if type(number) is int and not 0 <= number <= MAX_SAMPLE:
            raise UsageError.for_value("not the number of a sample", f"{where}: sample", number, f"0 to {MAX_SAMPLE:,}")
    if not samples:
        raise UsageError(f"{path}: no samples in it")
    named = {(sample.task.task_id, number) for sample, number in zip(samples, numbers, strict=True) if type(number) is int}
    if len(named) == len(samples):  # `generate` writes rows in any order
        return [replace(sample, sample=number) for sample, number in zip(samples, numbers, strict=True)]
    return samples


def require_all_tasks(samples: Sequence[SampleToScore], benchmark: Benchmark, path: Path) -> None:
    """Raise UsageError if a task has no sample: a mean over the other tasks would not be the benchmark's score."""
    there = {sample.task.task_id for sample in samples}
    missing = [task.task_id for task in benchmark.tasks if task.task_id not in there]
    if missing:
        raise UsageError(
            f"{path}: {len(missing)} of {len(benchmark.tasks)} tasks of {benchmark.name} have no sample, e.g. {in_line(missing[0])}\n"
            f"  hint:    --partial scores what is there; {benchmark.name}:N or --limit N takes the first N tasks"
        )


class Judges(Protocol):
    """Judges the samples of one scoring, on this machine or on others."""

    def first(self, samples: Sequence[SampleToScore]) -> Iterator[tuple[int, Verdict]]:
        """Yield (index in `samples`, verdict) as they complete; a verdict that depends on a time limit is provisional.

        Raises:
            MachineError: verdicts are not reliable here.
        """
        ...

    def again(self, first: Sequence[tuple[SampleToScore, Verdict]]) -> Iterator[tuple[int, Verdict]]:
        """Yield (index in `first`, final verdict) for provisional verdicts, as they complete. Called after `first()`."""
        ...


@dataclass
class JudgesHere:
    """Judges on this machine, `workers` programs at a time (0: one per core)."""

    scorer: Scorer
    workers: int = 0

    def first(self, samples: Sequence[SampleToScore]) -> Iterator[tuple[int, Verdict]]:
        self.workers = self.scorer.prepare(self.workers)
        beside_others = Look(alone=False)
        yield from enumerate(map_ordered(lambda s: self.scorer.judge(s.task, s.solution, beside_others), samples, self.workers))

    def again(self, first: Sequence[tuple[SampleToScore, Verdict]]) -> Iterator[tuple[int, Verdict]]:
        return judge_again(self.scorer, first, self.workers)


def score_samples(
    samples: Iterable[SampleToScore],
    output: Path,
    scorer: Scorer,
    workers: int = 0,
    label: str = "score",
    judges: Judges | None = None,
) -> list[dict[str, Any]]:
    """Judge samples and append rows to `output` (`samples.jsonl`) as they complete; samples that have a row are not judged again.

    A verdict that depends on a limit is provisional and is judged once more at the end (`judge_again`). Finally `output` holds one row
    per sample, in the samples' order, followed by the existing rows of other samples.

    Args:
        judges: the judges; by default this machine, `workers` programs at a time.

    Returns the rows in the order of the samples.

    Raises:
        UsageError: `output` holds rows of other samples judged under other settings, which cannot be mixed into one scoring.
    """
    samples = list(samples)
    keys = [scorer.key(sample) for sample in samples]
    stored = _stored_rows(output)
    others = _rows_of_others(stored, samples, scorer, output)
    # A sandbox error is no verdict: it is tried again, and so is what is not as it was written.
    of_keys = dict(zip(keys, samples, strict=True))
    known = {row["key"]: row for row in stored if row["status"] != "sandbox_error" and _is_verdict_on(of_keys.get(row["key"]), row)}
    todo = [(key, sample) for key, sample in zip(keys, samples, strict=True) if key not in known]
    judges = judges or JudgesHere(scorer, workers)
    num_done = len(samples) - len(todo)
    again: list[tuple[str, SampleToScore, Verdict]] = []
    with JsonlAppender(output) as appender, Progress(label, len(samples), num_done) as progress:

        def keep(key: str, sample: SampleToScore, verdict: Verdict) -> None:
            nonlocal num_done
            known[key] = {**_sample_row(sample, verdict, scorer.settings), "key": key}
            appender.append(known[key])
            num_done += 1
            progress.update(num_done)

        for number, verdict in judges.first([sample for _, sample in todo]) if todo else ():
            key, sample = todo[number]
            if verdict.hit_time_limit:
                again.append((key, sample, verdict))
            else:
                keep(key, sample, verdict)
        if again:
            say(f"{label}: {len(again)} verdicts rest on a limit of time and are taken once more, without company")
        for number, verdict in judges.again([(sample, verdict) for _, sample, verdict in again]) if again else ():
            keep(*again[number][:2], verdict)
    rows = [known[key] for key in keys]
    write_jsonl(output, [*rows, *others])
    return rows


def _stored_rows(output: Path) -> list[dict[str, Any]]:
    """Read the rows of earlier scorings.

    Raises:
        UsageError: the file holds anything else, for instance samples to be scored.
    """
    rows = list(read_jsonl(output, tolerate_torn_tail=True)) if output.exists() else []
    for number, row in rows:
        texts = (row.get(name) for name in ("key", "status", "task_id"))
        whole = type(row.get("sample")) is int and isinstance(row.get("on_limit"), bool)
        whole = whole and isinstance(row.get("base_status", 0), str | None)
        if not (whole and all(isinstance(text, str) for text in texts)):
            raise UsageError(f"{output}:{number}: not a verdict\n  hint:    choose another folder for the results")
    return [row for _, row in rows]


def _is_verdict_on(sample: SampleToScore | None, row: dict[str, Any]) -> bool:
    """Tell whether a stored row is one that `_sample_row` makes for the sample."""
    if sample is None or (row["task_id"], row["sample"], row.get("solution")) != (sample.task.task_id, sample.sample, sample.solution):
        return False
    failed_inputs, tests = row.get("failed_inputs"), row.get("tests")
    return (
        row["status"] in _STATUSES
        and row.get("base_status") in _STATUSES
        and row.get("plus_status") in (*_STATUSES, None)
        and type(row.get("duration_s")) in (int, float)
        and isinstance(row.get("stderr_tail"), str)
        and isinstance(row.get("settings"), str)
        and isinstance(failed_inputs, dict)
        and all(type(number) is int for number in failed_inputs.values())
        and isinstance(tests, list)
        and all(isinstance(test, dict) and test.keys() >= {"passed", "detail"} for test in tests)
        and all(map(_is_finding, (value for name, value in row.items() if name not in _OF_EVERY_ROW)))
    )


def _is_finding(value: object) -> bool:
    """Tell whether a value can be in `Verdict.fields`: a text, numbers of tests, or facts about the node that judged."""
    if isinstance(value, dict):
        return all(isinstance(fact, str | int | float) for fact in value.values())
    return isinstance(value, str) or (isinstance(value, list) and all(type(number) is int for number in value))


def _rows_of_others(
    stored: Sequence[dict[str, Any]], samples: Sequence[SampleToScore], scorer: Scorer, output: Path
) -> list[dict[str, Any]]:
    """Return the last row of each stored sample that is not among `samples`.

    Raises:
        UsageError: the stored rows were judged under other settings.
    """
    solutions = {(sample.task.task_id, sample.sample): sample.solution for sample in samples}
    last = {(row["task_id"], row["sample"]): row for row in stored}
    others = [row for sample, row in last.items() if sample not in solutions]
    other_programs = any(last[sample].get("solution") != solution for sample, solution in solutions.items() if sample in last)
    if others and (other_programs or any(row.get("settings") != scorer.settings for row in others)):
        how = "of other programs" if other_programs else "made with other data, rules, limits, isolation or versions"
        raise UsageError(
            f"{output} holds verdicts on {len(others)} other samples, e.g. of {in_line(others[0]['task_id'])}, {how}\n"
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
        "on_limit": verdict.hit_time_limit,
        "failed_inputs": verdict.failed_inputs,
        "tests": list(verdict.tests),
        **verdict.fields,
        "settings": settings,
    }


_OF_EVERY_ROW = {"key", *_sample_row(SampleToScore(Task("", "", "", None), 0, ""), Verdict("passed", "passed"), "")}
