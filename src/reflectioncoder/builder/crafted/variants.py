"""Derives new inputs from known ones: with one argument exchanged, emptied, cut, sorted, repeated or set to a limit."""

from __future__ import annotations

import ast
import random
from collections.abc import Iterator
from typing import Any

from reflectioncoder import syntax
from reflectioncoder.builder.crafted.facts import Allowed
from reflectioncoder.builder.crafted.inputs import Arguments, literal

_MAX_BASES = 10  # known inputs from which variants are made
_MAX_CHARS = 70  # of all arguments


def variants(allowed: Allowed, program: str, rng: random.Random, most: int) -> list[Arguments]:
    """Return up to `most` allowed new inputs, deterministic given the state of `rng`."""
    known = {literal(arguments) for arguments in allowed.known}
    found: dict[str, Arguments] = {}
    constants = int_constants(program)
    for arguments in (*_changed(allowed, constants), *_recombined(allowed)):
        text = literal(arguments)
        if text not in known and text not in found and len(text) <= _MAX_CHARS and allowed.allows(arguments):
            found[text] = arguments
    chosen = sorted(rng.sample(range(len(found)), min(most, len(found))))
    inputs = list(found.values())
    return [inputs[number] for number in chosen]


def int_constants(program: str) -> list[int]:
    """Return a program's integer constants below 10**6."""
    tree = syntax.parse(program)
    found = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and type(node.value) is int}
    return sorted(number for number in found if number < 10**6)


def _changed(allowed: Allowed, constants: list[int]) -> Iterator[Arguments]:
    for base in allowed.known[:_MAX_BASES]:
        for position, value in enumerate(base):
            pool = [arguments[position] for arguments in allowed.known if len(arguments) > position]
            for other in _variants(value, pool, constants):
                yield (*base[:position], other, *base[position + 1 :])
        for position, value in enumerate(base[1:], 1):
            if type(value) is type(base[position - 1]):
                yield (*base[: position - 1], value, base[position - 1], *base[position + 1 :])
                yield (*base[: position - 1], value, value, *base[position + 1 :])


def _recombined(allowed: Allowed) -> Iterator[Arguments]:
    for base in allowed.known:
        for position in range(len(base)):
            for other in allowed.known:
                if len(other) > position and len(base) > 1:
                    yield (*base[:position], other[position], *base[position + 1 :])


def _variants(value: Any, pool: list[Any], constants: list[int]) -> Iterator[Any]:
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int):
        yield from (0, 1, -1, 2, value - 1, value + 1, -value)
        for constant in constants:
            yield from (constant - 1, constant, constant + 1, -constant)
    elif isinstance(value, float):
        yield from (0.0, 0.5, 1.0, -value, value + 0.5)
    elif isinstance(value, str):
        yield from _texts(value)
    elif isinstance(value, list):
        yield from _lists(value, pool, constants)
    elif isinstance(value, dict):
        yield from _dicts(value, pool)
    elif isinstance(value, set):
        yield from (set(), set(sorted(value, key=literal)[:1]), *(value | other for other in pool if isinstance(other, set)))
    elif isinstance(value, tuple):
        yield from _tuples(value, pool, constants)


def _texts(text: str) -> Iterator[str]:
    yield from ("", text[:1], text[::-1], text.upper(), text.lower(), text.title(), text[:1] * 3)
    yield from (f" {text}", f"{text} ", f"{text} {text}", f"{text}  {text}", text + text[::-1])


def _lists(items: list[Any], pool: list[Any], constants: list[int]) -> Iterator[list[Any]]:
    yield []
    others = [other for other in pool if isinstance(other, list)]
    for constant in constants:
        if 0 < constant <= 8:
            yield from (items[:constant], items[: constant + 1], (items * constant)[:constant] if items else [])
    if not items:
        return
    yield from (items[:1], items[-1:], items[:2], items[::-1], items[:-1], items[1:], items + items[:1], items + items[-1:])
    yield from ([items[0]] * 2, [items[0]] * 3, items + items)
    if all(type(item) in (int, float) for item in items) or all(type(item) is str for item in items):
        yield from (sorted(items), sorted(items, reverse=True), [*items, max(items)], [max(items), *items], [*items, min(items)])
    for other in others:
        yield items + other
        yield items[: len(items) // 2] + other[len(other) // 2 :]
    parts = [item for other in others for item in other]
    for number in (0, len(items) - 1):
        for part in (*parts[:6], *_variants(items[number], parts, constants)):
            yield [*items[:number], part, *items[number + 1 :]]


def _dicts(table: dict[Any, Any], pool: list[Any]) -> Iterator[dict[Any, Any]]:
    pairs = list(table.items())
    yield {}
    yield from (
        dict(pairs[:1]),
        dict(pairs[-1:]),
        dict(pairs[:-1]),
        dict(pairs[::-1]),
        dict.fromkeys(table, pairs[0][1]) if pairs else {},
    )
    for other in pool:
        if isinstance(other, dict):
            yield {**table, **other}
            if pairs and other:
                yield {**table, pairs[0][0]: next(iter(other.values()))}


def _tuples(fields: tuple[Any, ...], pool: list[Any], constants: list[int]) -> Iterator[tuple[Any, ...]]:
    for position, value in enumerate(fields):
        same = [other[position] for other in pool if isinstance(other, tuple) and len(other) > position]
        for part in (*same[:6], *_variants(value, same, constants)):
            yield (*fields[:position], part, *fields[position + 1 :])
