"""Says in a text why the shown tests are there: which case each covers, and what one of them can show (`grammar/crafted.yaml`)."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from reflectioncoder.builder.grammar import say

_COUNTS = ("one", "two", "three", "four")
_KINDS = {
    "empty": r"\bempty (?:text|list|dictionary|set|item)|nothing but spaces",
    "single": r"\bsingle\b",
    "ties": r"more than once|equal value for two keys|equal values only",
    "equal": r"\bequal values for|equal items only|one character repeated",
    "limit": r"\blimit\b|the length of",
    "negative": r"\bnegative\b",
    "zero": r"\bzero\b",
    "order": r"rising order|falling order",
    "backwards": r"backwards",
    "repeated": r"repeated",
    "letters": r"\bcase\b",
    "spaces": r"spaces",
    "absent": r"missing from|among `",
    "answer": r"\banswer\b",
    "size": r"\b(?:many|four|large|long)\b",
    "example": r"the example of",
}


def why_tests(cases: Sequence[str], rng: random.Random) -> str:
    """Return sentences about the cases of the shown tests, in their order; "" if there are none."""
    if not cases:
        return ""
    facts: dict[str, str] = {}
    facts.update(zip(("first", "second", "third", "fourth"), cases, strict=False))
    facts["cases"] = f"{', '.join(cases[:-1])} and {cases[-1]}" if len(cases) > 1 else cases[0]
    count = _COUNTS[len(cases) - 1] if len(cases) <= len(_COUNTS) else "many"
    explained = rng.choice([case for case in cases if kind_of_case(case) != "other"] or list(cases))
    reason = say(f"reason.{kind_of_case(explained)}", {"case": explained}, rng)
    return f"{say(f'tests.{count}', facts, rng)} {reason}"


def opening_with_reasons(openings: Sequence[str], cases: Sequence[str], rng: random.Random) -> str:
    """Draw an opening, followed by the reasons for the shown tests if their cases are known; it then claims no other cases."""
    if not cases:
        return rng.choice(openings)
    return f"{rng.choice([text for text in openings if not re.search('edge|case', text)])} {why_tests(cases, rng)}"


def kind_of_case(case: str) -> str:
    """Return the kind of a case, as the grammar has reasons for it."""
    return next((kind for kind, pattern in _KINDS.items() if re.search(pattern, case)), "other")
