"""Words the samples of the author `mutation` in languages whose cells are standalone programs, without a session or a tracer.

With `diagnoses: traced` another program prints the value of the failing call before the text explains it. Everything a text quotes
must occur in the request, in an earlier program or output, or in the next program; otherwise the sample is rejected.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from reflectioncoder.builder.cells import Execution
from reflectioncoder.builder.executions import Executions
from reflectioncoder.builder.grammar import Grammar, say
from reflectioncoder.builder.looks import Look
from reflectioncoder.builder.mutation.diagnosis import Failure
from reflectioncoder.builder.mutation.program import Mutation
from reflectioncoder.builder.outcomes import Rejected
from reflectioncoder.builder.slips import slips_of
from reflectioncoder.data.prompts import reflection_request
from reflectioncoder.data.samples import Block

if TYPE_CHECKING:
    from reflectioncoder.builder.authors.mutation_samples import MutationPlan

_CASES = ("missing_guard", "missing_base_case")  # slips whose `correct` is the condition
_MOVED = ("early_return",)
_QUOTED = re.compile(r"``\s?(.+?)\s?``|`([^`]+)`", re.DOTALL)


def program_blocks(plan: MutationPlan, runs: Sequence[Execution], execute: Executions, *, is_traced: bool) -> list[Block] | Rejected:
    """Return the blocks of the answer, or the rejection.

    Args:
        runs: executions of the plan's cells.

    Raises:
        SandboxUnavailableError: the sandbox failed, not a program.
    """
    problem, wording, cells = plan.problem, slips_of(plan.problem).wording, plan.cells
    assert wording is not None
    *attempts, _ = runs
    if any(re.search(wording.crashed, ran.output) for ran in attempts):
        return Rejected("session_lost", "the interpreter itself came to an end")
    failures = [wording.read_failure(cell, plan.shown_tests, ran) for cell, ran in zip(cells, attempts, strict=False)]
    if len(failures) > len(set(failures)):
        return Rejected("repair_changes_nothing", "the first correction leaves the very same failure")
    looks: list[Look | None] = [
        wording.look(program, problem.setup, cell, failure, execute) if is_traced else None
        for program, cell, failure in zip(plan.programs, cells, failures, strict=False)
    ]
    blocks = _blocks(plan, runs, failures, looks, wording.grammar)
    unseen = quotes_without_source(reflection_request(problem.prompt, problem.instruction, problem.language), blocks)
    return Rejected("unsupported_claim", unseen[0]) if unseen else blocks


def _blocks(
    plan: MutationPlan, runs: Sequence[Execution], failures: Sequence[Failure], looks: Sequence[Look | None], grammar: Grammar
) -> list[Block]:
    rng, fence = random.Random(f"words/{plan.seed}"), slips_of(plan.problem).language.fence
    blocks = [Block("text", say("opening", {"entry_point": plan.problem.entry_point}, rng, grammar))]
    cells = plan.cells
    for step, cell, ran, failure, look in zip(plan.steps, cells, runs, failures, looks, strict=False):
        facts = _facts(step, failure)
        blocks += [Block("code", cell, fence), Block("execution", ran.output.rstrip("\n"))]
        fix = say(_fix(step), facts, rng, grammar)
        if look is None:
            blocks.append(Block("text", f"{say(f'failure.{failure.kind}', facts, rng, grammar)} {fix}"))
            continue
        seen = {**facts, "actual": look.value}
        failed = {name: fact for name, fact in facts.items() if name != "actual"}  # the look shows it
        announced = f"{say('failure.equality', failed, rng, grammar)} {say('announce.call', failed, rng, grammar)}"
        blocks += [
            Block("text", announced),
            Block("code", look.cell, fence),
            Block("execution", look.output),
            Block("text", f"{say('seen.call', seen, rng, grammar)} {fix}"),
        ]
    return [*blocks, Block("code", cells[-1], fence), Block("execution", runs[-1].output.rstrip("\n"))]


def _facts(step: Mutation, failure: Failure) -> dict[str, str]:
    """Return the facts for sentences: all nonempty texts of the failure, and the change."""
    facts = {name: str(value) for name, value in vars(failure).items()}
    facts |= {"operator": step.operator, "correct": _one_line(step.correct), "wrong": _one_line(step.wrong)}
    return {name: f"` {value} `" if "`" in value else value for name, value in facts.items() if value}  # with double backticks


def _fix(step: Mutation) -> str:
    if step.operator in _CASES:
        return "fix.case"
    return "fix.moved" if step.operator in _MOVED else "fix.replaced" if step.wrong else "fix.removed"


def _one_line(source: str) -> str:
    return " ".join(source.split()) if "\n" in source else source  # keep one-line code as it is: it may have strings with spaces


def quotes_without_source(request: str, blocks: Sequence[Block]) -> list[str]:
    """Return quotes in texts that occur neither earlier nor in the next program; whitespace is ignored."""
    before, found = [request], []
    following = {number: block.content for number, block in enumerate(blocks) if block.type == "code"}
    for number, block in enumerate(blocks):
        if block.type == "text":
            after = next((code for place, code in following.items() if place > number), "")
            known = _squeezed("\n".join([*before, after]))
            quoted = (double or single for double, single in _QUOTED.findall(block.content))
            found += [quote for quote in quoted if _squeezed(quote) not in known]
        before.append(block.content if block.type != "text" else "")
    return found


def _squeezed(text: str) -> str:
    return "".join(text.split())
