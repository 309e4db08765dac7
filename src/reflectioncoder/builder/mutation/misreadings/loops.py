"""Misreadings of loops: where a value is reset, where a loop ends, what it counts, and positions mistaken for values."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

import libcst as cst
import libcst.matchers as m

from reflectioncoder.builder.mutation.misreadings.reading import Reading, indented
from reflectioncoder.builder.mutation.misreadings.unfolding import aggregates, list_comprehensions
from reflectioncoder.builder.mutation.program import Mutation

_EMPTY = m.Integer() | m.List(elements=[]) | m.Dict(elements=[]) | m.SimpleString() | m.Name() | m.Call(func=m.Name("set"), args=[])
_START = m.SimpleStatementLine([m.Assign(targets=[m.AssignTarget(m.Name())], value=_EMPTY)])


def reset_in_loop(reading: Reading) -> Iterator[Mutation]:
    """Reset in every iteration a value that should accumulate over all of them."""
    for name, items in aggregates(reading, "sum"):
        total = reading.fresh("total", name, "result")
        lines = items.loops(reading, [f"{total} = 0", f"{total} += {items.value}"])
        yield reading.before("reset_in_loop", items.node, lines, total, wrong=f"{total} = 0")
    for items in list_comprehensions(reading):
        found = reading.fresh("found", "values", "result")
        lines = items.loops(reading, [f"{found} = []", f"{found}.append({items.value})"])
        yield reading.before("reset_in_loop", items.node, lines, found, wrong=f"{found} = []")
    for block in reading.program.nodes:
        if not isinstance(block, cst.IndentedBlock):
            continue
        for start, loop in itertools.pairwise(block.body):
            if m.matches(start, _START) and isinstance(loop, cst.For):
                assert isinstance(loop.body, cst.IndentedBlock)
                moved = reading.text(start)
                if moved in (line.strip() for line in reading.program.text(loop).splitlines()):
                    continue  # the loop already resets it
                inside = loop.with_changes(body=loop.body.with_changes(body=[start, *loop.body.body]))
                body = [inside if line is loop else line for line in block.body if line is not start]
                yield reading.replaced("reset_in_loop", block, [block.with_changes(body=body)], correct=moved, wrong=moved)


def stops_at_first(reading: Reading) -> Iterator[Mutation]:
    """Stop after the first matching item although all of them matter."""
    for name, items in aggregates(reading, "any", "all"):
        if (line := reading.return_of(items.node)) is not None:
            wrong = f"return {items.value}"
            yield reading.instead("stops_at_first", line, [*items.loops(reading, [wrong]), f"return {name == 'all'}"],
                                  correct=reading.text(items.node), wrong=wrong)  # fmt: skip
    for items in list_comprehensions(reading):
        found = reading.fresh("found", "values", "result")
        if not items.conditions or items.inner is not None:  # a loop that always ends in its first iteration is implausible
            continue
        lines = [f"{found} = []", *items.loops(reading, [f"{found}.append({items.value})", "break"])]
        if (line := reading.return_of(items.node)) is not None:
            lines.append(f"return {found}")
            yield reading.instead("stops_at_first", line, lines, correct=reading.text(items.node), wrong="break")
        else:
            yield reading.before("stops_at_first", items.node, lines, found, wrong="break")
    for node, _ in reading.expressions(cst.Call):
        if m.matches(node, m.Call(func=m.Attribute(attr=m.Name("replace")), args=[m.Arg(), m.Arg()])):
            assert isinstance(node, cst.Call)
            assert isinstance(node.func, cst.Attribute)
            changed = reading.fresh("changed", "replaced")
            wrong = f"{reading.text(node)[:-1]}, 1)"
            yield reading.before("stops_at_first", node, [f"{changed} = {wrong}"], changed, wrong=wrong)
    for loop in reading.program.nodes:
        if isinstance(loop, cst.For) and isinstance(loop.body, cst.IndentedBlock):
            for branch in loop.body.body:
                if isinstance(branch, cst.If) and branch.orelse is None and isinstance(branch.body, cst.IndentedBlock):
                    last = branch.body.body[-1]
                    if m.matches(last, m.SimpleStatementLine([m.AugAssign() | m.Expr()])):
                        longer = branch.body.with_changes(body=[*branch.body.body, *reading.parsed(["break"])])
                        yield reading.replaced("stops_at_first", branch.body, [longer], correct="", wrong="break")


def position_for_value(reading: Reading) -> Iterator[Mutation]:
    """Use the position of an item where its value is meant."""
    position = reading.fresh("position", "place", "number_of_item")
    for items in list_comprehensions(reading):
        if items.target.isidentifier() and items.inner is None and _holds_integers(reading, items.iterable):
            found = reading.fresh("found", "values", "result")
            name = re.compile(rf"(?<![\w.'\"]){items.target}(?!\w)")
            if items.conditions:
                conditions = [name.sub(position, condition) for condition in items.conditions]
                body = [f"if {' and '.join(conditions)}:", *indented([f"{found}.append({items.value})"])]
                wrong = conditions[0]
            else:
                wrong = name.sub(position, items.value)
                body = [f"{found}.append({wrong})"]
            lines = [f"{found} = []", f"for {position}, {items.target} in enumerate({items.iterable}):", *indented(body)]
            if name.search(items.conditions[0] if items.conditions else items.value):
                yield reading.before("position_for_value", items.node, lines, found, wrong=wrong)
    for name, items in aggregates(reading, "max", "min"):
        if items.source is None and re.match("list", reading.parameters.get(items.iterable, "")):
            wrong = f"{position} = {items.iterable}.index({name}({items.iterable}))"
            yield reading.before("position_for_value", items.node, [wrong], position, wrong=wrong)
    for _, items in aggregates(reading, "sum"):
        if items.value == items.target and items.inner is None and _holds_integers(reading, items.iterable):
            total = reading.fresh("total", "result")
            conditions = [f"if {' and '.join(items.conditions)}:"] if items.conditions else []
            wrong = f"{total} += {position}"
            body = [*conditions, *indented([wrong], len(conditions))]
            lines = [f"{total} = 0", f"for {position}, {items.target} in enumerate({items.iterable}):", *indented(body)]
            yield reading.before("position_for_value", items.node, lines, total, wrong=wrong)


def _holds_integers(reading: Reading, iterable: str) -> bool:
    name = iterable.removesuffix(".values()")
    kind = reading.parameters.get(name, "")
    return kind.startswith("list[int" if name == iterable else "dict[str, int")


def lost_last_part(reading: Reading) -> Iterator[Mutation]:
    """Split a text by hand and forget the part after the last separator."""
    for node, _ in reading.expressions(cst.Call):
        if not m.matches(node, m.Call(func=m.Attribute(attr=m.Name("split") | m.Name("splitlines")))):
            continue
        assert isinstance(node, cst.Call)
        assert isinstance(node.func, cst.Attribute)
        separator = reading.text(node.args[0].value) if node.args else r'"\n"' if node.func.attr.value == "splitlines" else '" "'
        if len(node.args) > 1 or not re.fullmatch(r"""(["'])(\\?.)\1""", separator):
            continue
        parts, part, char = reading.fresh("parts", "pieces"), reading.fresh("part", "piece"), reading.fresh("char", "sign")
        lines = [f"{parts} = []", f'{part} = ""', f"for {char} in {reading.text(node.func.value)}:"]
        lines += indented(
            [f"if {char} == {separator}:", f"    {parts}.append({part})", f'    {part} = ""', "else:", f"    {part} += {char}"]
        )
        yield reading.before("lost_last_part", node, lines, parts, wrong=f"{parts}.append({part})")


def count_for_sum(reading: Reading) -> Iterator[Mutation]:
    """Count items whose values should be summed, or vice versa."""
    for _, items in aggregates(reading, "sum"):
        count = reading.fresh("count", "number_of_items")
        is_count = items.value in ("1", "True")
        wrong = f"{count} += {items.target if is_count else 1}"
        if items.target.isidentifier():
            yield reading.before("count_for_sum", items.node, [f"{count} = 0", *items.loops(reading, [wrong])], count, wrong=wrong)
    for node, _ in reading.expressions(cst.Call):
        assert isinstance(node, cst.Call)
        if m.matches(node, m.Call(func=m.Attribute(attr=m.Name("count")), args=[m.Arg()])):
            assert isinstance(node.func, cst.Attribute)
            count = reading.fresh("count", "number_of_items")
            condition = f"{reading.text(node.args[0].value)} in {reading.text(node.func.value)}"
            lines = [f"{count} = 0", f"if {condition}:", *indented([f"{count} = 1"])]
            yield reading.before("count_for_sum", node, lines, count, wrong=f"{count} = 1")
        if m.matches(node, m.Call(func=m.Name("len"), args=[m.Arg(m.Name())])):
            name = reading.text(node.args[0].value)
            if re.match(r"list\[int", reading.parameters.get(name, "")):
                total, number = reading.fresh("total", "amount"), reading.fresh("number", "value")
                lines = [f"{total} = 0", f"for {number} in {name}:", *indented([f"{total} += {number}"])]
                yield reading.before("count_for_sum", node, lines, total, wrong=f"{total} += {number}")


def any_for_all(reading: Reading) -> Iterator[Mutation]:
    """Test whether any condition holds where all must hold, or vice versa."""
    for name, items in aggregates(reading, "any", "all"):
        if (line := reading.return_of(items.node)) is not None:
            wrong = f"if {items.value}:" if name == "all" else f"if not ({items.value}):"
            body = [wrong, *indented([f"return {name == 'all'}"])]
            yield reading.instead("any_for_all", line, [*items.loops(reading, body), f"return {name != 'all'}"],
                                  correct=reading.text(items.node), wrong=wrong.rstrip(":"))  # fmt: skip
    for node in reading.program.nodes:
        if m.matches(node, m.SimpleStatementLine([m.Return(m.BooleanOperation() | m.IfExp(test=m.BooleanOperation()))])):
            assert isinstance(node, cst.SimpleStatementLine)
            assert isinstance(node.body[0], cst.Return)
            value = node.body[0].value
            test = value.test if isinstance(value, cst.IfExp) else value
            assert isinstance(test, cst.BooleanOperation)
            yes, no = (reading.text(value.body), reading.text(value.orelse)) if isinstance(value, cst.IfExp) else ("True", "False")
            left, right = reading.text(test.left), reading.text(test.right)
            is_and = isinstance(test.operator, cst.And)
            lines = [f"if {left}:", f"    return {yes}", f"if {right}:", f"    return {yes}", f"return {no}"]
            if not is_and:
                lines = [f"if not ({left}):", f"    return {no}", f"if not ({right}):", f"    return {no}", f"return {yes}"]
            yield reading.instead("any_for_all", node, lines, correct=reading.text(test), wrong=lines[0].rstrip(":"))
