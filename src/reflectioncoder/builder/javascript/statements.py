"""Makes slips in statements: something is left out, misplaced, wrongly declared, or a syntax error."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from reflectioncoder.builder.javascript.expressions import operands
from reflectioncoder.builder.javascript.program import FUNCTIONS, Program, ancestors, enclosing_function
from reflectioncoder.builder.mutation.program import Mutation

if TYPE_CHECKING:
    from tree_sitter import Node

_LOOPS = ("for_statement", "for_in_statement", "while_statement", "do_statement")
_ENDS = ("return_statement", "continue_statement", "break_statement", "throw_statement")
_INITIAL = {
    "0": "1", "1": "0", '""': '" "', "''": "' '", "true": "false", "false": "true", "[]": "[0]", "{}": "[]", "null": "0",
    "Infinity": "0", "-Infinity": "0",
}  # fmt: skip


def wrong_initial_value(program: Program) -> Iterator[Mutation]:
    """Start a counter or accumulator with the wrong value."""
    for node in program.of_type("variable_declarator"):
        value, around = node.child_by_field_name("value"), node.parent
        if value is None or around is None or (around.parent is not None and around.parent.type == "for_statement"):
            continue
        text = program.text(value)
        if text in _INITIAL:
            yield program.replace("wrong_initial_value", value, _INITIAL[text], around)
        elif value.type == "subscript_expression":
            yield program.replace("wrong_initial_value", value, "0", around)
    for node in program.of_type("call_expression"):
        yield from _initial_of_reduce(program, node)


def _initial_of_reduce(program: Program, call: Node) -> Iterator[Mutation]:
    arguments = call.child_by_field_name("arguments")
    function = call.child_by_field_name("function")
    parts = arguments.named_children if arguments is not None else []
    if function is None or len(parts) != 2 or not program.text(function).endswith(".reduce"):
        return
    text = program.text(parts[1])
    if text in _INITIAL:
        yield program.replace("wrong_initial_value", parts[1], _INITIAL[text], arguments)
    yield program.edit("wrong_initial_value", [(parts[0].end_byte, parts[1].end_byte, "")], arguments or call)


def missing_guard(program: Program) -> Iterator[Mutation]:
    """Leave out an `if` that returns, continues, breaks or throws for a special case (in functions that do not recurse)."""
    for node, condition in _guards(program):
        if not _recurses(program, node):
            yield program.remove("missing_guard", node, condition)


def missing_base_case(program: Program) -> Iterator[Mutation]:
    """Leave out a base case of a recursive function."""
    for node, condition in _guards(program):
        if _recurses(program, node):
            yield program.remove("missing_base_case", node, condition)


def _guards(program: Program) -> Iterator[tuple[Node, Node]]:
    for node in program.of_type("if_statement"):
        block, body = node.parent, node.child_by_field_name("consequence")
        condition = node.child_by_field_name("condition")
        if block is None or block.type != "statement_block" or len(block.named_children) < 2 or body is None or condition is None:
            continue
        only = body.named_children[0] if body.type == "statement_block" and len(body.named_children) == 1 else body
        if node.child_by_field_name("alternative") is None and only.type in _ENDS:
            yield node, condition.named_children[0]


def _recurses(program: Program, node: Node) -> bool:
    """Tell whether any function around a node calls itself."""
    for function in (ancestor for ancestor in ancestors(node) if ancestor.type in FUNCTIONS):
        name = function.child_by_field_name("name")
        if name is None and function.parent is not None and function.parent.type == "variable_declarator":
            name = function.parent.child_by_field_name("name")
        if name is not None and re.search(rf"\b{re.escape(program.text(name))}\(", _body(program, function)):
            return True
    return False


def _body(program: Program, function: Node) -> str:
    body = function.child_by_field_name("body")
    return program.text(body) if body is not None else ""


def early_return(program: Program) -> Iterator[Mutation]:
    """Move the `return` after a loop into it, so that only the first item counts."""
    for block in program.of_type("statement_block"):
        for loop, after in itertools.pairwise(block.named_children):
            body = loop.child_by_field_name("body") if loop.type in _LOOPS[:3] else None
            if body is None or body.type != "statement_block" or after.type != "return_statement" or not body.named_children:
                continue
            start, end = program.whole_lines(after)
            last = body.named_children[-1]
            edits = [(start, end, ""), (last.end_byte, last.end_byte, f"\n{program.indentation(last)}{program.text(after)}")]
            text = program.text(after).removesuffix(";")
            yield Mutation("early_return", program.edit("", edits, block).code, text, text)


def printed_not_returned(program: Program) -> Iterator[Mutation]:
    """Print the result instead of returning it."""
    for node in program.of_type("return_statement"):
        if node.named_children:
            yield program.replace("printed_not_returned", node, f"console.log({program.text(node.named_children[0])});")


def missing_return(program: Program) -> Iterator[Mutation]:
    """Leave out the word `return`, or put the expression of an arrow function in braces."""
    for node in program.of_type("return_statement"):
        value = node.named_children[0] if node.named_children else None
        if value is not None and value.type not in ("object", "function_expression", "sequence_expression", "string", "class"):
            yield program.replace("missing_return", node, f"{program.text(value)};")
    for node in program.of_type("arrow_function"):
        body = node.child_by_field_name("body")
        if body is not None and body.type not in ("statement_block", "parenthesized_expression", "object", "string"):
            yield program.replace("missing_return", body, f"{{ {program.text(body)}; }}", node)


def negated_condition(program: Program) -> Iterator[Mutation]:
    """Negate the condition of an `if`, a conditional expression or a `filter`."""
    for condition in _conditions(program):
        text = program.text(condition)
        if condition.type == "unary_expression" and text.startswith("!"):
            yield program.replace("negated_condition", condition, text[1:])
        elif condition.type in ("identifier", "call_expression", "member_expression", "subscript_expression"):
            yield program.replace("negated_condition", condition, f"!{text}")


def _conditions(program: Program) -> Iterator[Node]:
    for node in program.of_type("if_statement", "ternary_expression", "arrow_function"):
        if node.type == "arrow_function":
            call = node.parent.parent if node.parent is not None and node.parent.type == "arguments" else None
            function = call.child_by_field_name("function") if call is not None else None
            if function is None or not program.text(function).endswith((".filter", ".some", ".every", ".find", ".findIndex")):
                continue
        condition = node.child_by_field_name("body" if node.type == "arrow_function" else "condition")
        if condition is not None:
            yield condition.named_children[0] if condition.type == "parenthesized_expression" else condition


def missing_step(program: Program) -> Iterator[Mutation]:
    """Leave out a statement that assigns, updates or calls, outside `while` loops."""
    for node in program.of_type("expression_statement"):
        block = node.parent
        if block is None or block.type != "statement_block" or len(block.named_children) < 2 or _is_in_while(node):
            continue
        if node.named_children and node.named_children[0].type in (
            *("augmented_assignment_expression", "call_expression", "update_expression", "assignment_expression"),
        ):
            yield program.remove("missing_step", node)


def wrong_update(program: Program) -> Iterator[Mutation]:
    """Overwrite an accumulator instead of updating it, or update it in the wrong direction."""
    for node in program.of_type("augmented_assignment_expression"):
        operator = node.child_by_field_name("operator")
        if operator is None or _is_in_while(node):
            continue
        yield program.replace("wrong_update", operator, "=", node)
        if operator.type in ("+=", "-="):
            yield program.replace("wrong_update", operator, "-=" if operator.type == "+=" else "+=", node)
    for node in program.of_type("update_expression"):
        operator, parent = node.child_by_field_name("operator"), node.parent
        if operator is not None and parent is not None and parent.type == "expression_statement" and not _is_in_while(node):
            yield program.replace("wrong_update", operator, "--" if operator.type == "++" else "++", node)


def _is_in_while(node: Node) -> bool:
    """Tell whether a node is inside a `while` or `do` loop, where a change may make the loop endless."""
    return any(ancestor.type in ("while_statement", "do_statement") for ancestor in ancestors(node))


def wrong_loop(program: Program) -> Iterator[Mutation]:
    """Write `for … in` for `for … of`, which yields positions as strings instead of elements, or vice versa."""
    for node in program.of_type("for_in_statement"):
        operator, left, right = (node.child_by_field_name(field) for field in ("operator", "left", "right"))
        if operator is not None and left is not None and right is not None and left.type == "identifier":
            start = node.children[0].start_byte
            shown = program.source.encode()[start : right.end_byte + 1].decode()
            wrong = f" {'in' if operator.type == 'of' else 'of'} "
            mutation = program.replace("wrong_loop", operator, wrong.strip(), node)
            yield Mutation("wrong_loop", mutation.code, shown, shown.replace(f" {operator.type} ", wrong, 1))


def const_reassigned(program: Program) -> Iterator[Mutation]:
    """Declare a reassigned variable as `const`, which raises a TypeError."""
    for node in program.of_type("lexical_declaration"):
        kind = node.child_by_field_name("kind")
        scope = enclosing_function(node)
        names = [child.child_by_field_name("name") for child in node.named_children if child.child_by_field_name("value") is not None]
        if kind is None or kind.type != "let" or scope is None or len(names) != len(node.named_children):
            continue
        body = _body(program, scope)
        if any(name is not None and _is_reassigned(program.text(name), body) for name in names):
            yield program.replace("const_reassigned", kind, "const", node)


def _is_reassigned(name: str, body: str) -> bool:
    pattern = rf"(?<![\w.$])(?:{re.escape(name)}(?:\+\+|--|\s*(?:[-+*/%&|^]|\*\*|<<|>>)?=(?!=))|(?:\+\+|--){re.escape(name)}\b)"
    return len(re.findall(pattern, body)) > 1  # the declaration counts as one


def assignment_as_condition(program: Program) -> Iterator[Mutation]:
    """Write `=` for `===` in a condition, which assigns."""
    for node in program.of_type("if_statement", "while_statement"):
        condition = node.child_by_field_name("condition")
        inner = condition.named_children[0] if condition is not None and condition.named_children else None
        if inner is None or inner.type != "binary_expression" or node.type == "while_statement":
            continue
        left, operator, _ = operands(inner)
        if operator.type in ("===", "==") and left.type in ("identifier", "member_expression", "subscript_expression"):
            yield program.replace("assignment_as_condition", operator, "=", inner)


def missing_break(program: Program) -> Iterator[Mutation]:
    """Leave out the `break` of a case, so that the next case runs too."""
    for node in program.of_type("break_statement"):
        if node.parent is not None and node.parent.type == "switch_case":
            mutation = program.remove("missing_break", node)
            case = node.parent.child_by_field_name("value")
            yield Mutation("missing_break", mutation.code, "break", "") if case is not None else mutation


def syntax_slip(program: Program) -> Iterator[Mutation]:
    """Leave out a closing bracket or an opening brace, or use a keyword of another language."""
    lines = program.source.split("\n")
    for number, line in enumerate(lines):
        for variant in _broken(line):
            code = "\n".join([*lines[:number], variant, *lines[number + 1 :]])
            if not Program(code).is_valid:
                yield Mutation("syntax_slip", code, line.strip(), variant.strip())


def _broken(line: str) -> Iterator[str]:
    stripped = line.strip()
    if stripped.startswith(("//", "*", "/*")):
        return
    if re.match(r"(?:function|if|for|while|else|\} else)\b", stripped) and stripped.endswith("{"):
        yield line[: line.rindex("{")].rstrip()
    if re.match(r"(?:return|const|let)\b", stripped) and stripped.endswith(");"):
        yield f"{line.rstrip()[:-2]};"
    if re.match(r"(?:return|const|let)\b", stripped) and stripped.endswith("];"):
        yield f"{line.rstrip()[:-2]};"
    if "else if" in stripped:
        yield line.replace("else if", "elif", 1)
    if re.match(r"(?:if|for|while)\b", stripped) and stripped.endswith(") {"):
        yield f"{line.rstrip()[:-3]} {{"
    if " => " in stripped:
        yield line.replace(" => ", " -> ", 1)
    if re.match(r"for \((?:const|let) ", stripped) and " of " in stripped:
        yield line.replace(" of ", " : ", 1)
