"""Cells run in sandbox sessions, each run logged under what it depends on, so that a resumed build repeats nothing."""

from __future__ import annotations

import hashlib
import platform
import re
import threading
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any

from reflectioncoder.builder.cells import Execution
from reflectioncoder.builder.crafted.cases import CASES_FORMAT
from reflectioncoder.builder.crafted.selection import CraftedTest
from reflectioncoder.builder.log import BuildLog
from reflectioncoder.builder.testing import Tests, run_program_tests
from reflectioncoder.builder.tracing import Divergence, diverge
from reflectioncoder.data.problems import Problem
from reflectioncoder.data.prompts import answer_program
from reflectioncoder.languages import LANGUAGES, PYTHON
from reflectioncoder.sandbox.detect import detect_isolation
from reflectioncoder.sandbox.execution import execute
from reflectioncoder.sandbox.limits import Limits
from reflectioncoder.sandbox.pool import default_workers
from reflectioncoder.sandbox.session import Session

# Where the sandbox keeps the program, and the frames of Node's own loader: the same program is to say the same everywhere.
_NOT_THE_PROGRAMS = re.compile(
    r"(?:/box/work|/\S*?/reflectioncoder-[^/\s]+/work)/|^ +at .*node:internal.*\n|^node:\w+:\d+\n.*\n *\^\n\n?", re.MULTILINE
)


def run_as_cell(program: str, language: str, wall_s: float) -> Execution:
    """Compile and run a program of another language than Python, as if it were a session's cell.

    Raises:
        SandboxUnavailableError: the sandbox failed.
        MachineError: the toolchain is missing.
    """
    done = execute(LANGUAGES[language].toolchain, program, detect_isolation(), run_s=wall_s, as_terminal=True)
    ran = done.ran or done.built
    assert ran is not None
    output = _NOT_THE_PROGRAMS.sub("", ran.stdout if done.ran else ran.stderr)
    if ran.status == "timeout":
        return Execution("timeout", f"{output}the program ran too long and was stopped\n")
    return Execution("ok" if ran.status == "ok" else "failed", output)


class Executions:
    """`executions(cells)` runs cells in a fresh session, or answers from the log. Safe to call from several threads. Cells of another
    language than Python are programs of their own.

    Raises (from calls):
        SandboxUnavailableError: the sandbox failed; nothing is logged.
    """

    def __init__(self, log: BuildLog, limits: Limits, workers: int = 0):
        self._log = log
        # However many ask: what waits for a processor would run into its time limit.
        self._running = threading.Semaphore(workers or default_workers())
        self._limits = limits  # wall_s holds for each cell

    def __call__(self, cells: list[str], language: str = PYTHON.name) -> list[Execution]:
        if language != PYTHON.name:
            shared = {"limits": vars(self._limits), "language": language, "version": LANGUAGES[language].toolchain.version()}
            run = partial(self._run_alone, language)
            logged = [self._log.recall("execution", {"program": cell, **shared}, partial(run, cell)) for cell in cells]
            return [Execution.from_json(row) for row in logged]
        request = {"cells": cells, "limits": vars(self._limits), "python": platform.python_version()}
        return [Execution.from_json(row) for row in self._log.recall("execution", request, lambda: self._run(cells))]

    def test(self, program: str, tests: Tests, run: int = 0) -> Execution:
        """Test whether a Python program passes tests that it has no say in (`builder.testing`).

        Args:
            run: of several runs, which must not be answered for each other, the number.
        """
        about = {"program": program, "setup": tests.setup, "tests": list(tests.programs), "run": run}
        request = {**about, "limits": vars(self._limits), "python": platform.python_version()}
        return Execution.from_json(self._log.recall("execution", request, lambda: self._test(program, tests)))

    def diverge(self, attempt: str, reference: str, test: str, before: str = "") -> Divergence | None:
        """Return where two Python programs part (`builder.tracing.diverge`), None if that is not seen."""
        about = {"attempt": attempt, "reference": reference, "test": test, "before": before}
        request = {"trace": about, "python": platform.python_version()}

        def run() -> dict[str, Any] | None:
            with self._running:
                found = diverge(attempt, reference, test, before)
            return found and found.to_json()

        row = self._log.recall("execution", request, run)
        return row and Divergence.from_json(row)

    def craft(self, problem: Problem, slips: Sequence[str], seed: int) -> list[CraftedTest]:
        """Return a problem's own and crafted tests, and which of the slips each notices (`builder.crafted`)."""
        from reflectioncoder.builder.crafted.crafting import craft_tests  # takes half a second to import

        about = {"prompt": problem.prompt, "instruction": problem.instruction, "entry_point": problem.entry_point}
        shared = {"solution": problem.canonical_solution, "setup": problem.setup, "tests": list(problem.tests)}
        digest = hashlib.sha256("\0".join(slips).encode("utf-8", "surrogatepass")).hexdigest()
        request = {
            "craft": {**about, **shared, "slips": digest, "seed": seed, "format": CASES_FORMAT},
            "python": platform.python_version(),
        }

        def run() -> list[dict[str, Any]]:
            with self._running:
                return [test.to_json() for test in craft_tests(problem, slips, f"{seed}/{problem.task_id}")]

        return [CraftedTest.from_json(row) for row in self._log.recall("execution", request, run)]

    def failing(self, problem: Problem, tests: Sequence[str], program: str) -> str:
        """Return a digit for each test of a problem, 1 if a program fails it."""
        from reflectioncoder.builder.crafted.crafting import failing_tests

        about = {"program": program, "reference": answer_program(problem), "setup": problem.setup, "tests": list(tests)}

        def run() -> str:
            with self._running:
                return failing_tests(problem, tests, program)

        return self._log.recall("execution", {"failing": about, "python": platform.python_version()}, run)

    def _test(self, program: str, tests: Tests) -> dict[str, Any]:
        with self._running:
            ran = run_program_tests(program, tests, self._limits)
        return {"status": ran.status, "output": ran.output}

    def _run_alone(self, language: str, program: str) -> dict[str, Any]:
        with self._running:
            return asdict(run_as_cell(program, language, self._limits.wall_s))

    def _run(self, cells: list[str]) -> list[dict[str, Any]]:
        # The CPU limit holds for a session's whole life: leave every cell its full time.
        limits = replace(self._limits, cpu_s=self._limits.wall_s * len(cells) + self._limits.cpu_s)
        with self._running, Session(limits, detect_isolation()) as session:
            ran = [session.run(cell) for cell in cells]
        return [{"status": r.status, "output": r.output, "error": r.error} for r in ran]
