"""Misreadings of numbers: negative ones, text instead of numbers, bounds, positions, and rounding."""

from __future__ import annotations

import re
from collections.abc import Iterator

import libcst as cst
import libcst.matchers as m

from reflectioncoder.builder.mutation.misreadings.order import flipped_comparison
from reflectioncoder.builder.mutation.misreadings.reading import Reading, indented
from reflectioncoder.builder.mutation.misreadings.unfolding import Items, aggregates, list_comprehensions
from reflectioncoder.builder.mutation.program import Mutation

_OTHER_SIDE = {"<": "<=", "<=": "<", ">": ">=", ">=": ">"}
_BOUND = re.compile(r"(range\((?:[^(),]+, )?)((?:[^(),]|\([^()]*\))+?)( \+ 1)?(\))")


def negative_numbers(reading: Reading) -> Iterator[Mutation]:
    """Forget that a number can be negative."""
    if not reading.has_negative:
        return
    for node, _ in reading.expressions(cst.BinaryOperation, cst.Call):
        if isinstance(node, cst.BinaryOperation) and isinstance(node.operator, (cst.Modulo, cst.FloorDivide)):
            name = reading.fresh("remainder" if isinstance(node.operator, cst.Modulo) else "quotient")
            left, sign = reading.text(node.left), "%" if isinstance(node.operator, cst.Modulo) else "//"
            first = f"{name} = abs({left}) {sign} {reading.text(node.right)}"
            lines = [first, f"if {left} < 0:", *indented([f"{name} = -{name}"])]
            if not isinstance(node.left, (cst.SimpleString, cst.FormattedString)):
                yield reading.before("negative_numbers", node, lines, name, wrong=first)
        if m.matches(node, m.Call(func=m.Name("abs"), args=[m.Arg()])):
            assert isinstance(node, cst.Call)
            name = reading.fresh("distance", "size")
            lines = [f"{name} = {reading.text(node.args[0].value)}", f"if {name} < 0:", *indented([f"{name} = 0"])]
            yield reading.before("negative_numbers", node, lines, name, wrong=f"{name} = 0")
    for _, items in aggregates(reading, "max"):
        largest = reading.fresh("largest", "highest")
        body = [f"if {items.value} > {largest}:", *indented([f"{largest} = {items.value}"])]
        yield reading.before(
            "negative_numbers", items.node, [f"{largest} = 0", *items.loops(reading, body)], largest, wrong=f"{largest} = 0"
        )
    for name in reading.parameters_of("int|float"):
        if not any(isinstance(value, (int, float)) and value < 0 for value in reading.values_of(name)):
            continue
        yield reading.at_entrance("negative_numbers", [f"if {name} < 0:", *indented([f"{name} = -{name}"])], wrong=f"{name} = -{name}")
    for name in reading.parameters_of(r"list\[(int|float)\]"):
        if not any(isinstance(value, list) and any(item < 0 for item in value) for value in reading.values_of(name)):
            continue
        number = reading.fresh("number", "value", "item")
        lines = [f"{name} = [{number} for {number} in {name} if {number} >= 0]"]
        yield reading.at_entrance("negative_numbers", lines, wrong=lines[0])


def numbers_as_text(reading: Reading) -> Iterator[Mutation]:
    """Treat numbers as text: join, sort or compare them character by character."""
    for node, _ in reading.expressions(cst.Call, cst.BinaryOperation):
        if isinstance(node, cst.BinaryOperation):
            ints = set(reading.parameters_of("int$"))
            left, right = reading.text(node.left), reading.text(node.right)
            if isinstance(node.operator, cst.Add) and {left, right} <= ints:
                digits = reading.fresh("digits", "joined")
                first = f"{digits} = str({left}) + str({right})"
                yield reading.before("numbers_as_text", node, [first], f"int({digits})", wrong=first)
        elif isinstance(node, cst.Call) and isinstance(node.func, cst.Name) and node.func.value in ("sorted", "max", "min"):
            yield from _as_texts(reading, node, node.func.value)


def _as_texts(reading: Reading, node: cst.Call, name: str) -> Iterator[Mutation]:
    if any((argument.keyword and argument.keyword.value == "key") or argument.star for argument in node.args) or not node.args:
        return
    plain = [argument.value for argument in node.args if argument.keyword is None]
    texts = reading.fresh("texts", "as_texts")
    if len(plain) == 1:
        base = re.match(r"\w+", reading.text(plain[0]))
        kind = reading.parameters.get(base[0] if base else "", "")
        is_of_numbers = kind.startswith("list[int") or (
            kind.startswith("dict[str, int") and reading.text(plain[0]).endswith(".values()")
        )
        if not is_of_numbers or isinstance(plain[0], cst.GeneratorExp):
            return
        first = f"{texts} = [str(number) for number in {reading.text(plain[0])}]"
    elif len(plain) == len(node.args) and all(reading.text(value) in reading.parameters_of("int$") for value in plain):
        first = f"{texts} = [{', '.join(f'str({reading.text(value)})' for value in plain)}]"
    else:
        return
    others = "".join(f", {reading.text(argument).rstrip(', ')}" for argument in node.args if argument.keyword is not None)
    if name == "sorted":
        ordered = reading.fresh("ordered", "in_order")
        lines = [first, f"{ordered} = sorted({texts}{others})"]
        yield reading.before("numbers_as_text", node, lines, f"[int(text) for text in {ordered}]", wrong=lines[1])
    elif not others:
        yield reading.before("numbers_as_text", node, [first], f"int({name}({texts}))", wrong=f"{name}({texts})")


def shifted_bounds(reading: Reading) -> Iterator[Mutation]:
    """Include a limit that should be excluded, or vice versa."""
    for name, items in aggregates(reading, "sum", "any", "all", "max", "min"):
        if name == "sum" and (other := _shifted_range(items.iterable)):
            total = reading.fresh("total", "result")
            moved = _with_iterable(items, other)
            lines = [f"{total} = 0", *moved.loops(reading, [f"{total} += {items.value}"])]
            yield reading.before("shifted_bounds", items.node, lines, total, correct=items.iterable, wrong=other)
    for items in list_comprehensions(reading):
        if other := _shifted_range(items.iterable):
            found = reading.fresh("found", "values")
            lines = [f"{found} = []", *_with_iterable(items, other).loops(reading, [f"{found}.append({items.value})"])]
            yield reading.before("shifted_bounds", items.node, lines, found, correct=items.iterable, wrong=other)
    yield from _decisions(reading)


def _with_iterable(items: Items, iterable: str) -> Items:
    return Items(items.node, items.value, items.target, iterable, items.conditions, items.source, items.inner)


def _shifted_range(text: str) -> str:
    """Return a `range` call with its end moved by one; "" if the text is not such a call."""
    found = _BOUND.fullmatch(text)
    return f"{found[1]}{found[2]}{'' if found[3] else ' + 1'}{found[4]}" if found else ""


def every_bound(reading: Reading) -> Iterator[Mutation]:
    """Include all limits of a program or exclude all of them, if there are several: those of comparisons, or those of ranges."""

    def compared(line: str, strict: bool) -> str:
        return re.sub(r" (<=|>=|<|>) ", lambda sign: _other_side(sign, strict), line)

    def counted(line: str, strict: bool) -> str:
        return _BOUND.sub(lambda found: _shifted_range(found[0]) if bool(found[3]) is strict else found[0], line)

    lines = reading.program.source.split("\n")
    for change in (compared, counted):
        for strict in (True, False):
            changed = [change(line, strict) if "->" not in line else line for line in lines]
            pairs = [(before.strip(), after.strip()) for before, after in zip(lines, changed, strict=True) if before != after]
            if len(pairs) > 1:
                yield Mutation("every_bound", "\n".join(changed), *(part.rstrip(":") for part in pairs[0]))


def _other_side(sign: re.Match[str], strict: bool) -> str:
    return f" {_OTHER_SIDE[sign[1]]} " if (sign[1] in ("<=", ">=")) is strict else sign[0]


def _decisions(reading: Reading) -> Iterator[Mutation]:
    """Rewrite a comparison with a limit as branches, with the limit on the wrong side."""
    for node in reading.program.nodes:
        if not m.matches(node, m.SimpleStatementLine([m.Return(m.IfExp() | m.Comparison())])):
            continue
        assert isinstance(node, cst.SimpleStatementLine)
        assert isinstance(node.body[0], cst.Return)
        value = node.body[0].value
        test = value.test if isinstance(value, cst.IfExp) else value
        if not isinstance(test, cst.Comparison):
            continue
        yes, no = (reading.text(value.body), reading.text(value.orelse)) if isinstance(value, cst.IfExp) else ("True", "False")
        if len(test.comparisons) == 2:
            wrong = re.sub(r" (<=|>=|<|>) ", lambda found: f" {_OTHER_SIDE[found[1]]} ", reading.text(test))
        else:
            wrong = flipped_comparison(reading, test, literals=True) or flipped_comparison(reading, test, literals=False)
        if wrong and wrong != reading.text(test):
            lines = [f"if {wrong}:", *indented([f"return {yes}"]), f"return {no}"]
            yield reading.instead("shifted_bounds", node, lines, correct=reading.text(test), wrong=wrong)


def early_rounding(reading: Reading) -> Iterator[Mutation]:
    """Round an intermediate result."""
    for node, _ in reading.expressions(cst.BinaryOperation):
        assert isinstance(node, cst.BinaryOperation)
        left, right = node.left, reading.text(node.right)
        is_division = isinstance(node.operator, (cst.Divide, cst.FloorDivide))
        if is_division and isinstance(left, cst.BinaryOperation) and isinstance(left.operator, (cst.Add, cst.Subtract, cst.Multiply)):
            sign = {cst.Add: "+", cst.Subtract: "-", cst.Multiply: "*"}[type(left.operator)]
            one, other = reading.text(left.left), reading.text(left.right)
            first = reading.fresh("share", "first_share")
            line = f"{first} = {_bracketed(left.left, one)} // {right}"
            rest = other if sign == "*" else f"{_bracketed(left.right, other)} // {right}"
            yield reading.before("early_rounding", node, [line], f"({first} {sign} {rest})", wrong=line)
        if isinstance(node.operator, cst.Divide):
            quotient = reading.fresh("quotient", "whole")
            line = f"{quotient} = {reading.text(left)} // {right}"
            yield reading.before("early_rounding", node, [line], f"float({quotient})", wrong=line)
        if isinstance(node.operator, cst.FloorDivide):
            quotient = reading.fresh("quotient", "whole")
            line = f"{quotient} = {reading.text(left)} / {right}"
            yield reading.before("early_rounding", node, [line], f"round({quotient})", wrong=f"round({quotient})")
    for node, _ in reading.expressions(cst.Call):
        if m.matches(node, m.Call(func=m.Name("round"))):
            assert isinstance(node, cst.Call)
            whole = reading.fresh("whole", "rounded")
            line = f"{whole} = int({reading.text(node.args[0].value)})"
            yield reading.before("early_rounding", node, [line], whole, wrong=line)


def _bracketed(node: cst.BaseExpression, text: str) -> str:
    return f"({text})" if isinstance(node, cst.BinaryOperation) and not text.startswith("(") else text
