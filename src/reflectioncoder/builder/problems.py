"""The problems of a build, and the check whether samples can be written about them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from reflectioncoder.builder.cells import Execution
from reflectioncoder.builder.coding import reference_cell
from reflectioncoder.builder.executions import Executions
from reflectioncoder.builder.outcomes import Rejected
from reflectioncoder.builder.testing import Tests
from reflectioncoder.data.files import dumps_row
from reflectioncoder.data.problems import Problem
from reflectioncoder.data.prompts import answer_program
from reflectioncoder.languages import PYTHON


@dataclass(frozen=True)
class Problems:
    """The problems of a build.

    `each()` rereads them, one at a time. `left_out`: problem index → the benchmark task it matches. `digest`: hash of their content.
    """

    each: Callable[[], Iterator[Problem]]
    count: int
    left_out: dict[int, str]
    digest: str

    @classmethod
    def read(cls, each: Callable[[], Iterator[Problem]], contaminated_by: Callable[[Problem], str | None]) -> Problems:
        """Read all problems once, so that malformed ones are found before any request is sent."""
        count, left_out, digest = 0, {}, hashlib.sha256()
        for problem in each():
            digest.update(dumps_row(problem.to_json()).encode())
            if found := contaminated_by(problem):
                left_out[count] = found
            count += 1
        return cls(each, count, left_out, digest.hexdigest())


def unwritable(problem: Problem, execute: Executions, *, languages: frozenset[str] | None, needs_reference: bool) -> Rejected | None:
    """Return why no sample can be written about a problem; None if one can.

    A reference, required or not, must pass all tests in the form in which it becomes the answer.
    """
    if languages is not None and problem.language not in languages:
        return Rejected("not_python")
    if not (problem.has_reference and problem.tests):
        return Rejected("no_reference") if needs_reference else None
    ran = _run_reference(problem, execute)
    return None if ran.passed else Rejected("reference_fails", ran.output)


def _run_reference(problem: Problem, execute: Executions) -> Execution:
    if problem.language == PYTHON.name:
        return execute.test(answer_program(problem), Tests(problem.setup, problem.tests))
    return execute([reference_cell(problem)], problem.language)[0]
