"""Scoring: samples → verdicts in the sandbox → `samples.jsonl` and `results.json`. No model, no GPU, no torch.

Input rows follow EvalPlus: {"task_id", "solution"} is a whole program, {"task_id", "completion"} continues the prompt; `solution`
wins where both are given. Several rows of a task are several samples.
"""

from __future__ import annotations

import contextlib
import json
import secrets
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from reflectioncoder.data.files import JsonlAppender, content_hash, read_jsonl, write_jsonl
from reflectioncoder.errors import SandboxUnavailableError, UsageError
from reflectioncoder.evaluate.benchmarks import Benchmark, Task
from reflectioncoder.progress import Progress
from reflectioncoder.sandbox.isolation import detect_isolation
from reflectioncoder.sandbox.limits import Limits, RunResult
from reflectioncoder.sandbox.pool import map_ordered
from reflectioncoder.sandbox.process import run_python

Status = Literal["passed", "failed", "timeout", "memory", "compile_error", "crashed", "no_code", "sandbox_error"]
_HARNESS = Path(__file__).with_name("harness.py").read_text(encoding="utf-8")
_TAIL_CHARS = 400


@dataclass(frozen=True)
class SampleToScore:
    task: Task
    sample: int
    solution: str

    def key(self, limits: Limits) -> str:
        """Identifies verdicts that can be reused when a scoring run is resumed."""
        confinement = [asdict(limits), detect_isolation().name]
        return content_hash(self.task.task_id, self.sample, self.solution, self.task.tests, confinement)


@dataclass(frozen=True)
class Verdict:
    status: Status
    tests: tuple[dict[str, Any], ...]
    duration_s: float
    stderr_tail: str


def read_samples_to_score(path: Path, benchmark: Benchmark) -> list[SampleToScore]:
    """Rows of an EvalPlus-style samples file.

    Raises:
        UsageError: malformed row, unknown task, or no row at all (file and line are named).
    """
    tasks = {task.task_id: task for task in benchmark.tasks}
    counts: Counter[str] = Counter()
    samples = []
    for number, row in read_jsonl(path):
        task_id = row.get("task_id")
        if task_id in benchmark.left_out:
            continue
        if task_id not in tasks:
            raise UsageError.for_value(
                f"unknown task of {benchmark.name}", f"{path}:{number}: task_id", task_id, f"e.g. {next(iter(tasks))}"
            )
        solution, completion = row.get("solution"), row.get("completion")
        if solution is None and isinstance(completion, str):
            solution = tasks[task_id].prompt + completion
        if not isinstance(solution, str):
            raise UsageError(f"{path}:{number}: needs solution or completion, a string")
        samples.append(SampleToScore(tasks[task_id], counts[task_id], solution))
        counts[task_id] += 1
    if not samples:
        raise UsageError(f"{path}: no samples in it")
    return samples


def judge(task: Task, solution: str, limits: Limits) -> Verdict:
    """Run one solution against its task's tests."""
    if not solution.strip():
        return Verdict("no_code", (), 0.0, "")
    nonce = secrets.token_hex(16)
    files = {"solution.py": solution, "tests.json": json.dumps({"tests": list(task.tests), "nonce": nonce})}
    try:
        result = run_python(_HARNESS, limits, files=files, with_channel=True)
    except SandboxUnavailableError as error:
        return Verdict("sandbox_error", (), 0.0, str(error)[-_TAIL_CHARS:])
    rows = _rows(result.channel, nonce)
    tests = tuple(row for row in rows if "test" in row)
    return Verdict(_status(result, rows, tests, len(task.tests)), tests, result.duration_s, _tail(result, rows))


def _rows(channel: bytes, nonce: str) -> list[dict[str, Any]]:
    rows = []
    for line in channel.decode("utf-8", "replace").split("\n"):
        mark, tab, text = line.partition("\t")
        if mark == nonce and tab:
            with contextlib.suppress(ValueError):  # a row cut off by a kill: the test has no outcome
                rows.append(json.loads(text))
    return rows


def _status(result: RunResult, rows: Sequence[dict[str, Any]], tests: Sequence[dict[str, Any]], num_tests: int) -> Status:
    if result.status in ("timeout", "memory", "crashed"):
        return result.status
    if any("compile_error" in row for row in rows):
        return "compile_error"
    if any(row.get("load_error", row.get("detail", "")).startswith("MemoryError") for row in rows):
        return "memory"
    complete = any(row.get("done") for row in rows) and [row["test"] for row in tests] == list(range(num_tests))
    return "passed" if complete and all(row["passed"] for row in tests) else "failed"


def _tail(result: RunResult, rows: Sequence[dict[str, Any]]) -> str:
    reasons = [row.get("compile_error") or row.get("load_error") or row.get("detail") for row in rows]
    first = next((reason for reason in reasons if reason), result.reason)
    if not first and not any(row.get("done") for row in rows):
        first = "ended before its tests did"
    return "\n".join(part for part in (first, result.stderr[-_TAIL_CHARS:].strip()) if part)


def score_samples(
    samples: Iterable[SampleToScore], output: Path, limits: Limits, workers: int = 0, label: str = "score"
) -> list[dict[str, Any]]:
    """Judge samples into `output` (`samples.jsonl`), appended as they come; rows that are there are not judged again.

    In the end `output` holds just the rows of these samples, in their order.

    Returns the rows in the order of the samples.

    Raises:
        SandboxUnavailableError: no program can be confined here.
    """
    samples = list(samples)
    keys = [sample.key(limits) for sample in samples]
    known = {row["key"]: row for _, row in read_jsonl(output, tolerate_torn_tail=True)} if output.exists() else {}
    # A sandbox error is no verdict: it is tried again.
    known = {key: row for key, row in known.items() if row["status"] != "sandbox_error"}
    todo = [(key, sample) for key, sample in zip(keys, samples, strict=True) if key not in known]
    with JsonlAppender(output) as appender, Progress(label, len(samples), len(samples) - len(todo)) as progress:
        verdicts = map_ordered(lambda item: judge(item[1].task, item[1].solution, limits), todo, workers)
        for done, ((key, sample), verdict) in enumerate(zip(todo, verdicts, strict=True), start=1):
            row = {**_sample_row(sample, verdict), "key": key}
            appender.append(row)
            known[key] = row
            progress.update(len(samples) - len(todo) + done)
    rows = [known[key] for key in keys]
    write_jsonl(output, rows)
    return rows


def _sample_row(sample: SampleToScore, verdict: Verdict) -> dict[str, Any]:
    return {
        "task_id": sample.task.task_id,
        "sample": sample.sample,
        "solution": sample.solution,
        "status": verdict.status,
        "base_status": verdict.status,
        "plus_status": None,
        "duration_s": round(verdict.duration_s, 4),
        "stderr_tail": verdict.stderr_tail,
        "tests": [{"passed": t["passed"], "detail": t["detail"]} for t in verdict.tests],
    }
