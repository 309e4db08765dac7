"""Cells, the units of code that authors run: a cell is a program with its tests, and running it gives an `Execution`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from reflectioncoder.data.problems import Problem

ALL_PASSED = 'print("All tests passed.")'


@dataclass(frozen=True)
class Execution:
    """The result of running a cell, or a program with its tests.

    Attributes:
        status: "ok", "failed", "timeout" or "crashed".
        output: what a terminal would show; for a program run with tests, a description of the failure.
        error: class name of the exception that ended a Python cell.
    """

    status: str
    output: str
    error: str | None = None

    @property
    def passed(self) -> bool:
        return self.status == "ok"

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> Execution:
        return cls(row["status"], row["output"], row.get("error"))


Executor = Callable[[list[str]], list[Execution]]
"""Runs Python cells in one fresh session and returns one execution per cell."""


def python_cell(program: str, problem: Problem, tests: tuple[str, ...]) -> str:
    """Return an attempt's code block: the program, the tests' setup, the tests, and a line that prints that all tests passed."""
    setup = f"{problem.setup.strip()}\n\n" if problem.setup.strip() else ""
    return f"{program.rstrip()}\n\n{setup}" + "\n".join(tests) + f"\n{ALL_PASSED}"
