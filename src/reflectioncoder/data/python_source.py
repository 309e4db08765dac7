"""Analyses a Python program without running it: what it defines, what it lacks, where code can be inserted."""

from __future__ import annotations

import ast
import builtins
import functools
import re
import symtable
import sys
from collections.abc import Iterator

from reflectioncoder import syntax

_BUILTINS = frozenset((*dir(builtins), "__file__", "__annotations__", "__builtins__"))
_UNFINISHED = re.compile(
    r"#.*\b(TODO|FIXME|your (code|solution|implementation)|implement(ation)? (me|this|here|goes)|fill in)\b", re.IGNORECASE
)
_TEST_NAME = re.compile(r"_?test(_|s?$)|check$|main$|run_(all_)?tests?$")
_CODING = re.compile(r"#!|#.*coding[:=]")


@functools.lru_cache(maxsize=8)
def parse(code: str) -> ast.Module | None:
    """Parse a program into a tree that callers share and must not change; None if it is not valid Python."""
    try:
        return syntax.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def bindings(body: list[ast.stmt]) -> Iterator[tuple[str, ast.stmt]]:
    """Yield the names that a module's statements bind, in order.

    This includes names bound under `if`, `try`, `with`, `for` and `while`, but not under `if __name__ == …`.
    """
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name, node
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            yield from ((alias.asname or alias.name.split(".")[0], node) for alias in node.names)
        elif isinstance(node, ast.Assign):
            yield from ((name, node) for target in node.targets for name in _stored(target))
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            yield from ((name, node) for name in _stored(node.target))
        elif isinstance(node, (ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.If, ast.Try)) and not is_main_guard(node):
            if isinstance(node, (ast.For, ast.AsyncFor)):
                yield from ((name, node) for name in _stored(node.target))
            yield from bindings([*node.body, *getattr(node, "orelse", []), *getattr(node, "finalbody", [])])
            for handler in getattr(node, "handlers", []):
                yield from bindings(handler.body)


def _stored(target: ast.expr) -> list[str]:
    return [part.id for part in ast.walk(target) if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)]


def is_main_guard(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and any(isinstance(part, ast.Name) and part.id == "__name__" for part in ast.walk(node.test))


def is_test(node: ast.stmt, entry_point: str) -> bool:
    """Tell whether a module's statement only serves a test or an example."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return node.name != entry_point and _TEST_NAME.match(node.name) is not None
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):  # sys.setrecursionlimit(…) stays
        return isinstance(node.value.func, ast.Name)
    return isinstance(node, ast.Assert) or is_main_guard(node)


def is_test_name(name: str) -> bool:
    return _TEST_NAME.match(name) is not None


def definition(tree: ast.Module, name: str) -> ast.stmt | None:
    """Return the statement that gives a module's `name` its last value, if any.

    An import counts only if it is from the standard library or renames: `from solution import f` merely uses `f`. An assignment counts
    unless it needs an earlier value of the name and there is none.
    """
    found: ast.stmt | None = None
    for bound, node in bindings(tree.body):
        if bound == name and not (isinstance(node, (ast.Import, ast.ImportFrom)) and not _brings(node, name)):
            if isinstance(node, (ast.Assign, ast.AnnAssign)) and found is None and _loads(node, name):
                continue
            found = node
    return found


def _brings(node: ast.Import | ast.ImportFrom, name: str) -> bool:
    module = (node.module or "") if isinstance(node, ast.ImportFrom) else node.names[0].name
    if isinstance(node, ast.ImportFrom) and node.level:
        return False
    return module.split(".")[0] in sys.stdlib_module_names or any(alias.asname == name != alias.name for alias in node.names)


def _loads(node: ast.AST, name: str) -> bool:
    return any(isinstance(part, ast.Name) and part.id == name and isinstance(part.ctx, ast.Load) for part in ast.walk(node))


def is_stub(node: ast.stmt, code: str) -> bool:
    """Tell whether a definition is still to be written: its body has only a docstring, `pass`, `...`, or NotImplementedError."""
    if isinstance(node, ast.ClassDef):
        parts = [part for part in node.body if not _is_docstring(part)]
        methods = [part for part in parts if isinstance(part, (ast.FunctionDef, ast.AsyncFunctionDef))]
        return all(_says_nothing(part) or (part in methods and is_stub(part, code)) for part in parts)
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        body = [part for part in node.body if not _is_docstring(part)]
        if all(_says_nothing(part) for part in body) or any(_is_ellipsis(part) for part in body):
            return True
        text = "\n".join(code.split("\n")[node.lineno - 1 : node.end_lineno])
        return _UNFINISHED.search(text) is not None and all(_returns_constant(part) or _says_nothing(part) for part in body)
    value = node.value if isinstance(node, (ast.Assign, ast.AnnAssign)) else None
    return isinstance(value, ast.Constant) and value.value in (None, ...)


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _says_nothing(node: ast.stmt) -> bool:
    if isinstance(node, ast.Raise):
        return any(isinstance(part, ast.Name) and part.id == "NotImplementedError" for part in ast.walk(node))
    return isinstance(node, ast.Pass) or _is_ellipsis(node)


def _is_ellipsis(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and node.value.value is ...


def _returns_constant(node: ast.stmt) -> bool:
    return isinstance(node, ast.Return) and (node.value is None or isinstance(node.value, ast.Constant))


def missing_names(code: str) -> frozenset[str]:
    """Return the global names that a program uses but neither defines nor imports; empty if it does not parse."""
    try:
        module = syntax.symbols(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return frozenset()
    defined = {
        symbol.get_name() for symbol in module.get_symbols() if symbol.is_assigned() or symbol.is_imported() or symbol.is_namespace()
    }
    used: set[str] = {symbol.get_name() for symbol in module.get_symbols() if symbol.is_referenced()}
    waiting: list[symtable.SymbolTable] = list(module.get_children())
    while waiting:
        table = waiting.pop()
        waiting += table.get_children()
        for symbol in table.get_symbols():
            if symbol.is_global():
                used.update((symbol.get_name(),) if symbol.is_referenced() else ())
                defined.update((symbol.get_name(),) if symbol.is_assigned() else ())
    return frozenset(used - defined - _BUILTINS)


def lines_of(code: str, nodes: list[ast.stmt]) -> str:
    """Return the source lines of statements, decorators included."""
    lines, parts, end = code.split("\n"), [], 0
    for node in nodes:
        first = max(end, first_line(node) - 1)
        end = max(end, node.end_lineno or node.lineno)
        parts.append("\n".join(lines[first:end]))
    return "\n".join(parts) + "\n"


def first_line(node: ast.stmt) -> int:
    return min([node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", []))])


def with_preamble(program: str, preamble: str) -> str:
    """Put a preamble before a program; docstring, opening comments and `from __future__` imports of both stay in front."""
    if not preamble.strip():
        return program
    own, theirs = _head_and_body(program), _head_and_body(preamble)
    future = [line for line in theirs[1] if line not in own[1]]
    head = "\n".join(part for part in (own[0].strip("\n"), *own[1], *future) if part)
    body = theirs[2] if not theirs[0].strip() else f"{theirs[0].strip()}\n{theirs[2]}"
    parts = [part for part in (head, body.strip("\n")) if part]
    return "\n\n\n".join([*parts, own[2].lstrip("\n") if own[2].strip() else ""]) if parts else program


def _head_and_body(code: str) -> tuple[str, list[str], str]:
    """Return (docstring and opening comments, `from __future__` imports, the rest)."""
    tree, lines = parse(code), code.split("\n")
    if tree is None:
        future = [line for line in lines if line.startswith("from __future__ import")]
        return "", future, "\n".join(line for line in lines if line not in future)
    head = 0
    futures: list[str] = []
    body = list(tree.body)
    while head < len(lines) and (_CODING.match(lines[head]) or not lines[head].strip()):
        head += 1
    if body and _is_docstring(body[0]) and _alone(body, 0):
        head = body.pop(0).end_lineno or 0
    comments = head
    while comments < len(lines) and lines[comments].startswith("#"):
        comments += 1
    if comments < len(lines) and not lines[comments].strip():  # comments right above a definition belong to it
        head = comments
    rest = lines[head:]
    for number, node in enumerate(body):
        if not (isinstance(node, ast.ImportFrom) and node.module == "__future__"):
            break
        futures.append(ast.unparse(node))
        _blank(rest, node, head, alone=_alone(body, number))
    return "\n".join(lines[:head]).strip("\n"), futures, "\n".join(rest)


def _alone(body: list[ast.stmt], number: int) -> bool:
    """Tell whether no later statement begins on this statement's last line."""
    return number + 1 == len(body) or body[number + 1].lineno > (body[number].end_lineno or 0)


def _blank(lines: list[str], node: ast.stmt, offset: int, *, alone: bool) -> None:
    """Blank a statement out of its lines."""
    first, last = node.lineno - 1 - offset, (node.end_lineno or node.lineno) - 1 - offset
    kept = "" if alone else lines[last].encode()[node.end_col_offset or 0 :].decode().lstrip(" ;")
    lines[first : last + 1] = [*[""] * (last - first), kept]
