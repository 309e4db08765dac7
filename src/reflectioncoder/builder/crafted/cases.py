"""Names the cases that an input covers, in words that depend only on the input and its result."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, pairwise
from typing import Any

from reflectioncoder.builder.crafted.inputs import Arguments

CASES_FORMAT = 2
"""Part of the log key: raise it when names of inputs or the crafting of tests change, so that older logs are not reused."""
ORDINARY = "an ordinary input"
EXAMPLE = "the example of the statement"
_SIZES = frozenset(
    ("n", "k", "size", "width", "length", "count", "index", "position", "place", "start", "end", "times", "limit", "steps")
)
"""Parameter names whose values are compared with lengths."""


def name_cases(arguments: Arguments, result: Any, names: tuple[str, ...], limits: frozenset[int], is_example: bool) -> tuple[str, ...]:
    """Return the cases of an input, most informative first.

    Args:
        limits: numbers in the statement with which the program compares.
        is_example: whether the statement shows this call.
    """
    found: list[str] = []
    names = tuple(f"`{name}`" for name in names)
    for name, value in zip(names, arguments, strict=False):
        found += _of_argument(name if len(arguments) > 1 else "", name, value, limits)
    found += _of_several(arguments, names)
    found += _of_result(arguments, result)
    found += [EXAMPLE] if is_example else []
    return tuple(dict.fromkeys(found)) or (ORDINARY,)


def _of_argument(label: str, name: str, value: Any, limits: frozenset[int]) -> Iterator[str]:
    within = f" in {label}" if label else ""
    if type(value) is int:
        yield from _of_integer(label, name, value, limits)
    elif isinstance(value, str):
        yield from _of_text(within, label, value)
    elif isinstance(value, list):
        yield from _of_list(within, label, value, limits)
    elif isinstance(value, dict | set):
        kind = "dictionary" if isinstance(value, dict) else "set"
        if not value:
            yield f"an empty {label or kind}"
        elif len(value) == 1:
            yield f"a single entry{within}"
        elif isinstance(value, dict) and len({repr(item) for item in value.values()}) == 1:
            yield f"equal values only{within}"
        elif isinstance(value, dict) and len({repr(item) for item in value.values()}) < len(value):
            yield f"an equal value for two keys{within}"


def _of_integer(label: str, name: str, value: int, limits: frozenset[int]) -> Iterator[str]:
    for limit in sorted(limits):
        if abs(limit) > 1:
            if value == limit:
                yield f"{name} at the limit {limit}"
            elif abs(value - limit) == 1:
                yield f"{name} just {'above' if value > limit else 'below'} the limit {limit}"
    if value == 0:
        yield f"zero for {label}" if label else "zero"
    elif value < 0:
        yield f"a negative {label}" if label else "a negative number"
    elif value == 1:
        yield f"one for {label}" if label else "the number one"


def _of_text(within: str, label: str, text: str) -> Iterator[str]:
    if not text:
        yield f"an empty {label or 'text'}"
        return
    if text != text.strip():
        yield f"spaces at the ends{within}" if text.strip() else f"only spaces{within}"
    if "  " in text.strip():
        yield f"two spaces in a row{within}"
    if len(text) == 1:
        yield f"a single character{within}"
    elif len(set(text)) == 1:
        yield f"one character repeated{within}"
    letters = [char for char in text if char.isalpha()]
    if len(letters) > 1 and any(map(str.isupper, letters)) and any(map(str.islower, letters)):
        yield f"upper and lower case{within}"
    elif len(letters) > 1 and all(map(str.isupper, letters)):
        yield f"upper case only{within}"


def _of_list(within: str, label: str, items: list[Any], limits: frozenset[int]) -> Iterator[str]:
    if not items:
        yield f"an empty {label or 'list'}"
        return
    numbers = items if all(type(item) in (int, float) for item in items) else []
    if len(items) == 1:
        yield f"a single item{within}"
        if numbers and items[0] < 0:
            yield f"a single negative number{within}"
        return
    if len({repr(item) for item in items}) == 1:
        yield f"equal items only{within}"
        return
    yield from (f"{case}{within}" for case in _of_numbers(numbers, limits))
    yield from (f"{case}{within}" for case in _of_order(items))
    if any(isinstance(item, list | str | dict) and not item for item in items):
        yield f"an empty item{within}"
    if len({repr(item) for item in items}) < len(items):
        yield f"a repeated item{within}"


def _of_numbers(numbers: list[Any], limits: frozenset[int]) -> Iterator[str]:
    if not numbers:
        return
    if all(number < 0 for number in numbers):
        yield "negative numbers only"
    if numbers.count(max(numbers)) > 1:
        yield "the largest number more than once"
    if numbers.count(min(numbers)) > 1:
        yield "the smallest number more than once"
    for limit in sorted(limits):
        if abs(limit) > 1 and limit in numbers:
            yield f"an item at the limit {limit}"
    if any(number < 0 < other for number, other in pairwise(sorted(numbers))) or min(numbers) < 0 < max(numbers):
        yield "negative and positive numbers"
    elif 0 in numbers:
        yield "a zero among the items"


def _of_order(items: list[Any]) -> Iterator[str]:
    if len(items) > 2 and (all(type(item) in (int, float) for item in items) or all(type(item) is str for item in items)):
        if all(a < b for a, b in pairwise(items)):
            yield "items in rising order"
        elif all(a > b for a, b in pairwise(items)):
            yield "items in falling order"


def _of_several(arguments: Arguments, names: tuple[str, ...]) -> Iterator[str]:
    pairs = list(zip(names, arguments, strict=False))
    for (a, left), (b, right) in combinations(pairs, 2):
        if type(left) is type(right) and left == right and left not in ("", 0, [], {}):
            yield f"equal values for {a} and {b}"
    for a, number in pairs:
        for b, other in pairs:
            if type(number) is int and isinstance(other, list | str) and other and a.strip("`") in _SIZES:
                if number == len(other):
                    yield f"{a} equal to the length of {b}"
                elif number > len(other):
                    yield f"{a} larger than the length of {b}"
            if a != b and isinstance(other, list | dict) and other and _is_key(number) and _has_kind(other, number):
                yield f"{a} {'among' if number in other else 'missing from'} {b}"


def _is_key(value: Any) -> bool:
    return type(value) is int or (type(value) is str and " " not in value)


def _has_kind(items: Any, value: Any) -> bool:
    return all(type(item) is type(value) for item in items)


def _of_result(arguments: Arguments, result: Any) -> Iterator[str]:
    if isinstance(result, bool):
        return
    if result is None:
        yield "None as the answer"
    elif any(type(value) is type(result) and value == result for value in arguments) and result not in (0, 1):
        yield "an input that stays as it is"
    elif result in ([], {}, ""):
        yield "an empty result"
