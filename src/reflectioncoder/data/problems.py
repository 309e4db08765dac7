"""Programming problems in the HumanEval style, and the set that ships with this package.

One JSON object a line: `task_id, topic, grade (1 trivial ... 5 hard), split, prompt (signature and docstring), entry_point,
canonical_solution (the body, such that prompt + canonical_solution is the program), tests (a list of assert statements)`.
`topic`, `grade` and `split` are optional in problem files of your own.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from reflectioncoder.data.files import read_jsonl
from reflectioncoder.errors import UsageError

BUNDLED_SPLITS = ("train", "test_seen", "test_unseen")
BUNDLED_DIR = Path(__file__).parent.parent / "problems"


@dataclass(frozen=True)
class Problem:
    task_id: str
    prompt: str
    entry_point: str
    canonical_solution: str
    tests: tuple[str, ...]
    topic: str = ""
    grade: int = 0
    split: str = ""

    @property
    def reference(self) -> str:
        """The complete reference program."""
        return self.prompt + self.canonical_solution

    @property
    def test_code(self) -> str:
        return "\n".join(self.tests) + "\n"

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "tests": list(self.tests)}


_REQUIRED = {"task_id": str, "prompt": str, "entry_point": str, "canonical_solution": str, "tests": list}
_OPTIONAL = {"topic": str, "grade": int, "split": str}


def parse_problem(row: dict[str, Any], where: str = "problem") -> Problem:
    """Check one row: all fields there, the reference defines the entry point, every test is an assert statement."""
    for name, kind in _REQUIRED.items():
        if not isinstance(row.get(name), kind):
            raise UsageError(f"{where}: {name} must be a {kind.__name__}, got {row.get(name)!r:.60}")
    unknown = sorted(set(row) - set(_REQUIRED) - set(_OPTIONAL))
    if unknown:
        raise UsageError.for_value("unknown field in a problem", where, unknown[0], [*_REQUIRED, *_OPTIONAL])
    try:
        functions = [n.name for n in ast.parse(row["prompt"] + row["canonical_solution"]).body if hasattr(n, "name")]  # pyright: ignore[reportAttributeAccessIssue]
        if not row["tests"]:
            raise UsageError(f"{where}: tests is empty")
        for test in row["tests"]:
            if not all(isinstance(node, ast.Assert) for node in ast.parse(test).body):
                raise UsageError(f"{where}: every test is one assert statement, got {test!r:.60}")
    except SyntaxError as error:
        raise UsageError(f"{where}: the program or a test is not valid Python: {error}") from None
    if row["entry_point"] not in functions:
        raise UsageError.for_value("the program does not define its entry point", where, row["entry_point"], functions)
    known = {name: row[name] for name in (*_REQUIRED, *_OPTIONAL) if name in row}
    return Problem(**{**known, "tests": tuple(row["tests"])})


def read_problems(path: str | Path) -> list[Problem]:
    """All problems of a JSON Lines file.

    Raises:
        UsageError: a malformed row or a `task_id` given twice (file and line are named).
    """
    problems: dict[str, Problem] = {}
    for number, row in read_jsonl(path):
        problem = parse_problem(row, f"{path}:{number}")
        if problem.task_id in problems:
            raise UsageError(f"{path}:{number}: task_id {problem.task_id!r} occurs twice")
        problems[problem.task_id] = problem
    return list(problems.values())


def bundled_problems(split: str) -> list[Problem]:
    """One split of the bundled set: `train`, `test_seen` (held out, topics of `train`) or `test_unseen` (new topics)."""
    if split not in BUNDLED_SPLITS:
        raise UsageError.for_value("unknown split of the bundled problems", "split", split, BUNDLED_SPLITS)
    return read_problems(BUNDLED_DIR / f"{split}.jsonl")


def load_problems(sources: Iterable[str]) -> list[Problem]:
    """Problems from several sources: `bundled:<split>` or the path of a JSON Lines file."""
    problems: list[Problem] = []
    for source in sources:
        kind, _, split = source.partition(":")
        problems += bundled_problems(split) if kind == "bundled" else read_problems(source)
    return problems
