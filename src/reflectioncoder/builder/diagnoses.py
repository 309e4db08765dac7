"""Counts diagnoses that refer to the failure: they share words with the interpreter's output or with the change.

This is a measure for `build.json`, not a filter: a good diagnosis may name the cause in other words.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import Any

from reflectioncoder.data.samples import Sample

_TOKEN = re.compile(r"[^\W\d_]\w{2,}|\d+")
_COMMON_WORDS = (
    "the and that this with for was were are not but from when which because than does has have only must should its there here into "
    "now one two all any can did get got had how let may out see too use used using who why will you your def return print assert "
    "line file call last most recent module cell program function code test tests wrong value values error"
)
_COMMON = frozenset(_COMMON_WORDS.split())


def words_of(text: str) -> set[str]:
    """Return the names, words and numbers of a text and the parts of its compound names, without stop words."""
    tokens = {token.lower() for token in _TOKEN.findall(text)}
    parts = {part for token in tokens for part in token.split("_") if len(part) > 2}
    return (tokens | parts) - _COMMON


@dataclass
class DiagnosisCounts:
    """Counts samples with a diagnosis, and samples whose every diagnosis shares a word with the output, the change, or either."""

    num_samples: int = 0
    with_output: int = 0
    with_change: int = 0
    with_either: int = 0

    def add(self, sample: Sample) -> None:
        found = _shared(sample)
        if found:
            self.num_samples += 1
            self.with_output += all(output for output, _ in found)
            self.with_change += all(change for _, change in found)
            self.with_either += all(output or change for output, change in found)

    def to_json(self) -> dict[str, Any]:
        def share(count: int) -> float | None:
            return round(count / self.num_samples, 3) if self.num_samples else None

        return {
            "num_samples": self.num_samples,
            "share_with_words_of_output": share(self.with_output),
            "share_with_words_of_change": share(self.with_change),
            "share_with_words_of_either": share(self.with_either),
        }


def _shared(sample: Sample) -> list[tuple[bool, bool]]:
    """Tell for each diagnosis whether it shares words with the preceding output, and with the diff of the surrounding programs."""
    if len(sample.messages) < 2:
        return []
    found = []
    code, output, said = "", None, ""
    for block in sample.messages[1].content:
        if block.type == "execution":
            output, said = block.content, ""
        elif block.type == "text" and output is not None:
            said += f"{block.content}\n"
        elif block.type == "code":
            if output is not None:
                words = words_of(said)
                found.append((bool(words & words_of(output)), bool(words & words_of(_change(code, block.content)))))
            code, output = block.content, None
    return found


def _change(before: str, after: str) -> str:
    """Return the lines that differ."""
    lines = difflib.ndiff(before.split("\n"), after.split("\n"))
    return "\n".join(line[2:] for line in lines if line.startswith(("+ ", "- ")))
