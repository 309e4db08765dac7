"""Makes slips in calls: a wrong method, a missing conversion or copy, and JavaScript's own pitfalls."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from reflectioncoder.builder.javascript.expressions import call_arguments, is_method_call
from reflectioncoder.builder.javascript.program import ATOMS, FUNCTIONS, Program
from reflectioncoder.builder.mutation.program import Mutation

if TYPE_CHECKING:
    from tree_sitter import Node

_CONFUSED = {
    "push": ("unshift",), "unshift": ("push",), "pop": ("shift",), "shift": ("pop",), "slice": ("splice",), "splice": ("slice",),
    "indexOf": ("lastIndexOf",), "lastIndexOf": ("indexOf",), "map": ("forEach",), "forEach": ("map",), "some": ("every",),
    "every": ("some",), "filter": ("map", "find"), "find": ("filter", "findIndex"), "findIndex": ("find",), "flatMap": ("map",),
    "includes": ("indexOf",), "has": ("get",), "get": ("has",), "concat": ("push",), "reduce": ("reduceRight",),
    "toUpperCase": ("toLowerCase",), "toLowerCase": ("toUpperCase",), "startsWith": ("endsWith",), "endsWith": ("startsWith",),
    "trim": ("trimStart",), "trimStart": ("trimEnd",), "trimEnd": ("trimStart",), "padStart": ("padEnd",), "padEnd": ("padStart",),
    "charAt": ("charCodeAt",), "charCodeAt": ("charAt",), "codePointAt": ("charAt",), "replaceAll": ("replace",),
    "substring": ("substr",), "keys": ("values",), "values": ("keys",), "entries": ("keys",), "join": ("concat",),
    "max": ("min",), "min": ("max",), "floor": ("ceil", "round"), "ceil": ("floor",), "round": ("floor",), "trunc": ("round",),
    "match": ("test",), "parseInt": ("parseFloat",), "parseFloat": ("parseInt",), "isInteger": ("isFinite",),
}  # fmt: skip
_CONVERSIONS = ("Number", "String", "Boolean", "BigInt", "parseInt", "parseFloat")
_CONVERTING_METHODS = ("floor", "ceil", "round", "trunc", "abs", "from", "stringify")  # of Math, Array and JSON
_OWNERS = ("Math", "Array", "JSON")
_LINKS = ("toLowerCase", "toUpperCase", "trim", "sort", "reverse", "flat", "filter")  # links of a method chain that works without them
_STANDS_FREE = frozenset(
    ("arguments", "return_statement", "variable_declarator", "expression_statement", "parenthesized_expression", "pair", "array")
)


def wrong_method(program: Program) -> Iterator[Mutation]:
    """Call a method or function that is easily confused with the right one."""
    for node in program.of_type("call_expression"):
        function = node.child_by_field_name("function")
        name = function.child_by_field_name("property") if function is not None else None
        name = function if function is not None and function.type == "identifier" else name
        for other in _CONFUSED.get(program.text(name), ()) if name is not None else ():
            if not (other == "map" and _is_statement(node)):
                assert name is not None
                yield program.replace("wrong_method", name, other, _quoted(program, node))


def _is_statement(node: Node) -> bool:
    return node.parent is None or node.parent.type == "expression_statement"


def _quoted(program: Program, call: Node) -> Node:
    """Return the call if it is short enough to quote, else only its function."""
    function = call.child_by_field_name("function")
    return call if call.end_byte - call.start_byte <= 70 or function is None else function


def missing_conversion(program: Program) -> Iterator[Mutation]:
    """Leave out a conversion: `Number(x)`, `Math.floor(x)`, `Array.from(x)`, a plus sign, `toString()`."""
    for node in program.of_type("call_expression", "unary_expression"):
        if node.type == "unary_expression":
            operator, argument = node.child_by_field_name("operator"), node.child_by_field_name("argument")
            if operator is not None and operator.type == "+" and argument is not None and argument.type != "number":
                yield program.replace("missing_conversion", node, program.text(argument), program.surroundings(node))
        elif (value := _converted(program, node)) is not None:
            text = program.text(value)
            is_free = value.type in ATOMS or (node.parent is not None and node.parent.type in _STANDS_FREE)
            yield program.replace("missing_conversion", node, text if is_free else f"({text})", program.surroundings(node))


def _converted(program: Program, call: Node) -> Node | None:
    """Return the value that a call converts; None if it is not a conversion."""
    function, arguments = call.child_by_field_name("function"), call_arguments(call)
    if function is None or any(part.type in FUNCTIONS or part.type in ("spread_element", "object") for part in arguments):
        return None
    if function.type == "identifier":
        return arguments[0] if arguments and program.text(function) in _CONVERSIONS else None
    owner, method = function.child_by_field_name("object"), function.child_by_field_name("property")
    if owner is None or method is None:
        return None
    if program.text(owner) in _OWNERS and program.text(method) in _CONVERTING_METHODS:
        return arguments[0] if len(arguments) == 1 else None
    return owner if not arguments and program.text(method) == "toString" else None


def missing_call(program: Program) -> Iterator[Mutation]:
    """Leave out a link of a method chain: `reverse()`, `toLowerCase()`, a `filter`."""
    for node in program.of_type("call_expression"):
        function = node.child_by_field_name("function")
        owner = function.child_by_field_name("object") if function is not None else None
        if owner is not None and owner.type in ATOMS and is_method_call(node, program, *_LINKS) and not _is_statement(node):
            yield program.replace("missing_call", node, program.text(owner), program.surroundings(node))


def missing_comparator(program: Program) -> Iterator[Mutation]:
    """Call `sort()` without a comparator, which sorts numbers as strings."""
    for node in program.of_type("call_expression"):
        arguments = node.child_by_field_name("arguments")
        if is_method_call(node, program, "sort", "toSorted") and arguments is not None and call_arguments(node):
            yield program.replace("missing_comparator", arguments, "()", node)


def changed_argument(program: Program) -> Iterator[Mutation]:
    """Work on the caller's array where a copy is needed: `[...xs]` and `xs.slice()` become `xs`."""
    for node in program.of_type("array", "call_expression"):
        copied = _copied(program, node)
        if copied is not None and copied.type in ATOMS:
            yield program.replace("changed_argument", node, program.text(copied), program.surroundings(node))


def _copied(program: Program, node: Node) -> Node | None:
    if node.type == "array":
        spread = node.named_children[0] if len(node.named_children) == 1 else None
        return spread.named_children[0] if spread is not None and spread.type == "spread_element" else None
    if is_method_call(node, program, "slice") and not call_arguments(node):
        function = node.child_by_field_name("function")
        return function.child_by_field_name("object") if function is not None else None
    return None


def shared_object(program: Program) -> Iterator[Mutation]:
    """Fill an array with one shared object: `new Array(n).fill([])` for `Array.from({length: n}, () => [])`."""
    for node in program.of_type("call_expression"):
        arguments = call_arguments(node)
        if len(arguments) != 2 or not is_method_call(node, program, "from") or arguments[1].type != "arrow_function":
            continue
        made = arguments[1].child_by_field_name("body")
        length = _length(program, arguments[0])
        if made is not None and length and made.type in ("array", "new_expression", "call_expression", "parenthesized_expression"):
            yield program.replace("shared_object", node, f"new Array({length}).fill({program.text(made)})", program.surroundings(node))


def _length(program: Program, node: Node) -> str:
    """Return the text of `n` in `{length: n}`; "" for other nodes."""
    pair = node.named_children[0] if node.type == "object" and len(node.named_children) == 1 else None
    key, value = (pair.child_by_field_name(field) for field in ("key", "value")) if pair is not None else (None, None)
    return program.text(value) if key is not None and value is not None and program.text(key) == "length" else ""


def missing_spread(program: Program) -> Iterator[Mutation]:
    """Pass an array where its elements are meant: `Math.max(xs)` for `Math.max(...xs)`."""
    for node in program.of_type("spread_element"):
        if node.parent is not None and node.parent.type in ("arguments", "array"):
            is_copy = node.parent.type == "array" and len(node.parent.named_children) == 1
            if not is_copy:
                yield program.replace("missing_spread", node, program.text(node.named_children[0]), program.surroundings(node))


def missing_new(program: Program) -> Iterator[Mutation]:
    """Call a constructor without `new`, which raises a TypeError for `Map`, `Set` and classes."""
    for node in program.of_type("new_expression"):
        constructor = node.child_by_field_name("constructor")
        if constructor is not None and program.text(constructor) not in ("Array", "Error", "RangeError", "TypeError", "Object", "Date"):
            edit = (node.start_byte, constructor.start_byte, "")
            yield program.edit("missing_new", [edit], program.surroundings(node))
