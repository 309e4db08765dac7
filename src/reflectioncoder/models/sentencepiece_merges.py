"""Turns the ordered merges of a BPE tokenizer into SentencePiece scores, and proves that they encode the same.

BPE applies the merge that comes first in its list. SentencePiece, as llama.cpp has it, joins two neighbours whenever the result is a
token, the one with the best score first. The two agree if the list holds every pair that makes a token; trained BPE need not.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reflectioncoder.data.problems import bundled_problems
from reflectioncoder.errors import UsageError, require

_ODD_TEXTS = ("  x\t\ty   z\n\n\n    return", " " * 37 + "a" + " " * 9, "aaaaaaa ------- =======", "日本語 ü é😀\u200b\u00a0 ∑", "")
_NUM_PROGRAMS = 40


@dataclass(frozen=True)
class Merges:
    """Scores of tokens, and the tokens that text can become."""

    scores: Sequence[float]
    by_text: Mapping[str, int]
    byte_ids: Mapping[int, int]

    @classmethod
    def of(cls, tokens: Sequence[str], types: Sequence[int], merges: Sequence[tuple[str, str]]) -> Merges:
        """Score each token by the first merge that makes it: 0 for the first, −1 for the next token, …"""
        kinds = require("gguf", "train").TokenType
        order = {text: rank for rank, text in enumerate(dict.fromkeys(left + right for left, right in merges))}
        scores = [float(-order.get(text, len(order))) for text in tokens]
        by_text = {text: row for row, text in enumerate(tokens)}
        byte_ids = {int(text[3:5], 16): row for row, text in enumerate(tokens) if types[row] == kinds.BYTE}
        return cls(scores, by_text, byte_ids)

    def checked_scores(self, tokenizer: Any) -> list[float]:
        """Return the scores if they encode programs and odd texts as the tokenizer does.

        Raises:
            UsageError: they do not.
        """
        core = tokenizer.backend_tokenizer.model
        programs = [problem.reference for problem in bundled_problems("train")[:_NUM_PROGRAMS]]
        for text in (*programs, *_ODD_TEXTS):
            marked = text.replace(" ", "▁")
            if marked and self.encode(marked) != [token.id for token in core.tokenize(marked)]:
                raise UsageError(
                    "GGUF cannot be written: llama.cpp has no tokenizer that encodes as this one does: its merges leave out pairs that "
                    f"make a token\n  text:    {text[:80]!r}"
                )
        return list(self.scores)

    def encode(self, text: str) -> list[int]:
        """Encode text with "▁" for blanks as SentencePiece does."""
        pieces: list[str | None] = list(text)
        before, behind = list(range(-1, len(text) - 1)), [*range(1, len(text)), -1]
        queue: list[tuple[float, int, int, str]] = []

        def offer(left: int, right: int) -> None:
            if left >= 0 and right >= 0:
                joined = f"{pieces[left]}{pieces[right]}"
                if joined in self.by_text:
                    heapq.heappush(queue, (-self.scores[self.by_text[joined]], left, right, joined))

        for left in range(len(text) - 1):
            offer(left, left + 1)
        while queue:
            _, left, right, joined = heapq.heappop(queue)
            if pieces[left] is None or behind[left] != right or f"{pieces[left]}{pieces[right]}" != joined:
                continue
            pieces[left], pieces[right] = joined, None
            behind[left] = behind[right]
            if behind[right] >= 0:
                before[behind[right]] = left
            offer(before[left], left)
            offer(left, behind[left])
        return [token for piece in pieces if piece is not None for token in self._tokens_of(piece)]

    def _tokens_of(self, piece: str) -> list[int]:
        known = self.by_text.get(piece)
        return [known] if known is not None else [self.byte_ids[byte] for byte in piece.encode()]
