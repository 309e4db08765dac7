"""Flattens nested settings and lists where two of them differ, for messages: without secrets, and cut."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reflectioncoder.config.settings import shown_value

_MAX_CHARS = 300  # of a value in a message


def flattened(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested values under dotted names that begin with `prefix`; an empty mapping stays a value."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        is_nested = isinstance(value, Mapping) and bool(value)
        flat.update(flattened(value, f"{prefix}{name}.") if is_nested else {f"{prefix}{name}": value})
    return flat


def differing(one: Mapping[str, Any], two: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return (name, value of one, value of two) for each name whose values differ, as messages show them."""
    names = [name for name in dict.fromkeys((*one, *two)) if one.get(name) != two.get(name)]
    return [(name, _shown(one, name), _shown(two, name)) for name in names]


def _shown(values: Mapping[str, Any], name: str) -> str:
    return repr(shown_value(values.get(name), name))[:_MAX_CHARS]
