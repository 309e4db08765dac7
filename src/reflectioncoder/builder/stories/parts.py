"""Finds which parts of a wrong expression to print: the smallest subexpression that the correction changes, and its operands."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from reflectioncoder.builder.mutation.fragments import Fragments, is_same
from reflectioncoder.builder.stories.programs import functions_of
from reflectioncoder.builder.tracing import Divergence
from reflectioncoder.builder.tracing.probes import is_printable
from reflectioncoder.data.python_source import parse

_SHOWN = (ast.BinOp, ast.BoolOp, ast.Compare, ast.Call, ast.Subscript, ast.UnaryOp)
_MAX_CHARS = 50
_MAX_OPERANDS = 2


@dataclass(frozen=True)
class Parts:
    """Expressions of one statement to print.

    Attributes:
        operands: operands that both programs compute alike.
        whole: the smallest wrong expression, or the variable to which it is assigned.
        is_all: whether `whole` is everything that the statement computes.
        is_own: whether `whole` is a variable that the correction lacks, so that its right value is unknown.
    """

    operands: tuple[str, ...]
    whole: str
    is_all: bool
    is_own: bool = False

    @property
    def shown(self) -> tuple[str, ...]:
        return (*self.operands, self.whole)

    def without(self, operand: str) -> Parts:
        return replace(self, operands=tuple(other for other in self.operands if other != operand))


def parts_of(divergence: Divergence | None, program: str, corrected: str) -> Parts | None:
    """Return what to print where an attempt diverges from its correction; None unless the place is an expression evaluated once."""
    d = divergence
    if d is None or d.kind not in ("value", "return", "branch") or d.visits != 1:
        return None
    ours, theirs = _expression(d.statement), _expression(d.statement_reference)
    known = {name for name, _ in d.inputs}
    target = d.variable if d.kind == "value" else ""
    if not ours or not theirs or target in known or (d.kind == "value" and not target.isidentifier()):
        return None
    if own := _own_variable(ours, program, corrected, known):
        return Parts((), own, is_all=False, is_own=True)
    fragments = Fragments(ours, theirs)
    places = [number for number in range(len(fragments.pairs)) if _is_evaluated(number, fragments)]
    at = next((number for number in reversed(places) if _has_names(fragments.pairs[number][0])), None)
    if at is None:
        return None
    wrong, right = fragments.pairs[at]
    own = functions_of(program)
    whole = target if target and at == 0 else fragments.text(wrong)
    if not _is_usable(whole, own, known | {target}):
        return None
    local = _locals_of(program, corrected)
    alike = [node for node in _operands(wrong) if any(is_same(node, other) for other in ast.walk(right))]
    texts = [fragments.text(node) for node in alike if isinstance(node, _SHOWN) or (isinstance(node, ast.Name) and node.id in local)]
    operands = [text for text in dict.fromkeys(texts) if _is_usable(text, own, known)]
    return Parts(tuple(operands[:_MAX_OPERANDS]), whole, is_all=at == 0)


def _own_variable(expression: str, program: str, corrected: str, known: set[str]) -> str:
    """Return the variable in an expression that only the attempt assigns; "" unless there is exactly one."""
    assigned = set(re.findall(r"^ +(\w+) (?:\S{0,2}=) ", program, re.MULTILINE))
    names = {node.id for node in ast.walk(parse(expression) or ast.Module([], [])) if isinstance(node, ast.Name)}
    found = [name for name in names & assigned & known if not re.search(rf"\b{name}\b", corrected)]
    return found[0] if len(found) == 1 else ""


def right_values(divergence: Divergence | None, program: str, corrected: str) -> list[str]:
    """Return variables that the attempt computes before it diverges from its correction, in lines that both programs have."""
    d = divergence
    if d is None or d.visits != 1:
        return []
    local = _locals_of(program, corrected)
    return [name for name, _ in reversed(d.inputs) if name in local and name != d.variable]


def _expression(statement: str) -> str:
    """Return the source of the expression that an assignment, branch or `return` evaluates; "" for other statements."""
    tree = parse(f"{statement}\n    pass" if statement.endswith(":") else statement)
    match tree.body if tree is not None else []:
        case [ast.Return(value=ast.expr() as value) | ast.Assign(targets=[ast.Name()], value=value) | ast.If(test=value)]:
            return ast.get_source_segment(statement, value) or ""
    return ""


def _is_evaluated(number: int, fragments: Fragments) -> bool:
    """Tell whether a pair of differing nodes is a compound expression: no name or constant, and not the callee of a call."""
    node = fragments.pairs[number][0]
    before = fragments.pairs[number - 1][0] if number else None
    is_called = isinstance(before, ast.Call) and before.func is node
    return isinstance(node, _SHOWN) and isinstance(fragments.pairs[number][1], ast.expr) and not is_called


def _has_names(node: ast.AST) -> bool:
    return any(isinstance(part, ast.Name) for part in ast.walk(node))


def _operands(node: ast.AST) -> Iterator[ast.expr]:
    match node:
        case ast.BinOp(left=left, right=right):
            yield from (left, right)
        case ast.Compare(left=left, comparators=others):
            yield from (left, *others)
        case ast.BoolOp(values=values):
            yield from values
        case ast.UnaryOp(operand=operand):
            yield operand
        case ast.Subscript(value=value):
            yield value
        case ast.Call(func=func, args=args):
            yield from ([func.value] if isinstance(func, ast.Attribute) else [])
            yield from args


def _is_usable(text: str, own: Sequence[str], known: set[str]) -> bool:
    tree = parse(text)
    if tree is None or len(text) > _MAX_CHARS or "`" in text or not is_printable(text, own):
        return False
    stored = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    if not _has_names(tree):
        return False
    inner = any(isinstance(node, ast.comprehension | ast.Lambda) for node in ast.walk(tree))
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} - stored
    called = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    return not inner and names - called <= known


def _locals_of(program: str, corrected: str) -> set[str]:
    """Return the variables that are assigned exactly once, from a compound expression, in a line that both programs have."""
    lines = {line.strip() for line in corrected.split("\n")}
    found: dict[str, list[str]] = {}
    for line in program.split("\n"):
        if match := re.match(r"\s*(\w+) (?:\S{0,2}=) (.+)", line):
            found.setdefault(match[1], []).append(line.strip())
    return {name for name, own in found.items() if len(own) == 1 and own[0] in lines and re.search(r"[(\[]\w|\s[-+*/%]", own[0])}
