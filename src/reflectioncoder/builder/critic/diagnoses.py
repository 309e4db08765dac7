"""Finds the diagnoses of a finished sample: the texts between a failing run and the next attempt."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from reflectioncoder.data.samples import Block


@dataclass(frozen=True)
class Look:
    """A cell that printed a value, and its output."""

    cell: str
    output: str


@dataclass(frozen=True)
class Diagnosis:
    """A text that explains a failure.

    Attributes:
        block: index of the text block in its message.
        corrected: the next attempt.
    """

    block: int
    text: str
    attempt: str
    output: str
    looks: tuple[Look, ...]
    corrected: str


def diagnoses_of(blocks: Sequence[Block]) -> Iterator[Diagnosis]:
    """Yield the texts that another attempt follows. An attempt is a cell with an assertion; other cells are looks."""
    attempt, output, looks = "", "", ()
    for number, block in enumerate(blocks):
        following = blocks[number + 1] if number + 1 < len(blocks) else None
        if block.type == "code":
            printed = following.content if following is not None and following.type == "execution" else ""
            if _asserts(block.content):
                attempt, output, looks = block.content, printed, ()
            else:
                looks = (*looks, Look(block.content, printed))
        elif block.type == "text" and attempt and following is not None and following.type == "code" and _asserts(following.content):
            yield Diagnosis(number, block.content, attempt, output, looks, following.content)


def _asserts(cell: str) -> bool:
    return any(line.startswith("assert ") for line in cell.split("\n"))
