"""Searches with hypothesis for a small allowed input on which a program and its reference differ.

Strategies use only `sampled_from` and integers within ±100: into other draws hypothesis mixes constants of the loaded modules, so that
the same seed would find other inputs in another process.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, Phase, Verbosity, find, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample

from reflectioncoder.builder.crafted.facts import Allowed, is_fixed_text
from reflectioncoder.builder.crafted.inputs import Arguments, literal

_NUM_INPUTS = 40  # drawn per program
_MAX_CHARS = 70
_MAX_ITEMS = 6
_SMALL = 100
_ONE_AT_A_TIME = threading.Lock()  # hypothesis sets and restores the global state of `random`
_SETTINGS = settings(
    max_examples=_NUM_INPUTS,
    database=None,
    deadline=None,
    derandomize=True,
    phases=(Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),  # pyright: ignore[reportArgumentType]
    verbosity=Verbosity.quiet,
)


def find_input(allowed: Allowed, differs: Callable[[Arguments], bool], seed: str) -> Arguments | None:
    """Return a shrunk input for which `differs` holds, deterministic given the seed; None if none is found.

    Each input is looked at once: hypothesis repeats what it has found, and a program that takes too long may have no answer then.
    """
    known: dict[str, bool] = {}

    def differs_once(arguments: Arguments) -> bool:
        key = literal(arguments)
        if key not in known:
            known[key] = differs(arguments)
        return known[key]

    strategy = arguments_strategy(allowed)
    with _ONE_AT_A_TIME:
        try:
            return find(strategy, differs_once, settings=_SETTINGS, random=random.Random(f"search/{seed}"))
        except NoSuchExample:
            return None


def arguments_strategy(allowed: Allowed) -> st.SearchStrategy[Arguments]:
    """Return a strategy for allowed inputs, built from the types of the known ones."""
    arities = {len(arguments): None for arguments in allowed.known}
    by_arity = []
    for arity in arities:
        columns = [[arguments[position] for arguments in allowed.known if len(arguments) > position] for position in range(arity)]
        by_arity.append(st.tuples(*(_strategy(column, is_part=False) for column in columns)))
    return st.one_of(by_arity).filter(lambda arguments: len(literal(arguments)) <= _MAX_CHARS and allowed.allows(arguments))


def _strategy(values: list[Any], *, is_part: bool = True) -> st.SearchStrategy[Any]:
    """Return the strategy for one place from its known values. `is_part`: the place is inside an argument."""
    kinds = {type(value) for value in values}
    pool = st.sampled_from(_distinct(values))
    kind = kinds.pop() if len(kinds) == 1 else None
    if kind is int:
        return st.one_of(_integers(min(values), max(values)), pool)
    if kind is str and not is_part and not any(map(is_fixed_text, values)):
        letters = sorted({char for value in values for char in value})
        drawn = st.lists(st.sampled_from(letters), max_size=max(map(len, values)) + 1).map("".join) if letters else pool
        return st.one_of(drawn, pool)
    if kind in (list, set):
        parts = [part for value in values for part in (value if kind is list else sorted(value, key=literal))]
        if not parts:
            return pool
        most = min(max(map(len, values)) + 1, _MAX_ITEMS)
        return st.one_of(st.lists(_strategy(parts), max_size=most).map(kind), pool) if _is_hashable(kind, parts) else pool
    if kind is tuple and len({len(value) for value in values}) == 1:
        return st.tuples(*(_strategy([value[position] for value in values]) for position in range(len(values[0]))))
    if kind is dict and any(values):
        keys, items = ([part for value in values for part in column(value)] for column in (dict.keys, dict.values))
        most = min(max(map(len, values)) + 1, _MAX_ITEMS)
        return st.lists(st.tuples(_strategy(keys), _strategy(items)), max_size=most).map(dict)
    return pool


def _is_hashable(kind: type, parts: list[Any]) -> bool:
    return kind is list or not any(isinstance(part, list | dict | set) for part in parts)


def _integers(low: int, high: int) -> st.SearchStrategy[int]:
    if low >= -_SMALL and high <= _SMALL:
        return st.integers(low, high)
    steps = (high - low) // _SMALL
    if steps > _SMALL:
        return st.integers(max(low, -_SMALL), min(high, _SMALL)) if low <= _SMALL and high >= -_SMALL else st.just(low)
    return st.tuples(st.integers(0, steps), st.integers(0, _SMALL - 1)).map(lambda drawn: min(low + _SMALL * drawn[0] + drawn[1], high))


def _distinct(values: list[Any]) -> list[Any]:
    return list({literal(value): value for value in values}.values())[:_SMALL]
