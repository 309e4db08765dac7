"""Extracts what a person would say about a program's shape: what it loops over, which variables it fills, which helpers it calls.

Facts that cannot be quoted in a sentence are left out.
"""

from __future__ import annotations

import ast
import re

from reflectioncoder.data.python_source import definition, parse

_MAX_CHARS = 60
_EMPTY = ("0", "[]", "{}", '""', "''", "set()")
_GROWING = ("append", "add", "extend", "insert", "update", "setdefault", "appendleft")


def shape_of(program: str, entry_point: str) -> list[tuple[str, dict[str, str]]]:
    """Return descriptions of the function that the tests call: grammar symbols with their facts."""
    tree = parse(program)
    node = definition(tree, entry_point) if tree is not None else None
    if tree is None or not isinstance(node, ast.FunctionDef):
        return []
    found = [*_of_loops(program, node), *_of_result(program, node), *_of_calls(tree, node), *_of_conditions(program, node)]
    return [(f"shape.{name}", facts) for name, facts in found if all(_is_quotable(value) for value in facts.values())]


def functions_of(program: str) -> list[str]:
    """Return the names of all functions and classes that a program defines."""
    tree = parse(program)
    if tree is None:
        return []
    return [node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)]


def _is_quotable(text: str) -> bool:
    return 0 < len(text) <= _MAX_CHARS and not re.search(r"[`\n]", text)


def _text(program: str, node: ast.AST) -> str:
    return ast.get_source_segment(program, node) or ""  # pyright: ignore[reportArgumentType] (all nodes passed have positions)


def _of_loops(program: str, function: ast.FunctionDef) -> list[tuple[str, dict[str, str]]]:
    found = []
    started = {name.id: _text(program, node.value) for node in function.body if isinstance(node, ast.Assign) for name in _names(node)}
    loops = [node for node in ast.walk(function) if isinstance(node, ast.For | ast.While)]
    for loop in loops[:1]:
        iterated = _text(program, loop.iter) if isinstance(loop, ast.For) else ""
        if isinstance(loop, ast.For) and not iterated.startswith("range("):
            found.append(("for", {"item": _text(program, loop.target), "iterated": iterated}))
        elif isinstance(loop, ast.While):
            found.append(("while", {"condition": _text(program, loop.test)}))
        for name in _filled(loop):
            if started.get(name) in _EMPTY:
                found.append(("filled", {"variable": name, "start": started[name]}))
                break
    if len(loops) > 1 and any(isinstance(inner, ast.For | ast.While) for inner in ast.walk(loops[0]) if inner is not loops[0]):
        found.append(("nested", {}))
    return found


def _names(node: ast.Assign) -> list[ast.Name]:
    return [target for target in node.targets if isinstance(target, ast.Name)]


def _filled(loop: ast.For | ast.While) -> list[str]:
    """Return the variables that a loop grows, with `+=` or a method such as `append`."""
    found = []
    for node in ast.walk(loop):
        target = node.target if isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Add) else None
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _GROWING:
            target = node.func.value
        if isinstance(target, ast.Name):
            found.append(target.id)
    return found


def _of_result(program: str, function: ast.FunctionDef) -> list[tuple[str, dict[str, str]]]:
    returns = [node.value for node in ast.walk(function) if isinstance(node, ast.Return) and node.value is not None]
    if len(function.body) == 1 and len(returns) == 1:
        kinds = ((ast.ListComp, "comprehension"), (ast.GeneratorExp, "comprehension"), (ast.IfExp, "choice"), (ast.BoolOp, "logic"))
        name = next((name for kind, name in kinds if isinstance(returns[0], kind)), "expression")
        return [(name, {"expression": _text(program, returns[0])})]
    return []


def _of_calls(tree: ast.Module, function: ast.FunctionDef) -> list[tuple[str, dict[str, str]]]:
    own = [node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name != function.name]
    called = [node.func.id for node in ast.walk(function) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    found = [("helper", {"helper": name}) for name in dict.fromkeys(called) if name in own][:1]
    return [*found, *([("recursion", {})] if function.name in called else [])]


def _of_conditions(program: str, function: ast.FunctionDef) -> list[tuple[str, dict[str, str]]]:
    first = function.body[0]
    if isinstance(first, ast.If) and isinstance(first.body[-1], ast.Return | ast.Raise):
        return [("guard", {"condition": _text(program, first.test)})]
    return []
