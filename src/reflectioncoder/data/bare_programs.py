"""Finds a program without a fence inside prose."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable

from reflectioncoder import syntax
from reflectioncoder.data.python_source import bindings, first_line, lines_of, missing_names, parse

_BEGINS = re.compile(
    r"(?:import|from|def|class|async def|if|try|for|with)\b|[@#]|[rRuU]?(?:\"{3}|'{3})|[A-Za-z_][\w.]*(?:\s*:[^=]+)?\s*=[^=]"
)
_MAX_LINES = 4000
_MAX_TRIES = 200


def bare_program(text: str, entry_point: str, is_wanted: Callable[[str], bool]) -> tuple[str, int] | None:
    """Return (program, index of its first line) if lines of the text parse and are wanted; None if there are none.

    Args:
        entry_point: the name that the program defines; empty: any name.
        is_wanted: decides about a candidate that parses.
    """
    lines = text.split("\n")[:_MAX_LINES]
    name = re.escape(entry_point) if entry_point else r"[A-Za-z_]\w*"
    anchor = re.compile(rf"(?:(?:async\s+)?def|class)\s+{name}\b" + (rf"|{name}\s*(?::[^=]+)?=[^=]" if entry_point else ""))
    anchors = [number for number, line in enumerate(lines) if anchor.match(line)]
    for number in reversed(anchors[-_MAX_TRIES:]):
        end = _end(lines, number)
        if end is None:
            continue
        start = number
        while start and lines[start - 1].startswith("@"):
            start -= 1
        start = _start(lines, start, end)
        code = without_words("\n".join(lines[start:end]))
        if is_wanted(code):
            return code, start
    return None


def _end(lines: list[str], start: int) -> int | None:
    """Return the last end, at the left margin, with which the lines from `start` parse; None if that would cut a definition in two."""
    end: int | None = len(lines)
    for _ in range(_MAX_TRIES):
        if end is None:
            return None
        try:
            syntax.parse("\n".join(lines[start:end]))
        except SyntaxError as error:
            broken = min(start + (error.lineno or 1), end) - 1
            end = next((number for number in range(broken, start, -1) if lines[number][:1].strip()), None)
        except (ValueError, RecursionError, MemoryError):
            return None
        else:
            return end
    return None


def _start(lines: list[str], start: int, end: int) -> int:
    """Return the first line of the code around `start`, extended upwards while the lines above parse with it."""
    first = start
    for number in range(start - 1, max(-1, start - _MAX_TRIES), -1):
        line = lines[number]
        if not line.strip() or line[:1].isspace():
            continue
        parses = parse("\n".join(lines[number:end])) is not None
        if _BEGINS.match(line) and parses:
            first = number
        elif not _BEGINS.match(line) and not line.startswith((")", "]", "}", '"', "'")):
            break
    return first


def without_words(code: str) -> str:
    """Return code without prose that happens to parse as Python: a lone name, or a name with a colon and an unknown one."""
    tree = parse(code)
    if tree is None:
        return code
    unknown = missing_names(code)
    words = [node for node in tree.body if _is_words(node, unknown)]
    if not words or not any(True for _ in bindings(tree.body)):
        return code
    taken = {number for node in words for number in range(first_line(node), (node.end_lineno or node.lineno) + 1)}
    kept = [line for number, line in enumerate(code.split("\n"), start=1) if number not in taken]
    return "\n".join(kept) if parse("\n".join(kept)) else lines_of(code, [node for node in tree.body if node not in words])


def _is_words(node: ast.stmt, unknown: frozenset[str]) -> bool:
    if isinstance(node, ast.AnnAssign) and node.value is None:
        value = node.annotation
    elif isinstance(node, ast.Expr):
        value = node.value
    else:
        return False
    return any(isinstance(part, ast.Name) and part.id in unknown for part in ast.walk(value))
