"""Misreadings of order: of ties, of occurrences, of the sort key, and of steps."""

from __future__ import annotations

import re
from collections.abc import Iterator

import libcst as cst
import libcst.matchers as m

from reflectioncoder.builder.mutation.misreadings.reading import Reading, indented
from reflectioncoder.builder.mutation.program import Mutation

_METHOD = m.OneOf(*map(m.Name, ("upper", "lower", "title", "strip", "replace", "capitalize", "swapcase", "lstrip", "rstrip")))
_CHAIN = m.Call(func=m.Attribute(value=m.Call(func=m.Attribute(attr=_METHOD)), attr=_METHOD))
_SWAPPED = {"find": "rfind", "rfind": "find", "partition": "rpartition", "rpartition": "partition"}
_FLIPPED = {cst.LessThan: "<=", cst.LessThanEqual: "<", cst.GreaterThan: ">=", cst.GreaterThanEqual: ">"}
_ASSOCIATIVE = {("+", "+"), ("+", "-"), ("*", "*"), ("*", "/")}
_ROUNDING = ("abs", "round", "int", "float")


def ties(reading: Reading) -> Iterator[Mutation]:
    """Choose the wrong one of several equally ranked candidates."""
    for node, _ in reading.expressions(cst.Call):
        assert isinstance(node, cst.Call)
        key = _keyword(node, "key")
        if m.matches(node.func, m.Name("max") | m.Name("min")) and key is not None:
            yield from _last_of_equals(reading, node, key)
        if m.matches(node.func, m.Name("sorted")) and key is not None:
            yield from _other_order_of_equals(reading, node, key)
    for node in reading.program.nodes:
        if m.matches(node, m.SimpleStatementLine([m.Return(m.IfExp(test=m.Comparison(comparisons=[m.DoNotCare()])))])):
            assert isinstance(node, cst.SimpleStatementLine)
            assert isinstance(node.body[0], cst.Return)
            choice = node.body[0].value
            assert isinstance(choice, cst.IfExp)
            assert isinstance(choice.test, cst.Comparison)
            if flipped := flipped_comparison(reading, choice.test, literals=False):
                lines = [f"if {flipped}:", *indented([f"return {reading.text(choice.body)}"]), f"return {reading.text(choice.orelse)}"]
                yield reading.instead("ties", node, lines, correct=reading.text(choice.test), wrong=flipped)


def _last_of_equals(reading: Reading, node: cst.Call, key: cst.BaseExpression) -> Iterator[Mutation]:
    items = [argument.value for argument in node.args if argument.keyword is None]
    iterable = reading.text(items[0]) if len(items) == 1 else f"({', '.join(map(reading.text, items))})"
    best, item = reading.fresh("best", "chosen"), reading.fresh("item", "candidate")
    sign = ">=" if m.matches(node.func, m.Name("max")) else "<="
    condition = f"{_ranked(reading, key, item)} {sign} {_ranked(reading, key, best)}"
    lines = [f"{best} = None", f"for {item} in {iterable}:", *indented([f"if {best} is None or {condition}:"])]
    lines += indented([f"{best} = {item}"], 2)
    yield reading.before("ties", node, lines, best, wrong=condition)


def _ranked(reading: Reading, key: cst.BaseExpression, item: str) -> str:
    if m.matches(key, m.Lambda(params=m.Parameters(params=[m.Param()]))):
        assert isinstance(key, cst.Lambda)
        name = key.params.params[0].name.value
        ranked = re.sub(rf"(?<![\w.'\"]){name}(?!\w)", item, reading.text(key.body))
        return ranked if isinstance(key.body, (cst.Call, cst.Subscript, cst.Name)) or ranked.startswith("(") else f"({ranked})"
    return f"{reading.text(key)}({item})"


def _other_order_of_equals(reading: Reading, node: cst.Call, key: cst.BaseExpression) -> Iterator[Mutation]:
    ordered = reading.fresh("ordered", "in_order")
    items = reading.text(node.args[0].value)
    if _keyword(node, "reverse") is not None:
        lines = [f"{ordered} = sorted({items}, key={reading.text(key)})", f"{ordered}.reverse()"]
        yield reading.before("ties", node, lines, ordered, wrong=f"{ordered}.reverse()")
        return
    if m.matches(key, m.Lambda(body=m.Tuple())):
        assert isinstance(key, cst.Lambda)
        assert isinstance(key.body, cst.Tuple)
        alone = reading.text(key.body.elements[0].value)
        wrong = f"{ordered}.sort(key=lambda {reading.text(key.params)}: {alone})"
        yield reading.before("ties", node, [f"{ordered} = list({items})", wrong], ordered, wrong=wrong)
    wrong = f"{ordered}.sort(key={reading.text(key)})"
    lines = [f"{ordered} = sorted({items}, reverse=True)", wrong]
    yield reading.before("ties", node, lines, ordered, wrong=lines[0])


def _keyword(node: cst.Call, name: str) -> cst.BaseExpression | None:
    return next((argument.value for argument in node.args if argument.keyword and argument.keyword.value == name), None)


def flipped_comparison(reading: Reading, node: cst.Comparison, *, literals: bool) -> str:
    """Return a comparison with its limit included instead of excluded, or vice versa; "" if it is of another form.

    Args:
        literals: accept only comparisons with a number, or only those without.
    """
    target = node.comparisons[0]
    has_literal = isinstance(target.comparator, (cst.Integer, cst.Float)) or isinstance(node.left, (cst.Integer, cst.Float))
    if len(node.comparisons) != 1 or type(target.operator) not in _FLIPPED or has_literal is not literals:
        return ""
    return f"{reading.text(node.left)} {_FLIPPED[type(target.operator)]} {reading.text(target.comparator)}"


def wrong_occurrence(reading: Reading) -> Iterator[Mutation]:
    """Take the last occurrence where the first is meant, or vice versa."""
    for node, _ in reading.expressions(cst.Call, cst.Subscript):
        if isinstance(node, cst.Call) and isinstance(node.func, cst.Attribute) and node.func.attr.value in _SWAPPED:
            place = reading.fresh("place", "spot")
            wrong = reading.text(node.with_changes(func=node.func.with_changes(attr=cst.Name(_SWAPPED[node.func.attr.value]))))
            yield reading.before("wrong_occurrence", node, [f"{place} = {wrong}"], place, wrong=wrong)
        elif isinstance(node, cst.Subscript):
            yield from _other_end(reading, node)
    yield from _last_hit(reading)


def _other_end(reading: Reading, node: cst.Subscript) -> Iterator[Mutation]:
    whole = reading.text(node.value)
    inside = reading.text(node)[len(whole) :]
    part = reading.fresh("part", "piece")
    parent = reading.program.parent[node]
    is_length = isinstance(parent, cst.Arg) and m.matches(reading.program.parent[parent], m.Call(func=m.Name("len")))
    is_known = isinstance(node.value, cst.Call) or (isinstance(node.value, cst.Name) and whole in reading.sized)
    if isinstance(parent, (cst.AssignTarget, cst.AugAssign)) or is_length or not is_known:
        return
    if inside in ("[0]", "[-1]"):
        last = inside == "[0]"
        end = reading.fresh("last_one" if last else "first_one")
        wrong = f"{end} = {whole}[{-1 if last else 0}]"
        if isinstance(node.value, cst.Name):
            yield reading.before("wrong_occurrence", node, [wrong], end, wrong=wrong)
        else:
            parts = reading.fresh("parts", "pieces")
            wrong = f"{parts}[{-1 if last else 0}]"
            yield reading.before("wrong_occurrence", node, [f"{parts} = {whole}"], wrong, wrong=wrong)
    elif found := re.fullmatch(r"\[:(\w+)\]", inside):
        wrong = f"{part} = {whole}[-{found[1]}:]"
        yield reading.before("wrong_occurrence", node, [wrong], part, wrong=wrong)
    elif found := re.fullmatch(r"\[-(\w+):\]", inside):
        wrong = f"{part} = {whole}[:{found[1]}]"
        yield reading.before("wrong_occurrence", node, [wrong], part, wrong=wrong)


def _last_hit(reading: Reading) -> Iterator[Mutation]:
    """Let a search continue after its first hit, so that it returns the last one."""
    for loop in reading.program.nodes:
        block = reading.program.parent.get(loop)
        if not isinstance(loop, cst.For) or not isinstance(block, cst.IndentedBlock) or loop not in block.body[-2:-1]:
            continue
        hits = [node for node in reading.program.nodes if isinstance(node, cst.Return) and loop in reading.program.ancestors(node)]
        after = block.body[-1]
        if not m.matches(after, m.SimpleStatementLine([m.Return(value=m.DoNotCare())])) or len(hits) != 1 or hits[0].value is None:
            continue
        found = reading.fresh("found", "hit")
        assert isinstance(after, cst.SimpleStatementLine)
        assert isinstance(after.body[0], cst.Return)
        other = reading.text(after.body[0].value) if after.body[0].value else "None"
        hit = f"{found} = {reading.text(hits[0].value)}"
        kept = cst.ensure_type(cst.parse_statement(hit), cst.SimpleStatementLine).body[0]
        going_on = cst.ensure_type(loop.deep_replace(hits[0], kept), cst.For)
        body = [*block.body[:-2], *reading.parsed([f"{found} = {other}"]), going_on, *reading.parsed([f"return {found}"])]
        yield reading.replaced("wrong_occurrence", block, [block.with_changes(body=body)], correct=reading.text(hits[0]), wrong=hit)


def wrong_sort_key(reading: Reading) -> Iterator[Mutation]:
    """Sort or choose by a property other than the requested one."""
    for node, _ in reading.expressions(cst.Call):
        assert isinstance(node, cst.Call)
        if not m.matches(node.func, m.Name("sorted") | m.Name("max") | m.Name("min")) or len(node.args) > 2 or node.args[0].star:
            continue
        is_sort = m.matches(node.func, m.Name("sorted"))
        items, key = node.args[0].value, _keyword(node, "key")
        ordered = reading.fresh("ordered", "in_order", "candidates")
        kind = reading.parameters.get(reading.text(items), "")
        if key is None and len(node.args) == 1 and kind in ("list[str]", "dict[str, int]", "list[list[int]]", "list[tuple[int, int]]"):
            other = "len" if kind == "list[str]" else "max" if kind == "list[list[int]]" else ""
            sort = f"{ordered}.sort(key={other or 'lambda pair: pair[1]'})"
            if kind == "dict[str, int]":
                sort = f"{ordered}.sort(key={reading.text(items)}.get)"
        elif key is not None and kind.startswith(("list", "dict")):
            sort = f"{ordered}.sort()"
        elif key is None and len(node.args) == 1 and kind.startswith("list[int"):
            sort = f"{ordered}.sort(key=abs)"
        else:
            continue
        new = ordered if is_sort else f"{ordered}[{-1 if m.matches(node.func, m.Name('max')) else 0}]"
        yield reading.before("wrong_sort_key", node, [f"{ordered} = list({reading.text(items)})", sort], new, wrong=sort)


def order_of_steps(reading: Reading) -> Iterator[Mutation]:
    """Carry out two steps in the wrong order."""
    for node, _ in reading.expressions(cst.Call, cst.Subscript, cst.BinaryOperation):
        if isinstance(node, cst.Call):
            yield from _swapped_methods(reading, node)
            yield from _applied_to_parts(reading, node)
        elif isinstance(node, cst.Subscript):
            yield from _cut_first(reading, node)
        elif isinstance(node, cst.BinaryOperation):
            yield from _other_grouping(reading, node)


def _swapped_methods(reading: Reading, node: cst.Call) -> Iterator[Mutation]:
    """Swap the order of two chained string methods."""
    if not m.matches(node, _CHAIN):
        return
    assert isinstance(node.func, cst.Attribute)
    inner = node.func.value
    assert isinstance(inner, cst.Call)
    assert isinstance(inner.func, cst.Attribute)
    start, changed = reading.text(inner.func.value), reading.fresh("changed", "prepared")
    first = f"{changed} = {start}{reading.text(node)[len(reading.text(inner)) :]}"
    yield reading.before("order_of_steps", node, [first], f"{changed}{reading.text(inner)[len(start) :]}", wrong=first)


def _applied_to_parts(reading: Reading, node: cst.Call) -> Iterator[Mutation]:
    """Apply a function at the wrong level: `abs(a - b)` becomes `abs(a) - abs(b)`, `sorted(x[:2])` becomes `sorted(x)[:2]`."""
    if len(node.args) != 1 or not isinstance(node.func, cst.Name) or node.args[0].star:
        return
    argument, name = node.args[0].value, node.func.value
    if name in _ROUNDING and isinstance(argument, cst.BinaryOperation) and not m.matches(argument.left, m.Call(func=m.Name("str"))):
        one, other = reading.fresh("left", "one"), reading.fresh("right", "other")
        lines = [f"{one} = {name}({reading.text(argument.left)})", f"{other} = {name}({reading.text(argument.right)})"]
        yield reading.before("order_of_steps", node, lines, f"({one} {reading.text(argument.operator)} {other})", wrong=lines[0])
    if name == "sorted" and isinstance(argument, cst.Subscript):
        ordered = reading.fresh("ordered", "in_order")
        cut = reading.text(argument)[len(reading.text(argument.value)) :]
        first = f"{ordered} = sorted({reading.text(argument.value)})"
        yield reading.before("order_of_steps", node, [first], ordered + cut, wrong=first)


def _cut_first(reading: Reading, node: cst.Subscript) -> Iterator[Mutation]:
    """Slice too early: `sorted(x)[:2]` becomes `sorted(x[:2])`."""
    inner = node.value
    cut = reading.text(node)[len(reading.text(inner)) :]
    if m.matches(inner, m.Call(func=m.Name("sorted"))) and ":" in cut:
        assert isinstance(inner, cst.Call)
        part = reading.fresh("part", "piece")
        items = inner.args[0].value
        first = f"{part} = {reading.text(items)}{cut}"
        new = reading.text(inner.deep_replace(items, cst.Name(part)))  # pyright: ignore[reportArgumentType]
        yield reading.before("order_of_steps", node, [first], new, wrong=first)
    if m.matches(inner, m.Call(func=m.Attribute(attr=m.Name("split")))) and ":" not in cut:
        assert isinstance(inner, cst.Call)
        assert isinstance(inner.func, cst.Attribute)
        part = reading.fresh("part", "piece")
        text = reading.text(inner.func.value)
        first = f"{part} = {text}{cut}"
        yield reading.before("order_of_steps", node, [first], part, wrong=first)


def _other_grouping(reading: Reading, node: cst.BinaryOperation) -> Iterator[Mutation]:
    """Regroup an arithmetic expression: `(a + b) * c` becomes `a + b * c`."""
    inner = node.left
    if not isinstance(inner, cst.BinaryOperation) or isinstance(node.right, cst.BinaryOperation):
        return
    sign, inner_sign = reading.text(node.operator), reading.text(inner.operator)
    left, right, last = reading.text(inner.left), reading.text(inner.right), reading.text(node.right)
    if (inner_sign, sign) in _ASSOCIATIVE:
        return
    step = reading.fresh("step", "intermediate")
    first = f"{step} = {right} {sign} {last}"
    yield reading.before("order_of_steps", node, [first], f"({left} {inner_sign} {step})", wrong=first)
