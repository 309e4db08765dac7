"""Injects slips into JavaScript programs: general ones, and JavaScript's own pitfalls.

`OPERATORS` maps the name of each slip to a function that yields its mutations of a program. `mutations` returns those of all. The
parser comes with the extra `javascript`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from reflectioncoder.builder.javascript import calls, expressions, statements
from reflectioncoder.builder.javascript.program import Program, require_parser
from reflectioncoder.builder.mutation.program import Mutation

__all__ = ["OPERATORS", "WORDS", "Program", "mutations", "require_parser"]

WORDS = Path(__file__).parent / "words.yaml"
SYNTAX_SLIP = "syntax_slip"
OPERATORS: dict[str, Callable[[Program], Iterator[Mutation]]] = {
    operator.__name__: operator
    for operator in (
        expressions.wrong_comparison,
        expressions.inverted_comparison,
        expressions.falsy_check,
        expressions.loose_equality,
        expressions.wrong_operator,
        expressions.wrong_division,
        expressions.off_by_one_loop,
        expressions.off_by_one_index,
        expressions.wrong_constant,
        expressions.swapped_arguments,
        expressions.swapped_branches,
        expressions.wrong_variable,
        expressions.misspelt_name,
        expressions.wrong_property,
        expressions.missing_this,
        calls.wrong_method,
        calls.changed_argument,
        calls.missing_conversion,
        calls.missing_call,
        calls.missing_comparator,
        calls.shared_object,
        calls.missing_spread,
        calls.missing_new,
        statements.wrong_initial_value,
        statements.missing_guard,
        statements.missing_base_case,
        statements.early_return,
        statements.printed_not_returned,
        statements.missing_return,
        statements.negated_condition,
        statements.missing_step,
        statements.wrong_update,
        statements.wrong_loop,
        statements.const_reassigned,
        statements.assignment_as_condition,
        statements.missing_break,
        statements.syntax_slip,
    )
}


def mutations(source: str) -> list[Mutation]:
    """Return all distinct programs with a single slip, in a fixed order, without the source itself.

    All of them parse, except those with a syntax slip. A source that does not parse has none.

    Raises:
        MachineError: the parser is not installed.
    """
    program = Program(source)
    found: dict[str, Mutation] = {}
    for name, operator in OPERATORS.items() if program.is_valid else ():
        for mutation in operator(program):
            if mutation.code.strip() != source.strip() and (name == SYNTAX_SLIP or Program(mutation.code).is_valid):
                found.setdefault(mutation.code, mutation)
    return list(found.values())
