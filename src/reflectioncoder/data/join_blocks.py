"""Adds imports and helpers from other blocks of an answer to its program."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field

from reflectioncoder.data.python_source import (
    bindings,
    definition,
    is_stub,
    is_test,
    lines_of,
    missing_names,
    parse,
    with_preamble,
)


@dataclass
class _Donor:
    """A block that may contribute statements. A block that defines the entry point is a draft and contributes only needed ones."""

    code: str
    tree: ast.Module
    is_draft: bool
    taken: set[int] = field(default_factory=set)

    def take(self, name: str, entry_point: str) -> set[str]:
        """Take the statements that define `name`; return the names that these need in turn."""
        before = len(self.taken)
        for number, node in enumerate(self.tree.body):
            bound = {bound for bound, _ in bindings([node])}
            wanted = name in bound if self.is_draft else not _uses(node, entry_point) and not is_test(node, entry_point)
            if wanted and entry_point not in bound:
                self.taken.add(number)
        return set(missing_names(self.text)) if len(self.taken) > before else set()

    @property
    def text(self) -> str:
        return lines_of(self.code, [self.tree.body[number] for number in sorted(self.taken)]) if self.taken else ""


def with_missing_names(program: str, entry_point: str, earlier: list[str], later: list[str]) -> str:
    """Put before the program the statements of other blocks that define names it uses and does not define.

    Args:
        earlier, later: the other blocks, which parse; if several define a name, the nearest earlier one is used.
    """
    donors = [_donor(code, entry_point) for code in (*earlier, *later)]
    near = [*reversed(donors[: len(earlier)]), *donors[len(earlier) :]]
    needed, found = set(missing_names(program)), set[str]()
    while needed - found:
        name = min(needed - found)
        found.add(name)
        for donor in near:
            is_later = donor in donors[len(earlier) :]
            node = None if name == entry_point else definition(donor.tree, name) or _import_of(donor.tree, name)
            if node is None or is_stub(node, donor.code) or (is_later and isinstance(node, (ast.Assign, ast.AnnAssign))):
                continue
            needed |= donor.take(name, entry_point)
            found |= {bound for number in donor.taken for bound, _ in bindings([donor.tree.body[number]])}
            break
        else:
            for donor in near:
                donor.taken |= {number for number, node in enumerate(donor.tree.body) if _is_star_import(node)}
    for donor in donors[: len(earlier)]:
        donor.taken |= {number for number, node in enumerate(donor.tree.body) if _is_future_import(node)}
    parts = [text for donor in donors if (text := donor.text.strip("\n"))]
    for part in reversed(parts):
        program = with_preamble(program, part)
    return program


def _donor(code: str, entry_point: str) -> _Donor:
    tree = parse(code)
    assert tree is not None
    return _Donor(code, tree, is_draft=definition(tree, entry_point) is not None)


def _import_of(tree: ast.Module, name: str) -> ast.stmt | None:
    return next((n for bound, n in bindings(tree.body) if bound == name and isinstance(n, (ast.Import, ast.ImportFrom))), None)


def _is_star_import(node: ast.stmt) -> bool:
    return isinstance(node, ast.ImportFrom) and not node.level and node.names[0].name == "*"


def _is_future_import(node: ast.stmt) -> bool:
    return isinstance(node, ast.ImportFrom) and node.module == "__future__"


def _uses(node: ast.stmt, name: str) -> bool:
    """Tell whether a statement uses the name when the module is loaded."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return False
    return any(isinstance(part, ast.Name) and part.id == name for part in ast.walk(node))
