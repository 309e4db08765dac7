"""Scoring: samples → verdicts in the sandbox → `samples.jsonl` and `results.json`. No model, no GPU, no torch.

Input rows follow EvalPlus (`evaluate.sample_files`). Several rows of a task are several samples.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from reflectioncoder.choices import CUT_RULES, RULES, CutRule, Rules
from reflectioncoder.data.answer_reasons import Reason
from reflectioncoder.data.files import JsonlAppender, content_hash, read_jsonl, write_jsonl
from reflectioncoder.errors import SandboxUnavailableError, UsageError
from reflectioncoder.evaluate.benchmarks import Benchmark
from reflectioncoder.evaluate.judges.base import ALONE, TAIL_CHARS, Conditions, Judging, Look, Task, Verdict
from reflectioncoder.evaluate.sample_files import read_row, sample_rows
from reflectioncoder.evaluate.second_look import judge_again
from reflectioncoder.evaluate.versions import judge_version, versions_for
from reflectioncoder.progress import Progress, say
from reflectioncoder.sandbox.detect import FLOOR, detect_isolation, require_floor
from reflectioncoder.sandbox.isolation import Isolation
from reflectioncoder.sandbox.limits import Limits
from reflectioncoder.sandbox.pool import map_ordered

SAMPLES = "samples.jsonl"
"""Name of the file with the verdicts of a scoring, beside its `results.json`."""


@dataclass(frozen=True)
class SampleToScore:
    """A sample: the program, and the text that it was found in, why that text ended and how the program was found, if that is known."""

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
        limits: of tests that are programs; answers to inputs are limited as EvalPlus does (`evaluate.judges.evalplus`).
        floor: the weakest isolation tier that is accepted.

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
        """Return the limits that hold for this benchmark's samples."""
        return self.benchmark.judge.limits(self.conditions)

    def prepare(self, workers: int) -> int:
        """Make sure that verdicts can be believed; how many programs may be judged at a time.

        Raises:
            MachineError: known programs of the benchmark's language are not judged rightly here.
        """
        return self.benchmark.judge.prepare(self.isolation, workers)

    @cached_property
    def settings(self) -> str:
        """Return a hash of what all verdicts of one scoring run have in common: rules, limits, isolation, data and versions."""
        benchmark, judge = self.benchmark, self.benchmark.judge
        rules = self.rules if judge.has_rules else None
        data = [benchmark.name, benchmark.version, benchmark.sha256, repr(judge)]
        return content_hash(self.describe_limits(), rules, self.isolation.name, data, judge.environment(), judge_version())

    def key(self, sample: SampleToScore) -> str:
        """Identifies verdicts that can be reused when a scoring run is resumed."""
        task, source = sample.task, sample.solution
        return content_hash(task.task_id, sample.sample, source, task.tests.key(), self.settings, versions_for(source))

    def judge(self, task: Task[Any], solution: str, look: Look = ALONE) -> Verdict:
        """Return the verdict on one solution; a failure of the sandbox is one too, and none on the solution."""
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
        cut: whose rule cuts completions in other languages than Python.
        extract: the rows hold answers, and the programs in them are looked for.

    Raises:
        UsageError: malformed row, unknown task, or no row at all (file and line are named).
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
            raise UsageError.for_value(what, f"{where}: task_id", task_id, f"e.g. {next(iter(tasks))}")
        task = tasks[task_id]
        read = read_row(row, task.prompt, requests[task_id], cut, where, extract=extract)
        said, end = row.get("completion") or row.get("solution"), row.get("finish_reason")
        answer, finish_reason = (text if isinstance(text, str) else "" for text in (said, end))
        samples.append(SampleToScore(task, counts[task_id], read.solution, read.reason, answer, finish_reason))
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


class Judges(Protocol):
    """Judges the samples of one scoring, on this machine or on others."""

    def first(self, samples: Sequence[SampleToScore]) -> Iterator[tuple[int, Verdict]]:
        """Yield (number in `samples`, verdict) as they come; those that rest on a limit of time do not count yet.

        Raises:
            MachineError: verdicts cannot be believed here.
        """
        ...

    def again(self, first: Sequence[tuple[SampleToScore, Verdict]]) -> Iterator[tuple[int, Verdict]]:
        """Yield (number in `first`, verdict that counts) for verdicts that rest on a limit, as they come. Is called after `first`."""
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
    """Judge samples into `output` (`samples.jsonl`), appended as they come; rows that are there are not judged again.

    A verdict that rests on a limit is taken once more at the end (`judge_again`), and only that one counts. In the end `output`
    holds one row for each of these samples, in their order, and after them the rows of other samples that were there.

    Args:
        judges: who judges; by default this machine, `workers` programs at a time.

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
        "on_limit": verdict.hit_time_limit,
        "failed_inputs": verdict.failed_inputs,
        "tests": list(verdict.tests),
        **verdict.fields,
        "settings": settings,
    }
