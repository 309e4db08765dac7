"""Prepares the tasks of a benchmark for the page: every scoring's verdict and program, and the pairs of scorings to compare.

A page must open on any machine, so large sets are cut: programs first, starting with tasks that flip in no pair.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reflectioncoder.data.files import read_json, read_jsonl
from reflectioncoder.data.json_text import require_field
from reflectioncoder.errors import UsageError
from reflectioncoder.evaluate.compare import ScoredRun
from reflectioncoder.evaluate.references import failed_in
from reflectioncoder.evaluate.results import num_counted_rows
from reflectioncoder.evaluate.score import SAMPLES
from reflectioncoder.report.pairs import CHANGES, UNJUDGED, Pair, pair_of

MAX_PROGRAM_BYTES = 2_400_000  # of all programs and messages of a page
MAX_LISTED = 8_000  # verdicts (tasks x scorings) of a page
_VERDICT = {"task_id": str, "status": str, "solution": str, "stderr_tail": str, "tests": list}
_ANSWER = {"task_id": str, "completion": str, "extraction": str}
MAX_PROGRAM_CHARS, MAX_MESSAGE_CHARS, MAX_SHOWN_TESTS = 20_000, 500, 50


@dataclass(frozen=True)
class Side:
    """A scoring as it appears on the page.

    Attributes:
        run, kind: the run and its scoring, base or trained. Without a run, `kind` is the label.
        rows: the first sample of each task, as in `samples.jsonl`.
    """

    run: str
    kind: str
    scored: ScoredRun | None
    rows: dict[str, dict[str, Any]]

    @property
    def label(self) -> str:
        return f"{self.run}, {self.kind}" if self.run else self.kind


@dataclass(frozen=True)
class Compared:
    """Side `a` compared with side `b`, by their positions."""

    a: int
    b: int
    label: str
    pair: Pair


@dataclass(frozen=True)
class TaskSet:
    """The tasks of one benchmark with all its scorings."""

    name: str
    sides: Sequence[Side]
    pairs: Sequence[Compared]


@dataclass
class Programs:
    """The distinct programs of a page, up to its size limit."""

    max_bytes: int = MAX_PROGRAM_BYTES
    texts: list[str] = field(default_factory=list)
    _numbers: dict[str, int] = field(default_factory=dict)
    _num_bytes: int = 0

    def number_of(self, text: str) -> int | None:
        """Return the program's index on the page; None if it does not fit."""
        cut = len(text) - MAX_PROGRAM_CHARS
        shown = text if cut <= 0 else f"{text[:MAX_PROGRAM_CHARS]}\n… {cut:,} more characters are left out"
        if shown not in self._numbers:
            if not self.fits(shown):
                return None
            self._numbers[shown] = len(self.texts)
            self.texts.append(shown)
        return self._numbers[shown]

    def fits(self, text: str) -> bool:
        """Tell whether a text fits, and count it if it does."""
        size = len(text.encode(errors="replace")) + 4
        if self._num_bytes + size > self.max_bytes:
            return False
        self._num_bytes += size
        return True


def task_set(name: str, sides: Sequence[Side], wanted: Sequence[tuple[int, int]], known: Mapping[tuple[int, int], Pair]) -> TaskSet:
    """Compare the wanted pairs of sides, given by position, except those already `known`."""
    pairs = []
    for a, b in wanted:
        pair, first, second = known.get((a, b)), sides[a].scored, sides[b].scored
        if pair is None and first and second:
            pair = pair_of(first, second)
        pairs.append(Compared(a, b, _pair_label(sides[a], sides[b]), pair or Pair(reason="one of the scorings cannot be read")))
    return TaskSet(name, sides, pairs)


def _pair_label(a: Side, b: Side) -> str:
    """Name a pair, mentioning what both sides share only once."""
    if a.run == b.run:
        return f"{a.run}: {a.kind} → {b.kind}" if a.run else f"{a.kind} → {b.kind}"
    return f"{a.kind}: {a.run} → {b.run}" if a.kind == b.kind else f"{a.label} → {b.label}"


def rows_of(directory: Path) -> dict[str, dict[str, Any]]:
    """Return the first sample of each task that a scoring judges, with what became of the raw answer (`extraction`, `raw`)."""
    path = directory / "results.json"
    results = read_json(path) if path.is_file() else None
    judged = _rows(directory / SAMPLES, _VERDICT)
    counted = judged if results is None else judged[: num_counted_rows(results, judged, directory / SAMPLES)]
    left_out = frozenset() if results is None else failed_in(results)
    rows = {task: row for task, row in _first_of_tasks(counted).items() if task not in left_out}
    raw = _first_of_tasks(_rows(directory / "completions.jsonl", _ANSWER))
    for task_id, row in rows.items():
        answer = raw.get(task_id, {})
        row |= {"raw": answer.get("completion", ""), "extraction": answer.get("extraction", "")}
    return rows


def rows_of_results(path: Path) -> dict[str, dict[str, Any]]:
    """Return the first sample of each task from any input of `compare`: a folder, a `results.json`, or an EvalPlus result file."""
    folder = path if path.is_dir() else path.parent
    content = read_json(path / "results.json" if path.is_dir() else path)
    if not isinstance(content.get("eval"), dict):
        return rows_of(folder)
    rows = {}
    for task_id, (first, *_) in ((task, samples) for task, samples in content["eval"].items() if samples):
        base, plus = first.get("base_status"), first.get("plus_status")
        rows[task_id] = {"status": base if base != "pass" or plus is None else plus, "solution": str(first.get("solution", ""))}
    return rows


def _rows(path: Path, fields: Mapping[str, type]) -> list[dict[str, Any]]:
    """Read a file that may be missing.

    Args:
        fields: name and type of those that the page takes; but for `task_id` and `status` a row may lack them.

    Raises:
        UsageError: a field of a row is something else; file and line are named.
    """
    rows = []
    for number, row in read_jsonl(path, tolerate_torn_tail=True) if path.is_file() else ():
        for name, kind in fields.items():
            if name in row or name in ("task_id", "status"):
                require_field(row, name, kind, f"{path}:{number}")
        for test in row.get("tests", ()) if "tests" in fields else ():
            if not isinstance(test, dict) or not test.keys() >= {"passed", "detail"}:
                raise UsageError.for_value(
                    "not the outcome of a test", f"{path}:{number}: tests", test, "an object with passed and detail"
                )
        rows.append(row)
    return rows


def _first_of_tasks(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    first: dict[str, dict[str, Any]] = {}
    for row in rows:
        first.setdefault(row["task_id"], row)
    return first


def for_page(tasks: TaskSet, programs: Programs, max_listed: int) -> dict[str, Any]:
    """Return the tasks in the form that the page's script reads; `cut` says what was left out."""
    by_need = sorted(dict.fromkeys(task for side in tasks.sides for task in side.rows), key=lambda task: _need(tasks, task))
    fitting = max(max_listed // max(len(tasks.sides), 1), 1)
    listed, num_unlisted = by_need[:fitting], max(len(by_need) - fitting, 0)
    shown, without_programs = {}, 0
    for task in listed:
        sides = [_verdict(side.rows.get(task), programs) for side in tasks.sides]
        without_programs += any(side is not None and side.pop("no_room") for side in sides)
        shown[task] = {"id": task, "sides": sides}
    order = [task for task in dict.fromkeys(task for side in tasks.sides for task in side.rows) if task in shown]
    letters = {change: change[0] for change in (*CHANGES, UNJUDGED)}
    return {
        "name": tasks.name,
        "language": _language(tasks.name),
        "sides": [side.label for side in tasks.sides],
        "pairs": [
            {
                "a": pair.a,
                "b": pair.b,
                "label": pair.label,
                "changes": "".join(letters[pair.pair.changes.get(task, UNJUDGED)] for task in order),
            }
            for pair in tasks.pairs
        ],
        "tasks": [shown[task] for task in order],
        "cut": list(_cut(num_unlisted, without_programs)),
    }


def _need(tasks: TaskSet, task: str) -> int:
    """Sort key of tasks by interest to the reader: flipped ones, then unsolved ones, then the rest."""
    changes = {pair.pair.changes.get(task, UNJUDGED) for pair in tasks.pairs}
    return 0 if changes & {"gained", "lost"} else 2 if changes <= {"both"} else 1


def _cut(num_unlisted: int, without_programs: int) -> Iterator[str]:
    if num_unlisted:
        yield f"{num_unlisted:,} tasks are not listed here"
    if without_programs:
        yield f"the programs of {without_programs:,} listed tasks are left out"


def _verdict(row: dict[str, Any] | None, programs: Programs) -> dict[str, Any] | None:
    if row is None:
        return None
    tests = row.get("tests") or []
    details = {
        str(number): str(test["detail"])[:MAX_MESSAGE_CHARS]
        for number, test in enumerate(tests[:MAX_SHOWN_TESTS])
        if test["detail"] and programs.fits(str(test["detail"])[:MAX_MESSAGE_CHARS])
    }
    error = row.get("stderr_tail", "")[-MAX_MESSAGE_CHARS:] if row["status"] not in ("passed", "pass") else ""
    text = row.get("solution") or row.get("raw") or ""
    number = programs.number_of(text) if text else None
    verdict: dict[str, Any] = {
        "status": row["status"],
        "program": number,
        "tests": "".join("1" if test["passed"] else "0" for test in tests),
        "details": details,
        "error": error if error and programs.fits(error) else "",
        "reason": row.get("extraction", ""),
    }
    return {key: value for key, value in verdict.items() if value not in ("", {}, None)} | {"no_room": bool(text) and number is None}


def _language(benchmark: str) -> str:
    """Return the language suffix in a benchmark's name, as MultiPL-E and HumanEvalPack write it; Python if there is none."""
    family, _, language = benchmark.partition("/")
    return language.split("-")[0] if family.startswith(("multipl-e", "humanevalfix", "humanevalsynthesize")) else "py"
