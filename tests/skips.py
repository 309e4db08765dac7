"""Say at the end of a run what was not tested for lack of something, one line for each cause."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

CAUSES = {
    "benchmark data": r"benchmark data",
    "a GPU": r"GPU|cuda",
    "a toolchain": r" is missing(?: here)?\b|compiler",
    "a Python package": r"is not installed|could not import",
    "a way of isolation": r"does not work here|namespaces|Landlock|setpriv|ordinary user",
    "a promise, as docs/sandbox.md says": r"not promised|a known limit",
}
"""What is lacking → pattern of the reasons."""


def summary(reasons: Iterable[str]) -> list[str]:
    """Return one line for each cause, with what is lacking and how many tests were skipped for it."""
    lacking: dict[str, Counter[str]] = {}
    for reason in reasons:
        text = reason.removeprefix("Skipped: ")
        cause = next((cause for cause, pattern in CAUSES.items() if re.search(pattern, text)), "something else of this machine")
        lacking.setdefault(cause, Counter())[text] += 1
    return [f"{sum(counts.values())} skipped for lack of {cause}: {_listed(counts)}" for cause, counts in sorted(lacking.items())]


def _listed(counts: Counter[str]) -> str:
    return "; ".join(f"{text} ({count})" for text, count in counts.most_common())
