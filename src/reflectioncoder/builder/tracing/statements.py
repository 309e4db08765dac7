"""Reads the statements of a program and aligns those of two programs: which are the same, which take each other's place.

Statements are numbered in the order of the text, as the tracer does (`sandbox.runtime.tracer.numbered`). Layout, comments, docstrings and
annotations do not count. Functions are paired by name, those that are left by their order.
"""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from reflectioncoder import syntax
from reflectioncoder.data.python_source import first_line
from reflectioncoder.sandbox.runtime.tracer import MODULE, numbered

Function = ast.FunctionDef | ast.AsyncFunctionDef
Node = ast.stmt | ast.ExceptHandler | ast.match_case

_NAME = re.compile(r"(?<![\w.])[A-Za-z_]\w*")
_MIN_ALIKE = 0.5  # of the text of two statements of which one takes the other's place
_MIN_SHARE = 0.5  # of the statements of two functions that have to be aligned


@dataclass(frozen=True)
class Statement:
    """A statement, without those inside it.

    Attributes:
        line: where it begins in the program.
        text: of a compound statement its header; in the layout of `ast.unparse`.
        written: the same as it stands in the program, on one line.
        function: the number of the definition that it stands in, 0 at module level.
        parents: the numbers of the statements around it within its function, from the outside.
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
        """Return the names that it reads, in the order of its text."""
        return tuple(dict.fromkeys(_names(self.node, ast.Load)))

    @cached_property
    def targets(self) -> tuple[str, ...]:
        """Return the names that it assigns, in the order of its text; of `x.append(…)` and `x[i] = …` also `x`."""
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
        SyntaxError, ValueError, RecursionError: `source` is no program that can be read.
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
        """Return a statement's text as it stands in the program; "" where it shares its lines with others."""
        body = getattr(node, "body", None) or getattr(node, "cases", None)
        if not body:
            return " ".join((ast.get_source_segment(self.source, node) or "").split())
        first = body[0].pattern.lineno if isinstance(body[0], ast.match_case) else first_line(body[0])
        lines = self.source.split("\n")[line - 1 : first - 1]
        text = " ".join(part for item in lines if (part := item.strip()) and not part.startswith("#"))
        return text if text.endswith(":") else ""

    def expression(self, node: ast.expr) -> str:
        """Return an expression as it stands in the program, on one line."""
        return " ".join((ast.get_source_segment(self.source, node) or ast.unparse(node)).split())

    def name_of(self, function: int) -> str:
        """Return the name of a function, with those of the classes and functions around it: `Stack.push`."""
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
        """Return the statements of a function, without those of functions inside it and without docstrings."""
        return [item for item in self.statements.values() if item.function == function and not _is_text(item.node)]


def header(node: Node) -> str:
    """Return the text of a statement without the statements inside it, in the layout of `ast.unparse`."""
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
            return f"except {ast.unparse(node.type) if node.type else ''} as {node.name}:"
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
    """Yield the expressions of a statement, without those of statements inside it."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.stmt | ast.ExceptHandler | ast.match_case):
            yield child


def _names(node: Node, context: type[ast.expr_context]) -> Iterator[str]:
    if isinstance(node, Function | ast.ClassDef):
        return
    if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
        yield node.target.id
    places = [inner for part in _parts(node) for inner in ast.walk(part) if isinstance(inner, ast.Name | ast.Attribute)]
    for inner in sorted(places, key=lambda inner: (inner.lineno, inner.col_offset, -(inner.end_col_offset or 0))):
        if isinstance(inner, ast.Name) and isinstance(inner.ctx, context):
            yield inner.id
        elif context is ast.Load and (path := _path(inner)):
            yield path


def _path(node: ast.AST) -> str:
    """Return `name.attribute` of a plain attribute."""
    plain = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and isinstance(node.ctx, ast.Load)
    return ast.unparse(node) if plain else ""


def _is_text(node: Node) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


@dataclass(frozen=True)
class Alignment:
    """The correspondence of an attempt and its reference.

    Attributes:
        partner: the number of the statement of the reference by that of the attempt's, whether they are the same or one replaces the
            other.
        changed: the numbers of the attempt's statements that differ from their partners.
        functions: the number of the reference's function by that of the attempt's.
        names: the reference's name by the attempt's, by function of the attempt, where they differ.
        opaque: functions of the attempt too different from their partners for a comparison statement by statement.
    """

    partner: Mapping[int, int]
    changed: frozenset[int]
    functions: Mapping[int, int]
    names: Mapping[int, Mapping[str, str]]
    opaque: frozenset[int]


def align(attempt: ProgramText, reference: ProgramText) -> Alignment:
    """Align the statements of two programs."""
    functions = _pair_functions(attempt, reference)
    partner: dict[int, int] = {}
    changed: set[int] = set()
    names: dict[int, dict[str, str]] = {}
    opaque: set[int] = set()
    for own, other in functions.items():
        ours, theirs = attempt.body_of(own), reference.body_of(other)
        renamed = _renamed_parameters(attempt, own, reference, other)
        for _ in range(2):  # names that are found renamed let more statements be the same
            pairs = list(_pairs(ours, theirs, renamed))
            renamed |= _renamed_targets(pairs, ours, theirs)
        names[own] = renamed
        partner |= {a.number: b.number for a, b, _ in pairs}
        changed |= {a.number for a, b, same in pairs if not same}
        if 2 * len(pairs) < _MIN_SHARE * (len(ours) + len(theirs)):
            opaque.add(own)
    return Alignment(partner, frozenset(changed), functions, names, frozenset(opaque))


def _pair_functions(attempt: ProgramText, reference: ProgramText) -> dict[int, int]:
    theirs = {reference.name_of(number): number for number in reference.functions()}
    pairs = {number: theirs.pop(name) for number in attempt.functions() if (name := attempt.name_of(number)) in theirs}
    left = [number for number in attempt.functions() if number not in pairs]
    return {**pairs, **(dict(zip(left, theirs.values(), strict=True)) if len(left) == len(theirs) else {})}


def _renamed_parameters(attempt: ProgramText, own: int, reference: ProgramText, other: int) -> dict[str, str]:
    ours, theirs = attempt.parameters(own), reference.parameters(other)
    if len(ours) != len(theirs):
        return {}
    return {a: b for a, b in zip(ours, theirs, strict=True) if a != b and a not in theirs and b not in ours}


def _renamed_targets(pairs: list[tuple[Statement, Statement, bool]], ours: list[Statement], theirs: list[Statement]) -> dict[str, str]:
    """Return the variables that are renamed: statements alike but for names assign them, and neither name is known to the other."""
    known = {name for item in ours for name in (*item.targets, *item.reads)}
    known_there = {name for item in theirs for name in (*item.targets, *item.reads)}
    found: dict[str, str] = {}
    for a, b, _ in pairs:
        if _NAME.sub("_", a.text) == _NAME.sub("_", b.text) and len(a.targets) == len(b.targets):
            for name, other in zip(a.targets, b.targets, strict=True):
                if name != other and name not in known_there and other not in known and other not in found.values():
                    found.setdefault(name, other)
    return found


def _pairs(ours: list[Statement], theirs: list[Statement], renamed: Mapping[str, str]) -> Iterator[tuple[Statement, Statement, bool]]:
    """Yield statements that correspond, and whether they are the same."""
    texts = [_NAME.sub(lambda match: renamed.get(match[0], match[0]), item.text) for item in ours]
    others = [item.text for item in theirs]
    matcher = difflib.SequenceMatcher(None, texts, others, autojunk=False)
    for tag, a, a_end, b, b_end in matcher.get_opcodes():
        if tag == "equal":
            yield from ((x, y, True) for x, y in zip(ours[a:a_end], theirs[b:b_end], strict=True))
        elif tag == "replace":
            for at in range(a, a_end):  # the next one that is alike
                for to in range(b, b_end):
                    alone = a_end - a == b_end - b == 1
                    if _take_each_others_place(ours[at], theirs[to], texts[at], others[to], alone):
                        yield ours[at], theirs[to], False
                        b = to + 1
                        break


def _take_each_others_place(a: Statement, b: Statement, text: str, other: str, alone: bool) -> bool:
    if a.kind == b.kind and (alone or difflib.SequenceMatcher(None, text, other).ratio() >= _MIN_ALIKE):
        return True
    plain = (ast.Return, ast.Expr, ast.Assign, ast.AugAssign)
    both_plain = isinstance(a.node, plain) and isinstance(b.node, plain)
    return both_plain and (alone or difflib.SequenceMatcher(None, text, other).ratio() >= _MIN_ALIKE)
