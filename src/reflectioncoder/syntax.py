"""Thread-safe parsing of Python: CPython 3.11 shares one AST depth counter among threads, so a parse that is interrupted by another
thread's can make that one fail with a SystemError ("AST constructor recursion depth mismatch").
"""

from __future__ import annotations

import ast
import contextlib
import symtable
import threading
from typing import Any, Literal, overload

_ONE_AT_A_TIME = threading.Lock()
_MAX_TRIES = 5


@overload
def parse(source: str) -> ast.Module: ...
@overload
def parse(source: str, mode: Literal["eval"]) -> ast.Expression: ...
def parse(source: str, mode: Literal["exec", "eval"] = "exec") -> ast.AST:
    """Parse like `ast.parse`, and raise what it raises."""
    with _ONE_AT_A_TIME:
        for _ in range(_MAX_TRIES - 1):
            with contextlib.suppress(SystemError):  # a library may parse in another thread, without the lock
                return ast.parse(source, mode=mode)
        return ast.parse(source, mode=mode)


def literal(value: str | ast.AST) -> Any:
    """Return the value of a literal, given as text or parsed, like `ast.literal_eval`; raises what that raises."""
    return ast.literal_eval(parse(value.lstrip(" \t"), "eval") if isinstance(value, str) else value)  # pyright: ignore[reportArgumentType]


NOT_A_LITERAL = (ValueError, SyntaxError, TypeError, MemoryError, RecursionError)
"""The exceptions of `literal` for a text that is not a literal, or is too large or too deep to be read."""


def literal_or(value: str | ast.AST, default: Any) -> Any:
    """Return the value of a literal; `default` for anything else."""
    try:
        return literal(value)
    except NOT_A_LITERAL:
        return default


def is_literal(value: str | ast.AST) -> bool:
    """Tell whether something is a literal whose value can be read."""
    return literal_or(value, NOT_A_LITERAL) is not NOT_A_LITERAL


def symbols(source: str) -> symtable.SymbolTable:
    """Return the symbol table of a module; raises what `parse` raises."""
    with _ONE_AT_A_TIME:
        return symtable.symtable(source, "<program>", "exec")
