"""Overlap with benchmarks by word n-grams: the usual measure of contamination, for text and code alike."""

from __future__ import annotations

import re

_WORD = re.compile(r"\w+")


class NgramIndex:
    """Word n-grams of known documents. Case and punctuation do not count; documents shorter than n words never match."""

    def __init__(self, size: int = 10):
        self._size = size
        self._known: dict[tuple[str, ...], str] = {}

    def _ngrams(self, text: str) -> list[tuple[str, ...]]:
        words = _WORD.findall(text.lower())
        return [tuple(words[i : i + self._size]) for i in range(len(words) - self._size + 1)]

    def add(self, name: str, text: str) -> None:
        for ngram in self._ngrams(text):
            self._known.setdefault(ngram, name)

    def matches(self, text: str) -> list[tuple[str, str]]:
        """(document, shared words) of every known n-gram in `text`; [] if there is none."""
        return [(self._known[ngram], " ".join(ngram)) for ngram in self._ngrams(text) if ngram in self._known]
