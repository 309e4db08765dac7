"""Misreadings of the input: empty input, normalization on entry, an example instead of the rule, recursion without an end."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import libcst as cst
import libcst.matchers as m

from reflectioncoder.builder.mutation.misreadings.reading import INDENT, Example, Reading, indented
from reflectioncoder.builder.mutation.misreadings.unfolding import calls, list_comprehensions
from reflectioncoder.builder.mutation.program import Mutation

_NOTHING = {bool: "False", int: "0", float: "0.0", str: '""', list: "[]", dict: "{}", tuple: "()", set: "set()"}
_HELPERS = {
    "sum": ("add_up", "return values[0] + {name}(values[1:])"),
    "max": ("largest_of", "return max(values[0], {name}(values[1:]))"),
    "min": ("smallest_of", "return min(values[0], {name}(values[1:]))"),
    "any": ("one_holds", "return bool(values[0]) or {name}(values[1:])"),
    "all": ("all_hold", "return bool(values[0]) and {name}(values[1:])"),
}


def empty_input(reading: Reading) -> Iterator[Mutation]:
    """Return a wrong answer for an empty text or list, or zero."""
    for position, name in enumerate(reading.parameters):
        for example in reading.examples:
            if position >= len(example.values) or example.values[position] or isinstance(example.values[position], bool):
                continue
            for wrong in _other_answers(example):
                test = f"if {name} == 0:" if isinstance(example.values[position], (int, float)) else f"if not {name}:"
                returned = f"return {wrong}"
                yield reading.at_entrance("empty_input", [test, *indented([returned])], wrong=returned)
            break
    for node, _ in reading.expressions(cst.Call):
        if m.matches(node, m.Call(func=m.Name("max") | m.Name("min"), args=[m.Arg(), m.Arg(keyword=m.Name("default"))])):
            assert isinstance(node, cst.Call)
            assert isinstance(node.func, cst.Name)
            best, item = reading.fresh("best", "found"), reading.fresh("item", "value")
            values, sign = reading.fresh("candidates"), ">" if node.func.value == "max" else "<"
            lines = [f"{values} = list({reading.text(node.args[0].value)})", f"{best} = {values}[0]", f"for {item} in {values}:"]
            lines += indented([f"if {item} {sign} {best}:", f"{INDENT}{best} = {item}"])
            yield reading.before("empty_input", node, lines, best, wrong=f"{best} = {values}[0]")


def _other_answers(example: Example) -> Iterator[str]:
    result = example.result
    if result is not None:
        yield "None"
    if isinstance(result, bool):
        yield str(not result)
    elif result is None:
        yield "0"
    elif result and type(result) in _NOTHING:
        yield _NOTHING[type(result)]
    elif isinstance(result, int):
        yield "-1"


def early_normalisation(reading: Reading) -> Iterator[Mutation]:
    """Normalize the input on entry, losing something that matters: case, spaces, order, repetitions."""
    for name in reading.parameters_of("str$"):
        texts = [value for value in reading.values_of(name) if isinstance(value, str)]
        if any(value != value.strip().lower() for value in texts):
            lower = [f"{name} = {name}.strip()", f"{name} = {name}.lower()"]
            yield reading.at_entrance("early_normalisation", lower, wrong=lower[1])
        if any(value != " ".join(value.split()) for value in texts):
            spaces = [f"words_only = {name}.split()", f'{name} = " ".join(words_only)']
            yield reading.at_entrance("early_normalisation", spaces, wrong=spaces[1])
    for name in reading.parameters_of(r"list\[(int|str|float)\]|list$"):
        values = [value for value in reading.values_of(name) if isinstance(value, list)]
        if any(len(value) != len(set(map(repr, value))) for value in values):
            unique = [f"{name} = list(dict.fromkeys({name}))", f"{name}.sort()"]
            yield reading.at_entrance("early_normalisation", unique, wrong=unique[0])
        if any(_is_unsorted(value) for value in values):
            ordered = [f"{name} = list({name})", f"{name}.sort()"]
            yield reading.at_entrance("early_normalisation", ordered, wrong=f"{name}.sort()")
    for name in reading.parameters_of(r"list\[str\]"):
        words = [word for value in reading.values_of(name) if isinstance(value, list) for word in value]
        if not any(isinstance(word, str) and word != word.strip().lower() for word in words):
            continue
        word = reading.fresh("word", "text", "entry")
        lines = [f"{name} = [{word}.strip().lower() for {word} in {name}]"]
        yield reading.at_entrance("early_normalisation", lines, wrong=lines[0])


def _is_unsorted(values: list[Any]) -> bool:
    is_comparable = all(isinstance(value, (int, float)) for value in values) or all(isinstance(value, str) for value in values)
    return is_comparable and values != sorted(values)


def hard_coded_example(reading: Reading) -> Iterator[Mutation]:
    """Return an example's answer for its arguments, and a trivial value for all others."""
    names = list(reading.parameters)
    if reading.entry is None or not names:
        return
    rule = _rule(reading, reading.entry)
    for example in reading.examples[:2]:
        if len(example.arguments) != len(names) or type(example.result) not in _NOTHING:
            continue
        test = " and ".join(f"{name} == {argument}" for name, argument in zip(names, example.arguments, strict=True))
        other = _NOTHING[type(example.result)] if example.result else None
        if isinstance(example.result, bool):
            other = str(not example.result)
        if other is not None and len(test) <= 80:
            lines = [f"if {test}:", *indented([f"return {example.expected}"]), f"return {other}"]
            yield reading.with_body("hard_coded_example", lines, correct=rule, wrong=f"if {test}")
    shown = [example for example in reading.examples[:2] if len(example.arguments) == len(names) == 1]
    if len(shown) == 2 and all(isinstance(example.values[0], (int, str)) for example in shown):
        table = "{" + ", ".join(f"{example.arguments[0]}: {example.expected}" for example in shown) + "}"
        if len(table) <= 80:
            lines = [f"known = {table}", f"return known[{names[0]}]"]
            yield reading.with_body("hard_coded_example", lines, correct=rule, wrong=lines[1])


def _rule(reading: Reading, function: cst.FunctionDef) -> str:
    """Return the source of the first loop of a function, or of its last statement."""
    lines = function.body.body
    return reading.program.text(next((line for line in lines if isinstance(line, (cst.For, cst.While))), lines[-1]))


def recursion_without_end(reading: Reading) -> Iterator[Mutation]:
    """Write a recursion that has no base case."""
    for name, node in calls(reading, *_HELPERS):
        helper, step = _HELPERS[name]
        helper = reading.fresh(helper)
        items = node.args[0].value
        text = reading.text(items)
        values = f"[{text}]" if isinstance(items, cst.GeneratorExp) else text if isinstance(items, cst.ListComp) else f"list({text})"
        wrong = step.format(name=helper)
        mutation = reading.before("recursion_without_end", node, [], f"{helper}({values})", wrong=wrong)
        yield reading.with_helper(mutation, [f"def {helper}(values):", *indented([wrong])])
    for node, _ in reading.expressions(cst.Subscript):
        if reading.text(node).endswith("[::-1]"):
            assert isinstance(node, cst.Subscript)
            helper = reading.fresh("turned_around")
            wrong = f"return {helper}(values[1:]) + values[:1]"
            mutation = reading.before("recursion_without_end", node, [], f"{helper}({reading.text(node.value)})", wrong=wrong)
            yield reading.with_helper(mutation, [f"def {helper}(values):", *indented([wrong])])
    yield from _without_base_cases(reading)


def _without_base_cases(reading: Reading) -> Iterator[Mutation]:
    for function in reading.program.functions:
        body = function.body
        if not isinstance(body, cst.IndentedBlock):
            continue
        own = re.compile(rf"\b{function.name.value}\(")
        guards = [line for line in body.body if isinstance(line, cst.If) and line.orelse is None and not own.search(reading.text(line))]
        left = [line for line in body.body if line not in guards]
        if guards and left and own.search("\n".join(map(reading.text, left))):
            recursive = next(line for line in left if own.search(reading.text(line)))
            correct, step = f"if {reading.text(guards[0].test)}", reading.program.text(recursive)
            yield reading.replaced("recursion_without_end", body, [body.with_changes(body=left)], correct=correct, wrong=step)


def wrong_structure(reading: Reading) -> Iterator[Mutation]:
    """Collect values in a set, which drops repetitions and order."""
    for items in list_comprehensions(reading):
        found = reading.fresh("found", "values", "result")
        wrong = f"{found}.add({items.value})"
        lines = [f"{found} = set()", *items.loops(reading, [wrong])]
        parent = reading.program.parent[items.node]
        is_sorted = isinstance(parent, cst.Arg) and m.matches(reading.program.parent[parent], m.Call(func=m.Name("sorted")))
        if not items.value.startswith(("[", "{")):
            yield reading.before("wrong_structure", items.node, lines, found if is_sorted else f"sorted({found})", wrong=wrong)
    for name, node in calls(reading, "sum", "len", "sorted", "Counter"):
        items = node.args[0].value
        text = reading.text(items)
        different = reading.fresh("different", "unique")
        kind = reading.parameters.get(text, "")
        if isinstance(items, (cst.GeneratorExp, cst.ListComp)) and name != "sorted":
            wrong = f"{different} = {{{text.strip('[]')}}}"
        elif re.match(r"str|list\[(str|int)\]|list$", kind) or m.matches(items, m.Call(func=m.Attribute(attr=m.Name("split")))):
            wrong = f"{different} = set({text})"
        else:
            continue
        yield reading.before("wrong_structure", node, [wrong], f"{name}({different})", wrong=wrong)


def repeated_values(reading: Reading) -> Iterator[Mutation]:
    """Drop repetitions that matter, or keep repetitions that should be dropped."""
    for items in list_comprehensions(reading):
        found = reading.fresh("found", "values", "result")
        wrong = f"if {items.value} not in {found}:"
        lines = [f"{found} = []", *items.loops(reading, [wrong, *indented([f"{found}.append({items.value})"])])]
        yield reading.before("repeated_values", items.node, lines, found, wrong=wrong.rstrip(":"))
    for _, node in calls(reading, "set"):
        every = reading.fresh("every_one", "all_of_them")
        wrong = f"{every} = list({reading.text(node.args[0].value)})"
        yield reading.before("repeated_values", node, [wrong], every, wrong=wrong)
