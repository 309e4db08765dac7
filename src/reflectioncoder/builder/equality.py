"""Finds, by static analysis, programs that influence how their results compare or that modify the interpreter's modules."""

from __future__ import annotations

import ast

from reflectioncoder.data.python_source import parse

_COMPARES = ("eq", "ne", "lt", "le", "gt", "ge", "sub", "rsub", "abs", "instancecheck", "subclasscheck", "getattribute")
# Methods that comparisons call: a program that defines one controls what its results are equal to.
_SAYS_WHAT_IS_EQUAL = frozenset(f"__{name}__" for name in _COMPARES)
_MAKES_CLASSES = frozenset(("new_class", "make_dataclass"))
_SETS_ATTRIBUTES = frozenset(("setattr", "delattr", "__setattr__", "__delattr__"))
_FIELDS = frozenset(("compare", "eq", "cmp"))  # arguments that select which fields of a dataclass are compared


def own_equality(program: str) -> str:
    """Describe in a few words how a program influences comparisons; "" if it does not, or cannot be parsed."""
    tree = parse(program)
    if tree is None:
        return ""
    modules = _imported(tree)
    called_by_name = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call) and _names_its_attribute(node)}
    for node in ast.walk(tree):
        spelled = _spelled(node)
        if spelled in _SAYS_WHAT_IS_EQUAL or (spelled == "__class__" and not isinstance(node, ast.Attribute)):
            return f"an {spelled} of its own"
        if not isinstance(node, ast.Constant) and (
            spelled in _MAKES_CLASSES or (spelled in _SETS_ATTRIBUTES and id(node) not in called_by_name)
        ):
            return f"a use of {spelled}"
        if isinstance(node, ast.Import | ast.ImportFrom) and any(name.split(".")[0] in ("unittest", "mock") for name in _sources(node)):
            return "an import of unittest"
        if isinstance(node, ast.Call) and (found := _of_call(node)):
            return found
        if isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load) and _root(node) in modules:
            return f"an assignment to {ast.unparse(node)}"
    return ""


def _spelled(node: ast.AST) -> str:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return node.name
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return node.attr
    if isinstance(node, ast.alias):
        return node.name
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _names_its_attribute(node: ast.Call) -> bool:
    """Tell whether a call names the attribute in a string literal: `setattr(x, "name", …)`, `object.__setattr__(self, "x", …)`."""
    return any(isinstance(argument, ast.Constant) and isinstance(argument.value, str) for argument in node.args[:2])


def _of_call(node: ast.Call) -> str:
    if isinstance(node.func, ast.Name) and node.func.id == "type" and (len(node.args) != 1 or isinstance(node.args[0], ast.Starred)):
        return "a class made by type()"
    return next((f"an argument {keyword.arg}=" for keyword in node.keywords if keyword.arg in _FIELDS), "")


def _imported(tree: ast.AST) -> set[str]:
    """Return the names that a program's imports bind."""
    aliases = (alias for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom) for alias in node.names)
    return {alias.asname or alias.name.split(".")[0] for alias in aliases}


def _sources(node: ast.Import | ast.ImportFrom) -> list[str]:
    return [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]


def _root(node: ast.expr) -> str:
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""
