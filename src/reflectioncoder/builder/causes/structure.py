"""Finds faults that a function's code shows without a run: an empty body, no return, a loop left at once, or an endless loop."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from reflectioncoder.builder.causes.cause import Cause

_LOOPS = (ast.For, ast.AsyncFor, ast.While)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_CASES = (ast.If, ast.IfExp, ast.BoolOp, ast.Match, ast.Compare, ast.Try)
_READING = frozenset(("str", "int", "float", "len", "print", "abs", "range", "min", "max", "sum", "repr", "bool", "round", "divmod"))
_MAX_QUOTED_CHARS = 60


@dataclass(frozen=True)
class Shape:
    """The features of a function that are compared with another function's."""

    node: ast.FunctionDef

    @property
    def body(self) -> list[ast.stmt]:
        """Return the body without the docstring."""
        first, *rest = self.node.body
        is_text = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
        return rest if is_text else [first, *rest]

    @property
    def own(self) -> list[ast.AST]:
        return [inner for statement in self.body for inner in ast.walk(statement)]

    @property
    def parameters(self) -> list[str]:
        return [argument.arg for argument in self.node.args.args]

    @property
    def reads(self) -> set[str]:
        return {node.id for node in self.own if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}

    @property
    def calls(self) -> list[str]:
        found = [node.func for node in self.own if isinstance(node, ast.Call)]
        names = [node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else "" for node in found]
        return [name for name in dict.fromkeys(names) if name]

    @property
    def returns(self) -> bool:
        """Tell whether the function itself, nested functions aside, can return or yield a value."""
        return any(isinstance(node, ast.Yield | ast.YieldFrom) or _hands_back(node) for node in _without_functions(self.body))

    def has(self, *kinds: type[ast.AST]) -> bool:
        return any(isinstance(node, kinds) for node in self.own)


def cause_of_shape(ours: Shape, theirs: Shape) -> Cause | None:
    """Return a fault that the function has for any arguments; None if there is none."""
    if all(isinstance(node, ast.Pass) or _is_ellipsis(node) for node in ours.body):
        return Cause("empty_body")
    if theirs.returns and not ours.returns:
        return Cause("only_prints" if "print" in ours.calls else "returns_never")
    if ours.parameters and not set(ours.parameters) & ours.reads and set(theirs.parameters) & theirs.reads:
        return Cause("hard_coded")
    if (loop := _left_at_once(ours)) and not _left_at_once(theirs):
        return Cause("first_round_return", facts={"loop": loop} if len(loop) <= _MAX_QUOTED_CHARS else {})
    if len(ours.parameters) == len(theirs.parameters):
        for own, other in zip(ours.parameters, theirs.parameters, strict=True):
            if own not in ours.reads and other in theirs.reads:
                return Cause("unused_parameter", facts={"name": own})
    return None


def lacking(ours: Shape, theirs: Shape) -> Cause | None:
    """Return the cause that the wrong function lacks all conditions, all loops, or a call of the right one; None if it does not."""
    if theirs.has(*_CASES) and not ours.has(*_CASES) and not {"min", "max", "abs"} & set(ours.calls):
        return Cause("no_cases")
    own_loops = ours.has(*_LOOPS, *_COMPREHENSIONS) or ours.node.name in ours.calls
    if theirs.has(*_LOOPS, *_COMPREHENSIONS) and not own_loops and not {"map", "filter", "sum", "any", "all"} & set(ours.calls):
        return Cause("no_loop")
    name = next((call for call in theirs.calls if call not in ours.calls and call != ours.node.name), "")
    return Cause("lacks_call", facts={"lacking": name}) if name else None


def endless_loop(tree: ast.Module) -> Cause | None:
    """Return the cause for the only loop that cannot end, since nothing in it changes its condition or exits; else None."""
    found = [node for node in ast.walk(tree) if isinstance(node, ast.While) and not _can_end(node)]
    if len(found) != 1:
        return None
    condition = ast.unparse(found[0].test)
    kind = "no_way_out" if isinstance(found[0].test, ast.Constant) else "condition_never_changes"
    return Cause(kind, facts={"condition": condition} if len(condition) <= _MAX_QUOTED_CHARS else {})


def _can_end(loop: ast.While) -> bool:
    names = {node.id for node in ast.walk(loop.test) if isinstance(node, ast.Name)}
    if any(isinstance(node, ast.Call | ast.Attribute | ast.NamedExpr | ast.Yield | ast.Await) for node in ast.walk(loop.test)):
        return True  # the value may differ each time
    for node in (inner for statement in loop.body for inner in ast.walk(statement)):
        if isinstance(node, ast.Break | ast.Return | ast.Raise | ast.Yield | ast.YieldFrom | ast.Global | ast.Nonlocal):
            return True
        if isinstance(node, ast.Name) and node.id in names and isinstance(node.ctx, ast.Store | ast.Del):
            return True
        owner = node.value if isinstance(node, ast.Attribute | ast.Subscript) else None
        if isinstance(owner, ast.Name) and owner.id in names:  # `xs.pop()`, `xs[0] = …`
            return True
        if isinstance(node, ast.Call) and not _only_reads(node.func) and any(_is_one_of(item, names) for item in node.args):
            return True
    return False


def _only_reads(function: ast.expr) -> bool:
    """Tell whether a function changes none of its arguments: a pure built-in, or a method that stores or formats them."""
    if isinstance(function, ast.Name):
        return function.id in _READING
    return isinstance(function, ast.Attribute) and function.attr in ("append", "add", "insert", "appendleft", "join", "format")


def _is_one_of(node: ast.expr, names: set[str]) -> bool:
    return isinstance(node, ast.Name) and node.id in names


def _left_at_once(shape: Shape) -> str:
    """Return the header of a loop that the function always exits in its first iteration; "" if there is none."""
    for node in _without_functions(shape.body):
        if isinstance(node, ast.For | ast.While) and _always_returns(node.body):
            is_for = isinstance(node, ast.For)
            return f"for {ast.unparse(node.target)} in {ast.unparse(node.iter)}" if is_for else f"while {ast.unparse(node.test)}"
    return ""


def _always_returns(body: list[ast.stmt]) -> bool:
    for statement in body:
        if isinstance(statement, ast.Return | ast.Raise):
            return True
        if isinstance(statement, ast.If) and statement.orelse and _always_returns(statement.body) and _always_returns(statement.orelse):
            return True
        if any(isinstance(inner, ast.Continue | ast.Break) for inner in ast.walk(statement)):
            return False
    return False


def _without_functions(body: list[ast.stmt]) -> Iterator[ast.AST]:
    waiting: list[ast.AST] = [*body]
    while waiting:
        node = waiting.pop(0)
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            waiting += ast.iter_child_nodes(node)


def _hands_back(node: ast.AST) -> bool:
    is_none = isinstance(node, ast.Return) and isinstance(node.value, ast.Constant) and node.value.value is None
    return isinstance(node, ast.Return) and node.value is not None and not is_none


def _is_ellipsis(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and node.value.value is Ellipsis
