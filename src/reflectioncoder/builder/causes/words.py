"""Turns causes into grammar symbols and their facts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from reflectioncoder.builder.causes.cause import Cause
from reflectioncoder.builder.mutation.details import details_of

_WORDS = ("type", "other_type", "wanted_type")
_MOVED = ("early_return", "wrong_place")


def cause_sayings(causes: Sequence[Cause], facts: Mapping[str, str]) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield symbols with their facts: the first cause and its correction, then the others."""
    for number, cause in enumerate(causes):
        kind, details = details_of(cause.kind, cause.wrong, cause.correct)
        details = {"operator": kind, **details, "wrong": cause.wrong, "correct": cause.correct}
        own = {**facts, **_quotable({**cause.facts, **details})}
        own = {name: value for name, value in own.items() if name not in ("wrong", "correct") or getattr(cause, name)}
        form = _form(cause)
        if number and form != "named":
            yield "fix.also", own
            yield f"fix.also_{form}", own
        else:
            yield ("fix.moved" if cause.kind == "early_return" else f"fix.{form}"), own


def _form(cause: Cause) -> str:
    """Return how a cause is corrected: `placed` (moved), `replaced`, `left_out`, `removed` (it lacks code), or `named` (no edit)."""
    if cause.kind in _MOVED and cause.correct:
        return "placed"
    if cause.wrong:
        return "replaced" if cause.correct else "left_out"
    return "removed" if cause.correct else "named"


def _quotable(facts: Mapping[str, str]) -> dict[str, str]:
    """Return the facts that can be quoted in backticks; words for types may contain backticks."""
    return {
        name: value for name, value in facts.items() if value and ("`" not in value or name in ("type", "other_type", "wanted_type"))
    }
