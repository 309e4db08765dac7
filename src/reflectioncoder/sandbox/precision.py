"""Converts numbers of numpy and other packages into Python's, which compare at full precision, and silences numpy's warnings."""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from typing import Any

from reflectioncoder.sandbox.answers import Number

_SEQUENCES, _MAPPINGS = (list, tuple, set, frozenset), (dict, Counter)


def _loaded_numpy() -> Any:
    """Return numpy, or None if it is not loaded yet."""
    if "numpy" not in sys.modules:
        return None
    import numpy  # not `sys.modules["numpy"]`: another thread may still be importing it

    return numpy


def without_numpy_warnings() -> contextlib.AbstractContextManager[Any]:
    """Silence overflows and invalid operations, which an answer may cause; does nothing if numpy is not loaded."""
    numpy = _loaded_numpy()
    return numpy.errstate(all="ignore") if numpy is not None else contextlib.nullcontext()


def holds_numpy(value: Any) -> bool:
    """Tell whether the value, or anything in it at any depth, is numpy's."""
    if type(value) in _SEQUENCES:
        return any(map(holds_numpy, value))
    if type(value) in _MAPPINGS:
        return any(holds_numpy(key) or holds_numpy(item) for key, item in value.items())
    return type(value).__module__ == "numpy"


def as_python_numbers(value: Any) -> Any:
    """Replace the numbers of other packages, at any depth of the value, by Python numbers.

    An array without dimensions becomes its item; other arrays keep their shape and hold Python numbers. numpy's booleans stay: they
    are exact, and some oracles distinguish them from Python's.
    """
    if type(value) in _SEQUENCES:
        return type(value)(map(as_python_numbers, value))
    if type(value) in _MAPPINGS:
        return type(value)({as_python_numbers(key): as_python_numbers(item) for key, item in value.items()})
    if isinstance(value, Number):
        return value if value.plain is None else value.plain
    numpy = _loaded_numpy()
    if numpy is None or not isinstance(value, numpy.generic | numpy.ndarray) or value.dtype.kind not in "iufcO":
        return value
    if not value.shape:
        return as_python_numbers(value.item())
    precise = numpy.empty(value.size, dtype=object)
    for number, item in enumerate(value.ravel().tolist()):
        precise[number] = as_python_numbers(item)
    return precise.reshape(value.shape)
