"""Misreadings of Python: what changes in place, what returns a new value, and how positions count."""

from __future__ import annotations

import re
from collections.abc import Iterator

import libcst as cst
import libcst.matchers as m

from reflectioncoder.builder.mutation.misreadings.reading import Reading, indented
from reflectioncoder.builder.mutation.misreadings.unfolding import list_comprehensions, target_of
from reflectioncoder.builder.mutation.program import Mutation

_TEXT_METHODS = ("upper", "lower", "title", "strip", "replace", "capitalize", "swapcase", "lstrip", "rstrip", "ljust", "rjust", "zfill")
_LIST = re.compile(r"list|List")


def changed_argument(reading: Reading) -> Iterator[Mutation]:
    """Change a list or dictionary in place where a new one is meant: this alters the caller's object or yields None."""
    for node, _ in reading.expressions(cst.Call, cst.Subscript, cst.BinaryOperation, cst.ListComp, cst.Dict):
        for lines, new in _in_place(reading, node):
            yield reading.before("changed_argument", node, lines, new, wrong=lines[-1])


def _in_place(reading: Reading, node: cst.BaseExpression) -> Iterator[tuple[list[str], str]]:
    """Yield lines that change a value in place, with the expression for the result."""
    result = reading.fresh("result", "changed")
    if isinstance(node, cst.Call) and m.matches(node.func, m.Name("sorted")):
        items, others = reading.text(node.args[0].value), ", ".join(reading.text(argument).rstrip(", ") for argument in node.args[1:])
        if _is_list(reading, items):
            yield [f"{items}.sort({others})"], items
            yield [f"{result} = {items}.sort({others})"], result
        else:
            ordered = reading.fresh("ordered", "in_order")
            yield [f"{result} = {ordered}.sort({others})", f"{ordered} = list({items})"][::-1], result
    elif isinstance(node, cst.Call) and m.matches(node, m.Call(func=m.Name("list"), args=[m.Arg(m.Name())])):
        copy = reading.fresh("copy", "same")
        yield [f"{copy} = {reading.text(node.args[0].value)}"], copy
    elif isinstance(node, cst.Subscript) and _is_list(reading, reading.text(node.value)):
        items, cut = reading.text(node.value), reading.text(node)[len(reading.text(node.value)) :]
        if cut == "[::-1]":
            yield [f"{items}.reverse()"], items
            yield [f"{result} = {items}.reverse()"], result
        elif cut == "[1:]":
            yield [f"{items}.pop(0)"], items
        elif cut == "[:-1]":
            yield [f"{items}.pop()"], items
    elif isinstance(node, cst.BinaryOperation) and isinstance(node.operator, cst.Add):
        left, right = reading.text(node.left), reading.text(node.right)
        if _is_list(reading, left):
            yield [f"{result} = {left}.extend({right})"], result
        elif _is_list(reading, right) and m.matches(node.left, m.List(elements=[m.DoNotCare()])):
            yield [f"{result} = {right}.insert(0, {left[1:-1]})"], result
    elif isinstance(node, cst.ListComp) and re.fullmatch(
        r"\[(?:list\((\w+)\)|(\w+)\[:\]|\[\w+ for \w+ in (\w+)\]) for \w+ in \w+\]", reading.text(node)
    ):
        copy = reading.fresh("copy", "same")
        yield [f"{copy} = {reading.text(node.for_in.iter)}"], copy
    elif isinstance(node, cst.Dict) and m.matches(
        node, m.Dict(elements=[m.StarredDictElement(m.Name()), m.AtLeastN(m.DictElement(), n=1)])
    ):
        first = node.elements[0]
        others = ", ".join(reading.text(element).rstrip(", ") for element in node.elements[1:])
        yield [f"{result} = {reading.text(first.value)}.update({{{others}}})"], result


def _is_list(reading: Reading, name: str) -> bool:
    return _LIST.match(reading.parameters.get(name, "")) is not None


def unchanged_text(reading: Reading) -> Iterator[Mutation]:
    """Call a string method as if it changed the string in place."""
    for node, line in reading.expressions(cst.Call):
        if isinstance(node, cst.Call) and isinstance(node.func, cst.Attribute) and node.func.attr.value in _TEXT_METHODS:
            owner = reading.text(node.func.value)
            call = reading.text(node)[len(owner) :]
            text = owner if owner.isidentifier() else reading.fresh("text", "line", "changed")
            lines = [f"{text}{call}"] if text == owner else [f"{text} = {owner}", f"{text}{call}"]
            yield reading.before("unchanged_text", node, lines, text, correct=reading.text(line), wrong=lines[-1])


def removal_in_loop(reading: Reading) -> Iterator[Mutation]:
    """Remove items from a list while iterating over it, so that the loop skips some."""
    for items in list_comprehensions(reading):
        if items.conditions and items.inner is None and items.target.isidentifier():
            kept = reading.fresh("kept", "left_over")
            condition = " and ".join(items.conditions)
            wrong = f"{kept}.remove({items.target})"
            lines = [f"{kept} = list({items.iterable})", f"for {items.target} in {kept}:"]
            lines += indented([f"if not ({condition}):", *indented([wrong])])
            new = kept if items.value == items.target else f"[{items.value} for {items.target} in {kept}]"
            yield reading.before("removal_in_loop", items.node, lines, new, wrong=wrong)
    for loop in reading.program.nodes:
        yield from _shrinking_loop(reading, loop)


def _shrinking_loop(reading: Reading, loop: cst.CSTNode) -> Iterator[Mutation]:
    """Remove the items that a loop's condition excludes in a separate loop over the same list."""
    if not isinstance(loop, cst.For) or not isinstance(loop.body, cst.IndentedBlock) or not isinstance(loop.target, cst.Name):
        return
    branch = loop.body.body[0]
    if len(loop.body.body) != 1 or not isinstance(branch, cst.If) or branch.orelse is not None or not isinstance(loop.iter, cst.Name):
        return
    if not _is_list(reading, reading.text(loop.iter)):
        return
    kept, name = reading.fresh("kept", "left_over"), loop.target.value
    wrong = f"{kept}.remove({name})"
    lines = [f"{kept} = list({reading.text(loop.iter)})", f"for {name} in {kept}:"]
    lines += indented([f"if not ({reading.text(branch.test)}):", *indented([wrong])])
    rest = loop.with_changes(iter=cst.Name(kept), body=branch.body)
    correct = f"if {reading.text(branch.test)}"
    yield reading.replaced("removal_in_loop", loop, [*reading.parsed(lines), rest], correct=correct, wrong=wrong)


def index_out_of_range(reading: Reading) -> Iterator[Mutation]:
    """Iterate over positions that start or end in the wrong place, such as beyond the end."""
    index = reading.fresh("index", "spot")
    for items in list_comprehensions(reading):
        if items.inner is None and _is_sequence(reading, items.iterable):
            found = reading.fresh("found", "values", "result")
            for bounds in (f"1, len({items.iterable}) + 1", f"1, len({items.iterable})", f"len({items.iterable}) - 1"):
                body = [f"{items.target} = {items.iterable}[{index}]"]
                body += [f"if {' and '.join(items.conditions)}:"] if items.conditions else []
                body += indented([f"{found}.append({items.value})"], 1 if items.conditions else 0)
                wrong = f"range({bounds})"
                lines = [f"{found} = []", f"for {index} in {wrong}:", *indented(body)]
                yield reading.before("index_out_of_range", items.node, lines, found, correct=items.iterable, wrong=wrong)
    for loop in reading.program.nodes:
        if isinstance(loop, cst.For) and isinstance(loop.body, cst.IndentedBlock):
            yield from _indexed(reading, loop, index)
    yield from _unwrapped(reading)


def _is_sequence(reading: Reading, text: str) -> bool:
    return re.match(r"list|str", reading.parameters.get(text, "")) is not None


def _indexed(reading: Reading, loop: cst.For, index: str) -> Iterator[Mutation]:
    items, target = reading.text(loop.iter), target_of(reading, loop)  # pyright: ignore[reportArgumentType]
    neighbours = re.fullmatch(r"zip\((\w+), \1\[1:\]\)", items)
    if neighbours:
        name = neighbours[1]
        variants = [
            (f"range(len({name}))", f"{name}[{index}], {name}[{index} + 1]"),
            (f"range(len({name}))", f"{name}[{index} - 1], {name}[{index}]"),
        ]
    elif _is_sequence(reading, items):
        variants = [(f"range(1, len({items}) + 1)", f"{items}[{index}]"), (f"range(len({items}) - 1)", f"{items}[{index}]")]
    else:
        return
    for bounds, value in variants:
        first = reading.parsed([f"{target} = {value}"])
        body = loop.body.with_changes(body=[*first, *loop.body.body])
        new = loop.with_changes(target=cst.Name(index), iter=reading.expression(bounds), body=body)
        correct, wrong = f"for {target} in {items}", f"for {index} in {bounds}"
        yield reading.replaced("index_out_of_range", loop, [new], correct=correct, wrong=wrong)


def _unwrapped(reading: Reading) -> Iterator[Mutation]:
    """Drop the modulo that wraps a position around to the start."""
    for node, _ in reading.expressions(cst.Subscript):
        if m.matches(node, m.Subscript(slice=[m.SubscriptElement(m.Index(m.BinaryOperation(operator=m.Modulo())))])):
            assert isinstance(node, cst.Subscript)
            inside = node.slice[0].slice
            assert isinstance(inside, cst.Index)
            assert isinstance(inside.value, cst.BinaryOperation)
            place = reading.fresh("place", "spot")
            wrong = f"{place} = {reading.bare(inside.value.left)}"
            yield reading.before("index_out_of_range", node, [wrong], f"{reading.text(node.value)}[{place}]", wrong=wrong)


def counted_from_one(reading: Reading) -> Iterator[Mutation]:
    """Count positions from one instead of from zero."""
    position = reading.fresh("position", "place")
    for node, _ in reading.expressions(cst.Subscript):
        assert isinstance(node, cst.Subscript)
        inside = reading.text(node)[len(reading.text(node.value)) :]
        if found := re.fullmatch(r"\[(\d+|[a-z]\w*)\]", inside):
            if found[1] == "0" or (not found[1].isdigit() and found[1] not in reading.parameters_of("int$")):
                continue
            if not isinstance(reading.program.parent[node], (cst.AssignTarget, cst.AugAssign)):
                wrong = f"{position} = {int(found[1]) - 1 if found[1].isdigit() else f'{found[1]} - 1'}"
                yield reading.before("counted_from_one", node, [wrong], f"{reading.text(node.value)}[{position}]", wrong=wrong)
        elif found := re.fullmatch(r"\[(\d+|[a-z]\w*)?:(\d+|[a-z]\w*)?\]", inside):
            bound = found[1] or found[2]
            if bound and bound != "0":
                cut = f"[{position}:{found[2] or ''}]" if found[1] else f"[:{position}]"
                wrong = f"{position} = {int(bound) - 1 if bound.isdigit() else f'{bound} - 1'}"
                yield reading.before("counted_from_one", node, [wrong], f"{reading.text(node.value)}{cut}", wrong=wrong)
    for node, _ in reading.expressions(cst.Call):
        if m.matches(node, m.Call(func=m.Attribute(attr=m.Name("find") | m.Name("index")), args=[m.Arg()])):
            place = reading.fresh("place", "spot")
            wrong = f"{place} += 1"
            yield reading.before("counted_from_one", node, [f"{place} = {reading.text(node)}", wrong], place, wrong=wrong)
    for items in list_comprehensions(reading):
        if items.iterable.startswith("enumerate(") and items.inner is None and ", " not in items.iterable:
            found = reading.fresh("found", "values", "result")
            from_one = f"{items.iterable[:-1]}, 1)"
            body = [f"{found}.append({items.value})"]
            for condition in reversed(items.conditions):
                body = [f"if {condition}:", *indented(body)]
            lines = [f"{found} = []", f"for {items.target} in {from_one}:", *indented(body)]
            yield reading.before("counted_from_one", items.node, lines, found, correct=items.iterable, wrong=from_one)
