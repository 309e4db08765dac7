"""Rewrites comprehensions and calls over items as loops, so that a misreading can be inserted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import libcst as cst
import libcst.matchers as m

from reflectioncoder.builder.mutation.misreadings.reading import INDENT, Reading, indented


@dataclass(frozen=True)
class Items:
    """The items that an expression iterates over, with a `value` for each: from a comprehension or a single iterable.

    Attributes:
        node: the whole expression to replace.
        source: the comprehension; None for a plain iterable.
    """

    node: cst.BaseExpression
    value: str
    target: str
    iterable: str
    conditions: tuple[str, ...]
    source: cst.BaseComp | None = None
    inner: cst.CompFor | None = None

    def loops(self, reading: Reading, body: Sequence[str]) -> list[str]:
        """Return loops that run the body for every item."""
        lines = list(body)
        if self.inner is not None:
            lines = _loops(reading, self.inner, lines)
        for condition in reversed(self.conditions):
            lines = [f"if {condition}:", *indented(lines)]
        return [f"for {self.target} in {self.iterable}:", *indented(lines)]


def _loops(reading: Reading, comp: cst.CompFor, body: Sequence[str]) -> list[str]:
    lines = _loops(reading, comp.inner_for_in, body) if comp.inner_for_in else list(body)
    for condition in reversed(comp.ifs):
        lines = [f"if {reading.text(condition.test)}:", *indented(lines)]
    return [f"for {target_of(reading, comp)} in {reading.text(comp.iter)}:", *indented(lines)]


def target_of(reading: Reading, comp: cst.CompFor) -> str:
    return reading.text(comp.target).strip("()")


def items_of(reading: Reading, node: cst.BaseExpression, source: cst.BaseExpression) -> Items:
    """Return the items of `source`, which is an argument of `node` or `node` itself."""
    if isinstance(source, (cst.GeneratorExp, cst.ListComp, cst.SetComp)):
        comp = source.for_in
        conditions = tuple(reading.text(condition.test) for condition in comp.ifs)
        iterable = reading.text(comp.iter)
        return Items(node, reading.text(source.elt), target_of(reading, comp), iterable, conditions, source, comp.inner_for_in)
    name = _singular(reading, source)
    return Items(node, name, name, reading.text(source), ())


def _singular(reading: Reading, iterable: cst.BaseExpression) -> str:
    text = reading.text(iterable)
    if text.isidentifier() and text.endswith("s") and len(text) > 3:
        return reading.fresh(text[:-1], "item", "entry")
    kind = reading.parameters.get(text, "")
    return reading.fresh("char", "letter") if kind == "str" else reading.fresh("item", "entry", "element", "current")


def calls(reading: Reading, *names: str) -> Iterator[tuple[str, cst.Call]]:
    """Yield calls of the named built-in functions with one plain argument that could be evaluated before their statement."""
    for node, _ in reading.expressions(cst.Call):
        assert isinstance(node, cst.Call)
        name = node.func.value if isinstance(node.func, cst.Name) else ""
        if name in names and len(node.args) == 1 and not node.args[0].star and node.args[0].keyword is None:
            yield name, node


def aggregates(reading: Reading, *names: str) -> Iterator[tuple[str, Items]]:
    """Yield calls such as `sum(...)` with the items that they iterate over."""
    for name, node in calls(reading, *names):
        yield name, items_of(reading, node, node.args[0].value)


def list_comprehensions(reading: Reading) -> Iterator[Items]:
    """Yield comprehensions whose values are kept: `[...]`, and generators in `list(...)`, `sorted(...)` or `sep.join(...)`."""
    for node, _ in reading.expressions(cst.ListComp, cst.GeneratorExp):
        assert isinstance(node, (cst.ListComp, cst.GeneratorExp))
        call = reading.program.parent[reading.program.parent[node]]
        is_kept = m.matches(call, m.Call(func=m.Name("sorted") | m.Name("list") | m.Attribute(attr=m.Name("join"))))
        if isinstance(node, cst.ListComp) or is_kept:
            yield items_of(reading, node, node)


__all__ = ["INDENT", "Items", "aggregates", "calls", "indented", "items_of", "list_comprehensions", "target_of"]
