"""Plain values of any kind are drawn, and told from others by the book."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

from tests.tiers import examples

often = settings(max_examples=examples(150), deadline=None, database=None)

PLAIN_TYPES = {bool, int, float, complex, str, bytes, type(None), list, tuple, dict, set, frozenset}

texts = st.text(st.characters(exclude_categories=()), max_size=20)  # lone surrogates too
numbers = st.one_of(st.integers(), st.integers(-(2**31) - 2, 2**31 + 1), st.integers(-(10**300), 10**300))
floats = st.one_of(st.floats(), st.sampled_from([0.0, -0.0, float("nan"), -float("nan"), float("inf"), 5e-324, 1e308]))
scalars = st.one_of(st.none(), st.booleans(), numbers, floats, st.complex_numbers(), texts, st.binary(max_size=20))
hashables = st.recursive(scalars, lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=4), max_leaves=6)
plain_values = st.recursive(
    hashables,
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.lists(inner, max_size=5).map(tuple),
        st.dictionaries(hashables, inner, max_size=4),
        st.sets(hashables, max_size=4),
    ),
    max_leaves=25,
)


def is_plain_by_the_book(value: Any) -> bool:
    if type(value) not in PLAIN_TYPES:
        return False
    if type(value) is dict:
        return all(is_plain_by_the_book(item) for pair in value.items() for item in pair)
    return type(value) not in (list, tuple, set, frozenset) or all(map(is_plain_by_the_book, value))
