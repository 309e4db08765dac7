"""Runs a build's programs in the sandbox and logs each result under its inputs, so that a resumed build repeats no run."""

from __future__ import annotations

import hashlib
import platform
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from reflectioncoder.builder.cells import Execution
from reflectioncoder.builder.crafted.cases import CASES_FORMAT
from reflectioncoder.builder.crafted.selection import CraftedTest
from reflectioncoder.builder.log import BuildLog
from reflectioncoder.builder.programs import RUNS, RunName
from reflectioncoder.builder.testing import Tests
from reflectioncoder.builder.tracing import Divergence
from reflectioncoder.builder.tracing.divergence import TRACE_FORMAT
from reflectioncoder.data.problems import Problem
from reflectioncoder.data.prompts import answer_program
from reflectioncoder.languages import LANGUAGES, PYTHON
from reflectioncoder.sandbox.limits import Limits
from reflectioncoder.sandbox.pool import default_workers

Runner = Callable[..., Any]
"""`runner(name, *arguments)` makes a run of `builder.programs`, on this or another machine. Must be thread-safe.

Raises SandboxUnavailableError if the sandbox failed."""


class RunnerHere:
    """Runs programs on this machine, `workers` at a time (0: one per core): more would make programs time out waiting for a CPU."""

    def __init__(self, workers: int = 0):
        self._running = threading.Semaphore(workers or default_workers())

    def __call__(self, name: RunName, *arguments: Any) -> Any:
        with self._running:
            return RUNS[name](*arguments)


class Executions:
    """Runs cells in a fresh session, or returns their results from the log. Thread-safe. Cells in languages other than Python are
    standalone programs.

    Raises (from calls):
        SandboxUnavailableError: the sandbox failed; nothing is logged.
    """

    def __init__(self, log: BuildLog, limits: Limits, workers: int = 0, runner: Runner | None = None):
        self._log = log
        self._run = runner or RunnerHere(workers)
        self._limits = limits  # wall_s applies to each cell

    def __call__(self, cells: list[str], language: str = PYTHON.name) -> list[Execution]:
        if language != PYTHON.name:
            shared = {"limits": vars(self._limits), "language": language, "version": LANGUAGES[language].toolchain.version()}
            wall_s = self._limits.wall_s
            logged = [
                self._log.recall("execution", {"program": cell, **shared}, partial(self._run, "alone", language, cell, wall_s))
                for cell in cells
            ]
            return [Execution.from_json(row) for row in logged]
        request = {"cells": cells, "limits": vars(self._limits), "python": platform.python_version()}
        run = partial(self._run, "cells", cells, self._limits)
        return [Execution.from_json(row) for row in self._log.recall("execution", request, run)]

    def test(self, program: str, tests: Tests, run: int = 0) -> Execution:
        """Test whether a Python program passes tests that it cannot tamper with (`builder.testing`).

        Args:
            run: number of a repeated run; part of the log key, so that repeated runs do not share a logged result.
        """
        about = {"program": program, "setup": tests.setup, "tests": list(tests.programs), "run": run}
        request = {**about, "limits": vars(self._limits), "python": platform.python_version()}
        run_tests = partial(self._run, "test", program, tests, self._limits)
        return Execution.from_json(self._log.recall("execution", request, run_tests))

    def diverge(self, attempt: str, reference: str, test: str, before: str = "") -> Divergence | None:
        """Return where two Python programs diverge (`builder.tracing.diverge`); None if no divergence is seen."""
        about = {"attempt": attempt, "reference": reference, "test": test, "before": before, "format": TRACE_FORMAT}
        request = {"trace": about, "python": platform.python_version()}
        row = self._log.recall("execution", request, partial(self._run, "diverge", attempt, reference, test, before))
        return row and Divergence.from_json(row)

    def craft(self, problem: Problem, slips: Sequence[str], seed: int) -> list[CraftedTest]:
        """Return a problem's own and crafted tests, with the slips that each test detects (`builder.crafted`)."""
        about = {"prompt": problem.prompt, "instruction": problem.instruction, "entry_point": problem.entry_point}
        shared = {"solution": problem.canonical_solution, "setup": problem.setup, "tests": list(problem.tests)}
        digest = hashlib.sha256("\0".join(slips).encode("utf-8", "surrogatepass")).hexdigest()
        request = {
            "craft": {**about, **shared, "slips": digest, "seed": seed, "format": CASES_FORMAT},
            "python": platform.python_version(),
        }
        run = partial(self._run, "craft", problem, slips, seed)
        return [CraftedTest.from_json(row) for row in self._log.recall("execution", request, run)]

    def failing(self, problem: Problem, tests: Sequence[str], program: str) -> str:
        """Return one digit per test of a problem: 1 if the program fails it, else 0."""
        about = {"program": program, "reference": answer_program(problem), "setup": problem.setup, "tests": list(tests)}
        run = partial(self._run, "failing", problem, tests, program)
        return self._log.recall("execution", {"failing": about, "python": platform.python_version()}, run)
