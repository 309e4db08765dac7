"""Samples for weak models: a model's own failing attempt, with the reference solution as its repair.

The attempt is the model's answer to the plain one-off request. It is run with the problem's tests, not the model's own, so that a
failure is the program's fault. The sample describes the failure as the interpreter showed it.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any

from reflectioncoder import syntax
from reflectioncoder.builder import checks
from reflectioncoder.builder.author import Build
from reflectioncoder.builder.authors.answers import Answer, unusable
from reflectioncoder.builder.causes import Cause, Observed, minimal_repair, observed_causes, refined
from reflectioncoder.builder.cells import Execution
from reflectioncoder.builder.claims.evidence import Evidence, tokens_of
from reflectioncoder.builder.coding import Coding, coding_of
from reflectioncoder.builder.crafted.selection import ShownTests, choose
from reflectioncoder.builder.crafted.words import opening_with_reasons
from reflectioncoder.builder.mutation import Mutation, mutations
from reflectioncoder.builder.mutation.diagnosis import OPENINGS, Failure, observe
from reflectioncoder.builder.outcomes import Rejected
from reflectioncoder.builder.rollouts import Rollout
from reflectioncoder.builder.stories import Attempt, Story, traced_blocks
from reflectioncoder.builder.testing import Tests
from reflectioncoder.config.building import BuildConfig
from reflectioncoder.data.answers import ReadAnswer, read_answer
from reflectioncoder.data.problems import Problem
from reflectioncoder.data.prompts import answer_program, one_off_answer, one_off_request, reflection_request
from reflectioncoder.data.samples import Block, Sample, assistant, user
from reflectioncoder.languages import PYTHON

_MAX_OUTPUT_CHARS = 2000
_WRONG = (
    "Reading the statement again, the logic of the function does not do what is asked. I write it anew.",
    "The mistake is in the function, not in the test. Here is the function as the statement asks for it.",
    "The statement asks for something else than what this computes. I rewrite the function.",
    "That is not what is asked for. I go through the statement step by step and rewrite the function.",
)
_BROKEN = (
    "The program does not work as it is written. I write it anew, as the statement asks for it.",
    "So the function cannot even be judged. I rewrite it, step by step.",
    "This has to run before it can be right. Here is the function again, written with care.",
)
_REPAIRS = {"wrong_value": _WRONG, "assertion": _WRONG}


def read_attempt(text: str, problem: Problem) -> ReadAnswer:
    coding = coding_of(problem)
    return read_answer(text, problem.entry_point, language=coding.language, defines=coding.defines)


def of_diagnoses(config: BuildConfig) -> str:
    """Return the part of sample names that marks traced diagnoses and crafted tests; "" by default."""
    return "@".join(mark for mark in (config.diagnoses, config.tests) if mark in ("traced", "crafted"))


@lru_cache(maxsize=64)
def _slips(program: str) -> tuple[str, ...]:
    return tuple(slip.code for slip in mutations(program))


class RepairWriter:
    """`write(rollout)` makes a sample from one attempt; exceptions of `attempt` and the sandbox propagate.

    Args:
        attempt: returns a model's answer to the one-off request for a rollout.
        model: that model's name for the metadata; None: the endpoint's model.
    """

    def __init__(self, build: Build, attempt: Callable[[Rollout], Answer], model: str | None = None):
        self._attempt = attempt
        self._model = build.config.endpoint.model if model is None else model
        self._seed = build.recipe.seed
        self._num_shown_tests = build.config.shown_tests
        self._is_crafted = build.config.tests == "crafted"
        self._execute = build.execute
        self._is_traced = build.config.diagnoses == "traced"

    def write(self, rollout: Rollout) -> Sample | Rejected:
        problem = rollout.problem
        program = self._program(self._attempt(rollout), problem)
        if isinstance(program, Rejected):
            return program
        rng = random.Random(f"hybrid/{self._seed}/{problem.task_id}/{rollout.number}")
        shown = self._shown_tests(problem, program.lstrip("\n"), rng)
        tests = shown.tests
        coding = coding_of(problem)
        cells = [coding.cell(code, problem, shown.lines) for code in (program.lstrip("\n"), answer_program(problem))]
        first, second = self._execute(cells, problem.language)
        if rejected := _judge_runs(first, second):
            return rejected
        failure = coding.read_failure(cells[0], tests, first, self._execute)
        if self._is_traced and coding.language == PYTHON:
            return self._traced(rollout, program.lstrip("\n"), shown, cells, (first, second), failure)
        opening = opening_with_reasons(OPENINGS, shown.cases, rng)
        seen = observe(failure, rng, python=coding.language == PYTHON)
        fence = coding.language.fence
        blocks = [
            Block("text", opening),
            Block("code", cells[0], fence),
            Block("execution", first.output.rstrip("\n")),
            Block("text", f"{seen} {rng.choice(_REPAIRS.get(failure.kind, _BROKEN))}"),
            Block("code", cells[1], fence),
            Block("execution", second.output.rstrip("\n")),
        ]
        return self._sample(rollout, blocks, shown, {"passes": [False, True]})

    def _shown_tests(self, problem: Problem, program: str, rng: random.Random) -> ShownTests:
        numbers = sorted(rng.sample(range(len(problem.tests)), min(self._num_shown_tests, len(problem.tests))))
        own = ShownTests(tuple(problem.tests[number] for number in numbers))
        if not self._is_crafted or problem.language != PYTHON.name:
            return own
        tests = self._execute.craft(problem, _slips(answer_program(problem)), self._seed)
        if not tests:
            return own
        failing = self._execute.failing(problem, [test.text for test in tests], program)
        return choose(tests, [failing], self._num_shown_tests, rng)

    def _traced(
        self,
        rollout: Rollout,
        program: str,
        shown: ShownTests,
        cells: list[str],
        runs: tuple[Execution, Execution],
        failure: Failure,
    ) -> Sample | Rejected:
        """Write a traced sample: the attempt, then a repair of one or two statements if that suffices, else the reference."""
        problem = rollout.problem
        reference, cell, passing = answer_program(problem), cells[1], runs[1]
        repair = minimal_repair(program, reference, lambda other: self._passes(other, problem))
        if repair is not None:
            repaired = coding_of(problem).cell(repair.program, problem, shown.lines)
            ran = self._execute([cells[0], repaired])[-1]
            repair = repair if ran.passed and ran.output == passing.output else None
            cell = repaired if repair else cell
        attempt = Attempt(program, repair.program if repair else reference, cells[0], runs[0], failure)
        request = reflection_request(problem.prompt, problem.instruction)
        tests = tuple(test.strip() for test in shown.tests)
        story = Story(request, problem.entry_point, problem.setup, tests, (attempt,), cell, passing.output, shown.cases)
        told = self._told(story, repair.causes if repair else None, reference, rollout.id)
        if isinstance(told, Rejected):
            return told
        blocks, causes = told
        about = {"diagnoses": "traced", "causes": [cause.kind for cause in causes], "repair": "minimal" if repair else "reference"}
        return self._sample(rollout, blocks, shown, about)

    def _passes(self, program: str, problem: Problem) -> bool:
        return self._execute.test(program, Tests(problem.setup, problem.tests)).passed

    def _told(
        self, story: Story, known: tuple[Cause, ...] | None, reference: str, seed: str
    ) -> tuple[list[Block], tuple[Cause, ...]] | Rejected:
        """Return the blocks, and the first of the possible causes that the sample's evidence supports."""
        attempt = story.attempts[0]
        seen = Observed(attempt.program, reference, story.entry_point, attempt.failure)
        choices = [refined(known, seen)] if known else [(cause,) for cause in observed_causes(seen)]
        told: list[Block] | Rejected = Rejected("unsupported_claim")
        for causes in (*choices, ()):
            slip = next((Mutation(cause.kind, attempt.program, cause.correct, cause.wrong) for cause in causes if known), None)
            told = traced_blocks(replace(story, attempts=(replace(attempt, slip=slip, causes=causes),)), self._execute, seed)
            if not isinstance(told, Rejected) and (
                not any(cause.is_of_result for cause in causes) or _shows(told, attempt.failure.actual)
            ):
                return told, causes
        return told if isinstance(told, Rejected) else (told, ())

    def _program(self, answer: Answer, problem: Problem) -> str | Rejected:
        """Return the program of an attempt without the model's own tests."""
        coding = coding_of(problem)
        read = read_attempt(answer.text, problem)
        if rejected := unusable(answer, read):
            return rejected
        attempt = read.solution.strip("\n")
        program = coding.without_tests(attempt, problem.entry_point)
        return _judge_program(coding, program, attempt, problem.entry_point) or program

    def _sample(self, rollout: Rollout, blocks: list[Block], shown: ShownTests, about: dict[str, Any]) -> Sample:
        problem = rollout.problem
        metadata = {
            "author": rollout.names.author,
            "model": self._model,
            "task_id": problem.task_id,
            **problem.provenance,
            **({"language": problem.language} if problem.language != PYTHON.name else {}),
            "grade": problem.grade,
            "operators": [],
            **about,
            **shown.about,
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
            {"id": rollout.id, "metadata": metadata},
        )


def _shows(blocks: list[Block], value: str) -> bool:
    """Tell whether an execution output of a sample shows a value."""
    evidence = Evidence()
    for block in blocks:
        if block.type == "execution":
            evidence.add_execution(block.content)
    return evidence.is_value_printed(tokens_of(value)) or (value[:1] in "'\"" and evidence.is_text_printed(syntax.literal(value)))


def _judge_program(coding: Coding, program: str, attempt: str, entry_point: str) -> Rejected | None:
    if not coding.defines_something(program):
        return Rejected("no_code", attempt)
    if coding.defines(attempt, entry_point) and not coding.defines(program, entry_point):
        return Rejected("not_understood", attempt)
    if checks.spells_special_token(program):
        return Rejected("special_tokens")
    return Rejected("outside_world") if coding.uses_outside_world(program) else None


def _judge_runs(attempt: Execution, reference: Execution) -> Rejected | None:
    if attempt.passed:
        return Rejected("first_try")
    if attempt.status == "crashed":
        return Rejected("session_lost", attempt.output)
    if len(attempt.output) > _MAX_OUTPUT_CHARS:
        return Rejected("output_too_long", attempt.output)
    return None if reference.passed else Rejected("answer_fails_tests", reference.output)
