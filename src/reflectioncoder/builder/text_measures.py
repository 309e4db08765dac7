"""Measures reflection samples: attempts, repairs, lengths, diversity of texts, and whether their claims were observed.

These are measures for `build.json` and the card of an export, not filters. Samples are added one at a time; memory holds counts, the
vocabulary and a bounded number of sentence patterns.
"""

from __future__ import annotations

import difflib
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median
from typing import Any

from reflectioncoder.builder.claims import ClaimCounts, check_sample
from reflectioncoder.data.samples import Sample, language_of
from reflectioncoder.languages import PYTHON

NUM_COMMONEST = 10
_PLACEHOLDER = "…"
_NO_PROSE = re.compile(
    r"""```.*?(?:```|\Z)|``[^\n]+?``|`[^`\n]+`"""
    r"""|(?<!\w)"[^"\n]*"|(?<!\w)'[^'\n]*'(?!\w)"""
    r"""|(?<!\w)-?\d+(?:[.,]\d+)*""",
    re.DOTALL,
)
_SENTENCE_END = re.compile(r"(?<=[.!?。！？])\s+|\n+")
_MARKUP = " \t*#>-"
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")


def sentence_patterns(text: str) -> list[str]:
    """Return the sentences of a text with a placeholder for each code span, number and quoted string."""
    sentences = (sentence.strip(_MARKUP) for sentence in _SENTENCE_END.split(_NO_PROSE.sub(_PLACEHOLDER, text)))
    return [" ".join(sentence.split()) for sentence in sentences if _WORD.search(sentence)]


def lines_changed(before: str, after: str) -> int:
    """Return the number of differing lines; a replaced line counts once."""
    matcher = difflib.SequenceMatcher(None, before.rstrip().split("\n"), after.rstrip().split("\n"), autojunk=False)
    return sum(max(end - start, new_end - new) for tag, start, end, new, new_end in matcher.get_opcodes() if tag != "equal")


def attempts(sample: Sample) -> list[str]:
    """Return the programs that a reflection sequence tries: cells with an assertion, or all cells if none has one.

    A cell without an assertion, beside cells that have one, inspects a program and repairs nothing.
    """
    cells = [block.content for block in sample.messages[1].content if block.type == "code"]
    return [cell for cell in cells if "assert" in cell] or cells


class CommonPatterns:
    """Counts the most frequent of many strings in bounded memory.

    Counts are exact for up to `2 * max_kept` distinct strings; beyond, each is too low by at most total / `max_kept` (Misra and Gries
    1982, pruned in batches).
    """

    def __init__(self, max_kept: int = 10_000) -> None:
        self.total = 0
        self._max_kept = max_kept
        self._counts: Counter[str] = Counter()

    def add(self, patterns: Iterable[str]) -> None:
        for pattern in patterns:
            self.total += 1
            self._counts[pattern] += 1
            if len(self._counts) > 2 * self._max_kept:
                cut = sorted(self._counts.values(), reverse=True)[self._max_kept]
                self._counts = Counter({pattern: count - cut for pattern, count in self._counts.items() if count > cut})

    def share_of_commonest(self) -> float | None:
        """Return the ten most frequent strings' share of the total; None if there are none."""
        return round(sum(count for _, count in self._counts.most_common(NUM_COMMONEST)) / self.total, 3) if self.total else None


@dataclass
class TextMeasures:
    """Measures of the added reflection samples; other samples are ignored.

    Attributes:
        executions: number of samples by number of executed programs.
        lines_changed: number of repairs by number of lines in which an attempt differs from the previous one.
        chars: number of samples by length in characters, as `build.max_chars` counts it.
        claims: claims in Python samples; values and names of other languages are not parsed.
        count_tokens: returns the length of a sample in tokens; None disables counting.
        tokens: number of samples by length in tokens.
    """

    count_tokens: Callable[[Sample], int] | None = None
    tokens: Counter[int] = field(default_factory=Counter)
    executions: Counter[int] = field(default_factory=Counter)
    lines_changed: Counter[int] = field(default_factory=Counter)
    chars: Counter[int] = field(default_factory=Counter)
    num_words: int = 0
    vocabulary: set[str] = field(default_factory=set)
    sentences: CommonPatterns = field(default_factory=CommonPatterns)
    claims: ClaimCounts = field(default_factory=ClaimCounts)

    @property
    def num_samples(self) -> int:
        return self.executions.total()

    def add(self, sample: Sample) -> None:
        if sample.type != "reflection":
            return
        blocks = sample.messages[1].content
        self.executions[sum(block.type == "execution" for block in blocks)] += 1
        self.lines_changed.update(lines_changed(before, after) for before, after in pairwise(attempts(sample)))
        self.chars[sum(len(block.content) for message in sample.messages for block in message.content)] += 1
        if self.count_tokens is not None:
            self.tokens[self.count_tokens(sample)] += 1
        for block in blocks:
            if block.type == "text":
                self._add_text(block.content)
        if claims_are_read(sample):
            self.claims.add(check_sample(sample))

    def _add_text(self, text: str) -> None:
        patterns = sentence_patterns(text)
        words = [word.lower() for pattern in patterns for word in _WORD.findall(pattern)]
        self.num_words += len(words)
        self.vocabulary.update(words)
        self.sentences.add(patterns)

    def to_json(self) -> dict[str, Any]:
        return {
            "num_samples": self.num_samples,
            "executions": spread(self.executions),
            "lines_changed_per_repair": spread(self.lines_changed),
            "chars": spread(self.chars),
            **({"tokens": {**(spread(self.tokens) or {}), "p90": quantile(self.tokens, 0.9)}} if self.tokens else {}),
            "num_words": self.num_words,
            "num_distinct_words": len(self.vocabulary),
            "num_sentences": self.sentences.total,
            "share_of_10_commonest_patterns": self.sentences.share_of_commonest(),
            "claims": self.claims.to_json(),
        }


def claims_are_read(sample: Sample) -> bool:
    """Tell whether the claims of a sample are checked: only those of Python reflection samples are."""
    return sample.type == "reflection" and language_of(sample) is PYTHON


def spread(counts: Counter[int]) -> dict[str, float] | None:
    """Return minimum, median, mean and maximum of the counted values; None if there are none."""
    if not counts:
        return None
    mean = sum(value * count for value, count in counts.items()) / counts.total()
    return {"min": min(counts), "median": median(counts.elements()), "mean": round(mean, 2), "max": max(counts)}


def quantile(counts: Counter[int], share: float) -> int:
    """Return the smallest value such that at least this share of the counted values is at or below it."""
    values = sorted(counts.elements())
    return values[max(math.ceil(share * len(values)) - 1, 0)]


def describe(texts: Mapping[str, Any]) -> Iterator[str]:
    """Yield human-readable lines for the result of `TextMeasures.to_json`; none if there were no samples."""
    if not texts["num_samples"]:
        return
    changed = texts["lines_changed_per_repair"]
    repairs = f"{changed['mean']:.1f} lines changed per repair, " if changed else ""
    share = texts["share_of_10_commonest_patterns"]
    sentences = f"; the ten commonest sentence patterns make up {share:.0%} of the sentences" if share is not None else ""
    yield (
        f"{texts['executions']['mean']:.1f} programs run in a sample, {repairs}{texts['chars']['mean']:,.0f} characters (means); "
        f"{texts['num_distinct_words']:,} different words{sentences}"
    )
    if tokens := texts.get("tokens"):
        yield f"a sample has {tokens['median']:,.0f} tokens (median; 90 % have at most {tokens['p90']:,})"
    if texts["claims"]["num_samples"]:
        yield describe_claims(texts["claims"])


def describe_claims(claims: Mapping[str, Any]) -> str:
    """Return a human-readable line for the result of `ClaimCounts.to_json`."""
    share, outputs = claims["share_of_values_shown"], claims["values"]["output"]
    values = f"; executions show {share:.0%} of the stated values" if share is not None else ""
    said = f", and {outputs['num_shown']:,} of the {outputs['num']:,} that are said to be outputs" if outputs["num"] else ""
    return f"{claims['num_claims']:,} claims in the texts, {claims['num_unsupported']:,} of them unsupported{values}{said}"
