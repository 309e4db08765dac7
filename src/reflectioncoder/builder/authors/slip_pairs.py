"""Tells how two slips in one program interact, from runs of the program with each alone and with both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from reflectioncoder.builder.cells import Execution, Executor
from reflectioncoder.builder.mutation import Mutation
from reflectioncoder.builder.mutation.diagnosis import split_assertion

Relation = Literal["cancels", "interacts", "hides"]
"""cancels: a test that fails with each slip alone passes with both; interacts: with both slips the failure differs from that of each
alone; hides: the failure of one slip replaces a different failure of the other."""
_PREFERRED: tuple[Relation, ...] = ("cancels", "interacts", "hides")  # rarest first
_MARK = "outcome"
_MAX_PAIRS = 4  # each costs two cell runs
Outcomes = tuple[str, ...]


@dataclass(frozen=True)
class SlipPair:
    """A second slip in a program that already has one. `alone`: the reference with only the second slip."""

    second: Mutation
    alone: str


def pairs_with(first: Mutation, in_first: Sequence[Mutation], in_reference: Sequence[Mutation]) -> list[SlipPair]:
    """Return the slips of an already wrong program that are possible in the reference too.

    Args:
        in_first: the slips of the wrong program.
        in_reference: the slips of the reference.
    """
    alone = {(slip.operator, slip.correct, slip.wrong): slip.code for slip in in_reference}
    known = [(slip, alone.get((slip.operator, slip.correct, slip.wrong))) for slip in in_first if slip.operator != first.operator]
    return [SlipPair(slip, code) for slip, code in known if code is not None and code != first.code]


def choose_pair(
    reference: str, first: Mutation, pairs: Sequence[SlipPair], setup: str, tests: Sequence[str], execute: Executor
) -> tuple[Mutation, Relation] | None:
    """Return a second slip that interacts with the first, and their relation; None if no pair interacts.

    Raises:
        SandboxUnavailableError: the sandbox failed.
    """
    calls = [parts[0] for test in tests if (parts := split_assertion(test))]
    if len(calls) < len(tests):
        return None
    pairs = pairs[:_MAX_PAIRS]
    programs = [reference, first.code, *(program for pair in pairs for program in (pair.alone, pair.second.code))]
    wanted, one, *others = (_outcomes(ran, len(calls)) for ran in execute([_cell(program, setup, calls) for program in programs]))
    if wanted is None or one is None:
        return None
    found: dict[Relation, Mutation] = {}
    for pair, other, both in zip(pairs, others[::2], others[1::2], strict=True):
        if other is not None and both is not None and (relation := relation_of(wanted, one, other, both)):
            found.setdefault(relation, pair.second)
    return next(((found[relation], relation) for relation in _PREFERRED if relation in found), None)


def relation_of(wanted: Outcomes, first: Outcomes, second: Outcomes, both: Outcomes) -> Relation | None:
    """Return how two slips interact, from the outcomes of the same calls; None if they are independent."""
    wrong = [number for number, outcome in enumerate(both) if outcome != wanted[number]]
    if not wrong or first == wanted or second == wanted:
        return None
    if any(both[n] == wanted[n] and wanted[n] not in (first[n], second[n]) for n in range(len(wanted))):
        return "cancels"
    at = wrong[0]
    if both[at] not in (first[at], second[at]):
        return "interacts"
    return "hides" if both[at] == second[at] and first[at] not in (wanted[at], second[at]) else None


def _cell(program: str, setup: str, calls: Sequence[str]) -> str:
    """Return a cell that prints the value or exception of each call on a line that starts with a mark."""
    lines = [program.rstrip(), "", setup.strip()]
    for number, call in enumerate(calls):
        lines += ["try:", f"    {_MARK} = repr({call})", "except Exception as error:", f"    {_MARK} = repr(error)"]
        lines += [f'print("\\n{_MARK}", {number}, {_MARK})']
    return "\n".join(lines)


def _outcomes(ran: Execution, num_calls: int) -> Outcomes | None:
    """Return the outcome of every call; None if the run did not complete."""
    found = dict(line.split(" ", 2)[1:] for line in ran.output.split("\n") if line.startswith(f"{_MARK} ") and line.count(" ") > 1)
    return tuple(found[str(number)] for number in range(num_calls)) if ran.passed and len(found) == num_calls else None
