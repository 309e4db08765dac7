"""Classifies the difference between two corresponding statements by their smallest differing part."""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator

from reflectioncoder.builder.causes.cause import Cause
from reflectioncoder.builder.tracing.statements import Node, Statement

GENERAL = frozenset(
    ("other_value", "other_statement", "other_grouping", "one_case", "too_much", "lacks_call", "lacks_operator", "lacks_name",
     "wrong_condition", "wrong_iteration", "broken_line", "missing_step", "needless_step", "wrong_variable")
)  # fmt: skip
"""General kinds, less informative than an error message or the attempt's own text."""

_STRICT = ({ast.Lt, ast.LtE}, {ast.Gt, ast.GtE})
_DIVISIONS = {ast.Div, ast.FloorDiv, ast.Mod}
_CONVERSIONS = frozenset(("int", "float", "str", "list", "tuple", "set", "dict", "bool", "frozenset"))
_OPERATORS: dict[type[ast.AST], str] = {
    ast.Mod: "%", ast.FloorDiv: "//", ast.Div: "/", ast.Pow: "**", ast.Mult: "*", ast.Sub: "-", ast.Add: "+",
    ast.And: "and", ast.Or: "or", ast.Eq: "==", ast.NotEq: "!=", ast.Not: "not", ast.In: "in", ast.NotIn: "not in",
    ast.BitXor: "^", ast.BitAnd: "&", ast.BitOr: "|",
}  # fmt: skip


def change(ours: Statement, theirs: Statement, *, is_initial: bool = False) -> Cause:
    """Classify the mistake in a statement that another one replaces.

    Args:
        is_initial: the statement assigns a variable that a later loop updates.
    """
    a, b = _Plain().visit(copy.deepcopy(ours.node)), _Plain().visit(copy.deepcopy(theirs.node))
    wrong, correct = (item.written or item.text for item in (ours, theirs))
    kind = _of_kinds(a, b)
    if kind:
        return Cause(kind, wrong, correct)
    found = _of_header(a, b) or _of_expressions(a, b)
    if found is not None:
        kind = "wrong_initial_value" if is_initial and found.kind in ("wrong_constant", "other_value") else found.kind
        return Cause(kind, wrong, correct, found.facts)
    return Cause("other_statement", wrong, correct)


class _Plain(ast.NodeTransformer):
    """Turns f-strings without placeholders into plain strings."""

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.expr:
        texts = [value.value for value in node.values if isinstance(value, ast.Constant)]
        return ast.Constant("".join(map(str, texts))) if len(texts) == len(node.values) else node


def _of_kinds(a: Node, b: Node) -> str:
    """Classify the mistake if the statements are of different kinds; "" if they are of the same kind."""
    if isinstance(a, ast.Expr) and isinstance(b, ast.Return):
        is_print = isinstance(a.value, ast.Call) and isinstance(a.value.func, ast.Name) and a.value.func.id == "print"
        return "printed_not_returned" if is_print else "missing_return"
    if isinstance(a, ast.Return) and isinstance(b, ast.Expr) and isinstance(b.value, ast.Yield):
        return "returned_not_yielded"
    if isinstance(a, ast.Return) and a.value is None and isinstance(b, ast.Return):
        return "returns_nothing"
    if isinstance(a, ast.Assign) and isinstance(b, ast.AugAssign):
        return "overwritten"
    if isinstance(a, ast.If) and isinstance(b, ast.While):
        return "not_repeated"
    return "" if type(a) is type(b) else "other_statement"


def _of_header(a: Node, b: Node) -> Cause | None:
    """Classify a difference outside expressions: the operator of an augmented assignment, or a function's parameters or defaults."""
    if isinstance(a, ast.AugAssign) and isinstance(b, ast.AugAssign) and type(a.op) is not type(b.op):
        return Cause("wrong_update")
    if isinstance(a, ast.FunctionDef) and isinstance(b, ast.FunctionDef):
        if len(a.args.args) != len(b.args.args):
            return Cause("wrong_parameters")
        if ast.dump(a.args) != ast.dump(b.args) and (a.args.defaults or b.args.defaults):
            return Cause("wrong_default")
    return None


def _of_expressions(a: Node, b: Node) -> Cause | None:
    ours, theirs = list(_expressions(a)), list(_expressions(b))
    if len(ours) != len(theirs):
        return None
    differing = [(x, y) for x, y in zip(ours, theirs, strict=True) if ast.dump(x) != ast.dump(y)]
    if len(differing) != 1:
        return None
    found = _part(*differing[0], None)
    if found.kind == "other_value":
        found = _lacking(*differing[0]) or found
    if found.kind == "other_value" and isinstance(a, ast.If | ast.While):
        return Cause("wrong_condition")
    return Cause("wrong_iteration") if found.kind == "other_value" and isinstance(a, ast.For) else found


def _expressions(node: Node) -> Iterator[ast.expr]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.expr):
            yield child


def _part(a: ast.expr, b: ast.expr, around: ast.expr | None) -> Cause:
    """Classify the mistake in the smallest differing parts of two expressions. `around`: the attempt's expression around `a`."""
    if kind := _whole(a, b, around):
        return Cause(kind)
    ours, theirs = (list(_inner(node)) for node in (a, b))
    if type(a) is not type(b) or len(ours) != len(theirs):
        return Cause("other_value")
    differing = [(x, y) for x, y in zip(ours, theirs, strict=True) if ast.dump(x) != ast.dump(y)]
    if len(differing) == 2 and _is_swap(*differing):
        return Cause("swapped_arguments")
    if differing and all(isinstance(node, ast.Constant) for pair in differing for node in pair) and _same_but_for_parts(a, b):
        return Cause("wrong_constant")
    if len(differing) != 1 or not _same_but_for_parts(a, b):
        return Cause("other_value")
    if isinstance(a, ast.Call) and differing[0][0] is a.func:
        return _of_callee(*differing[0])
    found = _part(*differing[0], a)
    is_test = isinstance(a, ast.IfExp) and differing[0][0] is a.test
    return Cause("wrong_condition") if is_test and found.kind == "other_value" else found


def _of_callee(a: ast.expr, b: ast.expr) -> Cause:
    if isinstance(a, ast.Attribute) and isinstance(b, ast.Attribute) and a.attr == b.attr:
        return _part(a.value, b.value, a)
    return Cause("wrong_method")


def _whole(a: ast.expr, b: ast.expr, around: ast.expr | None) -> str:
    """Classify the mistake in two expressions as a whole; "" if it is in their parts."""
    match a, b:
        case ast.Constant(), ast.Constant():
            return _of_place("wrong_constant", a, b, around)
        case ast.Name(), ast.Name():
            return "wrong_variable"
        case ast.UnaryOp(op=ast.Not(), operand=inner), _ if ast.dump(inner) == ast.dump(b):
            return "negated_condition"
        case _, ast.UnaryOp(op=ast.Not(), operand=inner) if ast.dump(inner) == ast.dump(a):
            return "negated_condition"
        case ast.Compare(), ast.Compare() if _same_parts(a, b) and len(a.ops) == len(b.ops) == 1:
            is_boundary = any({type(a.ops[0]), type(b.ops[0])} == pair for pair in _STRICT)
            return "wrong_comparison" if is_boundary else "other_comparison"
        case (ast.BinOp(), ast.BinOp()) if _same_parts(a, b):
            return "wrong_division" if {type(a.op), type(b.op)} <= _DIVISIONS else "wrong_operator"
        case (ast.BoolOp(), ast.BoolOp()) if _same_parts(a, b):
            return "wrong_connective"
        case _, ast.Call(args=[inner], keywords=[]) if ast.dump(inner) == ast.dump(a):
            is_conversion = isinstance(b.func, ast.Name) and b.func.id in _CONVERSIONS
            return "missing_conversion" if is_conversion else "missing_call"
        case ast.Call(args=[inner], keywords=[]), _ if ast.dump(inner) == ast.dump(b):
            return "needless_call"
        case (ast.Call(func=ast.Name("range")), ast.Call(func=ast.Name("range"))):
            return "off_by_one_range" if _is_off_by_one(a, b) else "wrong_bounds"
        case ast.Slice(), ast.Slice():
            return "wrong_slice"
    if isinstance(around, ast.Subscript):
        return _of_place("", a, b, around)
    return ""


def _of_place(kind: str, a: ast.expr, b: ast.expr, around: ast.expr | None) -> str:
    if isinstance(around, ast.Subscript) and around.slice is a:
        return "off_by_one_index" if _distance(a, b) in (1, -1) else "wrong_index"
    return kind


def _is_off_by_one(a: ast.Call, b: ast.Call) -> bool:
    """Tell whether the bounds of two ranges differ by at most one, and at least one bound does."""
    ours, theirs = (_bounds(call) for call in (a, b))
    if ours is None or theirs is None:
        return False
    distances = [_distance(x, y) for x, y in zip(ours, theirs, strict=True)]
    return all(distance in (-1, 0, 1) for distance in distances) and any(distances)


def _bounds(call: ast.Call) -> list[ast.expr] | None:
    if len(call.args) == 1:
        return [ast.Constant(0), call.args[0]]
    return list(call.args) if len(call.args) == 2 else None


def _distance(a: ast.expr, b: ast.expr) -> int | None:
    """Return the difference of two expressions that differ only in an added constant; None for others."""
    (base, number), (other, value) = _sum(a), _sum(b)
    return value - number if base == other else None


def _sum(node: ast.expr) -> tuple[str, int]:
    match node:
        case ast.Constant(value=int() as number):
            return "", number
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() as number)):
            return "", -number
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub() as op, right=ast.Constant(value=int() as number)):
            return ast.dump(left), number if isinstance(op, ast.Add) else -number
    return ast.dump(node), 0


def _lacking(a: ast.expr, b: ast.expr) -> Cause | None:
    """Return the cause for what the wrong expression lacks (a conditional, a call, an operator, a name) or has in excess."""
    if _has(b, ast.IfExp) and not _has(a, ast.IfExp):
        return Cause("one_case")
    calls = [_callee(node) for node in ast.walk(b) if isinstance(node, ast.Call)]
    own = {_callee(node) for node in ast.walk(a) if isinstance(node, ast.Call)}
    if name := next((call for call in calls if call and call not in own), ""):
        return Cause("lacks_call", facts={"lacking": name})
    known = {type(node) for node in ast.walk(a)}
    texts = [node.value for node in ast.walk(a) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    for node in ast.walk(b):
        sign = _OPERATORS.get(type(node))
        if sign and type(node) not in known and not any(sign in text for text in texts):  # a string may show the sign
            return Cause("lacks_operator", facts={"lacking": sign})
    names, wanted = (list(dict.fromkeys(inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name))) for node in (a, b))
    if name := next((name for name in wanted if name not in names), ""):
        return Cause("lacks_name", facts={"lacking": name})
    needed = {type(node) for node in ast.walk(b)}
    extra = [sign for node in ast.walk(a) if (sign := _OPERATORS.get(type(node))) and type(node) not in needed]
    if extra := [*extra, *sorted(own - {*calls, ""}), *(name for name in names if name not in wanted)]:
        return Cause("too_much", facts={"extra": extra[0]})
    return Cause("other_grouping") if _OPERATORS.keys() & needed or calls else None


def _has(node: ast.expr, kind: type[ast.AST]) -> bool:
    return any(isinstance(inner, kind) for inner in ast.walk(node))


def _callee(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else call.func.attr if isinstance(call.func, ast.Attribute) else ""


def _inner(node: ast.AST) -> Iterator[ast.expr]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.expr):
            yield child
        elif isinstance(child, ast.keyword | ast.comprehension):
            yield from _inner(child)


def _is_swap(first: tuple[ast.expr, ast.expr], second: tuple[ast.expr, ast.expr]) -> bool:
    return ast.dump(first[0]) == ast.dump(second[1]) and ast.dump(first[1]) == ast.dump(second[0])


def _same_parts(a: ast.expr, b: ast.expr) -> bool:
    return [ast.dump(node) for node in _inner(a)] == [ast.dump(node) for node in _inner(b)]


def _same_but_for_parts(a: ast.expr, b: ast.expr) -> bool:
    """Tell whether two expressions agree in everything but their subexpressions: operators, attribute names, keywords."""
    return _bare(a) == _bare(b)


def _bare(node: ast.AST) -> object:
    found = []
    for name, value in ast.iter_fields(node):
        values = value if isinstance(value, list) else [value]
        found.append((name, [_bare_value(item) for item in values]))
    return type(node).__name__, found


def _bare_value(item: object) -> object:
    if isinstance(item, ast.expr):
        return "expression"
    return _bare(item) if isinstance(item, ast.AST) else item
