"""Names the reasons why an answer has a program or none, and counts them for results, output and reports."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, Literal, get_args

Reason = Literal[
    "fenced", "open_fence", "bare", "given", "other_name", "stub", "invalid", "no_code", "unfinished_thought", "empty", "refused"
]  # fmt: skip
"""The answer has a program that defines the requested name:

fenced: in a closed code block. open_fence: in a block left open at the end of the answer.
bare: outside of fences: the whole answer, a part of it, or an indented block.
given: the sample came as a program, so nothing was extracted.

The answer has a program that does not define it:

other_name: it defines something else, or nothing. stub: it has only a stub. invalid: the defining code is not valid Python.

The answer has no program:

no_code: nothing in it is a program. unfinished_thought: it ends within a thought. empty: there is no text.
refused: a server filtered the answer or declined to give one.
"""
REASONS: tuple[Reason, ...] = get_args(Reason)
DEFINING: tuple[Reason, ...] = ("fenced", "open_fence", "bare", "given")
NOT_DEFINING: tuple[Reason, ...] = ("other_name", "stub", "invalid")
WITHOUT_PROGRAM: tuple[Reason, ...] = ("no_code", "unfinished_thought", "empty", "refused")


def count_answers(reasons: Iterable[Reason]) -> dict[str, Any]:
    """Count all answers, those without a program, and those with each reason."""
    counts = Counter(reasons)
    return {
        "num_answers": counts.total(),
        "num_without_program": sum(counts[reason] for reason in WITHOUT_PROGRAM),
        "num_refused": counts["refused"],
        "num_empty": counts["empty"],
        "reasons": {reason: counts[reason] for reason in REASONS if counts[reason]},
    }


def answer_lines(counts: dict[str, Any]) -> list[str]:
    """Return readable lines about answers without a program, and about programs that do not define the requested name."""
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
