"""Reads programming problems, and the set that ships with this package.

One JSON object per line, in HumanEval style: `task_id, prompt (signature and docstring), entry_point, canonical_solution (the body,
so that prompt + canonical_solution is the program), tests (a list of assert statements)`. A problem stated in words has an
`instruction` instead of a prompt, or beside it. Without `canonical_solution` only a model can author samples about it; without `tests`
the model's own tests count. Optional: `setup` (code that the tests need), `topic`, `grade` (1 trivial ... 5 hard), `split`, `source`,
`license`, `language` (py, js or cpp; tests in a language other than Python are statements that end the program if they do not hold).
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from reflectioncoder import syntax
from reflectioncoder.data.files import read_jsonl
from reflectioncoder.data.python_source import bindings, definition
from reflectioncoder.errors import UsageError
from reflectioncoder.languages import CODE_LANGUAGES, PYTHON

BUNDLED_SPLITS = ("train", "test_seen", "test_unseen")
BUNDLED_LANGUAGES = ("js", "cpp")  # a handful of problems each
MAX_GRADE = 5
BUNDLED_DIR = Path(__file__).parent.parent / "problems"


@dataclass(frozen=True)
class Problem:
    """A programming problem. `prompt` or `instruction` is not empty; everything else is optional.

    Attributes:
        task_id: its name, unique among the problems of a build.
        prompt: the beginning of the program, as in HumanEval: signature and docstring.
        entry_point: the name that the tests use.
        canonical_solution: the continuation of the prompt in a correct program.
        tests: assert statements (in languages other than Python, statements that end the program if they do not hold).
        grade: 1 (trivial) to 5 (hard); 0: not graded.
        instruction: the problem statement in words.
        setup: code that the tests need.
        language: `py`, `js` or `cpp`.

    Example:
        >>> from reflectioncoder import Problem
        >>> problem = Problem("double", "def double(x):\\n", "double", "    return 2 * x", ("assert double(2) == 4",))
        >>> print(problem.reference)
        def double(x):
            return 2 * x
    """

    task_id: str
    prompt: str = ""
    entry_point: str = ""
    canonical_solution: str = ""
    tests: tuple[str, ...] = ()
    topic: str = ""
    grade: int = 0
    split: str = ""
    instruction: str = ""
    setup: str = ""
    source: str = ""
    license: str = ""
    language: str = PYTHON.name

    @property
    def has_reference(self) -> bool:
        return bool(self.canonical_solution)

    @property
    def reference(self) -> str:
        """Return the complete reference program; "" if there is none."""
        return self.prompt + self.canonical_solution if self.has_reference else ""

    @property
    def test_code(self) -> str:
        return "\n".join([*([self.setup] if self.setup else []), *self.tests]) + "\n"

    @property
    def provenance(self) -> dict[str, str]:
        """Return `source` and `license` where known."""
        return {name: value for name, value in (("source", self.source), ("license", self.license)) if value}

    def to_json(self) -> dict[str, Any]:
        """Return the row of a problem file, without empty fields."""
        row = {key: list(value) if key == "tests" else value for key, value in asdict(self).items() if value or key in _REQUIRED}
        return {key: value for key, value in row.items() if (key, value) != ("language", PYTHON.name)}


_REQUIRED = {"task_id": str}
_OPTIONAL: dict[str, type] = {
    "prompt": str,
    "entry_point": str,
    "canonical_solution": str,
    "tests": list,
    "topic": str,
    "grade": int,
    "split": str,
    "instruction": str,
    "setup": str,
    "source": str,
    "license": str,
    "language": str,
}


def parse_problem(row: dict[str, Any], where: str = "problem") -> Problem:
    """Check one row: types, a statement, a reference that defines the entry point, tests that are assert statements.

    Raises:
        UsageError: the row is malformed; the error names `where`, the field, the value and what is allowed.
    """
    known = {**_REQUIRED, **_OPTIONAL}
    if unknown := sorted(set(row) - set(known)):
        raise UsageError.for_value("unknown field in a problem", where, unknown[0], list(known))
    for name, kind in known.items():
        if not isinstance(row.get(name, kind()), kind) or (name in _REQUIRED and not row.get(name)):
            raise UsageError(f"{where}: {name} must be a {kind.__name__}, got {row.get(name)!r:.60}")
    if isinstance(grade := row.get("grade", 0), bool) or not 0 <= grade <= MAX_GRADE:
        raise UsageError.for_value(
            "a grade is out of range", f"{where}: grade", grade, f"1 (trivial) to {MAX_GRADE} (hard), 0: not graded"
        )
    if any("\ud800" <= char <= "\udfff" for char in row["task_id"]):
        raise UsageError.for_value("a lone surrogate is no text", f"{where}: task_id", row["task_id"], "text that UTF-8 can hold")
    if (language := row.get("language", PYTHON.name)) not in CODE_LANGUAGES:
        raise UsageError.for_value("unknown language", f"{where}: language", language, list(CODE_LANGUAGES))
    problem = Problem(**{**row, "tests": tuple(row.get("tests", ()))})
    if not (problem.prompt.strip() or problem.instruction.strip()):
        raise UsageError(f"{where}: a problem has a prompt or an instruction, got neither")
    if (problem.tests or problem.prompt) and not problem.entry_point:
        raise UsageError(f"{where}: entry_point is empty: what do the tests call?")
    if problem.language != PYTHON.name:
        if not all(isinstance(test, str) and test.strip() for test in problem.tests):
            raise UsageError(f"{where}: every test is one statement, got {list(problem.tests)!r:.60}")
        if problem.has_reference and problem.entry_point not in problem.reference:
            raise UsageError(f"{where}: the program does not name its entry point {problem.entry_point}")
        return problem
    _parsed(problem.setup, where)
    for test in problem.tests:
        if not isinstance(test, str) or [type(node) for node in _parsed(test, where).body] != [ast.Assert]:
            raise UsageError(f"{where}: every test is one assert statement, got {test!r:.60}")
    tree = _parsed(problem.reference, where)
    if problem.has_reference and problem.entry_point and definition(tree, problem.entry_point) is None:
        defined = dict.fromkeys(name for name, _ in bindings(tree.body))
        raise UsageError.for_value("the program does not define its entry point", where, problem.entry_point, list(defined))
    return problem


def _parsed(code: str, where: str) -> ast.Module:
    try:
        return syntax.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise UsageError(f"{where}: the program or a test is not valid Python: {error or type(error).__name__}") from None


def iter_problems(sources: Iterable[str]) -> Iterator[Problem]:
    """Yield problems from several sources (`bundled:<split>` or the path of a JSON Lines file), one in memory at a time.

    Raises:
        UsageError: a malformed row or a repeated `task_id` (the error names file and line).
    """
    seen: set[int] = set()  # hashes, which save 10 MB at 10^5 ids
    for source in sources:
        kind, _, split = source.partition(":")
        path = _bundled_file(split) if kind == "bundled" else source
        for number, row in read_jsonl(path):
            problem = parse_problem(row, f"{path}:{number}")
            if hash(problem.task_id) in seen:
                raise UsageError(f"{path}:{number}: task_id {problem.task_id!r} occurs twice")
            seen.add(hash(problem.task_id))
            yield (
                problem
                if kind != "bundled"
                else replace(problem, source=f"ReflectionCoder's own problems, {split}", license="Apache-2.0")
            )


def _bundled_file(split: str) -> Path:
    if split not in (allowed := (*BUNDLED_SPLITS, *BUNDLED_LANGUAGES)):
        raise UsageError.for_value("unknown split of the bundled problems", "split", split, allowed)
    return BUNDLED_DIR / f"{split}.jsonl"


def bundled_problems(split: str) -> list[Problem]:
    """Return one split of the bundled set: `train`, `test_seen` (held out, topics of `train`) or `test_unseen` (new topics)."""
    return list(iter_problems([f"bundled:{split}"]))


def load_problems(sources: Iterable[str]) -> list[Problem]:
    """Load problems from several sources.

    Args:
        sources: `bundled:<split>` (`train`, `test_seen`, `test_unseen`, `js`, `cpp`) or the path of a JSON Lines file.

    Raises:
        UsageError: no such source, a malformed row, or a repeated `task_id` (the error names file and line).

    Example:
        >>> from reflectioncoder import load_problems
        >>> problem = load_problems(["bundled:train"])[0]
        >>> problem.has_reference, len(problem.tests) > 0
        (True, True)
    """
    return list(iter_problems(sources))
