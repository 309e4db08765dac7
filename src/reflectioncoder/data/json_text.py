"""Reads JSON written by people and other programs, strictly: every defect is one error with its location.

UTF-8 with or without a byte order mark; no NaN or Infinity, which are not JSON; no nesting too deep for later steps to write.
"""

from __future__ import annotations

import codecs
import contextlib
import json
import math
from collections.abc import Iterator
from typing import Any

from reflectioncoder.errors import UsageError

_MAX_DEPTH = 100
_KINDS = {str: "text", int: "a whole number", float: "a number", list: "a list", dict: "an object", bool: "true or false"}


def parse_json(data: bytes | str, where: str, *, allow_nan: bool = False) -> Any:
    """Return the value of a JSON text. `where` names the source in errors; for a text of several lines the line is added.

    Raises:
        UsageError: not UTF-8, not JSON, nested too deeply, or a number that is not finite or far too long.
    """
    text = _decode(data, where) if isinstance(data, bytes) else data
    try:
        value = (_LENIENT if allow_nan else _STRICT).decode(text)
    except json.JSONDecodeError as error:
        line = f":{error.lineno}" if "\n" in text.rstrip("\n") else ""
        raise UsageError(f"{where}{line}: not JSON: {error.msg}{_looks_like(text)}") from None
    except RecursionError:
        raise UsageError(f"{where}: nested too deeply") from None
    except ValueError as error:
        raise UsageError(f"{where}: not JSON: {str(error).partition(';')[0]}") from None
    if text.count("[") + text.count("{") > _MAX_DEPTH and _is_deep(value):
        raise UsageError(f"{where}: nested too deeply")
    return value


def require_field(row: dict[str, Any], name: str, kind: type, where: str) -> Any:
    """Return a field of an object, checked to be of type `kind`.

    Raises:
        UsageError: it is missing or has another type.
    """
    value = row.get(name)
    if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
        what = f"the field {name!r} is missing" if name not in row else f"the field {name!r} has the wrong type"
        raise UsageError.for_value(what, where, value if name in row else sorted(map(str, row)), _KINDS[kind])
    return value


@contextlib.contextmanager
def expected_form(where: object) -> Iterator[None]:
    """Turn errors from reading fields of a file that this package wrote, and somebody changed, into a user's error.

    Raises:
        UsageError: a field is missing or has another type.
    """
    try:
        yield
    except UsageError:
        raise
    except (LookupError, TypeError, AttributeError, ValueError, ArithmeticError) as error:
        what = f"lacks {error.args[0]!r}" if isinstance(error, KeyError) and error.args else str(error)
        raise UsageError(f"{where} is not as reflectioncoder wrote it: {what}") from error


def _decode(data: bytes, where: str) -> str:
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise UsageError(f"{where}: not JSON: this is UTF-16, expected UTF-8")
    try:
        return data.removeprefix(codecs.BOM_UTF8).decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start)
        place = f"{where}:{line + 1}" if line else where
        raise UsageError(f"{place}: not JSON: not UTF-8 ({error.reason} 0x{data[error.start]:02x}); is it Latin-1?") from None


def _looks_like(text: str) -> str:
    return "; the text has NUL characters: is it UTF-16?" if "\0" in text[:100] else ""


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError(f"{digits:.40} is too large a number")
    return number


# Built once: building a decoder takes as long as reading a short row.
_LENIENT = json.JSONDecoder()
_STRICT = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite)


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(_MAX_DEPTH):
        inner = [x for x in level if isinstance(x, (dict, list))]
        if not inner:
            return False
        level = [x for outer in inner for x in (outer.values() if isinstance(outer, dict) else outer)]
    return True
