"""Makes slips inside expressions. Each function yields all its mutations of a program."""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from reflectioncoder.builder.mutation.program import Mutation, Program

_MAX_DIGITS = 1000  # of an integer literal; Python converts at most 4300 digits to decimal
_NEARBY_COMPARISON = {
    cst.LessThan: cst.LessThanEqual,
    cst.LessThanEqual: cst.LessThan,
    cst.GreaterThan: cst.GreaterThanEqual,
    cst.GreaterThanEqual: cst.GreaterThan,
}
_OPPOSITE_COMPARISON = {
    cst.LessThan: cst.GreaterThan,
    cst.LessThanEqual: cst.GreaterThanEqual,
    cst.GreaterThan: cst.LessThan,
    cst.GreaterThanEqual: cst.LessThanEqual,
    cst.Equal: cst.NotEqual,
    cst.NotEqual: cst.Equal,
    cst.In: cst.NotIn,
    cst.NotIn: cst.In,
}
_WRONG_ARITHMETIC = {cst.Add: cst.Subtract, cst.Subtract: cst.Add, cst.Multiply: cst.Add, cst.Power: cst.Multiply}
_WRONG_BITWISE = {
    cst.BitAnd: cst.BitOr,
    cst.BitOr: cst.BitAnd,
    cst.LeftShift: cst.RightShift,
    cst.RightShift: cst.LeftShift,
}
_WRONG_DIVISION = {cst.FloorDivide: cst.Divide, cst.Divide: cst.FloorDivide, cst.Modulo: cst.FloorDivide}
_ASYMMETRIC = (cst.Subtract, cst.Divide, cst.FloorDivide, cst.Modulo, cst.Power)
_CONFUSED_METHODS = {
    "lower": "upper", "upper": "lower", "append": "extend", "extend": "append", "startswith": "endswith",
    "endswith": "startswith", "strip": "lstrip", "rstrip": "lstrip", "lstrip": "rstrip", "find": "rfind", "rfind": "find",
    "keys": "values", "values": "keys", "items": "keys", "title": "capitalize", "capitalize": "title", "ljust": "rjust",
    "rjust": "ljust", "isdigit": "isalpha", "isalpha": "isalnum", "isupper": "islower", "islower": "isupper",
    "appendleft": "append", "popleft": "pop", "join": "split", "split": "strip", "count": "find", "union": "intersection",
    "intersection": "union", "isalnum": "isalpha", "zfill": "rjust", "index": "count", "swapcase": "lower", "pop": "append",
}  # fmt: skip
_CONFUSED_BUILTINS = {
    "min": "max", "max": "min", "any": "all", "all": "any", "sum": "len", "len": "sum", "floor": "ceil", "ceil": "floor",
    "ord": "int", "chr": "str", "zip": "enumerate", "sorted": "reversed", "set": "list", "gcd": "max",
}  # fmt: skip
_CONVERSIONS = {"int", "str", "list", "sorted", "abs", "set", "tuple", "float", "bool", "round", "reversed", "len"}


def _comparisons(program: Program) -> Iterator[tuple[cst.Comparison, cst.BaseCompOp]]:
    for node in program.nodes:
        if isinstance(node, cst.Comparison) and len(node.comparisons) == 1:
            yield node, node.comparisons[0].operator


def _with_operator(node: cst.Comparison, operator: cst.BaseCompOp) -> cst.Comparison:
    return node.with_changes(comparisons=[node.comparisons[0].with_changes(operator=operator)])


def wrong_comparison(program: Program) -> Iterator[Mutation]:
    """Write `<` for `<=` and the like, which treats the boundary wrongly."""
    for node, operator in _comparisons(program):
        if type(operator) in _NEARBY_COMPARISON:
            yield program.replace("wrong_comparison", node, _with_operator(node, _NEARBY_COMPARISON[type(operator)]()))


def inverted_comparison(program: Program) -> Iterator[Mutation]:
    """Write `<` for `>`, `==` for `!=`, `in` for `not in`."""
    for node, operator in _comparisons(program):
        if type(operator) in _OPPOSITE_COMPARISON:
            new = _with_operator(node, _OPPOSITE_COMPARISON[type(operator)]())
            yield program.replace("inverted_comparison", node, new)


def _swap_operator(program: Program, name: str, table: dict) -> Iterator[Mutation]:
    for node in program.nodes:
        if isinstance(node, cst.BinaryOperation) and type(node.operator) in table:
            new = node.with_changes(operator=table[type(node.operator)]())
            yield program.replace(name, node, new)


def wrong_operator(program: Program) -> Iterator[Mutation]:
    """Write `+` for `-`, `and` for `or`, `&` for `|`."""
    yield from _swap_operator(program, "wrong_operator", _WRONG_ARITHMETIC | _WRONG_BITWISE)
    for node in program.nodes:
        if isinstance(node, cst.BooleanOperation):
            new = node.with_changes(operator=cst.Or() if isinstance(node.operator, cst.And) else cst.And())
            yield program.replace("wrong_operator", node, new)


def wrong_division(program: Program) -> Iterator[Mutation]:
    """Exchange true and integer division, or quotient and remainder."""
    yield from _swap_operator(program, "wrong_division", _WRONG_DIVISION)


def _shifted(node: cst.BaseExpression, by: int) -> cst.BaseExpression:
    """Return the expression plus or minus one, folded if it is a plain integer."""
    if isinstance(node, cst.Integer) and len(node.value) <= _MAX_DIGITS:
        value = int(node.value, 0) + by
        return cst.Integer(str(value)) if value >= 0 else cst.UnaryOperation(cst.Minus(), cst.Integer(str(-value)))
    if isinstance(node, cst.BinaryOperation):
        undoes = isinstance(node.operator, cst.Subtract if by > 0 else cst.Add)
        if undoes and isinstance(node.right, cst.Integer) and node.right.value == "1":  # n - 1 + 1 is n
            return node.left
    return cst.BinaryOperation(node, cst.Add() if by > 0 else cst.Subtract(), cst.Integer("1"))


def off_by_one_range(program: Program) -> Iterator[Mutation]:
    """Make a `range` start or end one too early or too late."""
    for node in program.nodes:
        if not (isinstance(node, cst.Call) and isinstance(node.func, cst.Name) and node.func.value == "range"):
            continue
        for index, arg in enumerate(node.args[:2]):
            for by in (-1, 1):
                args = list(node.args)
                args[index] = arg.with_changes(value=_shifted(arg.value, by))
                yield program.replace("off_by_one_range", node, node.with_changes(args=args))
        if len(node.args) == 1:
            args = [
                cst.Arg(cst.Integer("1"), comma=cst.Comma(whitespace_after=cst.SimpleWhitespace(" "))),
                node.args[0],
            ]
            yield program.replace("off_by_one_range", node, node.with_changes(args=args))


def off_by_one_index(program: Program) -> Iterator[Mutation]:
    """Move an index or slice bound by one, or leave a slice bound out."""
    for node in program.nodes:
        if isinstance(node, cst.Index) and isinstance(node.value, (cst.Integer, cst.Name, cst.BinaryOperation)):
            if isinstance(node.value, cst.Name) and not node.value.value.isidentifier():
                continue
            for by in (-1, 1):
                new = node.with_changes(value=_shifted(node.value, by))
                yield program.replace("off_by_one_index", node, new, program.parent[program.parent[node]])
        elif isinstance(node, cst.Slice):
            subscript = program.parent[program.parent[node]]
            for bound in ("lower", "upper"):
                value = getattr(node, bound)
                if value is not None:
                    new = node.with_changes(**{bound: _shifted(value, 1)})
                    yield program.replace("off_by_one_index", node, new, subscript)
                    yield program.replace("off_by_one_index", node, node.with_changes(**{bound: None}), subscript)


def wrong_constant(program: Program) -> Iterator[Mutation]:
    """Change a number or text constant as if misremembered."""
    for node in program.nodes:
        # Other operators handle indices and initial values; an Expr is a docstring.
        if isinstance(program.parent[node], (cst.Index, cst.Slice, cst.Assign, cst.Expr)):
            continue
        if isinstance(node, cst.Integer) and len(node.value) <= _MAX_DIGITS:
            value = int(node.value, 0)
            for other in (value + 1, value * 10 if value else 2):
                yield program.replace("wrong_constant", node, cst.Integer(str(other)), program.enclosing_expression(node))
        elif isinstance(node, cst.SimpleString) and len(node.value) > 2 and node.prefix == "" and len(node.quote) == 1:
            text = node.raw_value
            others = [text[:-1], text + " ", text.swapcase()]
            for other in others:
                if other != text and "\\" not in text:
                    new = node.with_changes(value=f"{node.quote}{other}{node.quote}")
                    yield program.replace("wrong_constant", node, new, program.enclosing_expression(node))


def swapped_arguments(program: Program) -> Iterator[Mutation]:
    """Swap two arguments of a call, or the operands of an asymmetric operator."""
    for node in program.nodes:
        if isinstance(node, cst.Call) and len(node.args) >= 2:
            first, second = node.args[:2]
            if first.keyword or second.keyword or first.star or second.star:
                continue
            args = [first.with_changes(value=second.value), second.with_changes(value=first.value), *node.args[2:]]
            yield program.replace("swapped_arguments", node, node.with_changes(args=args))
        elif isinstance(node, cst.BinaryOperation) and isinstance(node.operator, _ASYMMETRIC):
            if isinstance(node.left, cst.BinaryOperation) or isinstance(node.right, cst.BinaryOperation):
                continue
            yield program.replace("swapped_arguments", node, node.with_changes(left=node.right, right=node.left))


def wrong_method(program: Program) -> Iterator[Mutation]:
    """Call a method or built-in that is easily confused with the right one."""
    for node in program.nodes:
        if not isinstance(node, cst.Call):
            continue
        func = node.func
        if isinstance(func, cst.Attribute) and func.attr.value in _CONFUSED_METHODS:
            other = _CONFUSED_METHODS[func.attr.value]
            new = node.with_changes(func=func.with_changes(attr=cst.Name(other)))
            yield program.replace("wrong_method", node, new)
        name = func.attr.value if isinstance(func, cst.Attribute) else getattr(func, "value", None)
        if name in _CONFUSED_BUILTINS:
            other = cst.Name(_CONFUSED_BUILTINS[name])
            new_func = func.with_changes(attr=other) if isinstance(func, cst.Attribute) else other
            yield program.replace("wrong_method", node, node.with_changes(func=new_func))


def missing_conversion(program: Program) -> Iterator[Mutation]:
    """Leave out a call of `int`, `str`, `sorted`, `abs` and the like."""
    for node in program.nodes:
        if not (isinstance(node, cst.Call) and isinstance(node.func, cst.Name) and node.func.value in _CONVERSIONS):
            continue
        if node.args and not node.args[0].keyword and not isinstance(node.args[0].value, cst.GeneratorExp):
            yield program.replace("missing_conversion", node, node.args[0].value, program.enclosing_expression(node))


def wrong_variable(program: Program) -> Iterator[Mutation]:
    """Use one local name where another one is meant."""
    for node in program.nodes:
        if not isinstance(node, cst.Name) or not _is_load(program, node):
            continue
        function = program.enclosing_function(node)
        names = program.local_names(function) if function else []
        if node.value in names and len(names) > 1:
            other = names[(names.index(node.value) + 1) % len(names)]
            yield program.replace("wrong_variable", node, cst.Name(other), program.enclosing_expression(node))


def misspelt_name(program: Program) -> Iterator[Mutation]:
    """Misspell a local name, which raises a NameError."""
    for node in program.nodes:
        if not isinstance(node, cst.Name) or not _is_load(program, node) or len(node.value) < 4:
            continue
        function = program.enclosing_function(node)
        if function and node.value in program.local_names(function):
            name = node.value
            other = name[:-1] if name.endswith("s") else name + "s"
            if other not in program.local_names(function):
                yield program.replace("misspelt_name", node, cst.Name(other), program.enclosing_expression(node))


def _is_load(program: Program, node: cst.Name) -> bool:
    parent = program.parent[node]
    if isinstance(parent, (cst.Param, cst.FunctionDef, cst.AssignTarget, cst.Attribute, cst.ImportAlias, cst.AugAssign)):
        return isinstance(parent, cst.Attribute) and parent.value is node
    if isinstance(parent, (cst.For, cst.CompFor)):
        return parent.iter is node
    if isinstance(parent, cst.Arg):
        return parent.keyword is not node
    if isinstance(parent, cst.Element):  # target of a tuple assignment
        return not any(isinstance(a, cst.AssignTarget) for a in program.ancestors(parent)) and not any(
            isinstance(a, (cst.For, cst.CompFor)) and parent in _all_children(a.target) for a in program.ancestors(parent)
        )
    return not (isinstance(parent, cst.Call) and parent.func is node)


def _all_children(node: cst.CSTNode) -> list[cst.CSTNode]:
    found = [node]
    for child in node.children:
        found += _all_children(child)
    return found
