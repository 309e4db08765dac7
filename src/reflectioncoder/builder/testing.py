"""Tests whether a program passes its tests, in a way that the program cannot manipulate.

Tests run in a separate process and reach the program only through its entry point (`sandbox.asserted`): equality, `json` and the
assertions belong to a process that has run none of the program's code, and answers are reduced to their built-in values. Tests that
need more of the program than one function run in the program's process, in a session; there a program is rejected if it influences
comparisons (`builder.equality`) or also passes with other expected values.
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

# Names in tests that inspect a call's side effects or change its environment.
_BESIDE_THE_ANSWER = frozenset(
    ("stdout", "stderr", "stdin", "redirect_stdout", "redirect_stderr", "seed", "mock", "patch", "monkeypatch")
)
_MAX_CHANGED = 5  # assertions; each costs at least one run
_DRAW = random.SystemRandom()


@dataclass(frozen=True)
class Tests:
    """Tests of a program. `setup` is code that runs before the tests; each of `programs` holds one or more statements."""

    __test__ = False  # tells pytest that this is not a test class

    setup: str
    programs: tuple[str, ...]

    @property
    def code(self) -> str:
        return "\n".join([*([self.setup] if self.setup else []), *self.programs]) + "\n"


def run_program_tests(program: str, tests: Tests, limits: Limits) -> Execution:
    """Run all tests of a program. `limits.wall_s` covers the whole run.

    Raises:
        SandboxUnavailableError: the sandbox failed, not the program.
    """
    if entry_point := _one_function(program, tests):
        report = run_tests(program, entry_point, f"__name__ = '__main__'\n{tests.setup}", tests.programs, limits, detect_isolation())
        if not report.out_of_reach:
            return _read(report, len(tests.programs))
    if found := own_equality(program):
        return Execution("failed", f"the program has {found}, and its tests need more of it than one function")
    with Session(limits, detect_isolation()) as session:
        ran = session.run(f"{program}\n\n{tests.code}")
    if ran.status == "ok" and _passes_anything(program, tests.code, limits):
        return Execution("failed", "the program passes with other expected values too")
    return Execution(ran.status, ran.output)


def _passes_anything(program: str, code: str, limits: Limits) -> bool:
    """Tell whether one of a random sample of assertions is executed and holds whatever value it expects."""

    def passes(tests: str) -> bool:
        with Session(limits, detect_isolation()) as session:
            return session.run(f"{program}\n\n{tests}").status == "ok"

    found = changed_expectations(code)
    for *others, negated in _DRAW.sample(found, min(len(found), _MAX_CHANGED)):
        if all(map(passes, others)) and not passes(negated):
            return True
    return False


def _one_function(program: str, tests: Tests) -> str:
    """Return the only name that the tests use from the program; "" if they need more, or a class."""
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
    """Return all names, attributes and imported names in the code."""
    found = set()
    for node in ast.walk(syntax.parse(code)):
        if isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.alias):
            found.add(node.name.rpartition(".")[2])
    return found


def _read(report: TestsReport, num_tests: int) -> Execution:
    errors = [str(row[key]) for row in report.rows for key in ("compile_error", "load_error", "detail") if row.get(key)]
    if report.end in ("timeout", "crashed"):
        return Execution(report.end, report.detail)
    num_passed = sum(row.get("passed") is True for row in report.rows)
    complete = any(row.get("done") for row in report.rows) and num_passed == num_tests
    if report.end == "ended" and complete:
        return Execution("ok", "")
    return Execution("failed", next(iter(errors), report.detail or "the program ended before its tests did"))
