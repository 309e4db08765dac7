"""Parses a program into statements, numbered in source order as by the tracer (`sandbox.runtime.tracer.numbered`)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from reflectioncoder import syntax
from reflectioncoder.data.python_source import first_line
from reflectioncoder.sandbox.runtime.tracer import MODULE, numbered

Function = ast.FunctionDef | ast.AsyncFunctionDef
Node = ast.stmt | ast.ExceptHandler | ast.match_case


@dataclass(frozen=True)
class Statement:
    """A statement without nested statements.

    Attributes:
        line: its first line in the program.
        text: its source (the header of a compound statement) in the layout of `ast.unparse`.
        written: the same source as written in the program, joined into one line.
        function: number of the enclosing definition, 0 at module level.
        parents: numbers of the enclosing statements within its function, outermost first.
    """

    number: int
    line: int
    text: str
    written: str
    function: int
    parents: tuple[int, ...]
    node: Node = field(repr=False, compare=False)

    @property
    def kind(self) -> str:
        return type(self.node).__name__

    @property
    def is_loop(self) -> bool:
        return isinstance(self.node, ast.For | ast.AsyncFor | ast.While)

    @cached_property
    def reads(self) -> tuple[str, ...]:
        """Return the names that it reads, in source order."""
        return tuple(dict.fromkeys(_names(self.node, ast.Load)))

    @cached_property
    def targets(self) -> tuple[str, ...]:
        """Return the names that it assigns, in source order; `x.append(…)` and `x[i] = …` count as assigning `x`."""
        found = list(_names(self.node, ast.Store))
        for part in _parts(self.node):
            for inner in ast.walk(part):
                owner = inner.value if isinstance(inner, ast.Attribute | ast.Subscript) else None
                if isinstance(owner, ast.Name) and owner.id not in found:
                    found.append(owner.id)
        return tuple(dict.fromkeys(found))


class ProgramText:
    """The statements of a program by their numbers.

    Raises:
        SyntaxError, ValueError, RecursionError: `source` cannot be parsed.
    """

    def __init__(self, source: str):
        self.source = source
        self.tree = syntax.parse(source)
        nodes = numbered(self.tree)
        self.numbers = {id(node): number for number, node in enumerate(nodes, start=1)}
        self.statements: dict[int, Statement] = {}
        self._read(self.tree, MODULE, ())

    def _read(self, node: ast.AST, function: int, parents: tuple[int, ...]) -> None:
        for child in ast.iter_child_nodes(node):
            if not isinstance(child, ast.stmt | ast.ExceptHandler | ast.match_case):
                continue
            number = self.numbers[id(child)]
            line = child.pattern.lineno if isinstance(child, ast.match_case) else child.lineno
            text = header(child)
            self.statements[number] = Statement(number, line, text, self._written(child, line) or text, function, parents, child)
            inside = isinstance(child, Function)
            self._read(child, number if inside else function, () if inside else (*parents, number))

    def _written(self, node: Node, line: int) -> str:
        """Return a statement's source on one line; "" if it cannot be joined, or a header shares its line with the body."""
        body = getattr(node, "body", None) or getattr(node, "cases", None)
        if not body:
            return self._on_one_line(node)
        first = body[0].pattern.lineno if isinstance(body[0], ast.match_case) else first_line(body[0])
        text = _joined(self.source.split("\n")[line - 1 : first - 1])
        return text if text.endswith(":") else ""

    def expression(self, node: ast.expr) -> str:
        """Return an expression's source on one line."""
        return self._on_one_line(node) or ast.unparse(node)

    def _on_one_line(self, node: Node | ast.expr) -> str:
        """Return a node's source joined into one line; "" if a string spans lines, or its lines contain a comment."""
        texts = (inner for inner in ast.walk(node) if isinstance(inner, ast.Constant | ast.JoinedStr))
        lines = (ast.get_source_segment(self.source, node) or "").split("\n")
        if any(inner.end_lineno != inner.lineno for inner in texts) or (len(lines) > 1 and any("#" in line for line in lines)):
            return ""
        return _joined(lines)

    def has_its_lines(self, statement: Statement) -> bool:
        """Tell whether no other statement starts on a statement's first line, or on the last line of a simple one."""
        others = [item for item in self.statements.values() if item.number != statement.number]
        ends = {statement.line} if hasattr(statement.node, "body") else {statement.line, self.last_line(statement)}
        return not any(item.line in ends for item in others)

    def first_line(self, statement: Statement) -> int:
        return first_line(statement.node) if isinstance(statement.node, ast.stmt) else statement.line

    def last_line(self, statement: Statement) -> int:
        node = statement.node.pattern if isinstance(statement.node, ast.match_case) else statement.node
        return node.end_lineno or statement.line

    def first_of_body(self, statement: Statement) -> int:
        """Return the first line of a compound statement's body, ignoring docstrings; 0 if there is none."""
        body = [node for node in getattr(statement.node, "body", []) if not _is_text(node)]
        return first_line(body[0]) if body else 0

    def is_elif(self, statement: Statement) -> bool:
        line = self.source.split("\n")[statement.line - 1]
        return isinstance(statement.node, ast.If) and line.lstrip().startswith("elif")

    def name_of(self, function: int) -> str:
        """Return a function's name qualified by its enclosing classes and functions: `Stack.push`."""
        if function not in self.statements:
            return ""
        statement = self.statements[function]
        around = [self.statements[number] for number in statement.parents if self.statements[number].kind == "ClassDef"]
        names = [self.name_of(statement.function), *(getattr(item.node, "name", "") for item in (*around, statement))]
        return ".".join(name for name in names if name)

    def functions(self) -> list[int]:
        return [MODULE, *(number for number, item in self.statements.items() if isinstance(item.node, Function))]

    def parameters(self, function: int) -> list[str]:
        node = self.statements[function].node if function in self.statements else None
        if not isinstance(node, Function):
            return []
        args = node.args
        named = [*args.posonlyargs, *args.args, *([args.vararg] if args.vararg else []), *args.kwonlyargs]
        return [arg.arg for arg in [*named, *([args.kwarg] if args.kwarg else [])]]

    def body_of(self, function: int) -> list[Statement]:
        """Return the statements of a function, without those of nested functions and without docstrings."""
        return [item for item in self.statements.values() if item.function == function and not _is_text(item.node)]


def _joined(lines: list[str]) -> str:
    return " ".join(part for line in lines if (part := line.strip()) and not part.startswith("#"))


def header(node: Node) -> str:
    """Return a statement's source without nested statements, in the layout of `ast.unparse`."""
    match node:
        case ast.If() | ast.While():
            return f"{'if' if isinstance(node, ast.If) else 'while'} {ast.unparse(node.test)}:"
        case ast.For() | ast.AsyncFor():
            return f"for {ast.unparse(node.target)} in {ast.unparse(node.iter)}:"
        case ast.With() | ast.AsyncWith():
            return f"with {', '.join(map(ast.unparse, node.items))}:"
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            return f"def {node.name}({_signature(node.args)}):"
        case ast.ClassDef():
            return f"class {node.name}({', '.join(map(ast.unparse, node.bases))}):"
        case ast.Try() | ast.TryStar():
            return "try:"
        case ast.ExceptHandler():
            caught = f" {ast.unparse(node.type)}" if node.type else ""
            return f"except{caught}{f' as {node.name}' if node.name else ''}:"
        case ast.Match():
            return f"match {ast.unparse(node.subject)}:"
        case ast.match_case():
            return f"case {ast.unparse(node.pattern)}{f' if {ast.unparse(node.guard)}' if node.guard else ''}:"
        case ast.AnnAssign(value=ast.expr() as value):
            return f"{ast.unparse(node.target)} = {ast.unparse(value)}"
    return ast.unparse(node)


def _signature(args: ast.arguments) -> str:
    bare = ast.arguments(
        posonlyargs=[ast.arg(arg.arg) for arg in args.posonlyargs],
        args=[ast.arg(arg.arg) for arg in args.args],
        vararg=ast.arg(args.vararg.arg) if args.vararg else None,
        kwonlyargs=[ast.arg(arg.arg) for arg in args.kwonlyargs],
        kw_defaults=args.kw_defaults,
        kwarg=ast.arg(args.kwarg.arg) if args.kwarg else None,
        defaults=args.defaults,
    )
    return ast.unparse(bare)


def _parts(node: Node) -> Iterator[ast.AST]:
    """Yield the expressions of a statement, without those of nested statements."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.stmt | ast.ExceptHandler | ast.match_case):
            yield child


def _names(node: Node, context: type[ast.expr_context]) -> Iterator[str]:
    if isinstance(node, Function | ast.ClassDef):
        return
    if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name | ast.Attribute):
        yield ast.unparse(node.target)
    whole = [inner for part in _parts(node) for inner in ast.walk(part)]
    own = {inner.arg for inner in whole if isinstance(inner, ast.arg)}  # parameters of lambdas; variables of comprehensions follow
    targets = [inner.target for inner in whole if isinstance(inner, ast.comprehension)]
    own |= {inner.id for target in targets for inner in ast.walk(target) if isinstance(inner, ast.Name)}
    places = [inner for inner in whole if isinstance(inner, ast.Name | ast.Attribute) and _root(inner) not in own]
    for inner in sorted(places, key=lambda inner: (inner.lineno, inner.col_offset, -(inner.end_col_offset or 0))):
        if isinstance(inner, ast.Name) and isinstance(inner.ctx, context):
            yield inner.id
        elif context is ast.Load and (path := _path(inner)):
            yield path


def _root(node: ast.expr) -> str:
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def _path(node: ast.AST) -> str:
    """Return `name.attribute` for an attribute read of a plain name, else ""."""
    plain = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and isinstance(node.ctx, ast.Load)
    return ast.unparse(node) if plain else ""


def _is_text(node: Node) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
