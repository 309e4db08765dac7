"""Classifies how a wrong result differs from the right one: its type, its items, their order, its sign."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from typing import Any

from reflectioncoder import syntax
from reflectioncoder.builder.causes.cause import Cause
from reflectioncoder.builder.causes.errors import type_in_words

_UNREADABLE = object()


def cause_of_result(actual: str, expected: str) -> Cause | None:
    """Classify the difference of two values given as literals; None if they are not comparable."""
    found = _difference(actual, expected)
    return found and replace(found, is_of_result=True)


def _difference(actual: str, expected: str) -> Cause | None:
    ours, theirs = _read(actual), _read(expected)
    if ours is _UNREADABLE or theirs is _UNREADABLE:
        return None
    if ours is None:
        return Cause("gives_none")
    if type(ours) is not type(theirs):
        words = ["`None`" if value is None else type_in_words(type(value).__name__) for value in (ours, theirs)]
        return Cause("wrong_type", facts={"type": words[0], "wanted_type": words[1]}) if all(words) else None
    if isinstance(ours, bool):
        return Cause("accepts_too_much" if ours else "accepts_too_little")
    if isinstance(ours, int | float):
        return _of_numbers(ours, theirs)
    if isinstance(ours, str):
        return _of_texts(ours, theirs) or _of_items(ours, theirs)
    if isinstance(ours, list | tuple):
        return _of_items(ours, theirs)
    return _of_keys(ours, theirs) if isinstance(ours, set | frozenset | dict) else None


def _read(text: str) -> Any:
    return syntax.literal_or(text, _UNREADABLE)


def _of_numbers(ours: float, theirs: float) -> Cause | None:
    if any(isinstance(number, float) and not math.isfinite(number) for number in (ours, theirs)):
        return None
    if ours == -theirs:
        return Cause("wrong_sign")
    if isinstance(ours, int) and abs(ours - theirs) == 1:
        return Cause("one_too_many" if ours > theirs else "one_too_few")
    return Cause("too_large_result" if ours > theirs else "too_small_result")


def _of_texts(ours: str, theirs: str) -> Cause | None:
    if ours.casefold() == theirs.casefold():
        return Cause("wrong_letter_case")
    return Cause("wrong_spaces") if "".join(ours.split()) == "".join(theirs.split()) else None


def _of_items(ours: Any, theirs: Any) -> Cause | None:
    noun = "characters" if isinstance(ours, str) else "items"
    facts = {"items": noun}
    try:
        counts, wanted = Counter(map(repr, ours)), Counter(map(repr, theirs))
    except RecursionError:
        return None
    if counts == wanted:
        return Cause("wrong_order", facts=facts)
    if len(ours) < len(theirs) and theirs[: len(ours)] == ours:
        return Cause("ends_too_early", facts=facts) if ours else Cause("nothing_found", facts=facts)
    if counts <= wanted:
        return Cause("items_missing", facts=facts)
    if wanted <= counts:
        return Cause("items_too_many", facts=facts)
    return Cause("other_items", facts=facts) if len(ours) == len(theirs) else Cause("other_length", facts=facts)


def _of_keys(ours: Any, theirs: Any) -> Cause | None:
    facts = {"items": "keys" if isinstance(ours, dict) else "items"}
    keys, wanted = set(ours), set(theirs)
    if keys < wanted:
        return Cause("items_missing", facts=facts) if keys else Cause("nothing_found", facts=facts)
    if wanted < keys:
        return Cause("items_too_many", facts=facts)
    return Cause("other_values") if keys == wanted else Cause("other_items", facts=facts)
