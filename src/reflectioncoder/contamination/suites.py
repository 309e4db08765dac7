"""Recognises solutions of BigCodeBench's tasks under another name by running the tasks' test suites on their functions.

Suites are slow, so only those of plausible tasks run: the program imports everything that the reference imports, and the function has
the same number of parameters.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

from reflectioncoder import syntax
from reflectioncoder.evaluate.judges.base import Task
from reflectioncoder.evaluate.judges.bigcodebench.benchmark import LIMITS, UnitTests, confined, suite_of
from reflectioncoder.evaluate.judges.bigcodebench.data import calibrated
from reflectioncoder.evaluate.judges.bigcodebench.suites import run_suite
from reflectioncoder.sandbox.isolation import Isolation

_LIMITS = replace(LIMITS, wall_s=20.0, cpu_s=20.0)


class SuiteBehaviour:
    """Names the task whose suite a program passes: `behaviour(program, functions)`. Safe to call from several threads.

    Raises (from calls):
        SandboxUnavailableError: the sandbox cannot run programs here.
    """

    def __init__(self, tasks: Sequence[Task[UnitTests]], isolation: Isolation):
        self._tasks = tasks
        self._isolation = confined(isolation)

    def __call__(self, program: str, functions: Sequence[str]) -> str | None:
        if not self._tasks:
            return None
        tree = syntax.parse(program)
        imported, num_parameters = _imported(tree), _num_parameters(tree)
        for task, needed, number in self._forms:
            if not needed or not needed <= imported:
                continue
            for name in functions:
                if num_parameters.get(name) == number and self._passes(task, name, program):
                    return f"{task.task_id}, by what {name} does"
        return None

    @cached_property
    def _forms(self) -> list[tuple[Task[UnitTests], frozenset[str], int]]:
        trees = [syntax.parse(task.canonical_solution) for task in self._tasks]
        return [(task, _imported(tree), _num_parameters(tree)[task.entry_point]) for task, tree in zip(self._tasks, trees, strict=True)]

    def _passes(self, task: Task[UnitTests], name: str, program: str) -> bool:
        suite = suite_of(task.tests.source)
        named = f"{calibrated(task.tests.code_prompt, program)}\n\n{task.entry_point} = {name}\n"
        return run_suite(named, task.tests.source, _LIMITS, self._isolation).verdict(suite.tests).status == "passed"


def _imported(tree: ast.Module) -> frozenset[str]:
    """Return the top-level packages that a program imports."""
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
    return frozenset(name.partition(".")[0] for name in names)


def _num_parameters(tree: ast.Module) -> dict[str, int]:
    found = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            found[node.name] = len(node.args.posonlyargs) + len(node.args.args) + len(node.args.kwonlyargs)
    return found
