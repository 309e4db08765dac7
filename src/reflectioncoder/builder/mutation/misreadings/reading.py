"""Holds a problem with its parsed reference, and replaces some of the reference's lines.

Families of misreadings search for nodes of the reference (libcst) and give their replacements as plain source lines.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import libcst as cst

from reflectioncoder import syntax
from reflectioncoder.builder.mutation.program import Mutation, Program
from reflectioncoder.data.problems import Problem
from reflectioncoder.data.prompts import answer_program

INDENT = "    "
_SCOPES = (cst.CompFor, cst.Lambda, cst.ListComp, cst.SetComp, cst.DictComp, cst.GeneratorExp)
_OPERATIONS = (cst.BinaryOperation, cst.UnaryOperation, cst.BooleanOperation, cst.Comparison, cst.Attribute, cst.Subscript)
_SIZED = re.compile(r"(?:list|str|dict|set|tuple|List|Dict|Set|Tuple)\b")


@dataclass(frozen=True)
class Example:
    """A test of the form `assert f(arguments) == expected` with only literals, as source and as values."""

    arguments: tuple[str, ...]
    expected: str
    values: tuple[object, ...]
    result: object


@dataclass(frozen=True)
class Reading:
    """A problem and its reference, for the families to transform."""

    problem: Problem
    program: Program

    @classmethod
    def of(cls, problem: Problem) -> Reading:
        """Parse the reference.

        Raises:
            libcst.ParserSyntaxError: the reference is not Python.
        """
        return cls(problem, Program(answer_program(problem)))

    @cached_property
    def entry(self) -> cst.FunctionDef | None:
        """Return the function that the tests call, if it has an indented body."""
        for line in self.program.module.body:
            if isinstance(line, cst.FunctionDef) and line.name.value == self.problem.entry_point:
                return line if isinstance(line.body, cst.IndentedBlock) else None
        return None

    @cached_property
    def parameters(self) -> dict[str, str]:
        """Map the positional parameters of the entry point to their types: the annotations, or the types in the first example."""
        if self.entry is None or self.entry.params.star_arg is not cst.MaybeSentinel.DEFAULT or self.entry.params.kwonly_params:
            return {}
        found = {}
        for position, parameter in enumerate(self.entry.params.params):
            kind = self.program.text(parameter.annotation.annotation) if parameter.annotation else self._seen_kind(position)
            found[parameter.name.value] = kind
        return found

    def _seen_kind(self, position: int) -> str:
        for example in self.examples:
            if position < len(example.values):
                value = example.values[position]
                inner = {type(item).__name__ for item in value} if isinstance(value, list) else set()
                return f"list[{inner.pop()}]" if len(inner) == 1 else type(value).__name__
        return ""

    def parameters_of(self, pattern: str) -> list[str]:
        """Return the parameters whose types match a pattern."""
        return [name for name, kind in self.parameters.items() if re.match(pattern, kind)]

    @cached_property
    def sized(self) -> list[str]:
        """Return the parameters that have a length."""
        return [name for name, kind in self.parameters.items() if _SIZED.match(kind)]

    @cached_property
    def examples(self) -> list[Example]:
        return [example for test in self.problem.tests if (example := _example(test, self.problem.entry_point))]

    @cached_property
    def names(self) -> set[str]:
        """Return all names in the program."""
        return {node.value for node in self.program.nodes if isinstance(node, cst.Name)}

    def values_of(self, name: str) -> list[object]:
        """Return the values that a parameter has in the examples."""
        position = list(self.parameters).index(name)
        return [example.values[position] for example in self.examples if position < len(example.values)]

    @cached_property
    def has_negative(self) -> bool:
        """Tell whether an example passes a negative number."""
        return any(re.search(r"(?<![\w)\]])-\d", argument) for example in self.examples for argument in example.arguments)

    def fresh(self, *wanted: str) -> str:
        """Return the first of these names that the program does not use, or a variant of the first."""
        return next((name for name in (*wanted, f"{wanted[0]}_so_far", f"new_{wanted[0]}") if name not in self.names), f"{wanted[0]}_2")

    def text(self, node: cst.CSTNode) -> str:
        """Return the source of a node on one line."""
        return re.sub(r"\s*\n\s*", " ", self.program.text(node))

    def bare(self, node: cst.BaseExpression) -> str:
        """Return the source of an expression without enclosing parentheses."""
        return self.text(node.with_changes(lpar=[], rpar=[]))

    def return_of(self, node: cst.BaseExpression) -> cst.CSTNode | None:
        """Return the statement that only returns this expression; None if there is none."""
        parent = self.program.parent[node]
        return self.statement_of(node) if isinstance(parent, cst.Return) else None

    def expressions(self, *kinds: type[cst.BaseExpression]) -> Iterator[tuple[cst.BaseExpression, cst.CSTNode]]:
        """Yield expressions of these kinds that could be evaluated before their statement, each with its statement."""
        for node in self.program.nodes:
            if isinstance(node, kinds) and (statement := self.statement_of(node)) is not None:
                yield node, statement

    def statement_of(self, node: cst.CSTNode) -> cst.CSTNode | None:
        """Return the statement before which an expression could be evaluated; None if its scope or condition prevents that."""
        child = node
        for ancestor in self.program.ancestors(node):
            if isinstance(ancestor, _SCOPES) or (isinstance(ancestor, cst.IfExp) and child is not ancestor.test):
                return None
            if isinstance(ancestor, cst.SimpleStatementLine):
                small = ancestor.body[0] if len(ancestor.body) == 1 else None
                is_plain = isinstance(small, (cst.Return, cst.Assign, cst.AugAssign, cst.Expr))
                return ancestor if is_plain and isinstance(self.program.parent[ancestor], cst.IndentedBlock) else None
            if isinstance(ancestor, (cst.If, cst.For)):
                is_head = child is (ancestor.test if isinstance(ancestor, cst.If) else ancestor.iter)
                return ancestor if is_head and isinstance(self.program.parent[ancestor], cst.IndentedBlock) else None
            if isinstance(ancestor, (cst.BaseCompoundStatement, cst.Param, cst.Decorator)):
                return None
            child = ancestor
        return None

    def replaced(self, family: str, old: cst.CSTNode, new: Sequence[cst.CSTNode], *, correct: str, wrong: str) -> Mutation:
        """Return the program with one node replaced by others; fragments are cut to their first lines."""
        node = new[0] if len(new) == 1 else cst.FlattenSentinel(new)
        changed = self.program.module.deep_replace(old, node)  # pyright: ignore[reportArgumentType] (statements may be several)
        assert isinstance(changed, cst.Module)
        return Mutation(family, changed.code, shortened(correct), shortened(wrong))

    def instead(self, family: str, line: cst.CSTNode, lines: Sequence[str], *, correct: str, wrong: str) -> Mutation:
        """Return the program with a statement replaced by other lines."""
        return self.replaced(family, line, self.parsed(lines), correct=correct, wrong=wrong)

    def before(self, family: str, node: cst.CSTNode, lines: Sequence[str], new: str, *, wrong: str, correct: str = "") -> Mutation:
        """Return the program with lines inserted before the statement of an expression, and the expression replaced."""
        statement = self.statement_of(node)
        assert statement is not None
        if new.startswith("(") and not isinstance(self.program.parent[node], _OPERATIONS):
            new = new[1:-1]
        changed = statement.deep_replace(node, self.expression(new))
        return self.replaced(family, statement, [*self.parsed(lines), changed], correct=correct or self.text(node), wrong=wrong)

    def at_entrance(self, family: str, lines: Sequence[str], *, wrong: str) -> Mutation:
        """Return the program with lines inserted at the start of its entry point; nothing is removed."""
        assert self.entry is not None
        first = self.entry.body.body[0]
        return self.replaced(family, first, [*self.parsed(lines), first], correct="", wrong=wrong)

    def with_body(self, family: str, lines: Sequence[str], *, correct: str, wrong: str) -> Mutation:
        """Return the program with a new body for its entry point and without all other functions."""
        assert self.entry is not None
        assert isinstance(self.entry.body, cst.IndentedBlock)
        new = self.entry.with_changes(body=self.entry.body.with_changes(body=self.parsed(lines)))
        kept = [
            new if line is self.entry else line for line in self.program.module.body if line is self.entry or not _is_function(line)
        ]
        code = self.program.module.with_changes(body=kept).code.strip("\n") + "\n"
        return Mutation(family, code, shortened(correct), shortened(wrong))

    def with_helper(self, mutation: Mutation, helper: Sequence[str]) -> Mutation:
        """Return a mutation with a helper function appended to its program."""
        return Mutation(
            mutation.operator, mutation.code.rstrip() + "\n\n\n" + "\n".join(helper) + "\n", mutation.correct, mutation.wrong
        )

    def parsed(self, lines: Sequence[str]) -> list[cst.BaseStatement]:
        module = cst.parse_module("\n".join(lines) + "\n", config=self.program.module.config_for_parsing)
        return list(module.body)  # pyright: ignore[reportReturnType]

    def expression(self, source: str) -> cst.BaseExpression:
        return cst.parse_expression(source, config=self.program.module.config_for_parsing)


def indented(lines: Sequence[str], levels: int = 1) -> list[str]:
    return [INDENT * levels + line for line in lines]


def shortened(fragment: str) -> str:
    """Return the first line of a fragment without a trailing colon."""
    return fragment.strip().split("\n")[0].removesuffix(":")


def _is_function(line: cst.CSTNode) -> bool:
    return isinstance(line, cst.FunctionDef)


def _example(test: str, entry_point: str) -> Example | None:
    try:
        node = syntax.parse(test).body[0]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    match node:
        case ast.Assert(
            test=ast.Compare(
                left=ast.Call(func=ast.Name(id=name), keywords=[]) as call, ops=[ast.Eq() | ast.Is()], comparators=[expected]
            )
        ) if name == entry_point:
            pass
        case _:
            return None
    try:
        values = tuple(syntax.literal(argument) for argument in call.args)
        result = syntax.literal(expected)
    except syntax.NOT_A_LITERAL:
        return None
    sources = [ast.get_source_segment(test, part) or ast.unparse(part) for part in (*call.args, expected)]
    return Example(tuple(sources[:-1]), sources[-1], values, result)
