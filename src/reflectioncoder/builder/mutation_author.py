"""The offline author: from a reference solution, injected slips and a real interpreter to a reflection sample. No LLM.

An attempt is the program with one or two slips, its shown tests and a closing print, as one cell. The cells of a sample run in one
fresh session; what the sample says of them is what the interpreter answered.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from reflectioncoder.builder.mutation import Mutation, mutations
from reflectioncoder.builder.mutation.diagnosis import (
    OPENINGS,
    Failure,
    diagnose,
    error_line,
    failing_test,
    split_assertion,
)
from reflectioncoder.builder.reasons import Reason
from reflectioncoder.data.problems import Problem
from reflectioncoder.data.prompts import answer_program, one_off_answer, one_off_request, reflection_request
from reflectioncoder.data.samples import Block, Sample, assistant, user

AUTHOR = "mutation"
ALL_PASSED = 'print("All tests passed.")'

Executor = Callable[[list[str]], list[dict[str, Any]]]
"""Runs cells in one fresh session → per cell {"status", "output", "error"}."""


@dataclass(frozen=True)
class Chain:
    """A planned sequence of attempts for a problem. `steps[k]` is the slip that correction k repairs.

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
        return [cell(program, self.problem, self.shown_tests) for program in self.programs]


def cell(program: str, problem: Problem, tests: tuple[str, ...]) -> str:
    """An attempt's code block: the program, what the tests need, the tests, and a line that says that they have passed."""
    setup = f"{problem.setup.strip()}\n\n" if problem.setup.strip() else ""
    return f"{program.rstrip()}\n\n{setup}" + "\n".join(tests) + f"\n{ALL_PASSED}"


@dataclass(frozen=True)
class Candidate:
    """A slip that may become a chain. `chain` works it out; it is cheap to hold many candidates."""

    problem: Problem
    slip: Mutation
    number: int

    def chain(self, num_shown_tests: int, two_slip_share: float, seed: int) -> Chain:
        """The sequence of attempts: drawn from the seed and the candidate alone."""
        chain_seed = f"{seed}/{self.problem.task_id}/{self.number}"
        rng = random.Random(f"chain/{chain_seed}")
        tests = self.problem.tests
        shown = sorted(rng.sample(range(len(tests)), min(num_shown_tests, len(tests))))
        programs, steps = [self.slip.code, answer_program(self.problem)], [self.slip]
        if rng.random() < two_slip_share and self.slip.operator != "syntax_slip":
            second = _second_slip(self.slip, rng)
            if second is not None:
                programs, steps = [second.code, *programs], [second, *steps]
        return Chain(self.problem, tuple(programs), tuple(steps), tuple(tests[i] for i in shown), chain_seed)


def candidates(problem: Problem, seed: int) -> list[Candidate]:
    """All slips of a problem's reference, in a random order fixed by the seed."""
    slips = mutations(answer_program(problem))
    random.Random(f"candidates/{seed}/{problem.task_id}").shuffle(slips)
    return [Candidate(problem, slip, number) for number, slip in enumerate(slips)]


def _second_slip(first: Mutation, rng: random.Random) -> Mutation | None:
    """Another slip elsewhere in the already wrong program, of another kind."""
    others = [m for m in mutations(first.code) if m.operator != first.operator and m.correct != first.wrong]
    return rng.choice(others) if others else None


@dataclass(frozen=True)
class Rejected:
    reason: Reason
    detail: str = ""


def write_sample(chain: Chain, execute: Executor) -> Sample | Rejected:
    """Run the chain and write it down, or say why it is no reflection sample."""
    results = execute(chain.cells)
    attempts, last = results[:-1], results[-1]
    for attempt in attempts:
        if attempt["status"] == "ok":
            return Rejected("attempt_passes", "the slip survives the shown tests")
        if attempt["status"] not in ("failed", "timeout"):
            return Rejected("session_lost", attempt["output"])
    if last["status"] != "ok" or not last["output"].endswith("All tests passed.\n"):
        return Rejected("reference_fails", last["output"])
    if any(len(attempt["output"]) > 2000 for attempt in attempts):
        return Rejected("output_too_long")
    failures = [read_failure(chain.cells[index], chain.shown_tests, result, execute) for index, result in enumerate(attempts)]
    if len(failures) > len(set(failures)):
        return Rejected("repair_changes_nothing", "the first correction leaves the very same failure")

    rng = random.Random(f"words/{chain.seed}")
    blocks = [Block("text", rng.choice(OPENINGS))]
    for index, result in enumerate(results):
        blocks += [Block("code", chain.cells[index]), Block("execution", result["output"].rstrip("\n"))]
        if index < len(attempts):
            blocks.append(Block("text", diagnose(chain.steps[index], failures[index], rng)))
    problem = chain.problem
    return Sample(
        (
            user(reflection_request(problem.prompt, problem.instruction)),
            assistant(*blocks),
            user(one_off_request(problem.prompt, problem.instruction)),
            assistant(Block("text", one_off_answer(answer_program(problem)))),
        ),
        "reflection",
        {
            "id": chain.id,
            "metadata": {
                "author": AUTHOR,
                "task_id": problem.task_id,
                **problem.provenance,
                "grade": problem.grade,
                "operators": chain.operators,
                "shown_tests": list(chain.shown_tests),
                **({"setup": problem.setup} if problem.setup else {}),
            },
        },
    )


def _actual_value(cell: str, test: str, call: str, execute: Executor) -> str | None:
    """What the call gives where the failing assertion stands: the same run, with a print in the assertion's place.

    None if that run fails in another way or the value is not a short line.
    """
    before = cell[: cell.rindex(test)]
    asked = execute([f"{before}print(repr({call}))"])[0]
    actual = asked["output"].rstrip("\n").rsplit("\n", 1)[-1]
    return actual if asked["status"] == "ok" and len(actual) <= 80 and "`" not in actual else None


def read_failure(cell: str, shown_tests: tuple[str, ...], result: dict[str, Any], execute: Executor) -> Failure:
    """What the failing execution of a cell shows; for a failed equality also the value that the call really gives."""
    error = error_line(result["output"])
    if result["status"] == "timeout":
        return Failure("timeout", error)
    if result["error"] in ("SyntaxError", "IndentationError", "TabError"):
        return Failure("syntax", error)
    if result["error"] != "AssertionError":
        return Failure("exception", error)
    test = failing_test(result["output"], shown_tests) or ""
    parts = split_assertion(test) if test else None
    if parts is None:
        return Failure("assertion" if test else "exception", error, test)
    actual = _actual_value(cell, test, parts[0], execute)
    if actual is None or actual == parts[1]:
        return Failure("assertion", error, test)
    return Failure("wrong_value", error, test, call=parts[0], expected=parts[1], actual=actual)
