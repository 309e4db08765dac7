"""The author that asks a model: the two-stage dialogue with a real interpreter (method, section 1).

Stage one: the model writes a program with tests, sees the interpreter's output and corrects the program until all tests pass. Stage
two: it gives the final program. In the sample, stage one becomes one assistant turn of typed blocks, and the plain one-off request
replaces the long request of stage two.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass

import libcst

from reflectioncoder import syntax
from reflectioncoder.builder import checks, texts
from reflectioncoder.builder.author import Author, Build, DialogueStats, Traits
from reflectioncoder.builder.authors.answers import Answer, unusable
from reflectioncoder.builder.authors.model import MODEL_OPTIONS, LoggedModel, check_asking, run_with_model, source_of_answers
from reflectioncoder.builder.authors.servers import Server
from reflectioncoder.builder.claims import invented_output
from reflectioncoder.builder.conversation import Conversation
from reflectioncoder.builder.executions import Executions
from reflectioncoder.builder.mutation import mutations
from reflectioncoder.builder.outcomes import Rejected
from reflectioncoder.builder.prose_language import is_in_another_language
from reflectioncoder.builder.rollouts import Rollout, SampleNames
from reflectioncoder.builder.templates import Prompts
from reflectioncoder.builder.testing import Tests
from reflectioncoder.config.building import BuildConfig
from reflectioncoder.data.answers import read_answer
from reflectioncoder.data.problems import Problem
from reflectioncoder.data.prompts import one_off_answer, one_off_request, reflection_request, statement
from reflectioncoder.data.samples import Block, Sample, assistant, user
from reflectioncoder.languages import PYTHON

_MAX_OUTPUT_CHARS = 2000
_NUM_MUTANTS = 8


@dataclass(frozen=True)
class DialogueAuthor(Author):
    """The author for `build.author: openai`, `local` and `vllm`: a model writes whole dialogues."""

    server: Server

    @property
    def traits(self) -> Traits:
        return Traits(
            options=MODEL_OPTIONS - self.server.unused_options | {"max_executions", "keep_first_try", "min_killed_mutants", "prompts"},
            languages=frozenset((PYTHON.name,)),
            needs_reference=False,
            varies_one_program=False,
            heeds_other_problems=False,
        )

    def check(self, config: BuildConfig) -> None:
        check_asking(config)
        Prompts(config.prompts)
        self.server.check(config.endpoint)

    def names_in_samples(self, config: BuildConfig) -> SampleNames:
        return SampleNames("llm", source_of_answers(config.endpoint))

    def write(self, build: Build) -> DialogueStats:
        return run_with_model(build, self, self.server, _writing)


def _writing(build: Build, model: LoggedModel) -> Callable[[Rollout], Sample | Rejected]:
    return DialogueWriter(build.config, model, build.execute).write


@dataclass(frozen=True)
class Attempt:
    """An executed program of the model. `answer`: the model's whole reply without its reasoning."""

    text: str
    code: str
    passed: bool
    output: str
    answer: str


class DialogueWriter:
    """`write(rollout)` runs a dialogue; given the same log it is deterministic.

    Raises (from `write`):
        EndpointError, BudgetError, SandboxUnavailableError: the dialogue resumes from the log in the next run.
    """

    def __init__(self, config: BuildConfig, model: LoggedModel, execute: Executions):
        self._config = config
        self._model = model
        self._execute = execute
        self._prompts = Prompts(config.prompts)

    def write(self, rollout: Rollout) -> Sample | Rejected:
        problem = rollout.problem
        shown = statement(problem.prompt, problem.instruction)
        conversation = Conversation(self._model.config, self._prompts.reflect.render(problem=shown))
        attempts: list[Attempt] = []
        while not attempts or not attempts[-1].passed:
            if len(attempts) == self._config.max_executions:
                return Rejected("unresolved", attempts[-1].output)
            attempt = self._next_attempt(conversation, rollout, attempts)
            if isinstance(attempt, Rejected):
                return attempt
            attempts.append(attempt)
            conversation.attempted(attempt.text, attempt.code)
            if not attempt.passed:
                conversation.failed(attempt.output, self._prompts.feedback.render(output=attempt.output))
        if rejected := self._judge_attempts(attempts, problem.entry_point) or self._judge_texts(attempts, problem):
            return rejected
        conversation.passed(attempts[-1].output, self._prompts.answer.render())
        return self._judge_answer(rollout, attempts, self._model.ask(conversation, rollout, len(attempts)))

    def _next_attempt(self, conversation: Conversation, rollout: Rollout, attempts: list[Attempt]) -> Attempt | Rejected:
        """Request a program and run it in a session after the earlier attempts."""
        answer = self._model.ask(conversation, rollout, len(attempts))
        read = read_answer(answer.text, rollout.problem.entry_point)
        if rejected := unusable(answer, read):
            return rejected
        code = read.solution.strip("\n")
        ran = self._execute([*(attempt.code for attempt in attempts), code])[-1]
        if ran.status == "crashed":
            return Rejected("session_lost", ran.output)
        output = ran.output.rstrip("\n")
        if len(output) > _MAX_OUTPUT_CHARS:
            return Rejected("output_too_long", output)
        return Attempt(read.prose, code, ran.passed, output, read.answer)

    def _judge_attempts(self, attempts: list[Attempt], entry_point: str) -> Rejected | None:
        parts = [part for attempt in attempts for part in (attempt.text, attempt.code, attempt.output)]
        if checks.spells_special_token(*parts):
            return Rejected("special_tokens")
        if len(attempts) == 1 and not self._config.keep_first_try:
            return Rejected("first_try")
        last = checks.assertions(attempts[-1].code, entry_point)
        earlier = [test for attempt in attempts[:-1] for test in checks.assertions(attempt.code, entry_point)]
        if not last or (len(attempts) > 1 and not earlier):
            return Rejected("no_assertion", attempts[-1].code)
        if gone := checks.no_longer_asserted(earlier, last):
            return Rejected("assertions_weakened", "\n".join(gone))
        if any(checks.uses_outside_world(attempt.code) for attempt in attempts):
            return Rejected("outside_world")
        return None

    def _judge_texts(self, attempts: list[Attempt], problem: Problem) -> Rejected | None:
        shown = statement(problem.prompt, problem.instruction)
        dialogue = f"{problem.instruction}\n{self._prompts.reflect.render(problem='')}"
        for number, attempt in enumerate(attempts):
            earlier = attempts[:number]
            if earlier and not texts.diagnoses(attempt.text):
                return Rejected("no_diagnosis", attempt.text)
            if is_in_another_language(attempt.text, dialogue):
                return Rejected("other_language", attempt.text)
            if invented := texts.invents_output(attempt.answer, (other.output for other in earlier), shown):
                return Rejected("invented_output", invented)
            if any(_repeats(attempt, other, problem.entry_point) for other in earlier):
                return Rejected("repeated_attempt", attempt.code)
        invented = invented_output(reflection_request(problem.prompt, problem.instruction), _blocks(attempts))
        return Rejected("invented_output", invented) if invented else None

    def _judge_answer(self, rollout: Rollout, attempts: list[Attempt], answer: Answer) -> Sample | Rejected:
        if rejected := answer.missing:
            return rejected
        problem = rollout.problem
        program = read_answer(answer.text, problem.entry_point).solution.strip("\n")
        if answer.was_cut_off or not _answers(program, problem):
            return Rejected("answer_without_program", answer.text)
        if rejected := _judge_program(program, problem.entry_point):
            return rejected
        own_tests = checks.tests_for(program, attempts[-1].code)
        first, second = (self._execute.test(program, Tests("", (own_tests,)), run) for run in range(2))
        if first.status != second.status:
            return Rejected("not_deterministic", program)
        if not first.passed:
            return Rejected("answer_fails_own_tests", program)
        if problem.tests and not self._execute.test(program, Tests(problem.setup, problem.tests)).passed:
            return Rejected("answer_fails_tests", program)
        killed = self._share_of_killed_mutants(program, own_tests)
        if killed is None:
            return Rejected("not_understood", program)
        if killed < self._config.min_killed_mutants:
            return Rejected("vacuous_tests", f"{killed:.2f} of the slips are noticed")
        return self._sample(rollout, attempts, program, killed)

    def _share_of_killed_mutants(self, program: str, own_tests: str) -> float | None:
        """Return the share of mutants that fail the tests; None if the program cannot be parsed."""
        try:
            slips = mutations(ast.unparse(syntax.parse(program)))  # normalizes unusual spacing and parentheses
        except (libcst.CSTValidationError, libcst.ParserSyntaxError, RecursionError, ValueError):
            return None
        chosen = slips[:: max(1, -(-len(slips) // _NUM_MUTANTS))]
        killed = [not self._execute([f"{slip.code}\n\n{own_tests}"])[0].passed for slip in chosen]
        return sum(killed) / len(killed) if killed else 1.0

    def _sample(self, rollout: Rollout, attempts: list[Attempt], program: str, killed: float) -> Sample:
        problem = rollout.problem
        metadata = {
            "author": rollout.names.author,
            "model": self._model.config.model,
            "task_id": problem.task_id,
            **problem.provenance,
            "grade": problem.grade,
            "operators": [],
            "passes": [attempt.passed for attempt in attempts],
            "killed_mutants": round(killed, 3),
        }
        return Sample(
            (
                user(reflection_request(problem.prompt, problem.instruction)),
                assistant(*_blocks(attempts)),
                user(one_off_request(problem.prompt, problem.instruction)),
                assistant(Block("text", one_off_answer(program))),
            ),
            "reflection",
            {"id": rollout.id, "metadata": metadata},
        )


def _blocks(attempts: list[Attempt]) -> list[Block]:
    blocks: list[Block] = []
    for attempt in attempts:
        blocks += [Block("text", attempt.text)] if attempt.text else []
        blocks += [Block("code", attempt.code), Block("execution", attempt.output)]
    return blocks


def _judge_program(program: str, entry_point: str) -> Rejected | None:
    """Return why a final program is unacceptable, by static checks."""
    if checks.spells_special_token(program):
        return Rejected("special_tokens")
    if texts.refers_back(program):
        return Rejected("answer_refers_back", program)
    if checks.assertions(program, entry_point) or checks.has_usage(program, entry_point):
        return Rejected("answer_has_tests", program)
    if checks.uses_outside_world(program):
        return Rejected("outside_world")
    return None


def _repeats(attempt: Attempt, earlier: Attempt, entry_point: str) -> bool:
    now, before = checks.assertions(attempt.code, entry_point), checks.assertions(earlier.code, entry_point)
    programs = checks.without_tests(attempt.code, entry_point), checks.without_tests(earlier.code, entry_point)
    return texts.repeats(attempt.code, earlier.code, now, before, programs)


def _answers(program: str, problem: Problem) -> bool:
    """Tell whether a program defines the entry point, or anything at all if the problem names none."""
    return checks.defines(program, problem.entry_point) if problem.entry_point else checks.defines_something(program)
