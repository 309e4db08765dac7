"""Runs a build's programs in the sandbox. Runs are called by name and separate from the log, so that other machines can make them too.

Every run takes serializable arguments and returns a JSON value.

Raises (everywhere):
    SandboxUnavailableError: the sandbox failed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any, Literal

from reflectioncoder.builder.cells import Execution
from reflectioncoder.builder.testing import Tests, run_program_tests
from reflectioncoder.builder.tracing import diverge
from reflectioncoder.data.failed_attempts import ENDED_BY_SIGNAL, RAN_TOO_LONG, reports_failure
from reflectioncoder.data.problems import Problem
from reflectioncoder.languages import LANGUAGES
from reflectioncoder.sandbox.detect import detect_isolation
from reflectioncoder.sandbox.execution import execute
from reflectioncoder.sandbox.limits import Limits
from reflectioncoder.sandbox.session import Session

# Sandbox paths and frames of Node's loader are removed, so that a program prints the same on every machine.
_NOT_THE_PROGRAMS = re.compile(
    r"(?:/box/work|/\S*?/reflectioncoder-[^/\s]+/work)/|^ +at .*node:internal.*\n|^node:\w+:\d+\n.*\n *\^\n\n?", re.MULTILINE
)


def run_as_cell(program: str, language: str, wall_s: float) -> Execution:
    """Compile and run a program in a language other than Python as if it were a session's cell.

    Raises:
        SandboxUnavailableError: the sandbox failed.
        MachineError: the toolchain is missing.
    """
    done = execute(LANGUAGES[language].toolchain, program, detect_isolation(), run_s=wall_s, as_terminal=True)
    ran = done.ran or done.built
    assert ran is not None
    output = _NOT_THE_PROGRAMS.sub("", ran.stdout if done.ran else ran.stderr)
    if ran.status == "timeout":
        return Execution("timeout", f"{output}{RAN_TOO_LONG}\n")
    if ran.status != "ok" and ran.signal and not reports_failure(output):  # a terminal's shell would say it
        output = f"{output}{ENDED_BY_SIGNAL} {ran.signal}\n"
    return Execution("ok" if ran.status == "ok" else "failed", output)


def _cells(cells: Sequence[str], limits: Limits) -> list[dict[str, Any]]:
    # The CPU limit covers the whole session: leave every cell its full time.
    limits = replace(limits, cpu_s=limits.wall_s * len(cells) + limits.cpu_s)
    with Session(limits, detect_isolation()) as session:
        ran = [session.run(cell) for cell in cells]
    return [{"status": r.status, "output": r.output, "error": r.error} for r in ran]


def _test(program: str, tests: Tests, limits: Limits) -> dict[str, Any]:
    ran = run_program_tests(program, tests, limits)
    return {"status": ran.status, "output": ran.output}


def _alone(language: str, program: str, wall_s: float) -> dict[str, Any]:
    return asdict(run_as_cell(program, language, wall_s))


def _diverge(attempt: str, reference: str, test: str, before: str) -> dict[str, Any] | None:
    found = diverge(attempt, reference, test, before)
    return found and found.to_json()


def _craft(problem: Problem, slips: Sequence[str], seed: int) -> list[dict[str, Any]]:
    from reflectioncoder.builder.crafted.crafting import craft_tests  # imported here because it takes half a second

    return [test.to_json() for test in craft_tests(problem, slips, f"{seed}/{problem.task_id}")]


def _failing(problem: Problem, tests: Sequence[str], program: str) -> str:
    from reflectioncoder.builder.crafted.crafting import failing_tests

    return failing_tests(problem, tests, program)


RunName = Literal["cells", "test", "alone", "diverge", "craft", "failing"]
RUNS: dict[RunName, Callable[..., Any]] = {
    "cells": _cells,
    "test": _test,
    "alone": _alone,
    "diverge": _diverge,
    "craft": _craft,
    "failing": _failing,
}
