"""Substitutes into an expression the values that its parts have in the failing call, as one does by hand."""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Mapping

from reflectioncoder import syntax
from reflectioncoder.data.python_source import parse

_MAX_CHARS = 60
_AFTER_AN_OPERATOR = re.compile(r"( (?:[-+*/%]|//|\*\*) )(-\d[\d.]*)")


def worked(expression: str, values: Mapping[str, str]) -> str:
    """Return an expression with values in place of its parts; "" if a value is missing, nothing changes, or the result is too long.

    Args:
        values: values of names and other subexpressions, by source text.
    """
    tree = parse(expression)
    found = tree.body[0] if tree is not None and len(tree.body) == 1 else None
    if not isinstance(found, ast.Expr) or not isinstance(found.value, ast.BinOp | ast.Compare | ast.Subscript | ast.Call):
        return ""
    known = {text: value for source, value in values.items() if (text := _plain(source)) and text != _plain(expression)}
    try:
        node = _Worked(known).visit(syntax.parse(expression, "eval").body)
    except _UnknownError:
        return ""
    text = _AFTER_AN_OPERATOR.sub(r"\1(\2)", ast.unparse(ast.fix_missing_locations(node)))
    return text if len(text) <= _MAX_CHARS and "`" not in text and text != _plain(expression) else ""


def _plain(source: str) -> str:
    tree = parse(source)
    return ast.unparse(tree) if tree is not None else ""


class _UnknownError(Exception):
    """A part of the expression has no known value."""


class _Worked(ast.NodeTransformer):
    def __init__(self, known: Mapping[str, str]):
        self._known = known

    def visit(self, node: ast.AST) -> ast.AST:
        if isinstance(node, ast.expr) and (value := self._known.get(ast.unparse(node))) is not None:
            return _literal(value)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and not hasattr(builtins, node.id):
            raise _UnknownError
        if isinstance(node, ast.comprehension | ast.Lambda | ast.JoinedStr | ast.NamedExpr):
            raise _UnknownError
        return self.generic_visit(node)


def _literal(value: str) -> ast.expr:
    try:
        syntax.literal(value)
        return syntax.parse(value, "eval").body
    except syntax.NOT_A_LITERAL:
        raise _UnknownError from None
