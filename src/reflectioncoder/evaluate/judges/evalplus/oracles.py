"""Decides whether an answer is right by EvalPlus's rules (evalplus 0.3.1, `unsafe_execute`), on plain values in the trusted process.

Base rule: `answer == expected`. Some tasks have an oracle of their own. If the expected value is a float or a sequence of floats
and the task has no tolerance, 1e-6 is set and kept for all later inputs of the part. With a tolerance, an unequal answer may
still be close: same type, same length, `numpy.allclose(rtol=1e-7, atol)`.

numpy compares a number of low precision in that precision: its float16 infinity equals every integer above 65504. Under the rules
`strict`, an answer that EvalPlus accepts must also be right as Python numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from reflectioncoder.choices import RULES, Rules
from reflectioncoder.errors import require_choice
from reflectioncoder.evaluate.judges.evalplus.data import Family
from reflectioncoder.sandbox.answers import as_set
from reflectioncoder.sandbox.precision import as_python_numbers, holds_numpy, without_numpy_warnings

FLOAT_TOLERANCE = 1e-6
_MAX_COMPARED = 2**20  # elements after broadcasting: column against row is quadratic
MIN_TIME_LIMIT_S: dict[Rules, float] = {"strict": 4.0, "evalplus-head": 4.0, "evalplus-0.3.1": 1.0}

SET_ENTRY_POINTS = frozenset(
    {"similar_elements", "find_char_long", "common_in_nested_lists", "extract_singly", "larg_nnum", "intersection_array"}
    | {"find_dissimilar", "Diff"}
)
NOT_NONE_ENTRY_POINTS = frozenset({"check_str", "text_match_three", "text_starta_endb"})
ORACLE_ENTRY_POINTS = SET_ENTRY_POINTS | NOT_NONE_ENTRY_POINTS | {"are_equivalent", "sum_div", "surface_Area", "digit_distance_nums"}


def is_floats(value: object) -> bool:
    """Tell whether a value is a float, or a list or tuple of floats only."""
    if isinstance(value, float):
        return True
    return isinstance(value, list | tuple) and bool(value) and all(isinstance(item, float) for item in value)


def polynomial(coefficients: Sequence[float], x: float) -> float:
    return sum(coefficient * math.pow(x, power) for power, coefficient in enumerate(coefficients))


def pyramid_surface(base_edge: float, height: float) -> int:
    """Solve Mbpp/581 with `height` as the pyramid's height; the canonical solution takes it as the slant height."""
    slant = math.sqrt((base_edge / 2) ** 2 + height**2)
    return round(base_edge**2 + 2 * base_edge * slant)


def digit_distance(first: int, second: int) -> int:
    """Solve Mbpp/558 by padding the shorter number; the canonical solution takes the digits of the difference."""
    a, b = str(first), str(second)
    length = max(len(a), len(b))
    return sum(abs(int(x) - int(y)) for x, y in zip(a.zfill(length), b.zfill(length), strict=True))


def _mbpp_exact(entry_point: str, arguments: Sequence[Any], answer: Any, expected: Any, atol: float) -> Any:
    equal = answer == expected  # always evaluated first: it may raise
    if entry_point in SET_ENTRY_POINTS:
        return as_set(answer) == set(expected)
    if entry_point in NOT_NONE_ENTRY_POINTS:
        return answer == expected if isinstance(answer, bool) else expected == (answer is not None)
    other: Callable[[], Any] | None = {
        "are_equivalent": lambda: True,
        "sum_div": lambda: answer == 0,
        "surface_Area": lambda: abs(answer - pyramid_surface(*arguments)) <= atol,
        "digit_distance_nums": lambda: answer == digit_distance(*arguments),
    }.get(entry_point)
    return equal or (other is not None and other())


def _is_numeric(value: Any) -> bool:
    """Tell whether a value holds no text: numpy would make an array as wide as the longest text, and then refuse it."""
    if isinstance(value, list | tuple):
        return all(map(_is_numeric, value))
    return not isinstance(value, str | bytes)


def _fits(value: Any, wanted: Any) -> bool:
    """Tell whether broadcasting stays within the larger operand's size; a column against a row takes the product of both."""
    import numpy as np

    shape = np.broadcast_shapes(np.shape(value), np.shape(wanted))
    return math.prod(shape) <= max(_MAX_COMPARED, np.size(value), np.size(wanted))


def _is_close(value: Any, wanted: Any, atol: float) -> bool:
    import numpy as np

    with np.errstate(all="ignore"):
        return bool(np.allclose(value, wanted, rtol=1e-07, atol=atol))


def matches(
    family: Family,
    entry_point: str,
    arguments: Sequence[Any],
    answer: tuple[str, Any],
    expected: tuple[str, Any],
    atol: float,
    rules: Rules = RULES[0],
) -> bool:
    """Tell whether the rules accept the answer.

    Args:
        arguments: the call's arguments, as they were before it.
        answer, expected: (type name, value); only the names are compared where EvalPlus compares types.
        atol: the tolerance before this input (an earlier one may have set it).

    As in EvalPlus, an exception during the comparison (an overflow, an ambiguous array) fails the test.

    Raises:
        UsageError: unknown rules.
    """
    require_choice("rules", rules, RULES)
    with without_numpy_warnings():
        takes = _evalplus_takes(family, entry_point, arguments, answer, expected, atol, rules)
        # The oracle of find_zero always computes with Python numbers.
        if not takes or rules != "strict" or (family == "humaneval" and entry_point == "find_zero") or not holds_numpy(answer[1]):
            return takes
        value = as_python_numbers(answer[1])
        return _evalplus_takes(family, entry_point, arguments, (type(value).__name__, value), expected, atol, rules)


def _evalplus_takes(
    family: Family,
    entry_point: str,
    arguments: Sequence[Any],
    answer: tuple[str, Any],
    expected: tuple[str, Any],
    atol: float,
    rules: Rules,
) -> bool:
    (answer_type, value), (expected_type, wanted) = answer, expected
    try:
        if type(value).__name__ == "ndarray" and not _fits(value, wanted):
            return False
        if family == "humaneval" and entry_point == "find_zero":
            # 0.3.1 never records a pass of this test; fixed later.
            return rules != "evalplus-0.3.1" and bool(abs(polynomial(arguments[0], value)) <= atol)
        exact = value == wanted if family == "humaneval" else _mbpp_exact(entry_point, arguments, value, wanted, atol)
        if atol == 0 and is_floats(wanted):
            atol = FLOAT_TOLERANCE
        if exact:  # an array of several truth values raises here
            return True
        if atol == 0 or answer_type != expected_type:
            return False
        if isinstance(wanted, list | tuple) and len(value) != len(wanted):
            return False
        return _is_numeric(value) and _fits(value, wanted) and _is_close(value, wanted, atol)
    except Exception:  # noqa: BLE001 (as in EvalPlus, any error in the comparison fails the test)
        return False
