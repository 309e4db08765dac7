"""Turns drafts into problems: whatever has a reference and tests is run twice, in the form in which the build will run it."""

from __future__ import annotations

import ast
import sys
from dataclasses import replace

from reflectioncoder import syntax
from reflectioncoder.builder import checks
from reflectioncoder.builder.sources.draft import Draft, Dropped
from reflectioncoder.builder.sources.recording import record_tests
from reflectioncoder.builder.testing import Tests, run_program_tests
from reflectioncoder.data.problems import Problem, parse_problem
from reflectioncoder.data.prompts import answer_program
from reflectioncoder.errors import UsageError
from reflectioncoder.sandbox.limits import Limits

_MAX_TRIED = 50  # tests, each in a run of its own
_CLOCK = frozenset(("now", "today", "utcnow", "time", "time_ns", "perf_counter", "monotonic"))
_CLOCK_OWNERS = frozenset(("time", "datetime", "date"))


def verify(draft: Draft, limits: Limits) -> Problem | Dropped:
    """Return the problem, with its tests recorded if it has none, or why it is dropped. `limits.wall_s` holds for one run.

    Raises:
        SandboxUnavailableError: the sandbox failed, not the program.
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
    if reason := _unfit(problem.reference):
        return Dropped(problem.task_id, reason)
    if draft.input_generator:
        recorded = record_tests(draft, limits)
        if isinstance(recorded, Dropped):
            return recorded
        problem = recorded
    if not problem.tests:
        return problem
    tests = Tests(problem.setup, problem.tests)
    for run in range(2):
        status = run_program_tests(answer_program(problem), tests, limits).status
        if status != "ok":
            did_pass = run > 0 or draft.input_generator  # recorded tests are what it returned
            reason = "too_slow" if status == "timeout" else "not_deterministic" if did_pass else "reference_fails"
            return Dropped(problem.task_id, reason, "" if reason == "too_slow" else _first_failure(problem, limits))
    return problem


def _first_failure(problem: Problem, limits: Limits) -> str:
    """Return the first test that fails alone, and how the program ends there; "" if none of the first ones does."""
    for test in problem.tests[:_MAX_TRIED]:
        ran = run_program_tests(answer_program(problem), Tests(problem.setup, (test,)), limits)
        if ran.status != "ok":
            lines = ran.output.strip().splitlines()
            return f"{' '.join(test.split())}: {lines[-1] if lines else ran.status}"
    return ""


def _unfit(program: str) -> str | None:
    """Return why a program is no reference, whatever it returns; None if it may be one."""
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
