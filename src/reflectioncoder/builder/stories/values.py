"""Describes in words how one value differs from another, comparing their literals."""

from __future__ import annotations

import math
from typing import Any

from reflectioncoder import syntax

_COUNTS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
_NO_VALUE = object()


def _read(text: str) -> Any:
    return syntax.literal_or(text, _NO_VALUE)


def count(number: int, noun: str) -> str:
    """Return a count in words: `three items`."""
    plural = f"{noun[:-1]}ies" if noun.endswith("y") and noun[-2:-1] not in "aeiou" else f"{noun}s"
    if number >= len(_COUNTS):
        return f"many {plural}"
    return f"{_COUNTS[number]} {noun if number == 1 else plural}"


def ordinal(number: int) -> str:
    """Return the ordinal word of a number, such as `first` for 1; "" beyond `tenth`."""
    return _ORDINALS[number - 1] if 0 < number <= len(_ORDINALS) else ""


def same_literal(text: str, other: str) -> bool:
    """Tell whether two texts are the same literal, regardless of quote style."""
    value = _read(text)
    return value is not _NO_VALUE and repr(value) == repr(_read(other))


def is_another_value(ours: str, theirs: str) -> bool:
    """Tell whether two values differ; false if either cannot be parsed, and `1` equals `1.0`."""
    a, b = _read(ours), _read(theirs)
    if a is _NO_VALUE or b is _NO_VALUE or a == b:
        return False
    return type(a) is not type(b) or isinstance(a, bool | int | float | str | list | tuple | dict)


def difference(ours: str, theirs: str) -> str:
    """Return how a value differs from the wanted one, phrased to follow "it": `is exactly one too small`; "" if no phrase fits."""
    a, b = _read(ours), _read(theirs)
    if a is _NO_VALUE or b is _NO_VALUE or a == b:
        return ""
    if isinstance(a, bool) and isinstance(b, bool):
        return ""
    if type(a) is not type(b) and not (isinstance(a, int | float) and isinstance(b, int | float)):
        return _of_types(a, b)
    match a, b:
        case (int() | float(), int() | float()):
            return _of_numbers(a, b)
        case (str(), str()):
            return _of_strings(a, b)
        case (list() | tuple(), list() | tuple()):
            return _of_sequences(a, b)
        case (dict(), dict()):
            return _of_dictionaries(a, b)
    return ""


def _of_types(a: Any, b: Any) -> str:
    names = {int: "a number", float: "a number", str: "a string", list: "a list", tuple: "a tuple", dict: "a dictionary", set: "a set"}
    ours, theirs = names.get(type(a), ""), names.get(type(b), "")
    return f"is {ours} and not {theirs}" if ours and theirs and not isinstance(a, bool) and not isinstance(b, bool) else ""


def _of_numbers(a: float, b: float) -> str:
    side = "large" if a > b else "small"
    try:
        distance = float(abs(a - b))
    except OverflowError:  # integers beyond the range of floats
        return ""
    if not math.isfinite(distance):
        return ""
    if distance == 1:
        return f"is exactly one too {side}"
    if a == -b:
        return "has the wrong sign"
    if b and a == 2 * b:
        return "is twice as large as it should be"
    if a and b == 2 * a:
        return "is only half of what it should be"
    if isinstance(b, int) and isinstance(a, float) and a != int(a):
        return "has a fraction, while a whole number is needed"
    return ""


def _of_strings(a: str, b: str) -> str:
    if not a:
        return ""
    if a.casefold() == b.casefold():
        return "differs only in upper and lower case"
    if a.strip() == b.strip():
        return "differs only in the blanks around it"
    if a == b[::-1] and len(set(a)) > 2:
        return "has its characters in reverse order"
    if b.startswith(a) and len(a) > 1:
        return f"stops {count(len(b) - len(a), 'character')} too early"
    if b and a.startswith(b) and len(b) > 1:
        return f"goes on for {count(len(a) - len(b), 'character')} too many"
    if b.endswith(a) and len(a) > 1:
        return f"lacks {count(len(b) - len(a), 'character')} at its beginning"
    if sorted(a) == sorted(b):
        return "has the right characters in the wrong order"
    return ""


def _of_sequences(a: Any, b: Any) -> str:
    if not a or not b:
        return ""
    if len(a) != len(b):
        more = len(a) > len(b)
        return f"has {count(abs(len(a) - len(b)), 'item')} too {'many' if more else 'few'}"
    if list(a) == list(b)[::-1]:
        return "has its items in reverse order"
    if sorted(map(repr, a)) == sorted(map(repr, b)):
        return "has the right items in the wrong order"
    wrong = [at for at, (one, other) in enumerate(zip(a, b, strict=True), start=1) if one != other]
    if len(wrong) == len(a):
        return ""
    if len(wrong) == 1 and len(a) > 1:
        where = "last" if wrong[0] == len(a) else ordinal(wrong[0])
        return f"is wrong in its {where} item only" if where else ""
    return f"goes wrong from its {ordinal(wrong[0])} item on" if ordinal(wrong[0]) and len(a) > 1 else ""


def _of_dictionaries(a: Any, b: Any) -> str:
    if not a or not b:
        return ""
    if a.keys() == b.keys():
        return "has the right keys and wrong values"
    if a.keys() < b.keys():
        return f"lacks {count(len(b) - len(a), 'key')}"
    return f"has {count(len(a) - len(b), 'key')} too many" if a.keys() > b.keys() else ""
