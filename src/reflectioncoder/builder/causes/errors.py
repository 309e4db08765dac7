"""Derives the cause of an exception from its message."""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Callable, Mapping

from reflectioncoder.builder.causes.cause import Cause

_MIN_ALIKE = 0.85  # similarity of a misspelt name to the intended one
_TYPE_WORDS = {
    "int": "an integer", "float": "a float", "str": "a string", "list": "a list", "tuple": "a tuple", "set": "a set",
    "bool": "a boolean",
    "dict": "a dictionary", "NoneType": "a `NoneType` object", "function": "a function", "generator": "a generator", "range": "a range",
    "builtin_function_or_method": "a built-in function", "method": "a method", "type": "a type", "module": "a module",
    "complex": "a complex number", "frozenset": "a frozen set", "bytes": "a byte string", "map": "a map object", "zip": "a zip object",
    "filter": "a filter object", "dict_keys": "the keys of a dictionary", "dict_values": "the values of a dictionary",
    "dict_items": "the items of a dictionary", "Counter": "a counter", "deque": "a deque",
}  # fmt: skip

# Message pattern of an exception, kind of cause, and fields filled by the groups. The first match wins.
_MESSAGES: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    (r"UnboundLocalError: .*variable '(\w+)'", "unbound_local", ("name",)),
    (r"AttributeError: 'NoneType' object has no attribute '(\w+)'", "none_used", ("name",)),
    (r"AttributeError: '(\w+)' object has no attribute '(\w+)'", "no_attribute", ("type", "name")),
    (r"AttributeError: (?:module|type object) '([\w.]+)' has no attribute '(\w+)'", "not_in_module", ("owner", "name")),
    (r"TypeError: ([\w.]+)\(\) (?:missing \d+ required|takes|got an unexpected keyword)", "argument_count", ("callee",)),
    (r"TypeError: ([\w.]+)\(\) got (?:an unexpected|some positional-only)", "argument_count", ("callee",)),
    (r"TypeError: [\w.]+ expected (?:at least |at most |exactly )?\d+ arguments?", "argument_count_of_builtin", ()),
    (r"TypeError: unsupported operand type\(s\) for [^:]+: '(\w+)' and '(\w+)'", "mixed_types", ("type", "other_type")),
    (r"TypeError: '[^']+' not supported between instances of '(\w+)' and '(\w+)'", "not_comparable", ("type", "other_type")),
    (r"TypeError: can only concatenate (\w+) \(not \"(\w+)\"\)", "mixed_types", ("type", "other_type")),
    (r"TypeError: must be (\w+), not (\w+)", "mixed_types", ("type", "other_type")),
    (r"TypeError: sequence item \d+: expected str instance, (\w+) found", "joined_no_strings", ("type",)),
    (r"TypeError: '(\w+)' object is not iterable", "not_iterable", ("type",)),
    (r"TypeError: cannot unpack non-iterable (\w+) object", "not_iterable", ("type",)),
    (r"TypeError: argument of type '(\w+)' is not (?:iterable|a container or iterable)", "not_a_container", ("type",)),
    (r"TypeError: '(\w+)' object is not subscriptable", "not_subscriptable", ("type",)),
    (r"TypeError: '(\w+)' object is not callable", "not_callable", ("type",)),
    (r"TypeError: object of type '(\w+)' has no len\(\)", "no_length", ("type",)),
    (r"TypeError: '(\w+)' object does not support item (?:assignment|deletion)", "not_changeable", ("type",)),
    (r"TypeError: unhashable type: '(\w+)'", "not_hashable", ("type",)),
    (r"TypeError: '(\w+)' object cannot be interpreted as an integer", "not_an_integer", ("type",)),
    (r"TypeError: (?:\w+) indices must be integers(?: or slices)?, not '?(\w+)", "no_position", ("type",)),
    (r"TypeError: .* must be (?:a |an )?[\w ,]+, not '?(\w+)'?", "wrong_argument_type", ("type",)),
    (r"TypeError: bad operand type for [^:]+: '(\w+)'", "no_operand", ("type",)),
    (r"TypeError: not all arguments converted", "formatted_no_string", ()),
    (r"IndexError: pop from (?:an )?empty", "popped_empty", ()),
    (r"IndexError: (?:list|tuple|string|range object|deque)?(?: assignment)? ?index out of range", "index_beyond", ()),
    (r"KeyError: (.+)", "missing_key", ("key",)),
    (r"ZeroDivisionError: ", "divided_by_zero", ()),
    (r"RecursionError: ", "endless_recursion", ()),
    (r"ValueError: invalid literal for int\(\)", "no_number", ()),
    (r"ValueError: could not convert string to float", "no_number", ()),
    (r"ValueError: .*(?:arg is an empty sequence|iterable argument is empty)", "extreme_of_nothing", ()),
    (r"ValueError: not enough values to unpack", "too_few_to_unpack", ()),
    (r"ValueError: too many values to unpack", "too_many_to_unpack", ()),
    (r"ValueError: .*(?:not in list|not in tuple|substring not found)", "searched_in_vain", ()),
    (r"ValueError: range\(\) arg 3 must not be zero", "step_of_zero", ()),
    (r"ValueError: empty separator", "empty_separator", ()),
    (r"ValueError: math domain error", "outside_domain", ()),
    (r"NotImplementedError", "not_written", ()),
    (r"RuntimeError: dictionary changed size", "changed_while_looped", ()),
    (r"(?:OverflowError|MemoryError)", "too_large", ()),
)  # fmt: skip
_SYNTAX: tuple[tuple[str, str], ...] = (
    (r"(?:IndentationError|TabError): ", "bad_indentation"),
    (r"SyntaxError: (?:'[([{]' was never closed|unmatched|closing parenthesis)", "unclosed_bracket"),
    (r"SyntaxError: unterminated", "unclosed_text"),
    (r"SyntaxError: expected ':'", "missing_colon"),
    (r"SyntaxError: invalid syntax\. Perhaps you forgot a comma", "missing_comma"),
    (r"SyntaxError: invalid syntax\. Maybe you meant '=='", "assigned_not_compared"),
    (r"SyntaxError: '(?:return|yield|await)' outside", "outside_of_function"),
    (r"SyntaxError: '(?:break|continue)'", "outside_of_loop"),
    (r"SyntaxError: (?:invalid character|invalid non-printable)", "foreign_character"),
    (r"SyntaxError: cannot assign to", "assigned_to_no_variable"),
    (r"SyntaxError: ", "no_python"),
)


def cause_of_error(error: str, attempt_names: frozenset[str], entry_point: str, imported: frozenset[str]) -> Cause | None:
    """Name the cause of an exception.

    Args:
        error: last line of the traceback.
        attempt_names: names that the attempt binds.
        imported: modules that the reference imports.
    """
    for pattern, kind in _SYNTAX:
        if re.match(pattern, error):
            return Cause(kind)
    if found := re.match(r"NameError: (?:cannot access free variable |name )'(\w+)'", error):
        return _undefined(found[1], attempt_names, entry_point, imported)
    for pattern, kind, fields in _MESSAGES:
        if found := re.match(pattern, error):
            facts = {name: _FIELDS.get(name, str)(value) for name, value in zip(fields, found.groups(), strict=True)}
            return Cause(kind, facts=facts) if all(facts.values()) else None
    return None


def _undefined(name: str, names: frozenset[str], entry_point: str, imported: frozenset[str]) -> Cause:
    if name == entry_point:
        return Cause("no_such_function", facts={"name": name})
    if name in imported or name in sys.stdlib_module_names:
        return Cause("missing_import")
    if difflib.get_close_matches(name, names, 1, _MIN_ALIKE):
        return Cause("misspelt_name")
    return Cause("undefined_name", facts={"name": name})


def type_in_words(name: str) -> str:
    """Return the phrase for a value of a type, such as "an integer"; "" if the type is unknown."""
    return _TYPE_WORDS.get(name, "")


def _without_quotes(key: str) -> str:
    return "" if "`" in key or len(key) > 40 else key


_FIELDS: Mapping[str, Callable[[str], str]] = {"type": type_in_words, "other_type": type_in_words, "key": _without_quotes}
