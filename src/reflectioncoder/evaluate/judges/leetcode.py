"""LeetCodeDataset (arXiv 2504.14655): dated tasks, each a method of a class `Solution`, tested by assertions about its answers.

The official evaluator runs one program: the data set's imports, the solution, the assertions. Here imports and solution run in one
process and the assertions in another (`judges.programs`); linked lists and trees are sent between them as plain values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from reflectioncoder.data.completion_requests import Request
from reflectioncoder.evaluate.judges.base import Conditions, Judging, Row, Task
from reflectioncoder.evaluate.judges.programs import ProgramsJudge, ProgramTests
from reflectioncoder.sandbox.limits import Limits

_ENTRY_POINT = "candidate_of_the_tests"
# Runs in the tests' process; values go to the solution's process as tuples.
_SETUP = """
from math import inf


def list_node(values):
    return ("list_node", values)


def tree_node(values):
    return ("tree_node", values)
"""
_METHOD = "\n\n{name} = {method}\n"
_METHOD_OF_NODES = """

def {name}(*arguments, _method={method}, _make=(list_node, tree_node), **keywords):
    def node(value):
        made = {{make.__name__: make for make in _make}}
        is_node = isinstance(value, tuple) and len(value) == 2 and value[0] in made
        return made[value[0]](value[1]) if is_node else value

    return _method(*map(node, arguments), **{{key: node(value) for key, value in keywords.items()}})
"""


@dataclass(frozen=True)
class MethodTests(ProgramTests):
    """Assertions about a method, with the imports that precede the solution; `method` is an expression, `Solution().name`."""

    imports: str = ""
    method: str = ""

    def program(self, solution: str) -> str:
        """Return the program for the solution's process, which binds the entry point at its end."""
        ending = _METHOD_OF_NODES if any("_node(" in test for test in self.programs) else _METHOD
        return f"{self.imports}\n{solution}{ending.format(name=_ENTRY_POINT, method=self.method)}"


@dataclass(frozen=True)
class MethodsJudge(ProgramsJudge):
    """Judges methods by test programs."""

    def under(self, conditions: Conditions) -> Judging[ProgramTests]:
        judge = super().under(replace(conditions, limits=_longer(conditions.limits)))
        return lambda task, solution, look: judge(task, _program(task.tests, solution), look)

    def limits(self, conditions: Conditions) -> dict[str, Any]:
        return asdict(_longer(conditions.limits))


def _longer(limits: Limits) -> Limits:
    """Return limits for about a hundred assertions instead of a few; the official limit for all is 3 s of wall time."""
    return replace(limits, wall_s=3 * limits.wall_s, cpu_s=6 * limits.cpu_s)


def _program(tests: ProgramTests, solution: str) -> str:
    return tests.program(solution) if isinstance(tests, MethodTests) else solution


def leetcode_tasks(rows: Sequence[Row], where: str) -> list[Task[ProgramTests]]:
    """Make tasks from the data set's rows, in its order, which is by date."""
    return [
        Task(
            task_id=f"leetcode/{row['task_id']}",
            prompt=row["prompt"],
            entry_point=_ENTRY_POINT,
            tests=MethodTests((f"{row['test']}\ncheck({_ENTRY_POINT})\n",), _SETUP, row["prompt"], row["entry_point"]),
            part=row["difficulty"],
            canonical_solution=row["completion"],
            date=row["estimated_date"],
            instruction=row["query"],
        )
        for row in rows
    ]


def request_for(task: Task[ProgramTests], sample: int) -> Request:
    """Ask with the data set's own request."""
    return Request(task.task_id, sample, task.instruction, "Solution")
