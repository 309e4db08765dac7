"""Finds words in a problem statement that restrict its inputs in ways that a few example calls cannot show."""

from __future__ import annotations

import re

_NUMBER = r"(?:\w+ )?(?:\d+|one|two|three|four|five|six|seven|eight|nine|ten)"
_RESTRICTING = re.compile(
    rf"\b(?:(?:at most|no more than|exactly) {_NUMBER}|assum\w+|guarante\w+|valid|well[- ]formed|balanced|(?:is|are) always"
    r"|dates?|leap years?|roman|trees?|acyclic|connected|calendar"
    r"|always (?:has|have|exists?)|there is always|never|can always|must (?:be|have|not)|no two|pairwise|permutation of)\b",
    re.IGNORECASE,
)


def restricts_inputs(statement: str) -> bool:
    """Tell whether new inputs, not shown by the problem, may violate its statement."""
    return _RESTRICTING.search(statement) is not None
