"""The results of a source: drafts of problems, and dropped entries with the reasons why they cannot become problems."""

from __future__ import annotations

from dataclasses import dataclass

from reflectioncoder.data.problems import Problem

REASONS = {
    "malformed": "a field is missing or of another type, or program or tests are not valid Python",
    "no_statement": "the row, or the docstring without its examples, says nothing",
    "no_entry_point": "no test calls a function that the program defines",
    "not_python": "the answer is in another language",
    "no_examples": "no doctest example calls the function with a result that can be compared",
    "not_self_contained": "the function needs another module or package, or what is defined conditionally or twice",
    "third_party": "the program imports what does not come with Python",
    "outside_world": "the program reads input, files or the clock, or uses the network",
    "not_comparable": "what the program returns cannot be written as JSON, or is nothing",
    "inputs_too_long": "the generated inputs or their results are too long for tests",
    "vacuous_tests": "the generator gives too few different inputs, or all have the same result",
    "too_slow": "a run takes longer than the limit of one cell",
    "reference_fails": "the reference fails its own tests",
    "not_deterministic": "the reference returns something else on the next run",
    "duplicate_id": "the task_id occurred before",
}


@dataclass(frozen=True)
class Draft:
    """An unverified problem. `input_generator`: code that defines `generate_inputs(rng)`, from which tests are recorded.

    `where`: its file and line, or its row.
    """

    problem: Problem
    input_generator: str = ""
    where: str = ""


@dataclass(frozen=True)
class Dropped:
    """An entry of a source that cannot become a problem.

    `reason`: a key of REASONS. `detail`: details of the fault, if known. `where`: see `Draft`.
    """

    task_id: str
    reason: str
    detail: str = ""
    where: str = ""

    def __str__(self) -> str:
        return ": ".join(part for part in (self.where, self.task_id, self.detail) if part)
