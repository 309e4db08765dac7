"""A number of numpy's passes only where Python's number of the same value does, at full precision."""

from __future__ import annotations

import contextlib
import warnings
from fractions import Fraction
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from reflectioncoder.evaluate.judges.evalplus.oracles import matches
from reflectioncoder.sandbox.precision import as_python_numbers, holds_numpy
from tests.evaluate.sent import sent
from tests.tiers import examples

often = settings(max_examples=examples(300), deadline=None, database=None)


def takes(answer: Any, expected: Any, atol: float = 0.0, rules: Any = "strict", entry_point: str = "f", arguments: Any = ()) -> bool:
    wanted = (type(expected).__name__, expected)
    family = "mbpp" if entry_point != "f" else "humaneval"
    return matches(family, entry_point, arguments, sent(answer), wanted, atol, rules)


REALS = (np.float16, np.float32, np.float64, np.longdouble)
INTEGERS = (np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64)
COMPLEX = (np.complex64, np.complex128, np.clongdouble)
WRAPS = {
    "itself": lambda value: value,
    "no dimensions": np.array,
    "a list": lambda value: [value],
    "a tuple": lambda value: (value, 1),
    "nested": lambda value: [(1, {"a": [value]})],
    "a dictionary's value": lambda value: {1: value},
    "a dictionary's key": lambda value: {value: 1},
    "a set": lambda value: {value},
    "an array of objects": lambda value: np.array([value], dtype=object),
}


def _wrapped(how: str, value: Any) -> Any:
    if how in ("no dimensions", "itself"):
        return value
    return [value] if how == "an array of objects" else WRAPS[how](value)


def _exact(number: Any) -> Any:
    if isinstance(number, np.integer | np.complexfloating):
        return number.item() if isinstance(number, np.integer) else complex(number)
    return Fraction(*number.as_integer_ratio()) if np.isfinite(number) else float(number)


numbers = st.one_of(
    st.integers(-(2**70), 2**70),
    st.integers(-300, 70_000),
    st.floats(allow_nan=False),
    st.sampled_from([float("inf"), -float("inf"), 65504, 65505, 65536, 2**24 + 1, 2**53 + 1, 314159, -314159, 0.1, 1e-8, 1e308]),
)


@often
@given(numbers, st.sampled_from(REALS + INTEGERS + COMPLEX), st.sampled_from(sorted(WRAPS)), st.sampled_from([0.0, 1e-6]))
@example(70_000, np.float16, "itself", 0.0)
@example(314159, np.float16, "a set", 0.0)
@example(2**53 + 1, np.float64, "a list", 0.0)
@example(2**24 + 1, np.complex64, "nested", 0.0)
def test_a_number_of_numpys_passes_only_where_pythons_number_of_the_same_value_does(expected, kind, how, atol):
    """In whatever precision numpy would have compared them, and wherever it stands in the answer."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            answer = kind(expected)
        except (OverflowError, TypeError, ValueError):
            with np.errstate(all="ignore"):
                answer = kind(0) if kind in INTEGERS else kind(np.float64(expected))
    exact = _exact(answer)
    wanted = _wrapped(how, expected)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        passed = takes(WRAPS[how](answer), wanted, atol)
    assert caught == []
    if passed and exact != expected:
        # EvalPlus's tolerance for floats, between Python's numbers.
        assert isinstance(expected, float) or atol
        assert np.allclose(complex(answer), expected, rtol=1e-7, atol=1e-6)
        assert how not in ("a set", "a dictionary's key")


@often
@given(numbers, st.sampled_from(REALS + INTEGERS + COMPLEX), st.sampled_from(sorted(WRAPS)), st.sampled_from([0.0, 1e-6]))
def test_strict_takes_nothing_that_evalplus_refuses(expected, kind, how, atol):
    with contextlib.suppress(OverflowError, TypeError, ValueError), np.errstate(all="ignore"):
        answer = WRAPS[how](kind(expected))
        wanted = _wrapped(how, expected)
        assert takes(answer, wanted, atol, "evalplus-head") or not takes(answer, wanted, atol)


@pytest.mark.parametrize("kind", REALS + INTEGERS + COMPLEX)
@pytest.mark.parametrize("how", WRAPS)
@pytest.mark.parametrize("number", [0, 1, 100])
def test_a_right_answer_passes_in_every_type_of_numpys(kind, how, number):
    for rules in ("strict", "evalplus-head"):
        assert takes(WRAPS[how](kind(number)), _wrapped(how, number), rules=rules)


@pytest.mark.parametrize(
    ("answer", "expected", "entry_point", "arguments"),
    [
        (np.int8(-28), 33, "surface_Area", (3, 4)),  # the oracle's value is 100: -28 - 100 wraps to -128, whose absolute value is -128
        (np.float16("inf"), 70_000, "digit_distance_nums", (1, 2)),
        (np.float16(2049), 2049, "f", ()),
        ([np.float16("inf")], [314159], "similar_elements", ()),
        ({"a": np.float32(2**24)}, {"a": 2**24 + 1}, "f", ()),
    ],
)
def test_what_evalplus_passes_for_lack_of_precision_fails_by_default(answer, expected, entry_point, arguments):
    with mock.patch("reflectioncoder.evaluate.judges.evalplus.oracles.pyramid_surface", return_value=100):
        assert takes(answer, expected, rules="evalplus-head", entry_point=entry_point, arguments=arguments)
        assert not takes(answer, expected, entry_point=entry_point, arguments=arguments)


@pytest.mark.parametrize(
    ("answer", "expected", "passes"),
    [
        (np.float32(0.1), 0.1, True),  # within the tolerance for floats, as Python's number would be
        (np.float16(0.1), 0.1, False),
        ([np.float32(0.1)], [0.1], True),
        (np.float64(0.1), 0.1, True),
        (np.bool_(True), True, True),
        (np.bool_(True), False, False),
        (np.str_("a"), "a", True),
    ],
)
def test_a_rounded_float_is_right_within_the_tolerance(answer, expected, passes):
    assert takes(answer, expected) is passes


@often
@given(numbers, st.sampled_from(REALS + INTEGERS), st.sampled_from(sorted(WRAPS)))
def test_nothing_of_numpys_is_left_among_pythons_numbers(number, kind, how):
    with contextlib.suppress(OverflowError, ValueError), np.errstate(all="ignore"):
        value = as_python_numbers(sent(WRAPS[how](kind(number)))[1])
        assert type(value) is np.ndarray or not holds_numpy(value)
        assert type(value) is not np.ndarray or not any(map(holds_numpy, value.tolist()))


def test_floats_of_other_packages_with_few_bits_are_numbers_of_full_precision():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    for number in (1, 256, 257, 70_000):
        answer = ml_dtypes.bfloat16(number)
        assert takes(answer, number) == (float(answer) == number)
        assert takes([answer], [number]) == (float(answer) == number)
