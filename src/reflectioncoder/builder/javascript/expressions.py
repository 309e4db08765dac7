"""Makes slips in operators, indices, constants and names. Each function yields all its mutations of a program."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from reflectioncoder.builder.javascript.program import ATOMS, Program, ancestors, is_use, shifted
from reflectioncoder.builder.mutation.program import Mutation

if TYPE_CHECKING:
    from tree_sitter import Node

_NEARBY = {"<": "<=", "<=": "<", ">": ">=", ">=": ">"}
_OPPOSITE = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "===": "!==", "!==": "===", "==": "!=", "!=": "=="}
_LOOSE = {"===": "==", "!==": "!="}
_WRONG = {
    **{"+": "-", "-": "+", "*": "+", "**": "*", "&&": "||", "||": "&&"},
    **{"&": "|", "|": "&", "^": "|", "<<": ">>", ">>": "<<", ">>>": ">>"},
}
_MISSING_VALUES = ("undefined", "null")
_CONVERTIBLE = (*_MISSING_VALUES, "true", "false", "number", "string")
_SLICES = ("slice", "substring", "splice", "substr")
_MAX_DIGITS = 15


def operands(node: Node) -> tuple[Node, Node, Node]:
    """Return the left operand, the operator and the right operand of a binary expression."""
    left, operator, right = (node.child_by_field_name(field) for field in ("left", "operator", "right"))
    assert left is not None
    assert operator is not None
    assert right is not None
    return left, operator, right


def is_method_call(node: Node, program: Program, *names: str) -> bool:
    """Tell whether a node calls a method with one of the names, or any method if no names are given."""
    function = node.child_by_field_name("function") if node.type == "call_expression" else None
    if function is None or function.type != "member_expression":
        return False
    method = function.child_by_field_name("property")
    return method is not None and (not names or program.text(method) in names)


def call_arguments(node: Node) -> list[Node]:
    """Return the arguments of a call."""
    arguments = node.child_by_field_name("arguments")
    return [child for child in arguments.named_children if child.type != "comment"] if arguments is not None else []


def _bounds_loop(node: Node) -> bool:
    parent = node.parent
    return parent is not None and parent.type == "for_statement" and parent.child_by_field_name("condition") == node


def _swap(program: Program, name: str, table: Mapping[str, str], *, loops: bool = True) -> Iterator[Mutation]:
    for node in program.of_type("binary_expression"):
        _, operator, _ = operands(node)
        other = table.get(operator.type)
        if other and (loops or not _bounds_loop(node)) and not _is_mixed(node, other):
            yield program.replace(name, operator, other, node)


def _is_mixed(node: Node, operator: str) -> bool:
    """Tell whether an operator would be a syntax error next to `??`."""
    around = [node.parent, *node.children]
    operators = [part.child_by_field_name("operator") for part in around if part is not None and part.type == "binary_expression"]
    return operator in ("&&", "||") and any(part is not None and part.type == "??" for part in operators)


def wrong_comparison(program: Program) -> Iterator[Mutation]:
    """Write `<` for `<=` and the like, which treats the boundary wrongly."""
    yield from _swap(program, "wrong_comparison", _NEARBY, loops=False)


def inverted_comparison(program: Program) -> Iterator[Mutation]:
    """Write `<` for `>`, `===` for `!==`."""
    yield from _swap(program, "inverted_comparison", _OPPOSITE, loops=False)


def loose_equality(program: Program) -> Iterator[Mutation]:
    """Write `==` for `===` where one side is a constant, or both can be of any type."""
    for node in program.of_type("binary_expression"):
        left, operator, right = operands(node)
        if operator.type not in _LOOSE:
            continue
        is_open = all(side.type in ("identifier", "subscript_expression", "call_expression") for side in (left, right))
        kinds = {side.type for side in (left, right)}
        is_constant = any(kind in _CONVERTIBLE for kind in kinds) and kinds & {"identifier", "subscript_expression", "call_expression"}
        if is_open or is_constant:
            yield program.replace("loose_equality", operator, _LOOSE[operator.type], node)


def falsy_check(program: Program) -> Iterator[Mutation]:
    """Test truthiness where 0 and "" are valid values, or of a position where -1 means that nothing was found."""
    for node in program.of_type("binary_expression"):
        left, operator, right = operands(node)
        found, value = operator.type, program.text(right)
        is_missing = right.type in _MISSING_VALUES and left.type in ATOMS
        is_position = is_method_call(left, program, "indexOf", "lastIndexOf", "findIndex", "search") and value == "-1"
        if (is_missing or is_position) and found in ("===", "=="):
            yield program.replace("falsy_check", node, f"!{program.text(left)}")
        elif (is_missing or is_position) and found in ("!==", "!=", ">"):
            yield program.replace("falsy_check", node, program.text(left))
        elif found == "??":
            yield program.replace("falsy_check", operator, "||", node)


def wrong_operator(program: Program) -> Iterator[Mutation]:
    """Write `+` for `-`, `&&` for `||`, `&` for `|`."""
    yield from _swap(program, "wrong_operator", _WRONG)


def wrong_division(program: Program) -> Iterator[Mutation]:
    """Exchange quotient and remainder, or forget that `/` yields fractions."""
    for node in program.of_type("binary_expression"):
        left, operator, right = operands(node)
        if operator.type == "%":
            yield program.replace("wrong_division", operator, "/", node)
        elif operator.type == "/":
            yield program.replace("wrong_division", operator, "%", node)
            is_floored = node.parent is not None and node.parent.type == "arguments"
            if not is_floored and left.type in ATOMS and right.type in ATOMS:
                yield program.replace("wrong_division", node, f"Math.floor({program.text(node)})")


def off_by_one_loop(program: Program) -> Iterator[Mutation]:
    """Make a counting loop start or end one too early or too late."""
    for loop in program.of_type("for_statement"):
        condition, start = loop.child_by_field_name("condition"), loop.child_by_field_name("initializer")
        if condition is not None and condition.type == "binary_expression":
            _, operator, right = operands(condition)
            if operator.type in _NEARBY:
                yield program.replace("off_by_one_loop", operator, _NEARBY[operator.type], condition)
            for by in (-1, 1):
                if (new := shifted(program.text(right), right, by)) is not None:
                    yield program.replace("off_by_one_loop", right, new, condition)
        declarators = [child for child in start.named_children if child.type == "variable_declarator"] if start is not None else []
        for declarator in declarators[:1]:
            value = declarator.child_by_field_name("value")
            for by in (-1, 1) if value is not None else ():
                assert value is not None
                if (new := shifted(program.text(value), value, by)) is not None and start is not None:
                    yield program.replace("off_by_one_loop", value, new, start)


def off_by_one_index(program: Program) -> Iterator[Mutation]:
    """Move an index or the bound of a slice by one, or leave the bound out."""
    for node in program.of_type("subscript_expression"):
        index = node.child_by_field_name("index")
        for by in (-1, 1) if index is not None and not _is_element(program, index) else ():
            assert index is not None
            if (new := shifted(program.text(index), index, by)) is not None:
                yield program.replace("off_by_one_index", index, new, node)
    for node in program.of_type("call_expression"):
        if not is_method_call(node, program, *_SLICES):
            continue
        bounds = call_arguments(node)
        for bound in bounds:
            for by in (-1, 1):
                if (new := shifted(program.text(bound), bound, by)) is not None:
                    yield program.replace("off_by_one_index", bound, new, node)
        if len(bounds) == 2:
            edit = (bounds[0].end_byte, bounds[1].end_byte, "")
            yield program.edit("off_by_one_index", [edit], node)


def _is_element(program: Program, index: Node) -> bool:
    """Tell whether an index is the variable of an enclosing `for … of`, which is usually a key and not a position."""
    loops = (ancestor for ancestor in ancestors(index) if ancestor.type == "for_in_statement")
    lefts = (loop.child_by_field_name("left") for loop in loops)
    return index.type == "identifier" and any(left is not None and program.text(left) == program.text(index) for left in lefts)


def wrong_constant(program: Program) -> Iterator[Mutation]:
    """Change a number or text constant as if misremembered."""
    for node in program.of_type("number", "string"):
        parent = node.parent
        if parent is None or parent.type in ("subscript_expression", "variable_declarator", "expression_statement"):
            continue  # other operators handle indices and initial values; a lone string is a directive
        text = program.text(node)
        for other in _other_numbers(text) if node.type == "number" else _other_strings(text):
            yield program.replace("wrong_constant", node, other, program.surroundings(node))


def _other_numbers(text: str) -> list[str]:
    if not text.isdecimal() or len(text) > _MAX_DIGITS:
        return []
    value = int(text)
    return [str(value + 1), str(value * 10 if value else 2)]


def _other_strings(text: str) -> list[str]:
    quote, inner = text[0], text[1:-1]
    if not inner or "\\" in inner:
        return []
    return [f"{quote}{other}{quote}" for other in (inner[:-1], f"{inner} ", inner.swapcase()) if other != inner]


def swapped_arguments(program: Program) -> Iterator[Mutation]:
    """Swap the first two arguments of a call, or the operands of a non-commutative operator."""
    for node in program.nodes:
        if node.type == "call_expression":
            pair = call_arguments(node)[:2]
            is_plain = all(part.type in ATOMS | {"binary_expression", "unary_expression"} for part in pair)
        elif node.type == "binary_expression":
            left, operator, right = operands(node)
            is_plain = operator.type in ("-", "/", "%", "**") and left.type in ATOMS and right.type in ATOMS
            pair = [left, right]
        else:
            continue
        if len(pair) == 2 and is_plain:
            edits = [(part.start_byte, part.end_byte, program.text(other)) for part, other in (pair, pair[::-1])]
            yield program.edit("swapped_arguments", edits, node)


def swapped_branches(program: Program) -> Iterator[Mutation]:
    """Exchange the two values of a conditional expression."""
    for node in program.of_type("ternary_expression"):
        pair = [part for field in ("consequence", "alternative") if (part := node.child_by_field_name(field)) is not None]
        if len(pair) == 2 and not any(part.type == "ternary_expression" for part in pair):
            edits = [(part.start_byte, part.end_byte, program.text(other)) for part, other in (pair, pair[::-1])]
            yield program.edit("swapped_branches", edits, node)


def wrong_variable(program: Program) -> Iterator[Mutation]:
    """Use one variable where another one is meant."""
    for node in program.nodes:
        if is_use(node):
            names = program.visible_names(node)
            name = program.text(node)
            if name in names and len(names) > 1:
                other = names[(names.index(name) + 1) % len(names)]
                yield program.replace("wrong_variable", node, other, program.surroundings(node))


def misspelt_name(program: Program) -> Iterator[Mutation]:
    """Misspell a variable, which raises a ReferenceError."""
    for node in program.nodes:
        if not is_use(node):
            continue
        name, names = program.text(node), program.visible_names(node)
        other = _other_spelling(name)
        if name in names and other not in names and len(name) >= 4:
            yield program.replace("misspelt_name", node, other, program.surroundings(node))


def _other_spelling(name: str) -> str:
    if re.search(r"[a-z][A-Z]", name):
        return name[0] + name[1:].lower()  # loses the camel case
    return name[:-1] if name.endswith("s") else f"{name}s"


def wrong_property(program: Program) -> Iterator[Mutation]:
    """Use a property that an object lacks: `size` of an array, `length` of a Map, `length()`."""
    for node in program.of_type("member_expression"):
        name, parent = node.child_by_field_name("property"), node.parent
        if name is None or parent is None or any(part.type == "assignment_expression" for part in [parent]):
            continue
        if program.text(name) in ("length", "size"):
            yield program.replace("wrong_property", name, "size" if program.text(name) == "length" else "length", node)
            if parent.type != "update_expression":
                yield program.replace("wrong_property", name, f"{program.text(name)}()", node)


def missing_this(program: Program) -> Iterator[Mutation]:
    """Use a property inside its class without `this`."""
    for node in program.of_type("member_expression"):
        owner, name = node.child_by_field_name("object"), node.child_by_field_name("property")
        if owner is None or name is None or owner.type != "this" or name.type != "property_identifier":
            continue
        if any(ancestor.type == "class_body" for ancestor in ancestors(node)):
            yield program.replace("missing_this", node, program.text(name), program.surroundings(node))
