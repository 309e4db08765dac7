"""Extracts the calls that a problem shows: arguments of its tests and of the examples in its statement."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from reflectioncoder import syntax
from reflectioncoder.data.problems import Problem
from reflectioncoder.data.prompts import answer_program

Arguments = tuple[Any, ...]
_EXAMPLE = re.compile(r"^\s*>>> (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Known:
    """The calls that a problem shows.

    Attributes:
        names: names of the parameters.
        own: arguments in each of the problem's tests; None where a test is not a single call with literal arguments.
        examples: arguments in the statement's examples.
    """

    names: tuple[str, ...]
    own: tuple[Arguments | None, ...]
    examples: tuple[Arguments, ...]

    @property
    def all(self) -> list[Arguments]:
        """Return all distinct arguments."""
        found = {literal(arguments): arguments for arguments in (*self.examples, *self.own) if arguments is not None}
        return list(found.values())


def literal(value: Any) -> str:
    """Return the literal of a value, with sets sorted so that equal sets have equal texts."""
    if type(value) is set:
        return f"{{{', '.join(sorted(map(literal, value)))}}}" if value else "set()"
    if type(value) is dict:
        return f"{{{', '.join(f'{literal(key)}: {literal(item)}' for key, item in value.items())}}}"
    if type(value) is list:
        return f"[{', '.join(map(literal, value))}]"
    if type(value) is tuple:
        return f"({', '.join(map(literal, value))}{',' if len(value) == 1 else ''})"
    if type(value) is str and not re.search(r"[\"\\]", repr(value)):  # as in the problems' own tests
        return f'"{value}"'
    return repr(value)


def call_text(entry_point: str, arguments: Arguments) -> str:
    return f"{entry_point}({', '.join(map(literal, arguments))})"


def read_known(problem: Problem) -> Known:
    """Extract the calls of a problem that has a reference."""
    names = _parameters(answer_program(problem), problem.entry_point)
    own = tuple(_only(_calls(test, problem.entry_point, names)) for test in problem.tests)
    lines = _EXAMPLE.findall(f"{problem.prompt}\n{problem.instruction}")
    examples = [found for line in lines for found in _calls(line, problem.entry_point, names) if found is not None]
    return Known(names, own, tuple(examples))


def _parameters(program: str, entry_point: str) -> tuple[str, ...]:
    for node in syntax.parse(program).body:
        if isinstance(node, ast.FunctionDef) and node.name == entry_point and not (node.args.vararg or node.args.kwonlyargs):
            return tuple(argument.arg for argument in (*node.args.posonlyargs, *node.args.args))
    return ()


def _only(calls: Iterator[Arguments | None]) -> Arguments | None:
    found = list(calls)
    return found[0] if len(found) == 1 else None


def _calls(code: str, entry_point: str, names: tuple[str, ...]) -> Iterator[Arguments | None]:
    """Yield the arguments of each call of a function; None where they are not literals."""
    try:
        tree = syntax.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == entry_point:
            yield _arguments(node, names)


def _arguments(node: ast.Call, names: tuple[str, ...]) -> Arguments | None:
    given = dict(zip(names, node.args, strict=False)) | {keyword.arg or "**": keyword.value for keyword in node.keywords}
    order = list(names[: len(given)])
    if len(node.args) > len(names) or set(order) != set(given):
        return None
    try:
        return tuple(syntax.literal(given[name]) for name in order)
    except syntax.NOT_A_LITERAL:
        return None
