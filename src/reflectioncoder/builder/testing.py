"""Tests whether a program passes tests, in a way that the program has no say in.

Tests run in a process of their own and reach the program through its entry point alone (`sandbox.asserted`): equality, `json` and the
assertions are those of a process in which nothing of the program has run, and an answer counts as the built-in value inside it. Tests
that need more of the program than one function run in its own process, in a session; a program that says itself what is equal
(`builder.equality`), or passes with other expected values too, is then turned away.
"""

from __future__ import annotations

import ast
import random
from dataclasses import dataclass

from reflectioncoder import syntax
from reflectioncoder.builder.cells import Execution
from reflectioncoder.builder.equality import own_equality
from reflectioncoder.builder.sources.closure import bound_names, free_names
from reflectioncoder.sandbox.asserted import TestsReport, run_tests
from reflectioncoder.sandbox.control import changed_expectations
from reflectioncoder.sandbox.detect import detect_isolation
from reflectioncoder.sandbox.limits import Limits
from reflectioncoder.sandbox.session import Session

# Tests that look at what a call does beside returning something, or change what it meets.
_BESIDE_THE_ANSWER = frozenset(
    ("stdout", "stderr", "stdin", "redirect_stdout", "redirect_stderr", "seed", "mock", "patch", "monkeypatch")
)
_MAX_CHANGED = 5  # assertions: each costs a run
_DRAW = random.SystemRandom()
_UNSENDABLE = "ValueError: unmarshallable object"


@dataclass(frozen=True)
class Tests:
    """Tests of a program. `setup` is defined for the tests beside the program; `programs` hold one or several statements each."""

    __test__ = False  # not a test case, whatever its name

    setup: str
    programs: tuple[str, ...]

    @property
    def code(self) -> str:
        return "\n".join([*([self.setup] if self.setup else []), *self.programs]) + "\n"


def run_program_tests(program: str, tests: Tests, limits: Limits) -> Execution:
    """Run all tests of a program. `limits.wall_s` is for all of it.

    Raises:
        SandboxUnavailableError: the sandbox failed, not the program.
    """
    if entry_point := _one_function(program, tests):
        report = run_tests(program, entry_point, f"__name__ = '__main__'\n{tests.setup}", tests.programs, limits, detect_isolation())
        if not _is_out_of_reach(report):
            return _read(report, len(tests.programs))
    if found := own_equality(program):
        return Execution("failed", f"the program has {found}, and its tests need more of it than one function")
    with Session(limits, detect_isolation()) as session:
        ran = session.run(f"{program}\n\n{tests.code}")
    if ran.status == "ok" and _passes_anything(program, tests.code, limits):
        return Execution("failed", "the program passes with other expected values too")
    return Execution(ran.status, ran.output)


def _passes_anything(program: str, code: str, limits: Limits) -> bool:
    """Tell whether one of the program's assertions, some drawn at random, is carried out and holds whatever it expects."""

    def passes(tests: str) -> bool:
        with Session(limits, detect_isolation()) as session:
            return session.run(f"{program}\n\n{tests}").status == "ok"

    found = changed_expectations(code)
    for *others, negated in _DRAW.sample(found, min(len(found), _MAX_CHANGED)):
        if all(map(passes, others)) and not passes(negated):
            return True
    return False


def _one_function(program: str, tests: Tests) -> str:
    """Return the function through which the tests reach the program; "" if they need more of it."""
    try:
        code = tests.code
        own = free_names(code) - bound_names(code)
        needed = own & bound_names(program)
        body = syntax.parse(program).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ""
    classes = {node.name for node in ast.walk(ast.Module(body, [])) if isinstance(node, ast.ClassDef)}
    if len(needed) != 1 or needed & classes or _spelled_names(code) & _BESIDE_THE_ANSWER:
        return ""
    return needed.pop()


def _spelled_names(code: str) -> set[str]:
    """Return every name and attribute that stands in the code."""
    found = set()
    for node in ast.walk(syntax.parse(code)):
        if isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.alias):
            found.add(node.name.rpartition(".")[2])
    return found


def _is_out_of_reach(report: TestsReport) -> bool:
    """Tell whether a test failed because arguments or answers are objects that cannot be sent from process to process."""
    failed = [row for row in report.rows if row.get("passed") is False]
    return bool(failed) and all(row.get("opaque") or row["detail"] == _UNSENDABLE for row in failed)


def _read(report: TestsReport, num_tests: int) -> Execution:
    errors = [str(row[key]) for row in report.rows for key in ("compile_error", "load_error", "detail") if row.get(key)]
    if report.end in ("timeout", "crashed"):
        return Execution(report.end, report.detail)
    num_passed = sum(row.get("passed") is True for row in report.rows)
    complete = any(row.get("done") for row in report.rows) and num_passed == num_tests
    if report.end == "ended" and complete:
        return Execution("ok", "")
    return Execution("failed", next(iter(errors), report.detail or "the program ended before its tests did"))
