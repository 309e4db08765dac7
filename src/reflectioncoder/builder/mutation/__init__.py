"""Injects slips that resemble the mistakes of models into reference programs.

`OPERATORS` maps the name of each slip to a function that yields its mutations of a program. `mutations` returns those of all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from reflectioncoder.builder.mutation import expressions, statements
from reflectioncoder.builder.mutation.program import Mutation, Program

__all__ = ["OPERATORS", "Mutation", "Program", "mutations"]

OPERATORS: dict[str, Callable[[Program], Iterator[Mutation]]] = {
    operator.__name__: operator
    for operator in (
        expressions.wrong_comparison,
        expressions.inverted_comparison,
        expressions.wrong_operator,
        expressions.wrong_division,
        expressions.off_by_one_range,
        expressions.off_by_one_index,
        expressions.wrong_constant,
        expressions.swapped_arguments,
        expressions.wrong_method,
        expressions.missing_conversion,
        expressions.wrong_variable,
        expressions.misspelt_name,
        statements.wrong_initial_value,
        statements.missing_guard,
        statements.missing_base_case,
        statements.early_return,
        statements.printed_not_returned,
        statements.missing_return,
        statements.negated_condition,
        statements.missing_step,
        statements.wrong_update,
        statements.mutable_default,
        statements.missing_import,
        statements.syntax_slip,
    )
}


def mutations(source: str) -> list[Mutation]:
    """Return all distinct programs with a single slip, in a fixed order, without the source itself.

    Raises:
        libcst.ParserSyntaxError: `source` is not Python.
    """
    program = Program(source)
    found: dict[str, Mutation] = {}
    for operator in OPERATORS.values():
        for mutation in operator(program):
            if mutation.code.strip() != source.strip():
                found.setdefault(mutation.code, mutation)
    return list(found.values())
