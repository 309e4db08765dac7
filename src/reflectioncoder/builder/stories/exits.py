"""Looks at a loop that is left too early: prints the item at which the `return` or `break` is reached."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping

from reflectioncoder.builder.stories.crashes import Clue
from reflectioncoder.builder.stories.edits import edits
from reflectioncoder.builder.tracing import Divergence
from reflectioncoder.data.python_source import parse

_MAX_CHARS = 60
_MAX_NAMES = 2


def exit_of(program: str, corrected: str) -> tuple[Divergence, Clue] | None:
    """Return where a `for` loop exits whose exit the correction changes, and what to print there; None if there is none."""
    tree = parse(program)
    changed = edits(program, corrected)
    for function, loop, way_out in _exits(tree) if tree is not None else ():
        names = [node.id for node in ast.walk(loop.target) if isinstance(node, ast.Name) and node.id != "_"]
        header = ast.unparse(loop.iter)
        is_usable = 0 < len(names) <= _MAX_NAMES and len(header) <= _MAX_CHARS
        if is_usable and any(change.old and change.is_at(way_out.lineno) for change in changed):
            statement = ast.unparse(way_out)
            place = Divergence("exception", function, way_out.lineno, statement=statement, visits=1)
            return place, _clue(statement, tuple(names), header)
    return None


def _exits(tree: ast.Module) -> Iterator[tuple[str, ast.For, ast.Return | ast.Break]]:
    """Yield each `return` and `break` with its function and innermost enclosing `for` loop."""
    for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
        for loop in (node for node in ast.walk(function) if isinstance(node, ast.For)):
            inner = {
                id(node) for other in ast.walk(loop) if isinstance(other, ast.For) and other is not loop for node in ast.walk(other)
            }
            for node in ast.walk(loop):
                if isinstance(node, ast.Return | ast.Break) and id(node) not in inner:
                    yield function.name, loop, node


def _clue(statement: str, names: tuple[str, ...], header: str) -> Clue:
    def read(values: Mapping[str, str]) -> dict[str, str] | None:
        shown = " and ".join(f"`{name}` is `{values[name]}`" for name in names)
        return {"inputs": shown, "exit": statement, "iterated": header}

    return Clue("place.exit", names, read)
