"""Overlap with benchmarks by word n-grams: the usual measure of contamination, for text and code alike."""

from __future__ import annotations

import re

_WORD = re.compile(r"\w+")


class NgramIndex:
    """Word n-grams of known documents. Case and punctuation do not count; documents shorter than n words never match.

    Args:
        without_common: leave out what occurs in several documents: phrases of the trade, which say nothing.
    """

    def __init__(self, size: int = 10, *, without_common: bool = False):
        self._without_common = without_common
        self._size = size
        self._known: dict[tuple[str, ...], str | None] = {}

    def _ngrams(self, text: str) -> list[tuple[str, ...]]:
        words = _WORD.findall(text.lower())
        return [tuple(words[i : i + self._size]) for i in range(len(words) - self._size + 1)]

    def add(self, name: str, text: str) -> None:
        for ngram in self._ngrams(text):
            if self._known.setdefault(ngram, name) != name and self._without_common:
                self._known[ngram] = None

    def matches(self, text: str) -> list[tuple[str, str]]:
        """(document, shared words) of every known n-gram in `text`; [] if there is none."""
        return [(name, " ".join(ngram)) for ngram in self._ngrams(text) if (name := self._known.get(ngram)) is not None]


class KnownTasks:
    """Tasks that training data must not hold: `names` are the sets that were found.

    A problem counts as one of them by its id, or by 10 words in a row of its text or of its code.
    """

    def __init__(self) -> None:
        self.names: list[str] = []
        self._ids: set[str] = set()
        self._texts, self._codes = NgramIndex(without_common=True), NgramIndex(without_common=True)

    def add(self, task_id: str, text: str, code: str) -> None:
        self._ids.add(task_id.lower())
        self._texts.add(task_id, text)
        self._codes.add(task_id, code)

    def find(self, task_id: str, text: str, code: str) -> str | None:
        """Which task it is and by what; None if it is none."""
        if task_id.lower() in self._ids:
            return f"{task_id}, by its id"
        for kind, index, content in (("text", self._texts, text), ("code", self._codes, code)):
            if matches := index.matches(content):
                return f"{matches[0][0]}, by its {kind}: {matches[0][1]}"
        return None
