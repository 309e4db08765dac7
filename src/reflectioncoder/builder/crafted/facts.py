"""Learns from the calls that a problem shows which new inputs are allowed.

The rule: an input is allowed only if each of its facts also holds, at the same place, for some call in the problem's tests or examples.
Facts are the type and range of a number, the letters and kind of a text, whether a list is empty, sorted or without repeated items,
whether its items have equal lengths, how numbers and lengths compare with each other, and whether one argument occurs in another. If
no known list is empty, no new one is; if the first number is never above the second, it stays so. Texts within lists and recurring
texts are only reused as they are: they may be names.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator
from itertools import combinations, pairwise
from typing import Any

from reflectioncoder.builder.crafted.inputs import Arguments, literal

Fact = tuple[Hashable, Hashable]  # (property, observed value)
_MAX_LENGTH = 8  # lengths up to half of this may exceed the longest known one by two
_MANY = 6  # distinct values from which a common parity is unlikely to be chance
_MORE = 1  # allowed items beyond the longest known, where lengths vary


class Allowed:
    """The constraints on inputs, learned from known ones. `allows(arguments)` tells whether an input meets all of them."""

    def __init__(self, known: Iterable[Arguments]):
        self.known = list(known)
        self._seen: dict[Hashable, set[Hashable]] = defaultdict(set)
        self.ranges: dict[Hashable, tuple[Any, Any]] = {}
        for arguments in self.known:
            for about, seen in _facts(arguments):
                self._seen[about].add(seen)
            for about, number in _numbers(arguments):
                low, high = self.ranges.get(about, (number, number))
                self.ranges[about] = (min(low, number), max(high, number))
        self._texts = self._recurring()
        self._parities = self._shared_parities()

    def seen(self, about: Hashable) -> set[Hashable]:
        return self._seen.get(about, set())

    def allows(self, arguments: Arguments) -> bool:
        return (
            all(seen in self._seen.get(about, ()) for about, seen in _facts(arguments))
            and all(self._is_in_range(about, number) for about, number in _numbers(arguments))
            and all(argument in self._texts[number] for number, argument in enumerate(arguments) if number in self._texts)
            and all(number % 2 == self._parities.get(name, number % 2) for name, number in quantities(arguments).items())
        )

    def _shared_parities(self) -> dict[str, int]:
        """Return the parity of quantities that are all even or all odd, if many values are known."""
        seen: dict[str, set[Any]] = defaultdict(set)
        for arguments in self.known:
            for name, number in quantities(arguments).items():
                seen[name].add(number)
        parities = {name: {number % 2 for number in numbers} for name, numbers in seen.items() if len(numbers) >= _MANY}
        return {name: min(found) for name, found in parities.items() if len(found) == 1}

    def _recurring(self) -> dict[int, set[Any]]:
        """Return the known texts of each argument whose texts recur often."""
        found: dict[int, set[Any]] = {}
        for number in range(max(map(len, self.known), default=0)):
            column = [arguments[number] for arguments in self.known if len(arguments) > number]
            if all(isinstance(value, str) for value in column) and 2 * len(set(column)) <= len(column):
                found[number] = set(column)
        return found

    def _is_in_range(self, about: Hashable, number: Any) -> bool:
        if about not in self.ranges:
            return False
        low, high = self.ranges[about]
        if isinstance(about, tuple) and about[-1] == "length" and low < high:
            return low <= number <= max(high + _MORE, min(_MAX_LENGTH // 2, high + 2))
        return low <= number <= high


def kind_of(value: Any) -> str:
    return type(value).__name__


def is_fixed_text(text: str) -> bool:
    """Tell whether a text has a fixed format, such as a date: it contains digits or signs, or is all uppercase."""
    return any(not (char.isalpha() or char.isspace()) for char in text) or (len(text) > 1 and text.isupper())


def _numbers(arguments: Arguments) -> Iterator[tuple[Hashable, Any]]:
    """Yield numbers and lengths with their places."""
    for place, value in _places(arguments):
        if type(value) in (int, float):
            yield (*place, "number"), value
        elif isinstance(value, str | list | tuple | set | dict):
            yield (*place, "length"), len(value)


def _places(arguments: Arguments) -> Iterator[tuple[tuple[Hashable, ...], Any]]:
    """Yield each value with its place; all items of a list share one place."""
    waiting: list[tuple[tuple[Hashable, ...], Any]] = [((number,), value) for number, value in enumerate(arguments)]
    while waiting:
        place, value = waiting.pop()
        yield place, value
        if isinstance(value, list | set):
            waiting += [((*place, "item"), item) for item in value]
        elif isinstance(value, tuple):
            waiting += [((*place, f"field {number} of {len(value)}"), item) for number, item in enumerate(value)]
        elif isinstance(value, dict):
            waiting += [((*place, "key"), key) for key in value]
            waiting += [((*place, "value"), item) for item in value.values()]


def _facts(arguments: Arguments) -> Iterator[Fact]:
    yield "arity", len(arguments)
    for place, value in _places(arguments):
        yield (*place, "kind"), kind_of(value)
        if isinstance(value, str):
            yield from _facts_of_text(place, value)
        elif isinstance(value, list | tuple | dict):
            yield from _facts_of_items(place, value)
    yield from _comparisons(arguments)
    yield from _memberships(arguments)


def _facts_of_text(place: tuple[Hashable, ...], text: str) -> Iterator[Fact]:
    yield (*place, "is empty"), not text
    if len(place) > 1 or is_fixed_text(text):
        yield (*place, "text"), text  # only reused unchanged
    for char in text:
        yield (*place, "letter"), char
    yield (*place, "outer space"), text != text.strip()
    yield (*place, "double space"), "  " in text
    if len(text) > 1:
        yield (*place, "repeats a letter"), len(set(text)) < len(text)


def _facts_of_items(place: tuple[Hashable, ...], value: Any) -> Iterator[Fact]:
    items = list(value.values()) if isinstance(value, dict) else list(value)
    yield (*place, "is empty"), not items
    if isinstance(value, list) and items:
        yield (*place, "kinds"), frozenset(map(kind_of, items))
    if isinstance(value, tuple):
        yield (*place, "kinds in order"), tuple(map(kind_of, value))
    if len(items) > 1:
        keys = [literal(item) for item in items]
        yield (*place, "repeats"), len(set(keys)) < len(keys)
        yield from _order(place, items)
        if all(isinstance(item, str | list) for item in items):
            yield (*place, "equal lengths"), len({len(item) for item in items}) == 1
    if items and isinstance(value, list) and all(isinstance(item, str | list) for item in items):
        yield (*place, "rows by columns"), _sign(len(items), len(items[0]))
    if isinstance(value, dict) and len(value) > 1:
        yield from _order((*place, "key"), list(value))
    if isinstance(value, dict) and items and all(isinstance(item, list | set | str) for item in items):
        yield (*place, "values are keys"), all(part in value for item in items for part in ([item] if isinstance(item, str) else item))
    if isinstance(value, tuple):
        for (a, left), (b, right) in combinations(enumerate(value), 2):
            if type(left) in (int, float, str) and type(left) is type(right):
                yield (*place, f"field {a} and {b}"), _sign(left, right)


def _order(place: tuple[Hashable, ...], items: list[Any]) -> Iterator[Fact]:
    """Yield whether items, and their first fields, are sorted."""
    for name, keys in (("", items), (" by first", [item[0] if isinstance(item, tuple | list) and item else None for item in items])):
        if all(type(key) in (int, float) for key in keys) or all(type(key) is str for key in keys):
            is_rising = all(_sign(a, b) <= 0 for a, b in pairwise(keys))
            yield (*place, f"rises{name}"), is_rising
            if is_rising:
                yield (*place, f"rises strictly{name}"), len(set(keys)) == len(keys)


def _sign(a: Any, b: Any) -> int:
    return (a > b) - (a < b)


def quantities(arguments: Arguments) -> dict[str, Any]:
    """Return the numbers that describe the arguments: values, lengths, smallest and largest items, and widths."""
    found: dict[str, Any] = {}
    for number, value in enumerate(arguments):
        if type(value) in (int, float):
            found[f"{number}"] = value
        elif isinstance(value, str | list | tuple | set | dict):
            found[f"length of {number}"] = len(value)
            if isinstance(value, list) and value and all(type(item) is int for item in value):
                found |= {f"least of {number}": min(value), f"largest of {number}": max(value)}
            if isinstance(value, list) and value and all(isinstance(item, list | str) for item in value):
                found[f"width of {number}"] = max(map(len, value))
    return found


def _comparisons(arguments: Arguments) -> Iterator[Fact]:
    found = list(quantities(arguments).items())
    for (a, left), (b, right) in combinations(found, 2):
        if a.rpartition(" ")[2] != b.rpartition(" ")[2]:  # only compare different arguments
            yield ("compare", a, b), _sign(left, right)


def _memberships(arguments: Arguments) -> Iterator[Fact]:
    for a, inner in enumerate(arguments):
        for b, outer in enumerate(arguments):
            if a == b or not isinstance(outer, list | dict | set | str):
                continue
            if isinstance(inner, int | str) and (isinstance(inner, str) or not isinstance(outer, str)):
                yield ("within", a, b), str(inner) in outer if isinstance(outer, str) else inner in outer
            elif isinstance(inner, list) and not isinstance(outer, str) and all(type(item) in (int, str) for item in inner):
                flat = set(map(literal, outer))
                yield ("all within", a, b), all(literal(item) in flat for item in inner)
