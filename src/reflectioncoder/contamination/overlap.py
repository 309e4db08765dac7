"""Measures overlap with benchmarks by word n-grams, the usual measure of contamination, for text and code alike."""

from __future__ import annotations

import re
from collections.abc import Iterable

_WORD = re.compile(r"\w+")

# Task ids known without any data: all of HumanEval(+), and the MBPP tasks that MBPP+ v0.2.0 contains.
_MBPP_PLUS = """2-4 6-9 11-12 14 16-20 56-59 61-72 74-75 77 79-80 82 84-106 108-109 111 113 116 118-120 123-133 135 137-142 145 160-162
165-168 170-172 222-224 226-227 230 232-235 237-240 242 244-245 247 250-253 255-257 259-262 264-274 276-287 290 292-294 296-297 299-301
305-306 308-312 388-392 394-395 397-398 404-406 409-410 412-415 418-422 424-430 432-433 435-437 439-441 445-448 450-451 453-460 462-463
465 468 470-479 554-560 562-569 572-573 576-581 583 585-594 596-600 602-608 610-612 614-616 618-620 622-624 626 628-633 635 637-639 641
643-644 720-726 728 730-737 739-745 748-755 757-760 762-767 769-773 775 777-778 780-782 784-788 790-794 796-801 803-809"""


def _benchmark_ids() -> frozenset[str]:
    ranges = [part.partition("-") for part in _MBPP_PLUS.split()]
    mbpp = (number for first, _, last in ranges for number in range(int(first), int(last or first) + 1))
    return frozenset((*(f"humaneval/{number}" for number in range(164)), *(f"mbpp/{number}" for number in mbpp)))


BENCHMARK_IDS = _benchmark_ids()
"""Lower-case ids of the tasks of HumanEval(+) and MBPP+."""


class NgramIndex:
    """Word n-grams of known documents. Case and punctuation are ignored; documents shorter than n words never match.

    Args:
        without_common: ignore n-grams that occur in several documents: common phrases identify no task.
    """

    def __init__(self, size: int = 10, *, without_common: bool = False):
        self._without_common = without_common
        self._size = size
        self._half = (size + 1) // 2
        self._known: dict[tuple[str, ...], str | None] = {}
        self._halves: set[tuple[str, ...]] = set()

    def add(self, name: str, text: str) -> None:
        words = _words(text)
        for start in range(len(words) - self._size + 1):
            ngram = tuple(words[start : start + self._size])
            if self._known.setdefault(ngram, name) != name and self._without_common:
                self._known[ngram] = None
        if len(words) >= self._size:
            self._halves |= {tuple(words[start : start + self._half]) for start in range(len(words) - self._half + 1)}

    def matches(self, text: str) -> list[tuple[str, str]]:
        """Return (document, shared words) of every known n-gram in `text`; [] if there is none."""
        words, found = _words(text), []
        for start in self._candidates(words):
            ngram = tuple(words[start : start + self._size])
            if (name := self._known.get(ngram)) is not None:
                found.append((name, " ".join(ngram)))
        return found

    def _candidates(self, words: list[str]) -> list[int]:
        """Return possible starts of known n-grams: each has one of every `half`-th runs of `half` words, most of which are unknown."""
        half, last = self._half, len(words) - self._size
        known = [place for place in range(0, len(words) - half + 1, half) if tuple(words[place : place + half]) in self._halves]
        return [start for place in known for start in range(max(0, place - half + 1), min(place, last) + 1)]


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def _names(code: str) -> str:
    """Return a program's words without numbers and single letters, of which any program may contain a series."""
    return " ".join(word for word in _words(code) if len(word) > 1 and not word.isdigit())


class KnownTasks:
    """Tasks that training data must not contain; `names` are the sets whose files were found.

    A problem is recognised by its id (the ids of HumanEval and MBPP+ are always known; case is ignored), by 10 consecutive words of its
    text or code, or by 12 consecutive names of its code in another language, whose loops and types add many uninformative words.
    A set whose texts are all made of the same phrases needs 40 consecutive words of text; a set that calls libraries needs 20 words of
    text or code.
    """

    def __init__(self) -> None:
        self.names: list[str] = []
        self._ids: set[str] = set(BENCHMARK_IDS)
        self._texts, self._codes = NgramIndex(without_common=True), NgramIndex(without_common=True)
        self._translations = NgramIndex(12, without_common=True)
        # Separate indices, because n-grams that a set shares with HumanEval must still identify HumanEval's tasks.
        self._library_texts, self._library_codes = NgramIndex(20, without_common=True), NgramIndex(20, without_common=True)
        self._descriptions, self._functions = NgramIndex(40, without_common=True), NgramIndex(without_common=True)

    def add(self, task_id: str, text: str, code: str) -> None:
        self._ids.add(task_id.lower())
        self._texts.add(task_id, text)
        self._codes.add(task_id, code)

    def add_translation(self, task_id: str, text: str, code: str) -> None:
        """Add a task's version in another language."""
        self._texts.add(task_id, text)
        self._translations.add(task_id, _names(code))

    def add_description(self, task_id: str, text: str) -> None:
        """Add a task of a set whose texts and programs are made of the same phrases."""
        self._ids.add(task_id.lower())
        self._descriptions.add(task_id, text)

    def add_library_task(self, task_id: str, texts: Iterable[str], code: str) -> None:
        """Add a task whose program consists of library calls, with all wordings of its request."""
        self._ids.add(task_id.lower())
        for text in texts:
            self._library_texts.add(task_id, text)
        self._library_codes.add(task_id, code)

    def add_function(self, task_id: str, code: str) -> None:
        """Add a task without a text, by the function that it gives."""
        self._ids.add(task_id.lower())
        self._functions.add(task_id, code)

    def find(self, task_id: str, text: str, code: str) -> str | None:
        """Return the task and how it was recognised; None if it is not a known task."""
        if task_id.lower() in self._ids:
            return f"{task_id}, by its id"
        for kind, index, content in (
            ("text", self._texts, text),
            ("text", self._descriptions, text),
            ("code", self._codes, code),
            ("code", self._translations, _names(code)),
            ("code", self._functions, code),
            ("text", self._library_texts, text),
            ("code", self._library_codes, code),
        ):
            if matches := index.matches(content):
                return f"{matches[0][0]}, by its {kind}: {matches[0][1]}"
        return None
