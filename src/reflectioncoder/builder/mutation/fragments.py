"""Compares the two fragments of a slip by the syntax-tree nodes that contain their whole difference."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from itertools import zip_longest

from reflectioncoder import syntax

SIGNS: dict[type[ast.AST], str] = {
    ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!=", ast.In: "in", ast.NotIn: "not in",
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.FloorDiv: "//", ast.Mod: "%", ast.Pow: "**",
    ast.BitAnd: "&", ast.BitOr: "|", ast.BitXor: "^", ast.LShift: "<<", ast.RShift: ">>", ast.And: "and", ast.Or: "or",
}  # fmt: skip

Details = tuple[str, dict[str, str]]
"""The kind of clauses for a slip, and their facts."""
Pair = tuple[ast.AST, ast.AST]


class Fragments:
    """Two source fragments and their differing nodes, outermost first."""

    def __init__(self, wrong: str, correct: str):
        self.wrong, self.correct = wrong, correct
        a, b = parse_fragment(wrong), parse_fragment(correct)
        self.pairs: list[Pair] = list(_narrowed(a, b)) if a is not None and b is not None else []

    def innermost(self, kind: type[ast.AST]) -> Pair | None:
        return next(((a, b) for a, b in reversed(self.pairs) if isinstance(a, kind) and isinstance(b, kind)), None)

    def text(self, node: ast.AST | None) -> str:
        """Return the source text of a node of either fragment."""
        if node is None:
            return ""
        for source in (self.wrong, self.correct):
            found = _segment(source, node)
            if found and _is_source_of(found, node):
                return found
        return ast.unparse(node)


def parse_fragment(text: str) -> ast.AST | None:
    for source in (text, f"{text} pass", f"{text}: pass"):
        try:
            body = syntax.parse(source).body
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        return body[0].value if len(body) == 1 and isinstance(body[0], ast.Expr) else body[0] if len(body) == 1 else None
    return None


def _segment(source: str, node: ast.AST) -> str:
    try:
        return ast.get_source_segment(source, node) or ""  # pyright: ignore[reportArgumentType] (these nodes have positions)
    except IndexError:  # the node is from the other, longer source
        return ""


def _is_source_of(text: str, node: ast.AST) -> bool:
    parsed = parse_fragment(text)
    return parsed is not None and ast.unparse(parsed) == ast.unparse(node)


def _narrowed(a: ast.AST, b: ast.AST) -> Iterator[Pair]:
    """Yield the pairs of nodes that contain the whole difference, outermost first."""
    yield a, b
    if type(a) is not type(b):
        return
    differing: list[tuple[object, object]] = []
    for name in a._fields:
        x, y = getattr(a, name, None), getattr(b, name, None)
        pairs = zip_longest(x, y) if isinstance(x, list) and isinstance(y, list) else [(x, y)]
        differing += [(one, other) for one, other in pairs if not is_same(one, other)]
    if len(differing) == 1:
        one, other = differing[0]
        if isinstance(one, ast.AST) and isinstance(other, ast.AST) and type(one) not in SIGNS:
            yield from _narrowed(one, other)


def is_same(a: object, b: object) -> bool:
    return ast.dump(a) == ast.dump(b) if isinstance(a, ast.AST) and isinstance(b, ast.AST) else a == b
