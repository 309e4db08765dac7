"""Declares and checks settings: typed, documented, closed, frozen fields with a range.

A section checks itself when it is constructed, so YAML, `--set` and Python follow the same rules. Only `converted` decides what a type
accepts; `Origins` adds locations and suggestions to its messages.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import math
import numbers
import re
import types
import typing
from collections.abc import Callable, Collection, Mapping
from dataclasses import Field, dataclass, field, fields, is_dataclass
from typing import Any, Literal, Union, get_args, get_origin

from reflectioncoder.errors import UsageError

_MAX_WHOLE = 2**63 - 1  # the maximum for the operating system and torch

_MAY_HOLD_CREDENTIALS = re.compile(r"(?:\bendpoint|EndpointConfig)\.(?:base_url|api_key_env|extra_body)\b")

Check = Callable[[Any], str | None]


def doc(
    text: str,
    default: Any = dataclasses.MISSING,
    *,
    factory: Any = dataclasses.MISSING,
    low: float | None = None,
    high: float | None = None,
    check: Check | None = None,
    values: Mapping[Any, str] | None = None,
) -> Any:
    """Declare a documented field: its meaning and unit, its default, its inclusive range.

    Args:
        factory: makes the default where it is a section or a mapping.
        check: called with a value of the declared type and range; returns None if it is allowed, else a description of what is.
        values: the effect of each value of a choice.
    """
    if isinstance(default, (list, dict)):
        raise TypeError("use a tuple, or a factory")
    metadata = {"doc": text, "low": low, "high": high, "check": check, "values": values or {}}
    return field(default=default, default_factory=factory, metadata=metadata)


class Settings:
    """Base class of all sections of a recipe.

    Raises:
        UsageError: a value has the wrong type, is out of range or not allowed.
    """

    def __post_init__(self) -> None:
        types_of = field_types(type(self))
        for spec in fields(self):  # pyright: ignore[reportArgumentType] (every subclass is a dataclass)
            value = checked(getattr(self, spec.name), spec, types_of[spec.name], f"{type(self).__name__}.{spec.name}")
            object.__setattr__(self, spec.name, value)


@functools.cache
def field_types(section: type) -> dict[str, Any]:
    return typing.get_type_hints(section)


@dataclass(frozen=True)
class Origins:
    """The locations where the user wrote values (dotted key → "FILE:LINE" or the option), and all existing keys, for suggestions."""

    written: Mapping[str, str] = field(default_factory=dict)
    keys: Collection[str] = ()

    def place(self, key: str) -> str:
        """Return the key, with the place where it, the section around it or a key in it was written."""
        outer = key
        while outer and outer not in self.written:
            outer = outer.rpartition(".")[0]
        if outer not in self.written:  # a section of which only keys are written, or nothing
            outer = next((written for written in self.written if written.startswith(f"{key}.")), outer)
        return f"{key} ({self.written[outer]})" if outer in self.written else key

    def suggestion(self, name: str, prefix: str, known: Collection[str]) -> str | None:
        """Suggest a similar key of this section, or a key of the same name in another section."""
        if close := difflib.get_close_matches(name, known, n=1, cutoff=0.6):
            return f"did you mean {prefix}{close[0]}?"
        elsewhere = [key for key in self.keys if key.rpartition(".")[2] == name.rpartition(".")[2]]
        return f"did you mean {elsewhere[0]}?" if elsewhere else None


NOWHERE = Origins()


def describe(annotation: Any) -> str:
    """Describe a type in words, for messages and documentation."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " | ".join(str(a) for a in args)
    if origin in (Union, types.UnionType):
        return " or ".join("null" if a is type(None) else describe(a) for a in args)
    if origin is tuple:
        return f"a list of {describe(args[0])}"
    if origin is dict:
        return "a mapping"
    if is_dataclass(annotation):
        return "a section"
    return {int: "a whole number", float: "a number", str: "text", bool: "true or false"}[annotation]


def checked(value: Any, spec: Field, annotation: Any, key: str, origins: Origins = NOWHERE) -> Any:
    """Return `value` converted to the field's type, after checking its range and `check`.

    Raises:
        UsageError: the value is not allowed; the message has key, location, value and what is allowed.
    """
    value = converted(value, annotation, key, origins)
    low, high, check = (spec.metadata.get(name) for name in ("low", "high", "check"))
    if isinstance(value, int) and high is None:
        high = _MAX_WHOLE
    if isinstance(value, (int, float)) and ((low is not None and value < low) or (high is not None and value > high)):
        span = f"{low if low is not None else '-∞'} to {high if high is not None else '∞'}"
        raise UsageError.for_value("this value is out of range", origins.place(key), shown_value(value, key), span)
    if check is not None and (allowed := check(value)):
        raise UsageError.for_value("this value is not allowed", origins.place(key), shown_value(value, key), allowed)
    return value


def converted(value: Any, annotation: Any, key: str, origins: Origins) -> Any:
    """Convert `value` to the type: lists become tuples, mappings sections, 2.0 a whole number. Nothing else is converted."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        kind = _meant(value, args)
        if get_origin(kind) is Literal and value not in get_args(kind):
            raise UsageError.for_value("this value is not allowed", origins.place(key), shown_value(value, key), describe(annotation))
        return converted(value, kind, key, origins)
    if origin is Literal:
        if not isinstance(value, str) or value not in args:
            raise UsageError.for_value("this value is not allowed", origins.place(key), shown_value(value, key), [str(a) for a in args])
        return value
    result = None
    if origin is tuple and isinstance(value, (list, tuple)):
        result = tuple(converted(item, args[0], key, origins) for item in value)
    elif origin is dict and isinstance(value, dict):
        result = {converted(k, str, key, origins): _plain(v, f"{key}.{k}", origins) for k, v in value.items()}
    elif is_dataclass(annotation) and isinstance(annotation, type):
        if isinstance(value, annotation):
            result = value
        elif isinstance(value, dict):
            result = section(annotation, value, f"{key}.", origins)
    elif annotation is bool and isinstance(value, bool):
        result = value
    elif annotation is int:
        result = _whole(value)
    elif annotation is float:
        result = _finite(value)
    elif annotation is str and isinstance(value, str):
        result = _text(value, key, origins)
    if result is None:
        raise UsageError.for_value("this value has the wrong type", origins.place(key), shown_value(value, key), describe(annotation))
    return result


def _meant(value: Any, args: tuple[Any, ...]) -> Any:
    """Return the union's member type meant by the value: for `Literal["auto"] | int`, text means the literal, all else the int."""
    kinds = [a for a in args if a is not type(None)]
    return next((a for a in kinds if (get_origin(a) is Literal) == isinstance(value, str)), kinds[0])


def section(cls: type, values: Mapping[Any, Any], prefix: str, origins: Origins) -> Any:
    """Construct a section from a mapping; unknown and missing keys are errors."""
    known, types_of = {f.name: f for f in fields(cls)}, field_types(cls)
    for name in values:
        if name not in known:
            key, hint = f"{prefix}{name}", origins.suggestion(str(name), prefix, known)
            raise UsageError.for_value("unknown key in the recipe", origins.place(key), key, known, hint)
    for name, spec in known.items():
        if name not in values and spec.default is dataclasses.MISSING and spec.default_factory is dataclasses.MISSING:
            raise UsageError(f"the recipe lacks {prefix}{name}\n  what:    {spec.metadata['doc']}")
    given = [(name, known[name], f"{prefix}{name}") for name in values]
    return cls(**{name: checked(values[name], spec, types_of[name], key, origins) for name, spec, key in given})


class _Hidden:
    def __repr__(self) -> str:
        return "(not shown: it may hold a credential)"


def shown_value(value: Any, key: str) -> Any:
    """Return a value as a message may show it, with possible credentials hidden."""
    return _Hidden() if _MAY_HOLD_CREDENTIALS.search(key) else value


def _whole(value: Any) -> int | None:
    if isinstance(value, numbers.Integral):
        return None if isinstance(value, bool) else int(value)
    number = _finite(value)
    return int(number) if number is not None and number.is_integer() else None


def _finite(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _text(value: str, key: str, origins: Origins) -> str:
    """Check that a text is safe for files, paths and variables: no lone surrogates, no control characters but tab and newline."""
    if any((c < " " and c not in "\t\n") or "\x7f" <= c <= "\x9f" or "\ud800" <= c <= "\udfff" for c in value):
        raise UsageError.for_value(
            "this value cannot be used", origins.place(key), shown_value(value, key), "text without control characters"
        )
    return value


def _plain(value: Any, key: str, origins: Origins) -> Any:
    """Check and return a value of a free-form mapping, which may be anything that JSON can hold."""
    if isinstance(value, dict):
        return {converted(k, str, key, origins): _plain(v, f"{key}.{k}", origins) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, key, origins) for item in value]
    if isinstance(value, float):
        return converted(value, float, key, origins)
    if isinstance(value, str):
        return _text(value, key, origins)
    if isinstance(value, int) and abs(value) > _MAX_WHOLE:
        span = f"-{_MAX_WHOLE} to {_MAX_WHOLE}"
        raise UsageError.for_value("this value is out of range", origins.place(key), shown_value(value, key), span)
    if value is None or isinstance(value, (bool, int)):
        return value
    raise UsageError.for_value(
        "this value has the wrong type", origins.place(key), shown_value(value, key), "text, numbers, lists and mappings"
    )
