"""Makes programs as written by people who misread the task, or Python: whole programs that mostly differ in several lines.

`FAMILIES` maps the name of each misreading to a function that yields its programs for a problem. `misreadings` returns those of all.
"""

from __future__ import annotations

import ast
import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Literal

import libcst as cst

from reflectioncoder import syntax
from reflectioncoder.builder.mutation.misreadings import changes, inputs, loops, numbers, order
from reflectioncoder.builder.mutation.misreadings.asked import sentence_asked
from reflectioncoder.builder.mutation.misreadings.reading import Reading
from reflectioncoder.builder.mutation.program import Mutation
from reflectioncoder.data.problems import Problem

__all__ = ["FAMILIES", "Reading", "Repair", "misreadings", "repair_of"]

Repair = Literal["reread", "dropped", "before", "everywhere"]
"""reread: lines are replaced; dropped: lines are only deleted; before: a line moves in front of its loop; everywhere: several places
change, and the fragments show the first."""

FAMILIES: dict[str, Callable[[Reading], Iterator[Mutation]]] = {
    family.__name__: family
    for family in (
        order.ties,
        order.wrong_occurrence,
        order.wrong_sort_key,
        order.order_of_steps,
        numbers.negative_numbers,
        numbers.numbers_as_text,
        numbers.shifted_bounds,
        numbers.every_bound,
        numbers.early_rounding,
        loops.reset_in_loop,
        loops.stops_at_first,
        loops.position_for_value,
        loops.lost_last_part,
        loops.count_for_sum,
        loops.any_for_all,
        inputs.empty_input,
        inputs.early_normalisation,
        inputs.hard_coded_example,
        inputs.recursion_without_end,
        inputs.wrong_structure,
        inputs.repeated_values,
        changes.changed_argument,
        changes.unchanged_text,
        changes.removal_in_loop,
        changes.index_out_of_range,
        changes.counted_from_one,
    )
}


def misreadings(problem: Problem) -> list[Mutation]:
    """Return all distinct misread programs of a problem, in a fixed order, without the reference itself.

    Raises:
        libcst.ParserSyntaxError: the reference is not Python.
    """
    reading = Reading.of(problem)
    reference = _meaning(reading.program.source)
    found: dict[str, Mutation] = {}
    for family in FAMILIES.values():
        for mutation in _programs(family, reading):
            if _meaning(mutation.code) not in (reference, None):
                found.setdefault(mutation.code, replace(mutation, asked=sentence_asked(problem, mutation.operator)))
    return list(found.values())


def repair_of(mutation: Mutation) -> Repair:
    """Return the kind of repair that a misreading needs."""
    if mutation.operator == "every_bound":
        return "everywhere"
    if not mutation.correct:
        return "dropped"
    return "before" if mutation.correct == mutation.wrong else "reread"


def _programs(family: Callable[[Reading], Iterator[Mutation]], reading: Reading) -> Iterator[Mutation]:
    """Yield a family's programs for a problem; stop at the first one that is invalid."""
    with contextlib.suppress(cst.ParserSyntaxError, cst.CSTValidationError):
        yield from family(reading)


def _meaning(program: str) -> str | None:
    """Return a program with normalized layout; None if it is not valid Python."""
    try:
        return ast.unparse(syntax.parse(program))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
