"""Parsing of Python, for programs with threads: CPython 3.11 counts the depth of all threads' parses together, and one that is switched
away from in the middle can end another with a SystemError ("AST constructor recursion depth mismatch").
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
            with contextlib.suppress(SystemError):  # of a library that parses in another thread, without the lock
                return ast.parse(source, mode=mode)
        return ast.parse(source, mode=mode)


def literal(value: str | ast.AST) -> Any:
    """Return the value of a literal, given as text or parsed, like `ast.literal_eval`; raises what that raises."""
    return ast.literal_eval(parse(value.lstrip(" \t"), "eval") if isinstance(value, str) else value)  # pyright: ignore[reportArgumentType]


def symbols(source: str) -> symtable.SymbolTable:
    """Return the names of a module and its scopes; raises what `parse` raises."""
    with _ONE_AT_A_TIME:
        return symtable.symtable(source, "<program>", "exec")
