"""Encodes the parts of a longer text one by one, as a tokenizer encodes them inside the text.

Two things make this more than `tokenizer.encode`. Llama-style tokenizers put a blank ("▁") before a text, which must not appear
before its second part. And every tokenizer searches the text for its added tokens, but content that spells one must stay text.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection, Iterator, Sequence
from typing import Any

# Contexts put before a part so that it is not at the beginning; the first one that does not merge with it is used.
_GUARDS = ("\n", "a", "=", ")", "\n\n", "1")


class Encoder:
    """An encoder for one `transformers` tokenizer.

    Attributes:
        special_ids: token ids that content must never be encoded to.
    """

    def __init__(self, tokenizer: Any):
        self._tokenizer = tokenizer
        special = {t.content: i for i, t in tokenizer.added_tokens_decoder.items() if t.special}
        special |= {t: tokenizer.convert_tokens_to_ids(t) for t in tokenizer.all_special_tokens}
        self.special_ids = frozenset(special.values())
        unknown = getattr(tokenizer, "unk_token_id", None)  # stands for text that no token spells
        self._forbidden = frozenset(i for t, i in special.items() if len(t) > 1) - {unknown}
        # Tokenizers search the text for every added token, special or not (FIM markers are often not). Lookahead also finds
        # overlapping spellings; a single character cannot be cut and is ordinary text.
        added = {t.content for t in tokenizer.added_tokens_decoder.values()} | set(special)
        spellings = sorted((re.escape(t) for t in added if len(t) > 1 and t.strip()), key=len, reverse=True)
        self._special_spelling = re.compile(f"(?=({'|'.join(spellings)}))") if spellings else None
        self._any_spelling = re.compile("|".join(spellings)) if spellings else None  # searches faster
        self._known: dict[str, list[int]] = {}
        self._wanted: dict[str, None] | None = None
        self._marks_beginnings = not self._is_plain_in_parts()

    def _is_plain_in_parts(self) -> bool:
        """Tell whether a part has the same tokens at the beginning of a text as after other text."""
        return any(
            self.template(one + other) == self.template(one) + self.template(other) for one, other in (("\n", "a"), ("a\n", "b"))
        )

    @contextlib.contextmanager
    def looking_ahead(self) -> Iterator[Collection[str]]:
        """Collect the texts that the block would encode instead of encoding them: every result is empty."""
        self._wanted = {}
        try:
            yield self._wanted.keys()
        finally:
            self._wanted = None

    @contextlib.contextmanager
    def knowing(self, texts: Collection[str]) -> Iterator[None]:
        """Encode many texts in one call; the block then looks their tokens up."""
        if texts:
            ids = self._tokenizer(list(texts), add_special_tokens=False, return_attention_mask=False)["input_ids"]
            self._known = dict(zip(texts, ids, strict=True))
        try:
            yield
        finally:
            self._known = {}

    def template(self, text: str) -> list[int]:
        """Return the tokens of a text at the beginning; special tokens spelled in it are encoded as such."""
        if not text:
            return []
        if self._wanted is not None:
            self._wanted[text] = None
            return []
        known = self._known.get(text)
        return self._tokenizer.encode(text, add_special_tokens=False) if known is None else list(known)

    def following(self, text: str, context: str = "") -> list[int]:
        """Return the tokens of a text after other text (`context` if possible); special tokens spelled in it are encoded as such."""
        if not text or not self._marks_beginnings:
            return self.template(text)
        for guard in (context, *_GUARDS) if context else _GUARDS:
            if self._wanted is not None:  # the first guard nearly always fits
                self.template(guard)
                return self.template(guard + text)
            before, both = self.template(guard), self.template(guard + text)
            if before and both[: len(before)] == before:
                return both[len(before) :]
        return self.template(text)

    def content(self, text: str, context: str = "") -> list[int]:
        """Return the tokens of plain content after other text (`context` if possible); none of them is special."""
        return self._parts(self.cut(text), context)

    def plain(self, text: str) -> list[int]:
        """Return the tokens of plain content at the beginning of a text; none of them is special."""
        first, *rest = self.cut(text)
        return self._without_special(self.template(first), first) + self._parts(rest)

    def marked(self, text: str, mark: str, *, at_beginning: bool) -> list[int]:
        """Return the tokens of template text with contents that have `mark` at every cut."""
        first, *rest = text.split(mark)
        ids = self.template(first) if at_beginning else self.following(first)
        for part in rest:
            ids += self.following(part)
        return ids

    def cut(self, text: str) -> list[str]:
        """Cut content into parts, none of which spells a special token."""
        if self._any_spelling is None or self._special_spelling is None or not self._any_spelling.search(text):
            return [text]
        cuts = [m.start() + 1 for m in self._special_spelling.finditer(text)]
        return [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]

    def _parts(self, parts: Sequence[str], context: str = "") -> list[int]:
        ids: list[int] = []
        for part in parts:
            ids += self._without_special(self.following(part, context), part, context)
            context = ""
        return ids

    def _without_special(self, ids: list[int], text: str, context: str = "") -> list[int]:
        """Return `ids`, or each character's tokens if a normalizer turned text that spells no special token into one."""
        if self._forbidden.isdisjoint(ids) or len(text) == 1:
            return ids
        return [i for index, character in enumerate(text) for i in self.following(character, "" if index else context)]


def mark_for(*texts: str) -> str:
    """Return a mark that occurs in none of the texts and that no template strips or changes (it is not blank)."""
    length = 0
    while any(_mark(length) in text for text in texts):
        length += 1
    return _mark(length)


def _mark(length: int) -> str:
    return f"\ue000{chr(0xE002) * length}\ue001"


def common_prefix(one: Sequence[Any], other: Sequence[Any]) -> int:
    """Return the length of the common prefix of two sequences of tokens or characters."""
    return next((index for index, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
