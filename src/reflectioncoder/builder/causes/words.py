"""Turns causes into sentences of the grammar: which symbols are said, and with which facts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from reflectioncoder.builder.causes.cause import Cause
from reflectioncoder.builder.mutation.details import details_of

_WORDS = ("type", "other_type", "wanted_type")
_MOVED = ("early_return", "wrong_place")


def cause_sayings(causes: Sequence[Cause], facts: Mapping[str, str]) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield symbols with their facts: the first cause with its correction, then the others."""
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
    """Return how a cause is corrected: another statement in its place, one more, one less, another place, or another program."""
    if cause.kind in _MOVED and cause.correct:
        return "placed"
    if cause.wrong:
        return "replaced" if cause.correct else "left_out"
    return "removed" if cause.correct else "named"


def _quotable(facts: Mapping[str, str]) -> dict[str, str]:
    """Return the facts that can stand between backticks; those that are words for types may have some of their own."""
    return {
        name: value for name, value in facts.items() if value and ("`" not in value or name in ("type", "other_type", "wanted_type"))
    }
