"""From a reference solution, injected slips and a real interpreter to a reflection sample. No model is asked.

An attempt is the program with one or two slips, its shown tests and a closing print, as one cell. The cells of a sample run in one
fresh session; what the sample says of them is what the interpreter answered.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from reflectioncoder.builder.authors.traced import Attempt, Story, traced_blocks
from reflectioncoder.builder.cells import Execution, Executor, python_cell
from reflectioncoder.builder.executions import Executions
from reflectioncoder.builder.failures import read_failure
from reflectioncoder.builder.mutation import Mutation, mutations
from reflectioncoder.builder.mutation.diagnosis import OPENINGS, Failure, diagnose
from reflectioncoder.builder.mutation.misreadings import FAMILIES, misreadings
from reflectioncoder.builder.outcomes import Rejected
from reflectioncoder.data.problems import Problem
from reflectioncoder.data.prompts import answer_program, one_off_answer, one_off_request, reflection_request
from reflectioncoder.data.samples import Block, Sample, assistant, user

AUTHOR = "mutation"

_MAX_OUTPUT_CHARS = 2000


@dataclass(frozen=True)
class MutationPlan:
    """The planned attempts of a sample. `steps[k]` is the slip that correction k repairs.

    `programs[k]` still contains `steps[k:]`; the last program is the reference.
    """

    problem: Problem
    programs: tuple[str, ...]
    steps: tuple[Mutation, ...]
    shown_tests: tuple[str, ...]
    seed: str

    @property
    def operators(self) -> list[str]:
        return [step.operator for step in self.steps]

    @property
    def id(self) -> str:
        return f"{AUTHOR}:{self.seed}"

    @property
    def cells(self) -> list[str]:
        return [python_cell(program, self.problem, self.shown_tests) for program in self.programs]


@dataclass(frozen=True)
class Candidate:
    """A slip that a sample may be made of. `plan` works the attempts out; it is cheap to hold many candidates."""

    problem: Problem
    slip: Mutation
    number: int

    @property
    def is_misreading(self) -> bool:
        return self.slip.operator in FAMILIES

    def plan(self, num_shown_tests: int, two_slip_share: float, seed: int) -> MutationPlan:
        """Plan the attempts: drawn from the seed and the candidate alone."""
        plan_seed = f"{seed}/{self.problem.task_id}/{self.number}"
        rng = random.Random(f"chain/{plan_seed}")
        tests = self.problem.tests
        shown = sorted(rng.sample(range(len(tests)), min(num_shown_tests, len(tests))))
        programs, steps = [self.slip.code, answer_program(self.problem)], [self.slip]
        if rng.random() < two_slip_share and self.slip.operator != "syntax_slip":
            second = _second_slip(self.slip, rng)
            if second is not None:
                programs, steps = [second.code, *programs], [second, *steps]
        return MutationPlan(self.problem, tuple(programs), tuple(steps), tuple(tests[i] for i in shown), plan_seed)


def candidates(problem: Problem, seed: int, misread: bool = False) -> list[Candidate]:
    """Return all slips of a problem's reference, in a random order fixed by the seed.

    Args:
        misread: all misreadings of the problem too, behind the slips.
    """
    slips = mutations(answer_program(problem))
    random.Random(f"candidates/{seed}/{problem.task_id}").shuffle(slips)
    if misread:
        programs = misreadings(problem)
        random.Random(f"misreadings/{seed}/{problem.task_id}").shuffle(programs)
        slips += programs
    return [Candidate(problem, slip, number) for number, slip in enumerate(slips)]


def _second_slip(first: Mutation, rng: random.Random) -> Mutation | None:
    """Draw another slip elsewhere in the already wrong program, of another kind."""
    others = [m for m in mutations(first.code) if m.operator != first.operator and m.correct != first.wrong]
    return rng.choice(others) if others else None


def write_sample(plan: MutationPlan, execute: Executor, tracing: Executions | None = None) -> Sample | Rejected:
    """Run the plan's cells and write the sample, or say why it is none.

    Args:
        tracing: write traced diagnoses with it; None: from templates.
    """
    cells = plan.cells
    runs = execute(cells)
    *attempts, last = runs
    if rejected := _judge_runs(attempts, last):
        return rejected
    failures = [read_failure(cell, plan.shown_tests, ran, execute) for cell, ran in zip(cells, attempts, strict=False)]
    if len(failures) > len(set(failures)):
        return Rejected("repair_changes_nothing", "the first correction leaves the very same failure")
    if tracing is None:
        return _sample(plan, _from_templates(plan, runs, failures))
    blocks = _traced(plan, runs, failures, tracing)
    return blocks if isinstance(blocks, Rejected) else _sample(plan, blocks, {"diagnoses": "traced"})


def _from_templates(plan: MutationPlan, runs: list[Execution], failures: list[Failure]) -> list[Block]:
    rng = random.Random(f"words/{plan.seed}")
    blocks = [Block("text", rng.choice(OPENINGS))]
    for index, (cell, ran) in enumerate(zip(plan.cells, runs, strict=True)):
        blocks += [Block("code", cell), Block("execution", ran.output.rstrip("\n"))]
        if index < len(failures):
            blocks.append(Block("text", diagnose(plan.steps[index], failures[index], rng)))
    return blocks


def _traced(plan: MutationPlan, runs: list[Execution], failures: list[Failure], execute: Executions) -> list[Block] | Rejected:
    problem, cells = plan.problem, plan.cells
    attempts = tuple(
        Attempt(plan.programs[index], plan.programs[index + 1], cells[index], runs[index], failure, plan.steps[index])
        for index, failure in enumerate(failures)
    )
    request = reflection_request(problem.prompt, problem.instruction)
    tests = tuple(test.strip() for test in plan.shown_tests)
    story = Story(request, problem.entry_point, problem.setup, tests, attempts, cells[-1], runs[-1].output)
    return traced_blocks(story, execute, plan.seed)


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


def _sample(plan: MutationPlan, blocks: list[Block], about: dict[str, str] | None = None) -> Sample:
    problem = plan.problem
    metadata = {
        "author": AUTHOR,
        "task_id": problem.task_id,
        **problem.provenance,
        "grade": problem.grade,
        "operators": plan.operators,
        "shown_tests": list(plan.shown_tests),
        **(about or {}),
        **({"setup": problem.setup} if problem.setup else {}),
    }
    return Sample(
        (
            user(reflection_request(problem.prompt, problem.instruction)),
            assistant(*blocks),
            user(one_off_request(problem.prompt, problem.instruction)),
            assistant(Block("text", one_off_answer(answer_program(problem)))),
        ),
        "reflection",
        {"id": plan.id, "metadata": metadata},
    )
