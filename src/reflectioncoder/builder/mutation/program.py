"""Parses a reference program, and represents slips in it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import libcst as cst


@dataclass(frozen=True)
class Mutation:
    """A program with one slip: the operator, the program, and the source fragments before and after.

    Attributes:
        correct: the correct fragment; "" if the repair only deletes code.
        wrong: the fragment in the program; "" if code is only missing.
        asked: the misread sentence of the statement, verbatim except for line breaks; "" if unknown.
    """

    operator: str
    code: str
    correct: str
    wrong: str
    asked: str = ""


class Program:
    """A reference program of one or more functions, with all nodes that a slip may touch (annotations excluded)."""

    def __init__(self, source: str):
        self.source = source
        self.module = cst.parse_module(source)
        self.nodes: list[cst.CSTNode] = []
        self.parent: dict[cst.CSTNode, cst.CSTNode] = {}
        self._collect(self.module)
        self.functions = [n for n in self.nodes if isinstance(n, cst.FunctionDef)]

    def _collect(self, node: cst.CSTNode) -> None:
        for child in node.children:
            if isinstance(child, (cst.Annotation, cst.Comment)):
                continue
            self.parent[child] = node
            self.nodes.append(child)
            self._collect(child)

    def ancestors(self, node: cst.CSTNode) -> Iterator[cst.CSTNode]:
        while node in self.parent:
            node = self.parent[node]
            yield node

    def text(self, node: cst.CSTNode) -> str:
        """Return the source of a node without surrounding blank lines."""
        return self.module.code_for_node(node).strip()

    def replace(
        self, operator: str, old: cst.CSTNode, new: cst.CSTNode | cst.RemovalSentinel, shown: cst.CSTNode | None = None
    ) -> Mutation:
        """Return the mutation that replaces (or removes) one node.

        `shown` is the enclosing node whose text describes the slip; the replaced node itself if not given.
        """
        module = self.module.deep_remove(old) if isinstance(new, cst.RemovalSentinel) else self.module.deep_replace(old, new)
        assert isinstance(module, cst.Module)
        around = shown or old
        if shown is not None and not isinstance(new, cst.RemovalSentinel):
            wrong = self.text(shown.deep_replace(old, new))  # pyright: ignore[reportArgumentType]
        else:
            wrong = "" if isinstance(new, cst.RemovalSentinel) else self.text(new)
        return Mutation(operator, module.code, self.text(around), wrong)

    def rewritten(self, operator: str, code: str, correct: str, wrong: str) -> Mutation:
        """Return a mutation from source texts, for slips that do not replace a node."""
        return Mutation(operator, code, correct, wrong)

    def local_names(self, function: cst.FunctionDef) -> list[str]:
        """Return the parameters and assigned names of a function, in order of appearance."""
        names = [p.name.value for p in function.params.params]
        for node in self.nodes:
            target = node.target if isinstance(node, (cst.AssignTarget, cst.For, cst.CompFor)) else None
            if isinstance(target, cst.Name) and function in self.ancestors(node):
                names.append(target.value)
        return list(dict.fromkeys(names))

    def enclosing_function(self, node: cst.CSTNode) -> cst.FunctionDef | None:
        return next((a for a in self.ancestors(node) if isinstance(a, cst.FunctionDef)), None)

    def enclosing_expression(self, node: cst.CSTNode) -> cst.CSTNode:
        """Return the small statement or condition around a node: enough context to recognise the place."""
        for ancestor in self.ancestors(node):
            if isinstance(ancestor, cst.BaseSmallStatement):
                return ancestor
            parent = self.parent.get(ancestor)
            if isinstance(parent, (cst.If, cst.While, cst.For)) and isinstance(ancestor, cst.BaseExpression):
                return ancestor
        return node
