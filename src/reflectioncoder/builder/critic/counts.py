"""Counts the accepted and refused rewordings of diagnoses."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal

Refusal = Literal[
    "no_answer", "refused", "empty_answer", "answer_cut_off", "special_tokens", "has_code_block", "unchanged", "no_diagnosis",
    "other_language", "speaks_of_the_task", "too_long", "code_lost", "invented_output", "unsupported_claim",
]  # fmt: skip
REFUSALS: dict[Refusal, str] = {
    "no_answer": "the server gave no good answer, after all retries",
    "refused": "the server gives no text for the request",
    "empty_answer": "the answer holds no text",
    "answer_cut_off": "the answer reached endpoint.max_tokens",
    "special_tokens": "the text spells a special token",
    "has_code_block": "the text has a code block, a heading or a list",
    "unchanged": "the text is the old one",
    "no_diagnosis": "the text explains nothing: an apology or an announcement",
    "other_language": "the text is in another language than the sample",
    "speaks_of_the_task": "the text speaks of the explanation that it was to replace, or to the reader",
    "too_long": "the text has more than twice as many characters as the old one",
    "code_lost": "a piece of code that names the change is missing",
    "invented_output": "the text reports an output that no run showed",
    "unsupported_claim": "the text states what neither a run nor the code shows, and the old one did not",
}


@dataclass
class CriticCounts:
    """Counts of diagnoses sent to the critic, of accepted new texts, and of refused ones by reason."""

    model: str
    num_asked: int = 0
    num_accepted: int = 0
    refused: Counter[Refusal] = field(default_factory=Counter)

    def add(self, outcomes: list[Refusal | None]) -> None:
        """Count the outcomes of a sample's diagnoses; None means accepted."""
        self.num_asked += len(outcomes)
        self.num_accepted += outcomes.count(None)
        self.refused.update(outcome for outcome in outcomes if outcome is not None)

    def to_json(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "num_asked": self.num_asked,
            "num_accepted": self.num_accepted,
            "refused": dict(self.refused.most_common()),
        }
