"""The repair benchmark: a program with one slip, the real failure of a test, and the request to correct it, in one turn.

The tests are the problem's, judged as programs (`judges.programs`). The tasks ship with the package:
benchmarks/make_repair_tasks.py makes them from held-out problems, with kinds of slips that training never sees.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from reflectioncoder.data.completion_requests import Request
from reflectioncoder.data.problems import parse_problem
from reflectioncoder.data.prompts import CLOSING_FENCE, OPENING_FENCE, answer_program
from reflectioncoder.evaluate.judges.base import Row, Task
from reflectioncoder.evaluate.judges.programs import ProgramTests

_REQUEST = "This Python function should solve the problem, but a test fails. Find the mistake and write the complete, correct function."
_OWN_FIELDS = ("operator", "seen_topic", "program", "failing_test", "output")


def repair_tasks(rows: Sequence[Row], where: str) -> list[Task[ProgramTests]]:
    """Make tasks from the package's rows, each a problem with a wrong program and a failing test's output."""
    tasks = []
    for number, row in enumerate(rows, start=1):
        problem = parse_problem({key: value for key, value in row.items() if key not in _OWN_FIELDS}, f"{where}:{number}")
        task = Task(
            task_id=f"repair/{problem.task_id}",
            prompt=_asked(problem.prompt, row["program"], row["output"]),
            entry_point=problem.entry_point,
            tests=ProgramTests(problem.tests),
            topic=problem.topic,
            grade=problem.grade,
            part="topics of training" if row["seen_topic"] else "unseen topics",
            canonical_solution=answer_program(problem),
        )
        tasks.append(task)
    return tasks


def _asked(prompt: str, program: str, output: str) -> str:
    parts = (_REQUEST, _fenced(prompt), "The program:", _fenced(program), "It prints:", _fenced(output, "```\n"))
    return "\n".join(parts)


def _fenced(text: str, opening: str = OPENING_FENCE) -> str:
    return opening + text.strip("\n") + CLOSING_FENCE


def request_for(task: Task[Any], sample: int) -> Request:
    """Ask for the correction; the task's prompt is the whole request."""
    return Request(task.task_id, sample, task.prompt, task.entry_point)
