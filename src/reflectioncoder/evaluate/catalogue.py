"""Lists the benchmarks: their sizes, languages and licences, what they measure, and whether their data is on this machine."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any, Literal

from reflectioncoder.evaluate.benchmarks import BENCHMARKS, BenchmarkRow
from reflectioncoder.evaluate.data_files import BenchmarkFile
from reflectioncoder.evaluate.facts import Facts
from reflectioncoder.evaluate.references import References, known_references, line_of
from reflectioncoder.paths import is_offline

State = Literal["packaged", "found", "downloadable", "missing"]
STATES: dict[State, str] = {
    "packaged": "comes with the package",
    "found": "found",
    "downloadable": "is downloaded",
    "missing": "not found",
}


@dataclass(frozen=True)
class DataState:
    """The location of a benchmark's tasks. `path` is empty if they are not found, `url` if they cannot be downloaded."""

    state: State
    version: str
    path: str = ""
    url: str = ""


@dataclass(frozen=True)
class Entry:
    """A benchmark in the list. `num_tasks` is None if it depends on the user's files.

    `references`: how many pass on this machine; None if they are not checked, or not yet.
    """

    name: str
    num_tasks: int | None
    facts: Facts
    data: DataState
    references: References | None = None
    checks_references: bool = False

    def to_json(self) -> dict[str, Any]:
        said = {"num_tasks": self.num_tasks, **asdict(self.facts), "data": asdict(self.data)}
        return {**said, "references": self.references and self.references.to_json()} if self.checks_references else said

    def line(self) -> str:
        tasks = "?" if self.num_tasks is None else str(self.num_tasks)
        said = f"{self.name:<29}{tasks:>5}  {self.facts.language:<12}{self.facts.license:<30}"
        return f"{said}{STATES[self.data.state]:<24}{self.facts.measures}{self._about_references()}"

    def _about_references(self) -> str:
        if not self.checks_references:
            return ""
        return f"; {line_of(self.references.to_json()) if self.references else 'its references have not been judged here'}"


HEADER = f"{'benchmark':<29}{'tasks':>5}  {'language':<12}{'licence of the data':<30}{'data':<24}measures"


def entries(data_dir: str | None = None) -> list[Entry]:
    """Return an entry for every benchmark, in the order of the registry, without downloading or judging anything.

    Example:
        >>> from reflectioncoder.evaluate.catalogue import entries
        >>> first = entries()[0]
        >>> first.name, first.num_tasks, first.data.state
        ('bundled/seen', 102, 'packaged')
    """

    @cache  # several benchmarks share a file, and a search walks whole folders
    def state_of(file: BenchmarkFile) -> DataState:
        return _state(file, data_dir)

    rows = {name: row.on_this_machine(data_dir) for name, row in BENCHMARKS.items()}
    return [_entry(name, row, state_of(row.file)) for name, row in rows.items()]


def _entry(name: str, row: BenchmarkRow[Any], data: DataState) -> Entry:
    checks = row.judge.checks_references
    return Entry(name, row.file.num_tasks, row.facts, data, known_references(name, row.file.sha256) if checks else None, checks)


def _state(file: BenchmarkFile, data_dir: str | None) -> DataState:
    if file.origin == "package":
        return DataState("packaged", file.version)
    if (found := file.find(data_dir)) is not None:
        return DataState("found", file.version, str(found), file.url)
    return DataState("downloadable" if file.url and not is_offline() else "missing", file.version, url=file.url)


def table() -> str:
    """Return a Markdown table of the benchmarks; a benchmark in many languages has one row with all its numbers of tasks."""
    groups: dict[str, list[BenchmarkRow[Any]]] = defaultdict(list)
    languages: dict[str, set[str]] = defaultdict(set)
    for name, row in BENCHMARKS.items():
        languages[name.partition("/")[0]].add(row.facts.language)
    for name, row in BENCHMARKS.items():
        family = name.partition("/")[0]
        groups[f"{family}/LANGUAGE" if len(languages[family]) > 1 else name].append(row)
    lines = ["| benchmark | tasks | language | licence of the data | data | measures |", "|---|---|---|---|---|---|"]
    return "\n".join([*lines, *(_table_row(name, rows) for name, rows in groups.items())])


_ORIGINS = {"package": "in the package", "published": "downloaded once", "own": "your own files"}


def _table_row(name: str, rows: list[BenchmarkRow[Any]]) -> str:
    numbers = sorted({row.file.num_tasks for row in rows if row.file.num_tasks is not None})
    tasks = "" if not numbers else str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"
    languages = list(dict.fromkeys(row.facts.language for row in rows))
    language = languages[0] if len(languages) == 1 else f"{len(languages)} languages"
    facts, origin = rows[0].facts, _ORIGINS[rows[0].file.origin]
    return f"| `{name}` | {tasks} | {language} | {facts.license} | {origin} | {facts.measures} |"
