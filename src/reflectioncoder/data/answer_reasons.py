"""The reasons why an answer has its program, or none, and the counts of them that results, output and reports give."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, Literal, get_args

Reason = Literal[
    "fenced", "open_fence", "bare", "given", "other_name", "stub", "invalid", "no_code", "unfinished_thought", "empty", "refused"
]  # fmt: skip
"""The program defines what was asked for:

fenced: it is a closed code block. open_fence: it is a block that the answer's end leaves open.
bare: it stands outside of fences: the whole answer, a part of it, or an indented block.
given: nothing was read: the sample came as a program.

There is a program, and it does not:

other_name: it defines something else, or nothing. stub: it has a stub of it only. invalid: what should define it is no valid Python.

There is none:

no_code: nothing in the answer is a program. unfinished_thought: the answer ends within a thought. empty: there is no text.
refused: a server has filtered the answer, or did not want to make it.
"""
REASONS: tuple[Reason, ...] = get_args(Reason)
DEFINING: tuple[Reason, ...] = ("fenced", "open_fence", "bare", "given")
NOT_DEFINING: tuple[Reason, ...] = ("other_name", "stub", "invalid")
WITHOUT_PROGRAM: tuple[Reason, ...] = ("no_code", "unfinished_thought", "empty", "refused")


def count_answers(reasons: Iterable[Reason]) -> dict[str, Any]:
    """Count the answers, those that hold no program, and those with each reason."""
    counts = Counter(reasons)
    return {
        "num_answers": counts.total(),
        "num_without_program": sum(counts[reason] for reason in WITHOUT_PROGRAM),
        "num_refused": counts["refused"],
        "num_empty": counts["empty"],
        "reasons": {reason: counts[reason] for reason in REASONS if counts[reason]},
    }


def answer_lines(counts: dict[str, Any]) -> list[str]:
    """Return lines for people about answers that hold no program, and about programs that do not define what was asked for."""
    reasons: dict[str, int] = counts["reasons"]
    lines = []
    for kinds, said in ((WITHOUT_PROGRAM, "hold no program"), (NOT_DEFINING, "hold a program that does not define what was asked for")):
        named = ", ".join(f"{reason} {reasons[reason]}" for reason in kinds if reason in reasons)
        if named:
            lines.append(f"{sum(reasons.get(reason, 0) for reason in kinds)} of {counts['num_answers']} answers {said} ({named})")
    if counts["num_empty"]:
        lines.append("an empty answer can be a reasoning that is not shown and took all tokens: allow more (--max-new-tokens)")
    return lines


def has_no_program_at_all(counts: dict[str, Any]) -> bool:
    return counts["num_answers"] == counts["num_without_program"]
