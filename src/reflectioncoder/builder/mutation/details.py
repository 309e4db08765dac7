"""Describes a slip precisely: the smallest difference of its two fragments as facts for the grammar, and the clauses that fit it.

`details_of` returns the kind of clauses, `cause.KIND`, and their facts. If the fragments do not show the details, the kind is the
operator itself, whose clauses need no facts.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable

from reflectioncoder import syntax
from reflectioncoder.builder.mutation.bound_details import index_details, range_details
from reflectioncoder.builder.mutation.diagnosis import Failure
from reflectioncoder.builder.mutation.fragments import SIGNS, Details, Fragments, is_same, parse_fragment
from reflectioncoder.builder.mutation.misread_details import misread_kind
from reflectioncoder.builder.mutation.misreadings import FAMILIES
from reflectioncoder.builder.mutation.program import Mutation
from reflectioncoder.builder.mutation.purposes import PURPOSES

_MAX_CHARS = 60
_DIVISIONS = {("/", "//"): "true", ("//", "/"): "floor", ("//", "%"): "quotient"}

_DOES = {"+": "adds the two values", "-": "subtracts one value from the other", "*": "multiplies the two values"}
_DONE = {"+": "added", "-": "subtracted", "*": "multiplied"}
_OF_BOUNDS = ("shifted_bounds",)


def slip_details(slip: Mutation, corrected: str = "", failure: Failure | None = None, gone: str = "") -> Details:
    """Return the kind of clauses for a slip or a misreading, and their facts.

    Args:
        corrected: the corrected program.
        failure: the failure of the attempt.
        gone: the lines that the correction deletes.
    """
    if slip.operator == "early_return" and failure is not None and failure.actual == "None":
        return "early_return_unreached", {}
    if slip.operator not in FAMILIES:
        return details_of(slip.operator, slip.wrong, slip.correct, corrected)
    if slip.operator in _OF_BOUNDS:
        for operator in ("wrong_comparison", "off_by_one_range"):
            found = details_of(operator, slip.wrong, slip.correct)
            if found[0] != operator:
                return found
    wrong = gone if gone and not slip.correct and slip.operator == "early_normalisation" else slip.wrong
    kind = misread_kind(slip.operator, wrong, slip.correct, failure.error if failure is not None else "")
    return (f"{slip.operator}_{kind}" if kind else slip.operator), {}


def details_of(operator: str, wrong: str, correct: str, program: str = "") -> Details:
    """Return the kind of clauses for a slip, and their facts.

    Args:
        program: the corrected program, which contains the body of a missing branch.
    """
    if operator in ("missing_guard", "missing_base_case"):
        found = _guard(operator, correct, program)
    else:
        reader = _READERS.get(operator)
        found = reader(Fragments(wrong, correct)) if reader else None
    if found is None:
        return operator, {}
    kind, facts = found
    usable = all(0 < len(value) <= _MAX_CHARS and "`" not in value and "\n" not in value for value in facts.values())
    return (f"{operator}_{kind}", facts) if usable else (operator, {})


def _comparison(fragments: Fragments) -> Details | None:
    pair = fragments.innermost(ast.Compare)
    if pair is None:
        return None
    a, b = pair
    assert isinstance(a, ast.Compare)
    assert isinstance(b, ast.Compare)
    if len(a.ops) != 1 or len(b.ops) != 1 or type(a.ops[0]) is type(b.ops[0]):
        return None
    facts = {"sign": SIGNS.get(type(a.ops[0]), ""), "right_sign": SIGNS.get(type(b.ops[0]), "")}
    facts |= {"left": fragments.text(a.left), "right": fragments.text(a.comparators[0])}
    signs = {facts["sign"], facts["right_sign"]}
    kind = (
        "membership" if "in" in signs else "equality" if "==" in signs
        else ("strict" if "=" in facts["right_sign"] else "loose") if any(signs == {one, f"{one}="} for one in "<>") else "order"
    )  # fmt: skip
    return kind, facts


def _operator(fragments: Fragments) -> Details | None:
    if (pair := fragments.innermost(ast.BoolOp)) is not None:
        a, b = pair
        assert isinstance(a, ast.BoolOp)
        assert isinstance(b, ast.BoolOp)
        if type(a.op) is not type(b.op) and all(isinstance(value, ast.Compare | ast.Call | ast.UnaryOp) for value in a.values):
            return SIGNS[type(a.op)], {}
    signs = _signs(fragments)
    if signs and signs[0] in _DOES and signs[1] in _DONE:
        return "described", {"sign": signs[0], "right_sign": signs[1], "does": _DOES[signs[0]], "done": _DONE[signs[1]]}
    return signs and ("sign", {"sign": signs[0], "right_sign": signs[1]})


def _signs(fragments: Fragments) -> tuple[str, str] | None:
    for a, b in reversed(fragments.pairs):
        if isinstance(a, ast.BinOp | ast.BoolOp) and isinstance(b, ast.BinOp | ast.BoolOp) and type(a.op) is not type(b.op):
            return SIGNS.get(type(a.op), ""), SIGNS.get(type(b.op), "")
    return None


def _division(fragments: Fragments) -> Details | None:
    kind = _DIVISIONS.get(_signs(fragments) or ("", ""))
    return (kind, {}) if kind else None


def _constant(fragments: Fragments) -> Details | None:
    pair = fragments.innermost(ast.Constant)
    if pair is None:
        return None
    a, b = pair
    assert isinstance(a, ast.Constant)
    assert isinstance(b, ast.Constant)
    facts = {"constant": fragments.text(a), "right_constant": fragments.text(b)}
    if not isinstance(a.value, str) or not isinstance(b.value, str):
        return "number", facts
    if a.value == b.value[:-1]:
        return "cut", facts
    if a.value == f"{b.value} ":
        return "space", facts
    return ("case" if a.value.casefold() == b.value.casefold() else "text"), facts


def _swap(fragments: Fragments) -> Details | None:
    for a, b in reversed(fragments.pairs):
        if isinstance(a, ast.Call) and isinstance(b, ast.Call) and len(a.args) == len(b.args) >= 2 and is_same(a.args[0], b.args[1]):
            texts = [fragments.text(node) for node in (a.func, *a.args[:2])]
            return "call", dict(zip(("callee", "first", "second"), texts, strict=True))
        if isinstance(a, ast.BinOp) and isinstance(b, ast.BinOp) and is_same(a.left, b.right):
            facts = {"left": fragments.text(a.left), "right": fragments.text(a.right), "sign": SIGNS.get(type(a.op), "")}
            return "operands", facts
    return None


def _method(fragments: Fragments) -> Details | None:
    names = _names(fragments)
    if names is None:
        return None
    facts = {"name": names[0], "right_name": names[1]}
    if names[0] in PURPOSES and names[1] in PURPOSES:
        return "described", facts | {"does": PURPOSES[names[0]], "should_do": PURPOSES[names[1]]}
    return "named", facts


def _names(fragments: Fragments) -> tuple[str, str] | None:
    if not fragments.pairs:
        return None
    match fragments.pairs[-1]:
        case (ast.Name(id=name), ast.Name(id=right)) | (ast.Attribute(attr=name), ast.Attribute(attr=right)):
            return name, right
    return None


def _name(fragments: Fragments) -> Details | None:
    names = _names(fragments)
    return names and ("named", {"name": names[0], "right_name": names[1]})


def _conversion(fragments: Fragments) -> Details | None:
    for a, b in reversed(fragments.pairs):
        if isinstance(b, ast.Call) and isinstance(b.func, ast.Name) and b.args and is_same(a, b.args[0]):
            facts = {"conversion": b.func.id, "bare": fragments.text(a)}
            return ("described", facts | {"should_do": PURPOSES[b.func.id]}) if b.func.id in PURPOSES else ("named", facts)
    return None


def _initial(fragments: Fragments) -> Details | None:
    if fragments.pairs:
        match fragments.pairs[0]:
            case (ast.Assign(targets=[ast.Name(id=name)], value=value), ast.Assign(value=right)):
                return "named", {"variable": name, "start": fragments.text(value), "right_start": fragments.text(right)}
    return None


def _negation(fragments: Fragments) -> Details | None:
    if not fragments.pairs:
        return None
    a, b = fragments.pairs[-1]
    is_extra, is_lost = (isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not) for node in (a, b))
    return None if is_extra == is_lost else ("extra" if is_extra else "lost", {})


def _step(fragments: Fragments) -> Details | None:
    match parse_fragment(fragments.correct):
        case ast.Call(func=ast.Attribute(attr=name, value=owner)):
            kind = "added" if name in ("append", "add", "extend", "insert", "appendleft") else "called"
            return kind, {"owner": fragments.text(owner), "method": name}
        case ast.AugAssign(target=target):
            return "updated", {"variable": fragments.text(target)}
    return None


def _update(fragments: Fragments) -> Details | None:
    match (parse_fragment(fragments.wrong), parse_fragment(fragments.correct)):
        case (ast.Assign(), ast.AugAssign(target=target, op=op)):
            return "overwritten", {"variable": fragments.text(target), "right_sign": f"{SIGNS.get(type(op), '')}="}
        case (ast.AugAssign(op=wrong), ast.AugAssign(target=target, op=op)):
            signs = {"sign": f"{SIGNS.get(type(wrong), '')}=", "right_sign": f"{SIGNS.get(type(op), '')}="}
            return "direction", {"variable": fragments.text(target), **signs}
    return None


def _result(fragments: Fragments) -> Details | None:
    match parse_fragment(fragments.correct):
        case ast.Return(value=ast.expr() as value):
            return "value", {"result": fragments.text(value)}
    return None


def _default(fragments: Fragments) -> Details | None:
    name = fragments.wrong.partition("=")[0].strip()
    return ("named", {"variable": name}) if name.isidentifier() else None


def _import(fragments: Fragments) -> Details | None:
    match parse_fragment(fragments.correct):
        case ast.Import(names=[alias]) | ast.ImportFrom(names=[alias]):
            return "named", {"name": alias.asname or alias.name}
    return None


def _syntax(fragments: Fragments) -> Details | None:
    wrong, correct = fragments.wrong, fragments.correct
    if correct == f"{wrong}:":
        return "colon", {"keyword": re.split(r"\W", correct, maxsplit=1)[0]}
    if correct == f"{wrong})":
        return "parenthesis", {}
    return ("assignment", {}) if correct.replace(" == ", " = ") == wrong else None


def _guard(operator: str, condition: str, program: str) -> Details | None:
    """Return what the missing branch does: what it returns, or that it continues or exits the loop."""
    tree = _parse_program(program)
    test = parse_fragment(condition)
    if tree is None or test is None or not program:
        return None
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.dump(node.test) == ast.dump(test) and len(node.body) == 1 and not node.orelse:
            match node.body[0]:
                case ast.Return(value=ast.expr() as value):
                    return "return", {"condition": condition, "result": ast.get_source_segment(program, value) or ""}
                case ast.Continue():
                    return ("continue", {"condition": condition}) if operator == "missing_guard" else None
                case ast.Break():
                    return ("break", {"condition": condition}) if operator == "missing_guard" else None
                case ast.Raise():
                    return ("raise", {"condition": condition}) if operator == "missing_guard" else None
    return None


def _parse_program(program: str) -> ast.Module | None:
    try:
        return syntax.parse(program)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


_READERS: dict[str, Callable[[Fragments], Details | None]] = {
    "wrong_comparison": _comparison,
    "inverted_comparison": _comparison,
    "wrong_operator": _operator,
    "wrong_division": _division,
    "off_by_one_range": range_details,
    "off_by_one_index": index_details,
    "wrong_constant": _constant,
    "swapped_arguments": _swap,
    "wrong_method": _method,
    "missing_conversion": _conversion,
    "wrong_variable": _name,
    "misspelt_name": _name,
    "wrong_initial_value": _initial,
    "negated_condition": _negation,
    "missing_step": _step,
    "wrong_update": _update,
    "printed_not_returned": _result,
    "missing_return": _result,
    "mutable_default": _default,
    "missing_import": _import,
    "syntax_slip": _syntax,
}
