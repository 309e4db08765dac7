"""A model's answer to one request, the check that it holds a program, and the model's name in ids."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from reflectioncoder.builder import checks
from reflectioncoder.builder.outcomes import Rejected
from reflectioncoder.config.building import EndpointConfig
from reflectioncoder.data.answers import ReadAnswer
from reflectioncoder.generate.reply import LENGTH, REFUSED

EMPTY = "empty"
ABSENT = "absent"


@dataclass(frozen=True)
class Answer:
    """`finish_reason`: that of the server's reply (`generate.reply.Reply`), `EMPTY` without a text, `ABSENT` if nobody answered."""

    text: str
    finish_reason: str

    @property
    def was_cut_off(self) -> bool:
        return self.finish_reason == LENGTH

    @property
    def missing(self) -> Rejected | None:
        """Return the rejection if the answer is refused or empty, else None."""
        if self.finish_reason == REFUSED:
            return Rejected("refused")
        if self.finish_reason == ABSENT:
            return Rejected("no_attempt")
        return Rejected("empty_answer") if self.finish_reason == EMPTY else None


def unusable(answer: Answer, read: ReadAnswer) -> Rejected | None:
    """Return the rejection if an answer holds no complete program, else None."""
    if rejected := answer.missing:
        return rejected
    if not read.has_program:
        return Rejected("no_code", answer.text)
    # An unterminated string: it contained the stop sequence that ends a code block.
    if answer.was_cut_off or checks.ends_within_text(read.solution):
        return Rejected("answer_cut_off", answer.text)
    return None


def name_of_model(endpoint: EndpointConfig) -> str:
    """Return the model's name for ids: a hub id in full, or the last component of a path; "" if the model has no name."""
    model = endpoint.model
    is_hub_id = re.fullmatch(r"[\w.-]+/[\w.-]+", model) and not Path(model).exists()
    return model if is_hub_id else model.rstrip("/").rpartition("/")[2]
