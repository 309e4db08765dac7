"""Extracts a function from a module with its transitive dependencies: standard-library imports, helper functions and classes, and
constants."""

from __future__ import annotations

import ast
import builtins
import sys

from reflectioncoder import syntax

BUILTINS = frozenset(name for name in dir(builtins) if not name.startswith("__"))


def free_names(code: str) -> set[str]:
    """Return the global names that code reads, at module level and within functions; it may define some of them itself."""
    top = syntax.symbols(code)
    found: set[str] = set()
    waiting = [top]
    while waiting:
        table = waiting.pop()
        waiting += table.get_children()
        for symbol in table.get_symbols():
            if symbol.is_referenced() if table is top else symbol.is_global():
                found.add(symbol.get_name())
    return found


def bound_names(code: str) -> set[str]:
    """Return the names that code defines at module level."""
    symbols = syntax.symbols(code).get_symbols()
    return {symbol.get_name() for symbol in symbols if symbol.is_assigned() or symbol.is_imported()}


class Module:
    """The statements of a module by the names that they define.

    Raises:
        SyntaxError: `text` does not parse.
    """

    def __init__(self, text: str):
        self._lines = text.split("\n")
        self.tree = syntax.parse(text)
        self._definitions: dict[str, list[ast.stmt]] = {}
        for node in self.tree.body:
            for name in bound_names(self._code(node)) if not _is_star(node) else ():
                self._definitions.setdefault(name, []).append(node)

    def _code(self, node: ast.stmt) -> str:
        first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
        return "\n".join(self._lines[first - 1 : node.end_lineno])

    def program_with(self, function: ast.FunctionDef) -> str | None:
        """Return a self-contained program that defines the function; None if that is impossible."""
        imports: set[tuple[str, str]] = set()
        parts: dict[int, str] = {}
        waiting, known = [function.name], set[str]()
        while waiting:
            name = waiting.pop()
            if name in known:
                continue
            known.add(name)
            if name not in self._definitions:
                if name in BUILTINS:
                    continue
                return None
            node, *others = self._definitions[name]
            if others:
                return None
            if isinstance(node, ast.Import | ast.ImportFrom):
                if not is_standard(node):
                    return None
                imports.add(_alias(node, name))
            elif isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Assign | ast.AnnAssign):
                parts[node.lineno] = self._code(node)
                waiting += free_names(parts[node.lineno]) | bound_names(parts[node.lineno])
            else:
                return None
        head = "\n".join(_import_lines(imports))
        return "\n\n\n".join(part for part in (head, *(parts[line] for line in sorted(parts))) if part) + "\n"


def _is_star(node: ast.stmt) -> bool:
    return isinstance(node, ast.ImportFrom) and node.names[0].name == "*"


def is_standard(node: ast.Import | ast.ImportFrom) -> bool:
    """Tell whether an import uses only the standard library. `__future__` affects a whole file and cannot be copied."""
    names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else ["" if node.level else node.module or ""]
    return all(name != "__future__" and name.partition(".")[0] in sys.stdlib_module_names for name in names)


def _alias(node: ast.Import | ast.ImportFrom, name: str) -> tuple[str, str]:
    """Return (source module or "", imported name with its alias) as written."""
    alias = next(a for a in node.names if name == (a.asname or a.name.partition(".")[0]))
    return (node.module or "" if isinstance(node, ast.ImportFrom) else ""), ast.unparse(alias)


def _import_lines(imports: set[tuple[str, str]]) -> list[str]:
    lines = [f"import {what}" for module, what in sorted(imports) if not module]
    for module in sorted({module for module, _ in imports} - {""}):
        lines.append(f"from {module} import {', '.join(what for other, what in sorted(imports) if other == module)}")
    return lines
