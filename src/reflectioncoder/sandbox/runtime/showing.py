"""Shows values of a traced program: bounded, reproducible, and without running any code of the program.

A fully shown value of built-in types reads as its `repr`. Omissions are marked by `…`, so that a text is never mistaken for the whole
value.
"""

from __future__ import annotations

import collections
import datetime
import decimal
import fractions
import types
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

LEFT_OUT = "…"
MAX_CHARS = 400  # per value
_MAX_ITEMS = 60  # per container
_MAX_DEPTH = 5
_MAX_BITS = 2000  # for integers written in decimal
_MAX_ATTRIBUTES = 12

ATOMS = frozenset((int, float, bool, type(None), str, complex, bytes))
_TRUSTED = frozenset(
    (
        *(float, bool, type(None), complex, range, type(...), type(NotImplemented), slice),
        *(fractions.Fraction, decimal.Decimal),
        *(datetime.date, datetime.datetime, datetime.time, datetime.timedelta),
    )
)
_FUNCTIONS = (types.FunctionType, types.BuiltinFunctionType, types.MethodType)


def show(value: Any, room: int = MAX_CHARS) -> str:
    """Return the text of a value, at most about `room` characters."""
    try:
        text = _text(value, room, _MAX_DEPTH, [])
    except Exception:
        return f"<{_class_name(value)} {LEFT_OUT}>"
    return text if len(text) <= room else text[: room - 1] + LEFT_OUT


def show_error(error: BaseException) -> str:
    """Return the class and message of an exception; for the program's own classes, whose `__str__` must not run, the arguments."""
    kind = type(error)
    name = kind.__name__
    try:
        args = BaseException.__getattribute__(error, "args")
        own_text = kind.__module__ != "builtins" and "__str__" in {key for base in kind.__mro__[:-2] for key in vars(base)}
        text = show(args) if own_text else (kind.__str__(error) if all(type(arg) in ATOMS for arg in args) else show(args))
    except Exception:
        text = ""
    return f"{name}: {text}"[:MAX_CHARS] if text else name


def attributes_of(value: Any, module: str) -> dict[str, Any] | None:
    """Return the attributes of an instance of a class defined in `module`; None for any other value."""
    kind = type(value)
    if kind.__module__ != module or isinstance(value, type):
        return None
    return dict(islice(_attributes(value), _MAX_ATTRIBUTES))


def _attributes(value: Any) -> Iterator[tuple[str, Any]]:
    for base in type(value).__mro__:
        found = vars(base).get("__dict__")
        if isinstance(found, types.GetSetDescriptorType):
            yield from list(found.__get__(value).items())
            break
    for base in type(value).__mro__:
        for name, slot in list(vars(base).items()):
            if isinstance(slot, types.MemberDescriptorType) and not name.startswith("__"):
                try:
                    yield name, slot.__get__(value)
                except AttributeError:
                    continue


def _class_name(value: Any) -> str:
    return type.__getattribute__(type(value), "__name__")


def _text(value: Any, room: int, depth: int, above: list[int]) -> str:
    kind = type(value)
    if kind is int:
        return repr(value) if value.bit_length() <= _MAX_BITS else f"<int of {value.bit_length()} bits, hash {hash(value)} {LEFT_OUT}>"
    if kind is str or kind is bytes:
        return repr(value) if len(value) <= room else f"{value[: max(room - 20, 10)]!r}{LEFT_OUT} of {len(value)}"
    if kind in _TRUSTED:
        return repr(value)
    if isinstance(value, type):
        return f"<class {type.__getattribute__(value, '__name__')}>"
    if isinstance(value, _FUNCTIONS):
        return f"<function {value.__name__}>"
    if isinstance(value, BaseException):
        return f"<{show_error(value)}>"
    if id(value) in above or depth == 0:
        return LEFT_OUT
    above.append(id(value))
    try:
        return _container(value, kind, room, depth - 1, above)
    finally:
        above.pop()


def _container(value: Any, kind: type, room: int, depth: int, above: list[int]) -> str:
    for base, write in _CONTAINERS.items():
        if kind is base:
            return write(value, room, depth, above)
        if issubclass(kind, base):
            return f"{_class_name(value)}({write(value, room, depth, above)})"
    for base in (int, float, str):
        if issubclass(kind, base):  # an enumeration or a class of the program
            return f"{_class_name(value)}({_text(_plain(base, value), room, depth, above)})"
    named = [f"{name}={_text(part, room, depth, above)}" for name, part in islice(_attributes(value), _MAX_ATTRIBUTES)]
    own = kind.__module__ == "__main__"
    return f"{_class_name(value)}({', '.join(named)})" if own else f"<{_class_name(value)}>"


def _plain(base: type, value: Any) -> Any:
    """Return the built-in value inside an instance of a subclass."""
    if base is int:
        return int.__add__(value, 0)
    return float.__add__(value, 0.0) if base is float else str.__str__(value)


def _listed(items: Iterable[Any], count: int, room: int, depth: int, above: list[int]) -> list[str]:
    parts: list[str] = []
    left = room
    for item in islice(items, _MAX_ITEMS):
        parts.append(_text(item, max(left, 20), depth, above))
        left -= len(parts[-1]) + 2
        if left <= 0:
            break
    if len(parts) < count:
        parts.append(f"{LEFT_OUT} {count - len(parts)} more")
    return parts


def _list(value: Any, room: int, depth: int, above: list[int]) -> str:
    return f"[{', '.join(_listed(list.__iter__(value), list.__len__(value), room, depth, above))}]"


def _tuple(value: Any, room: int, depth: int, above: list[int]) -> str:
    parts = _listed(tuple.__iter__(value), tuple.__len__(value), room, depth, above)
    return f"({parts[0]},)" if len(parts) == 1 else f"({', '.join(parts)})"


def _deque(value: Any, room: int, depth: int, above: list[int]) -> str:
    parts = _listed(collections.deque.__iter__(value), collections.deque.__len__(value), room, depth, above)
    return f"deque([{', '.join(parts)}])"


def _set(base: type) -> Callable[[Any, int, int, list[int]], str]:
    def write(value: Any, room: int, depth: int, above: list[int]) -> str:
        shown = sorted(_text(item, room, depth, above) for item in islice(base.__iter__(value), 2 * _MAX_ITEMS))
        if not shown:
            return f"{base.__name__}()"
        count = base.__len__(value)
        kept = shown[:_MAX_ITEMS] + ([f"{LEFT_OUT} {count - _MAX_ITEMS} more"] if count > _MAX_ITEMS else [])
        text = f"{{{', '.join(kept)}}}"
        return text if base is set else f"frozenset({text})"

    return write


def _dict(value: Any, room: int, depth: int, above: list[int]) -> str:
    pairs, left = [], room
    for key, item in islice(dict.items(value), _MAX_ITEMS):
        pairs.append(f"{_text(key, max(left, 20), depth, above)}: {_text(item, max(left, 20), depth, above)}")
        left -= len(pairs[-1]) + 2
        if left <= 0:
            break
    if len(pairs) < dict.__len__(value):
        pairs.append(f"{LEFT_OUT} {dict.__len__(value) - len(pairs)} more")
    return f"{{{', '.join(pairs)}}}"


_CONTAINERS: dict[type, Callable[[Any, int, int, list[int]], str]] = {
    list: _list,
    tuple: _tuple,
    dict: _dict,
    set: _set(set),
    frozenset: _set(frozenset),
    collections.deque: _deque,
}
