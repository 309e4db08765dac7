"""Requests for one completion each: what a benchmark asks and a backend answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from reflectioncoder.data.completions import prompt_preamble
from reflectioncoder.data.prompts import OPENING_FENCE, one_off_request

AnswerForm = Literal["definition", "assertion", "script"]
"""definition: a program that defines the entry point; assertion: `assert f(1) == 2`, or a side of it; script: a whole program, which
reads its standard input."""


@dataclass(frozen=True)
class Request:
    """One completion to be made. `preamble` is what the prompt has before the asked function (imports, helpers).

    A task in another language than Python has its prompt in `prefill`, the beginning of the answer, and in `preamble`: the program is
    the prompt and the completion, cut at `stop_tokens`.
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
        """Tell whether the answer is begun with the prompt, which it continues, and not with the opening fence alone."""
        return self.prefill != OPENING_FENCE


def python_request(task_id: str, sample: int, prompt: str, entry_point: str, instruction: str = "") -> Request:
    """Return the one-off request for a Python function, the normal form of `data.prompts`."""
    return Request(task_id, sample, one_off_request(prompt, instruction), entry_point, prompt_preamble(prompt, entry_point))
