"""A model's answer to one request, whether it holds a program, and the name that the model has in ids."""

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


@dataclass(frozen=True)
class Answer:
    """`finish_reason`: that of the server's reply (`generate.reply.Reply`), or `EMPTY` if there is no text."""

    text: str
    finish_reason: str

    @property
    def was_cut_off(self) -> bool:
        return self.finish_reason == LENGTH

    @property
    def missing(self) -> Rejected | None:
        """Return the reason why there is no answer, if there is none."""
        if self.finish_reason == REFUSED:
            return Rejected("refused")
        return Rejected("empty_answer") if self.finish_reason == EMPTY else None


def unusable(answer: Answer, read: ReadAnswer) -> Rejected | None:
    """Return why an answer holds no whole program, if it does not."""
    if rejected := answer.missing:
        return rejected
    if not read.has_program:
        return Rejected("no_code", answer.text)
    # A text that never ends: the stop text, which ends a block, stood in it.
    if answer.was_cut_off or checks.ends_within_text(read.solution):
        return Rejected("answer_cut_off", answer.text)
    return None


def name_of_model(endpoint: EndpointConfig) -> str:
    """Return the model's name for ids: a hub id is kept whole, a path is named by its last part; "" if the model has no name."""
    model = endpoint.model
    is_hub_id = re.fullmatch(r"[\w.-]+/[\w.-]+", model) and not Path(model).exists()
    return model if is_hub_id else model.rstrip("/").rpartition("/")[2]
