"""Requests for one completion each: made by a benchmark, answered by a backend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from reflectioncoder.data.completions import prompt_preamble
from reflectioncoder.data.problems import Problem
from reflectioncoder.data.prompts import OPENING_FENCE, one_off_request, opening_fence
from reflectioncoder.languages import PYTHON

AnswerForm = Literal["definition", "assertion", "script"]
"""definition: a program that defines the entry point; assertion: `assert f(1) == 2`, or one side of it; script: a whole program that
reads its standard input."""


@dataclass(frozen=True)
class Request:
    """A request for one completion. `preamble` is the part of the prompt before the requested function (imports, helpers).

    For a task in a language other than Python, `prefill` (the beginning of the answer) and `preamble` contain the prompt: the program
    is the prompt plus the completion, cut at `stop_tokens`.
    """

    task_id: str
    sample: int
    instruction: str
    entry_point: str
    preamble: str = ""
    prefill: str = OPENING_FENCE
    language: str = "py"
    stop_tokens: tuple[str, ...] = ()
    form: AnswerForm = "definition"

    @property
    def key(self) -> tuple[str, int]:
        return self.task_id, self.sample

    @property
    def begins_with_prompt(self) -> bool:
        """Tell whether the answer continues the prompt, rather than starting after the opening fence alone."""
        return self.prefill != OPENING_FENCE


def python_request(task_id: str, sample: int, prompt: str, entry_point: str, instruction: str = "") -> Request:
    """Return the one-off request for a Python function in the standard form of `data.prompts`."""
    return Request(task_id, sample, one_off_request(prompt, instruction), entry_point, prompt_preamble(prompt, entry_point))


def problem_request(problem: Problem, sample: int) -> Request:
    """Return the one-off request for a problem, in its language."""
    if problem.language == PYTHON.name:
        return python_request(problem.task_id, sample, problem.prompt, problem.entry_point, problem.instruction)
    asked = one_off_request(problem.prompt, problem.instruction, problem.language)
    prefill = opening_fence(problem.language) + problem.prompt
    return Request(problem.task_id, sample, asked, problem.entry_point, problem.prompt, prefill, problem.language)
