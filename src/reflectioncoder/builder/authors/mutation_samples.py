"""Makes reflection samples from reference solutions, injected slips and a real interpreter, without a model.

An attempt is one cell: the program with one or two slips, its shown tests and a closing print. The cells of a sample run in one fresh
session, and the sample shows the interpreter's actual output.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from reflectioncoder.builder.authors.program_blocks import program_blocks
from reflectioncoder.builder.authors.slip_pairs import Relation, SlipPair, choose_pair, pairs_with
from reflectioncoder.builder.cells import Execution, Executor
from reflectioncoder.builder.coding import coding_of
from reflectioncoder.builder.crafted.selection import ShownTests, choose
from reflectioncoder.builder.crafted.words import opening_with_reasons
from reflectioncoder.builder.executions import Executions
from reflectioncoder.builder.failures import read_failure
from reflectioncoder.builder.mutation import Mutation, mutations
from reflectioncoder.builder.mutation.diagnosis import OPENINGS, Failure, as_people_write, diagnose
from reflectioncoder.builder.mutation.misreadings import FAMILIES, misreadings
from reflectioncoder.builder.mutation.misreadings.repairs import small_repairs
from reflectioncoder.builder.mutation.plausible import is_plausible, plausible
from reflectioncoder.builder.mutation.stated_words import StatedWords
from reflectioncoder.builder.outcomes import Rejected
from reflectioncoder.builder.slips import slips_of
from reflectioncoder.builder.stories.edits import are_apart, edits
from reflectioncoder.data.problems import Problem
from reflectioncoder.data.prompts import answer_program, one_off_answer, one_off_request, reflection_request
from reflectioncoder.data.samples import Block, Sample, assistant, user
from reflectioncoder.languages import PYTHON

AUTHOR = "mutation"

_MAX_OUTPUT_CHARS = 2000
_ALONE = ("syntax_slip", "hard_coded_example")  # slips that mask any other slip


@dataclass(frozen=True)
class MutationPlan:
    """The planned attempts of a sample. `steps[k]` is the slip that correction k repairs.

    `programs[k]` still contains `steps[k:]`; the last program is the reference, or a small repair of the last attempt.

    Attributes:
        pairs: candidate replacements for the first of two steps; `settle` picks one that affects the second step.
        relation: how the two slips interact, if known.
    """

    problem: Problem
    programs: tuple[str, ...]
    steps: tuple[Mutation, ...]
    shown_tests: tuple[str, ...]
    seed: str
    pairs: tuple[SlipPair, ...] = ()
    relation: Relation | None = None
    cases: tuple[str, ...] = ()  # cases that crafted tests cover, one per test

    @property
    def shown(self) -> ShownTests:
        return ShownTests(self.shown_tests, self.cases)

    @property
    def operators(self) -> list[str]:
        return [step.operator for step in self.steps]

    @property
    def id(self) -> str:
        return f"{AUTHOR}:{self.seed}"

    @property
    def cells(self) -> list[str]:
        coding = coding_of(self.problem)
        return [coding.cell(program, self.problem, self.shown.lines) for program in self.programs]


@dataclass(frozen=True)
class Candidate:
    """A slip that may become a sample. Only `plan` computes the attempts, so holding many candidates is cheap."""

    problem: Problem
    slip: Mutation
    number: int

    @property
    def is_misreading(self) -> bool:
        return self.slip.operator in FAMILIES

    @property
    def is_plausible(self) -> bool:
        """Tell whether someone who has read the task could make the slip."""
        return bool(self._plausible([self.slip]))

    def _plausible(self, slips: list[Mutation]) -> list[Mutation]:
        if self.problem.language != PYTHON.name:
            return [slip for slip in slips if is_plausible(slip)]
        return plausible(slips, StatedWords.of(reflection_request(self.problem.prompt, self.problem.instruction), self._reference))

    @property
    def _reference(self) -> str:
        return answer_program(self.problem)

    def plan(
        self, num_shown_tests: int, two_slip_share: float, seed: int, interacting: bool = False, only_plausible: bool = False
    ) -> MutationPlan:
        """Plan the attempts; the draw depends only on the seed and the candidate.

        Args:
            interacting: include pairs of slips, from which `settle` chooses one by running them.
            only_plausible: exclude implausible second slips.
        """
        plan_seed = f"{seed}/{self.problem.task_id}/{self.number}"
        rng = random.Random(f"chain/{plan_seed}")
        tests = self.problem.tests
        shown = sorted(rng.sample(range(len(tests)), min(num_shown_tests, len(tests))))
        programs, steps = [self.slip.code, self._reference], [self.slip]
        pairs: list[SlipPair] = []
        if rng.random() < two_slip_share and self.slip.operator not in _ALONE:
            others = slips_of(self.problem).mutations(self.slip.code)
            if only_plausible:
                others = self._plausible(others)
                if self.problem.language == PYTHON.name:
                    others = [other for other in others if are_apart(self._reference, self.slip.code, other.code)]
            second = _second_slip(self.slip, others, rng)
            if second is not None:
                programs, steps = [second.code, *programs], [second, *steps]
            if second is not None and interacting and self.problem.language == PYTHON.name:
                pairs = pairs_with(self.slip, others, _slips_of(programs[-1]))
                rng.shuffle(pairs)
        is_tidied = only_plausible and self.problem.language == PYTHON.name
        chosen = tuple(as_people_write(tests[i]) if is_tidied else tests[i] for i in shown)
        return MutationPlan(self.problem, tuple(programs), tuple(steps), chosen, plan_seed, tuple(pairs))


def with_crafted_tests(plan: MutationPlan, slips: Sequence[str], count: int, seed: int, execute: Executions) -> MutationPlan:
    """Return the plan with up to `count` crafted tests: each attempt fails at least one, and together they detect most slips.

    Args:
        slips: all programs of the problem with a slip, in the order of its candidates.
    """
    tests = execute.craft(plan.problem, slips, seed)
    if not tests:
        return plan
    texts = [test.text for test in tests]
    attempts = [
        "".join(test.failing[slips.index(program)] for test in tests)
        if program in slips
        else execute.failing(plan.problem, texts, program)
        for program in plan.programs[:-1]
    ]
    shown = choose(tests, attempts, count, random.Random(f"crafted/{plan.seed}"))
    return replace(plan, shown_tests=shown.tests, cases=shown.cases)


def candidates(problem: Problem, seed: int, misread: bool = False) -> list[Candidate]:
    """Return all slips of a problem's reference, in a random order fixed by the seed.

    Args:
        misread: append all misreadings of the problem after the slips.
    """
    slips = slips_of(problem).mutations(answer_program(problem))
    random.Random(f"candidates/{seed}/{problem.task_id}").shuffle(slips)
    if misread and problem.language == PYTHON.name:
        programs = misreadings(problem)
        random.Random(f"misreadings/{seed}/{problem.task_id}").shuffle(programs)
        slips += programs
    return [Candidate(problem, slip, number) for number, slip in enumerate(slips)]


@lru_cache(maxsize=512)
def _slips_of(reference: str) -> tuple[Mutation, ...]:
    return tuple(mutations(reference))


def _second_slip(first: Mutation, slips: list[Mutation], rng: random.Random) -> Mutation | None:
    """Draw a second slip of the already wrong program, in another place and of another kind."""
    others = [m for m in slips if m.operator != first.operator and m.correct != first.wrong]
    return rng.choice(others) if others else None


def settle(plan: MutationPlan, execute: Executor) -> MutationPlan:
    """Return the plan with two interacting slips, if runs find such slips among its pairs."""
    if not plan.pairs:
        return plan
    *_, first = plan.steps
    found = choose_pair(plan.programs[-1], first, plan.pairs, plan.problem.setup, plan.shown_tests, execute)
    if found is None:
        return replace(plan, pairs=())
    second, relation = found
    return replace(plan, programs=(second.code, *plan.programs[1:]), steps=(second, first), pairs=(), relation=relation)


def with_small_repair(plan: MutationPlan, execute: Executor) -> MutationPlan:
    """Replace the reference by a smaller repair in the style of the wrong program, if one passes all tests."""
    *others, last = plan.steps
    tests = tuple(dict.fromkeys((*plan.problem.tests, *plan.shown_tests)))
    found = [slip for slip in small_repairs(last) if _num_changed(last.code, slip.code) < _num_changed(last.code, plan.programs[-1])]
    cells = [coding_of(plan.problem).cell(slip.code, plan.problem, tests) for slip in found]
    for slip, cell in zip(found, cells, strict=True):
        (ran,) = execute([cell])
        if ran.passed:
            return replace(plan, programs=(*plan.programs[:-1], slip.code), steps=(*others, replace(slip, code=last.code)))
    return plan


def _num_changed(program: str, corrected: str) -> int:
    return sum(max(len(change.old), len(change.new)) for change in edits(program, corrected))


@dataclass(frozen=True)
class RanPlan:
    """A plan whose attempts fail and whose last program passes, with one execution per cell and one failure per attempt."""

    plan: MutationPlan
    runs: tuple[Execution, ...]
    failures: tuple[Failure, ...]


def run_plan(plan: MutationPlan, execute: Executor) -> RanPlan | Rejected:
    """Run the plan's cells; return a rejection if they cannot become a sample."""
    cells = plan.cells
    runs = execute(cells)
    *attempts, last = runs
    if rejected := _judge_runs(attempts, last):
        return rejected
    failures = [read_failure(cell, plan.shown_tests, ran, execute) for cell, ran in zip(cells, attempts, strict=False)]
    if len(failures) > len(set(failures)):
        return Rejected("repair_changes_nothing", "the first correction leaves the very same failure")
    return RanPlan(plan, tuple(runs), tuple(failures))


def write_sample(plan: MutationPlan, execute: Executor) -> Sample | Rejected:
    """Run the plan's cells and write the sample with diagnoses from templates, or return the rejection."""
    ran = run_plan(plan, execute)
    return ran if isinstance(ran, Rejected) else sample_of(plan, _from_templates(ran))


def write_program_sample(plan: MutationPlan, execute: Executions, *, is_traced: bool) -> Sample | Rejected:
    """Write the sample for a language whose cells are standalone programs."""
    runs = execute(plan.cells, plan.problem.language)
    if rejected := _judge_runs(runs[:-1], runs[-1]):
        return rejected
    blocks = program_blocks(plan, runs, execute, is_traced=is_traced)
    return blocks if isinstance(blocks, Rejected) else sample_of(plan, blocks, {"diagnoses": "traced"} if is_traced else None)


def _from_templates(ran: RanPlan) -> list[Block]:
    plan, failures = ran.plan, ran.failures
    rng = random.Random(f"words/{plan.seed}")
    blocks = [Block("text", opening_with_reasons(OPENINGS, plan.cases, rng))]
    for index, (cell, execution) in enumerate(zip(plan.cells, ran.runs, strict=True)):
        blocks += [Block("code", cell), Block("execution", execution.output.rstrip("\n"))]
        if index < len(failures):
            blocks.append(Block("text", diagnose(plan.steps[index], failures[index], rng)))
    return blocks


def _judge_runs(attempts: list[Execution], last: Execution) -> Rejected | None:
    for attempt in attempts:
        if attempt.passed:
            return Rejected("attempt_passes", "the slip survives the shown tests")
        if attempt.status not in ("failed", "timeout"):
            return Rejected("session_lost", attempt.output)
    if not last.passed or not last.output.endswith("All tests passed.\n"):
        return Rejected("reference_fails", last.output)
    if any(len(attempt.output) > _MAX_OUTPUT_CHARS for attempt in attempts):
        return Rejected("output_too_long")
    return None


def sample_of(
    plan: MutationPlan, blocks: list[Block], about: Mapping[str, Any] | None = None, operators: list[str] | None = None
) -> Sample:
    problem = plan.problem
    metadata = {
        "author": AUTHOR,
        "task_id": problem.task_id,
        **problem.provenance,
        **({"language": problem.language} if problem.language != PYTHON.name else {}),
        "grade": problem.grade,
        "operators": plan.operators if operators is None else operators,
        **plan.shown.about,
        **({"relation": plan.relation} if plan.relation and operators in (None, plan.operators) else {}),
        **(about or {}),
        **({"setup": problem.setup} if problem.setup else {}),
    }
    return Sample(
        (
            user(reflection_request(problem.prompt, problem.instruction, problem.language)),
            assistant(*blocks),
            user(one_off_request(problem.prompt, problem.instruction, problem.language)),
            assistant(Block("text", one_off_answer(answer_program(problem), problem.language))),
        ),
        "reflection",
        {"id": plan.id, "metadata": metadata},
    )
