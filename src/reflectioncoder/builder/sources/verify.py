"""Turns drafts into problems: whatever has a reference and tests is run twice, in its language, in the form in which the build will run
it."""

from __future__ import annotations

import ast
import re
import sys
from dataclasses import replace

from reflectioncoder import syntax
from reflectioncoder.builder import checks
from reflectioncoder.builder.cells import Execution
from reflectioncoder.builder.coding import coding_of
from reflectioncoder.builder.programs import run_as_cell
from reflectioncoder.builder.sources.draft import Draft, Dropped
from reflectioncoder.builder.sources.recording import record_tests
from reflectioncoder.builder.testing import Tests, run_program_tests
from reflectioncoder.data.failed_attempts import reports_failure
from reflectioncoder.data.problems import Problem, parse_problem
from reflectioncoder.data.prompts import answer_program
from reflectioncoder.errors import UsageError
from reflectioncoder.languages import PYTHON
from reflectioncoder.sandbox.limits import Limits

_MAX_TRIED = 50  # tests, each in a run of its own
_NAMES_ERROR = re.compile(r"\w*Error\b")  # of Node, which ends with its version
_CLOCK = frozenset(("now", "today", "utcnow", "time", "time_ns", "perf_counter", "monotonic"))
_CLOCK_OWNERS = frozenset(("time", "datetime", "date"))


def verify(draft: Draft, limits: Limits) -> Problem | Dropped:
    """Return the verified problem (its tests recorded if it has an input generator), or why it is dropped. `limits.wall_s` is per run.

    Raises:
        SandboxUnavailableError: the sandbox failed, not the program.
        MachineError: the toolchain of the problem's language is missing.
    """
    result = _verified(draft, limits)
    return replace(result, where=draft.where) if isinstance(result, Dropped) else result


def _verified(draft: Draft, limits: Limits) -> Problem | Dropped:
    problem = draft.problem
    try:
        parse_problem(problem.to_json())
    except (UsageError, RecursionError, MemoryError) as error:
        return Dropped(problem.task_id, "malformed", " ".join(str(error).split()))
    if not problem.has_reference:
        return problem
    if reason := _unfit(problem):
        return Dropped(problem.task_id, reason)
    if draft.input_generator:
        recorded = record_tests(draft, limits)
        if isinstance(recorded, Dropped):
            return recorded
        problem = recorded
    if not problem.tests:
        return problem
    for run in range(2):
        status = _run(problem, problem.tests, limits).status
        if status != "ok":
            did_pass = run > 0 or draft.input_generator  # the reference itself made recorded tests
            reason = "too_slow" if status == "timeout" else "not_deterministic" if did_pass else "reference_fails"
            return Dropped(problem.task_id, reason, "" if reason == "too_slow" else _first_failure(problem, limits))
    return problem


def _run(problem: Problem, tests: tuple[str, ...], limits: Limits) -> Execution:
    """Run the reference with some of the problem's tests."""
    program = answer_program(problem)
    if problem.language == PYTHON.name:
        return run_program_tests(program, Tests(problem.setup, tests), limits)
    return run_as_cell(coding_of(problem).cell(program, problem, tests), problem.language, limits.wall_s)


def _first_failure(problem: Problem, limits: Limits) -> str:
    """Return the first test that fails on its own, with the last line of its output; "" if none of the first tests does."""
    for test in problem.tests[:_MAX_TRIED]:
        ran = _run(problem, (test,), limits)
        if ran.status != "ok":
            return f"{' '.join(test.split())}: {_how_it_ends(problem, ran)}"
    return ""


def _how_it_ends(problem: Problem, ran: Execution) -> str:
    lines = ran.output.strip().splitlines()
    if problem.language == PYTHON.name:
        return lines[-1] if lines else ran.status
    failing = [line for line in lines if reports_failure(line) or _NAMES_ERROR.search(line)]
    return (failing or lines or [ran.status])[0].strip()


def _unfit(problem: Problem) -> str | None:
    """Return why a program is no reference, whatever it returns; None if it may be one."""
    program = problem.reference
    if problem.language != PYTHON.name:
        return "outside_world" if coding_of(problem).uses_outside_world(program) else None
    tree = syntax.parse(program)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = ["" if node.level else node.module or ""]
        else:
            names = []
        if any(name.partition(".")[0] not in sys.stdlib_module_names for name in names):
            return "third_party"
    if checks.uses_outside_world(program) or any(map(_reads_clock, ast.walk(tree))):
        return "outside_world"
    return None


def _reads_clock(node: ast.AST) -> bool:
    if not (isinstance(node, ast.Attribute) and node.attr in _CLOCK):
        return False
    owner = node.value
    return (owner.id if isinstance(owner, ast.Name) else getattr(owner, "attr", "")) in _CLOCK_OWNERS
