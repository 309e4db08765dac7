"""Parses a JavaScript program and makes slips by replacing parts of its text.

The parser is tree-sitter (extra `javascript`). Only the types and positions of nodes are used, so that the rest of the text stays
unchanged.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from reflectioncoder.builder.mutation.program import Mutation
from reflectioncoder.errors import require

if TYPE_CHECKING:
    from tree_sitter import Node, Tree

EXTRA = "javascript"
_MAX_SHOWN_CHARS = 70  # of code that a diagnosis quotes
_MAX_DIGITS = 15  # JavaScript integers are exact up to 2 ** 53
FUNCTIONS = frozenset(
    (
        "function_declaration",
        "function_expression",
        "generator_function",
        "generator_function_declaration",
        "arrow_function",
        "method_definition",
    )
)
SIMPLE_STATEMENTS = frozenset(
    ("expression_statement", "return_statement", "throw_statement", "lexical_declaration", "variable_declaration", "field_definition")
)
_COMPOUND_STATEMENTS = frozenset(
    ("if_statement", "for_statement", "for_in_statement", "while_statement", "do_statement", "switch_statement", "statement_block")
)
ATOMS = frozenset(
    (
        *("identifier", "number", "string", "template_string", "this", "member_expression", "subscript_expression", "call_expression"),
        *("parenthesized_expression", "array", "true", "false", "null", "undefined"),
    )
)
_NO_EXPRESSIONS = ("arguments", "variable_declarator", "pair")
_PATTERNS = frozenset(("array_pattern", "object_pattern", "formal_parameters", "rest_pattern"))
_BINDING_FIELDS = {
    "variable_declarator": "name",
    "assignment_expression": "left",
    "augmented_assignment_expression": "left",
    "assignment_pattern": "left",
    "for_in_statement": "left",
    "arrow_function": "parameter",
    "update_expression": "argument",
    "call_expression": "function",
    "new_expression": "constructor",
    "catch_clause": "parameter",
}


def require_parser() -> None:
    """Require the parser.

    Raises:
        MachineError: the parser is not installed; the message has the installation command.
    """
    require("tree_sitter", EXTRA)
    require("tree_sitter_javascript", EXTRA)


def parse(source: bytes) -> Tree:
    parsers, grammar = require("tree_sitter", EXTRA), require("tree_sitter_javascript", EXTRA)
    return parsers.Parser(parsers.Language(grammar.language())).parse(source)


class Program:
    """A JavaScript program with all its nodes except comments, in source order."""

    def __init__(self, source: str):
        self.source = source
        self._bytes = source.encode()
        self._tree = parse(self._bytes)
        self.root = self._tree.root_node
        self.nodes = list(_walk(self.root))

    @property
    def is_valid(self) -> bool:
        return not self.root.has_error

    def of_type(self, *types: str) -> Iterator[Node]:
        return (node for node in self.nodes if node.type in types)

    def text(self, node: Node) -> str:
        return self._bytes[node.start_byte : node.end_byte].decode()

    def replace(self, operator: str, old: Node, new: str, shown: Node | None = None) -> Mutation:
        """Return the mutation that replaces a node by `new`.

        `shown` is the enclosing node whose text describes the slip; the replaced node itself if not given.
        """
        return self.edit(operator, [(old.start_byte, old.end_byte, new)], shown or old)

    def edit(self, operator: str, edits: Iterable[tuple[int, int, str]], shown: Node) -> Mutation:
        """Return the mutation that applies edits (start byte, end byte, new text), all within `shown`."""
        edits = sorted(edits, reverse=True)
        assert all(shown.start_byte <= start <= end <= shown.end_byte for start, end, _ in edits)
        code, wrong, offset = self._bytes, self._bytes[shown.start_byte : shown.end_byte], shown.start_byte
        for start, end, new in edits:
            code = code[:start] + new.encode() + code[end:]
            wrong = wrong[: start - offset] + new.encode() + wrong[end - offset :]
        return Mutation(operator, code.decode(), _statement(self.text(shown)), _statement(wrong.decode()))

    def remove(self, operator: str, statement: Node, shown: Node | None = None) -> Mutation:
        """Return the mutation that deletes a statement, with its lines if nothing else is on them."""
        start, end = self.whole_lines(statement)
        return Mutation(operator, (self._bytes[:start] + self._bytes[end:]).decode(), _statement(self.text(shown or statement)), "")

    def whole_lines(self, statement: Node) -> tuple[int, int]:
        """Return a statement's byte range, with indentation and line break if nothing else is on its lines."""
        start, end = statement.start_byte, statement.end_byte
        begin = self._bytes.rfind(b"\n", 0, start) + 1
        line_end = self._bytes.find(b"\n", end)
        line_end = len(self._bytes) if line_end < 0 else line_end + 1
        is_alone = not self._bytes[begin:start].strip() and not self._bytes[end:line_end].strip()
        return (begin, line_end) if is_alone else (start, end)

    def indentation(self, node: Node) -> str:
        begin = self._bytes.rfind(b"\n", 0, node.start_byte) + 1
        line = self._bytes[begin : node.start_byte].decode()
        return line[: len(line) - len(line.lstrip())]

    def surroundings(self, node: Node) -> Node:
        """Return the largest expression or simple statement around a node that is short enough to quote."""
        found = node
        for ancestor in ancestors(node):
            is_long = ancestor.end_byte - ancestor.start_byte > _MAX_SHOWN_CHARS
            if is_long or ancestor.type in _COMPOUND_STATEMENTS or ancestor.type in FUNCTIONS:
                break
            if ancestor.type not in _NO_EXPRESSIONS and not _is_condition(ancestor):
                found = ancestor
            if ancestor.type in SIMPLE_STATEMENTS:
                break
        return found

    def visible_names(self, node: Node) -> list[str]:
        """Return the parameters and variables in scope at a node, in order of declaration."""
        found: list[Node] = []
        for scope in ancestors(node):
            if scope.type in FUNCTIONS:
                for field in ("parameters", "parameter"):
                    if (part := scope.child_by_field_name(field)) is not None:
                        found += bound_identifiers(part)
            elif scope.type == "for_in_statement" and (left := scope.child_by_field_name("left")) is not None:
                found += [] if _holds(scope.child_by_field_name("right"), node) else bound_identifiers(left)
            found += (name for child in scope.named_children for name in _declared(child, before=node))
        return list(dict.fromkeys(self.text(name) for name in sorted(found, key=lambda name: name.start_byte)))


def ancestors(node: Node) -> Iterator[Node]:
    while (parent := node.parent) is not None:
        yield parent
        node = parent


def enclosing_function(node: Node) -> Node | None:
    return next((ancestor for ancestor in ancestors(node) if ancestor.type in FUNCTIONS), None)


def _is_condition(node: Node) -> bool:
    """Tell whether a node is the parenthesized condition of a statement."""
    return node.type == "parenthesized_expression" and (node.parent is None or node.parent.type in _COMPOUND_STATEMENTS)


def bound_identifiers(pattern: Node) -> list[Node]:
    """Return the identifiers that a parameter list, a pattern or an identifier binds."""
    if pattern.type in ("identifier", "shorthand_property_identifier_pattern"):
        return [pattern]
    if pattern.type == "assignment_pattern":
        left = pattern.child_by_field_name("left")
        return bound_identifiers(left) if left is not None else []
    if pattern.type == "pair_pattern":
        value = pattern.child_by_field_name("value")
        return bound_identifiers(value) if value is not None else []
    return [name for child in pattern.named_children if pattern.type in _PATTERNS for name in bound_identifiers(child)]


def is_use(node: Node) -> bool:
    """Tell whether an identifier is read: neither bound, assigned nor called."""
    parent = node.parent
    if node.type != "identifier" or parent is None:
        return False
    field = _BINDING_FIELDS.get(parent.type)
    if parent.type in _PATTERNS or (parent.type in FUNCTIONS and parent.child_by_field_name("name") == node):
        return False
    if parent.type == "class_declaration" or any(ancestor.type in ("array_pattern", "object_pattern") for ancestor in ancestors(node)):
        return False
    return field is None or parent.child_by_field_name(field) != node


def shifted(text: str, node: Node, by: int) -> str | None:
    """Return an expression plus or minus one, folded if it is an integer literal; None if it would need parentheses."""
    if node.type == "number":
        return str(int(text) + by) if text.isdecimal() and len(text) <= _MAX_DIGITS else None
    undone = " - 1" if by > 0 else " + 1"
    if node.type == "binary_expression":
        if text.endswith(undone):  # n - 1 + 1 is n
            return text.removesuffix(undone)
        operator = node.child_by_field_name("operator")
        if operator is None or operator.type not in ("+", "-", "*"):
            return None
    elif node.type not in ATOMS - {"string", "array", "template_string", "true", "false", "null", "undefined"}:
        return None
    return f"{text} {'+' if by > 0 else '-'} 1"


def _walk(node: Node) -> Iterator[Node]:
    for child in node.children:
        if child.type != "comment":
            yield child
            yield from _walk(child)


def _declared(node: Node, before: Node) -> list[Node]:
    """Return the identifiers that a declaration initializes before another node."""
    if node.type not in ("lexical_declaration", "variable_declaration"):
        return []
    declarators = [
        child for child in node.named_children if child.type == "variable_declarator" and child.end_byte <= before.start_byte
    ]
    return [name for child in declarators if (left := child.child_by_field_name("name")) for name in bound_identifiers(left)]


def _holds(outer: Node | None, node: Node) -> bool:
    return outer is not None and outer.start_byte <= node.start_byte < outer.end_byte


def _statement(text: str) -> str:
    """Return a statement's text without its semicolon."""
    return text.strip().removesuffix(";").rstrip()
