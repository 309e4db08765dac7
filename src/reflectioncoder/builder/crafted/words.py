"""Words which cases the shown tests cover, and the reason where there is one (`grammar/crafted.yaml`)."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from reflectioncoder.builder.crafted.selection import UNNAMED
from reflectioncoder.builder.grammar import say

_COUNTS = ("one", "two", "three", "four")


def why_tests(cases: Sequence[str], rng: random.Random) -> str:
    """Return a sentence about the cases of the shown tests, in order, and the reason for a limit; "" if no case has a name."""
    if not set(cases) - set(UNNAMED):
        return ""
    facts: dict[str, str] = {}
    facts.update(zip(("first", "second", "third", "fourth"), cases, strict=False))
    facts["cases"] = f"{', '.join(cases[:-1])} and {cases[-1]}" if len(cases) > 1 else cases[0]
    count = _COUNTS[len(cases) - 1] if len(cases) <= len(_COUNTS) else "many"
    said = say(f"tests.{count}", facts, rng)
    is_at_limit = any(re.search(r"\bat the limit\b", case) for case in cases)
    return f"{said} {say('reason.limit', {}, rng)}" if is_at_limit and rng.random() < 0.5 else said


def opening_with_reasons(openings: Sequence[str], cases: Sequence[str], rng: random.Random) -> str:
    """Draw an opening; if the shown tests' cases are known, append a sentence about them to an opening that mentions no cases."""
    if not cases:
        return rng.choice(openings)
    return f"{rng.choice([text for text in openings if not re.search('edge|case', text)])} {why_tests(cases, rng)}".rstrip()
