"""The author that asks a model: the two-stage dialogue with a real interpreter (method, section 1).

Stage one: the model writes a program with tests, it is run, the model is shown what the interpreter prints and corrects itself, until
everything passes. Stage two: it gives the final program. In the sample stage one is one assistant turn of typed blocks, and the long
request of stage two is replaced by the plain one.
"""

from __future__ import annotations

import ast
import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import libcst
from jinja2 import Environment, FileSystemLoader, StrictUndefined, TemplateError, TemplateNotFound

from reflectioncoder import syntax
from reflectioncoder.builder import gates, texts
from reflectioncoder.builder.conversation import Conversation
from reflectioncoder.builder.executions import Executions
from reflectioncoder.builder.log import BuildLog
from reflectioncoder.builder.mutation import mutations
from reflectioncoder.builder.mutation_author import Rejected
from reflectioncoder.builder.prose_language import is_in_another_language
from reflectioncoder.builder.testing import Tests
from reflectioncoder.config.declarations import BuildConfig, EndpointConfig
from reflectioncoder.data.answers import ReadAnswer, read_answer
from reflectioncoder.data.problems import Problem
from reflectioncoder.data.prompts import one_off_answer, one_off_request, reflection_request, statement
from reflectioncoder.data.samples import Block, Sample, assistant, user
from reflectioncoder.errors import UsageError
from reflectioncoder.generate.body import request_body
from reflectioncoder.generate.endpoint import Endpoint, RefusedError
from reflectioncoder.generate.reply import Reply

AUTHOR = "llm"
EMPTY = "empty"  # the finish reason of an answer without a text
_MAX_OUTPUT_CHARS = 2000
_NUM_MUTANTS = 8


class Prompts:
    """The templates reflect, feedback and answer.

    Raises:
        UsageError: neither a version of the package nor a folder with the three.
    """

    def __init__(self, name: str):
        bundled = Path(__file__).parent / "prompts"
        folder = bundled / name if (bundled / name).is_dir() else Path(name)
        environment = Environment(loader=FileSystemLoader(folder), undefined=StrictUndefined, keep_trailing_newline=False)
        try:
            self.reflect, self.feedback, self.answer = (
                environment.get_template(f"{part}.jinja") for part in ("reflect", "feedback", "answer")
            )
            for template, fields in ((self.reflect, {"problem": ""}), (self.feedback, {"output": ""}), (self.answer, {})):
                template.render(fields)
        except TemplateNotFound as error:
            known = sorted(path.name for path in bundled.iterdir() if path.is_dir())
            raise UsageError.for_value(f"no template {error}", "build.prompts", name, [*known, "a folder with the three"]) from error
        except (TemplateError, UnicodeDecodeError) as error:
            raise UsageError(f"build.prompts: a template of {folder} is malformed: {error}") from error
        sources = [(folder / f"{part}.jinja").read_text(encoding="utf-8") for part in ("reflect", "feedback", "answer")]
        self.digest = hashlib.sha256("\0".join(sources).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Rollout:
    """One dialogue to be held: the `number`-th about a problem, the `order`-th of all."""

    problem: Problem
    number: int
    order: int = 0  # lower ones go first where requests wait
    author: str = AUTHOR
    source: str = ""  # whose answers the sample is made of (`options.names_in_samples`)
    seed: int = 0

    @property
    def id(self) -> str:
        """The sample's: also in data sets of several models and seeds."""
        return f"{self.author}:{self.source}:{self.problem.task_id}:{self.seed}-{self.number}"


@dataclass
class Used:
    """The use that a dialogue has made of the model in this process: tokens, its turns, and how many of these were in the log."""

    input_tokens: int = 0
    output_tokens: int = 0
    num_turns: int = 0
    num_replayed: int = 0


class Asker:
    """Asks the model: `asker(conversation, rollout, turn)` returns its answer, {"text", "finish_reason", …}.

    The answer is taken from the log if it is there. The finish reason is `EMPTY` if there is no text.

    Raises (from calls): what `Endpoint.ask` raises.
    """

    def __init__(self, config: EndpointConfig, seed: int, endpoint: Endpoint, log: BuildLog):
        self.config = config
        self._seed = seed
        self._endpoint = endpoint
        self._log = log
        self._used: dict[int, Used] = {}

    def __call__(self, conversation: Conversation, rollout: Rollout, turn: int) -> dict[str, Any]:
        name = f"{self._seed}/{AUTHOR}:{rollout.problem.task_id}:{rollout.number}/{turn}"
        payload = request_body(
            self.config,
            {
                "model": self.config.model,
                **conversation.payload,
                "max_tokens": self.config.max_tokens,
                "temperature": self.config.temperature,
                "top_p": self.config.top_p,
                "seed": int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") >> 1,
            },
        )
        request = {"payload": payload, "revision": self.config.revision, "rollout": rollout.number}
        used = self._used.setdefault(rollout.order, Used())

        used.num_turns += 1
        used.num_replayed += 1

        def ask() -> dict[str, Any]:
            used.num_replayed -= 1
            reply = self._endpoint.ask(payload, rollout.order, self._log.account(request))
            used.input_tokens += reply.input_tokens
            used.output_tokens += reply.output_tokens
            return asdict(reply)

        try:
            answered = self._log.recall("request", request, ask)
        except RefusedError:  # not logged: it has cost nothing, and another server may take it
            answered = asdict(Reply("", "refused", 0, 0))
        if answered["finish_reason"] != "refused" and not answered["text"].strip():
            return {**answered, "finish_reason": EMPTY}
        return {**answered, "text": conversation.continuation(answered["text"])}

    def used(self, rollout: Rollout) -> Used:
        """Return what a dialogue that has ended has taken; it can be asked for once."""
        return self._used.pop(rollout.order, Used())


@dataclass(frozen=True)
class Attempt:
    text: str
    code: str
    status: str
    output: str
    answer: str
    """Everything that the model has said after its thoughts."""


class LlmAuthor:
    """`write(rollout)` holds a dialogue; the same one whenever it is held again with the same log.

    Raises (from `write`):
        EndpointError, BudgetError, SandboxUnavailableError: nothing of the dialogue is lost, it goes on in the next run.
    """

    def __init__(self, config: BuildConfig, ask: Asker, execute: Executions):
        self._config = config
        self._ask = ask
        self._execute = execute
        self._prompts = Prompts(config.prompts)

    def write(self, rollout: Rollout) -> Sample | Rejected:
        problem = rollout.problem
        shown = statement(problem.prompt, problem.instruction)
        conversation = Conversation(self._ask.config, self._prompts.reflect.render(problem=shown))
        attempts: list[Attempt] = []
        while not attempts or attempts[-1].status != "ok":
            if len(attempts) == self._config.max_executions:
                return Rejected("unresolved", attempts[-1].output)
            answered = self._ask(conversation, rollout, len(attempts))
            read = read_answer(answered["text"], problem.entry_point)
            if rejected := unusable(answered, read):
                return rejected
            text, code = read.prose, read.solution.strip("\n")
            ran = self._execute([*(attempt.code for attempt in attempts), code])[-1]
            if ran["status"] == "crashed":
                return Rejected("session_lost", ran["output"])
            output = ran["output"].rstrip("\n")
            if len(output) > _MAX_OUTPUT_CHARS:
                return Rejected("output_too_long", output[-500:])
            attempts.append(Attempt(text, code, ran["status"], output, read.answer))
            conversation.attempted(text, code)
            if ran["status"] != "ok":
                conversation.failed(output, self._prompts.feedback.render(output=output))
        if rejected := self._judge_attempts(attempts, problem.entry_point) or self._judge_texts(attempts, problem):
            return rejected
        conversation.passed(attempts[-1].output, self._prompts.answer.render())
        answered = self._ask(conversation, rollout, len(attempts))
        return self._judge_answer(rollout, attempts, answered)

    def _judge_attempts(self, attempts: list[Attempt], entry_point: str) -> Rejected | None:
        parts = [part for attempt in attempts for part in (attempt.text, attempt.code, attempt.output)]
        if gates.spells_special_token(*parts):
            return Rejected("special_tokens")
        if len(attempts) == 1 and not self._config.keep_first_try:
            return Rejected("first_try")
        last = gates.assertions(attempts[-1].code, entry_point)
        earlier = [test for attempt in attempts[:-1] for test in gates.assertions(attempt.code, entry_point)]
        if not last or (len(attempts) > 1 and not earlier):
            return Rejected("no_assertion", attempts[-1].code[-500:])
        if gone := gates.no_longer_asserted(earlier, last):
            return Rejected("assertions_weakened", "\n".join(gone))
        if any(gates.uses_outside_world(attempt.code) for attempt in attempts):
            return Rejected("outside_world")
        return None

    def _judge_texts(self, attempts: list[Attempt], problem: Problem) -> Rejected | None:
        shown = statement(problem.prompt, problem.instruction)
        dialogue = f"{problem.instruction}\n{self._prompts.reflect.render(problem='')}"
        for number, attempt in enumerate(attempts):
            earlier = attempts[:number]
            if earlier and not texts.diagnoses(attempt.text):
                return Rejected("no_diagnosis", attempt.text[-500:])
            if is_in_another_language(attempt.text, dialogue):
                return Rejected("other_language", attempt.text[-500:])
            if invented := texts.invents_output(attempt.answer, (other.output for other in earlier), shown):
                return Rejected("invented_output", invented[-500:])
            if any(_repeats(attempt, other, problem.entry_point) for other in earlier):
                return Rejected("repeated_attempt", attempt.code[-500:])
        return None

    def _judge_answer(self, rollout: Rollout, attempts: list[Attempt], answered: dict[str, Any]) -> Sample | Rejected:
        if answered["finish_reason"] == "refused":
            return Rejected("refused")
        if answered["finish_reason"] == EMPTY:
            return Rejected("empty_answer")
        problem = rollout.problem
        program = read_answer(answered["text"], problem.entry_point).solution.strip("\n")
        if answered["finish_reason"] == "length" or not _answers(program, problem):
            return Rejected("answer_without_program", answered["text"][-500:])
        if gates.spells_special_token(program):
            return Rejected("special_tokens")
        if texts.refers_back(program):
            return Rejected("answer_refers_back", program[-500:])
        if gates.assertions(program, problem.entry_point) or gates.has_usage(program, problem.entry_point):
            return Rejected("answer_has_tests", program[-500:])
        if gates.uses_outside_world(program):
            return Rejected("outside_world")
        own_tests = gates.tests_for(program, attempts[-1].code)
        runs = [self._execute.test(program, Tests("", (own_tests,)), run)["status"] for run in range(2)]
        if runs[0] != runs[1]:
            return Rejected("not_deterministic", program[-500:])
        if runs[0] != "ok":
            return Rejected("answer_fails_own_tests", program[-500:])
        if problem.tests and self._execute.test(program, Tests(problem.setup, problem.tests))["status"] != "ok":
            return Rejected("answer_fails_tests", program[-500:])
        killed = self._share_of_killed_mutants(program, own_tests)
        if killed is None:
            return Rejected("not_understood", program[-500:])
        if killed < self._config.min_killed_mutants:
            return Rejected("vacuous_tests", f"{killed:.2f} of the slips are noticed")
        return self._sample(rollout, attempts, program, killed)

    def _share_of_killed_mutants(self, program: str, own_tests: str) -> float | None:
        """None if the program cannot be taken apart."""
        try:
            slips = mutations(ast.unparse(syntax.parse(program)))  # without odd spacing and parentheses, which no reference has
        except (libcst.CSTValidationError, libcst.ParserSyntaxError, RecursionError, ValueError):
            return None
        chosen = slips[:: max(1, -(-len(slips) // _NUM_MUTANTS))]
        killed = [self._execute([f"{slip.code}\n\n{own_tests}"])[0]["status"] != "ok" for slip in chosen]
        return sum(killed) / len(killed) if killed else 1.0

    def _sample(self, rollout: Rollout, attempts: list[Attempt], program: str, killed: float) -> Sample:
        blocks: list[Block] = []
        for attempt in attempts:
            blocks += [Block("text", attempt.text)] if attempt.text else []
            blocks += [Block("code", attempt.code), Block("execution", attempt.output)]
        problem = rollout.problem
        metadata = {
            "author": AUTHOR,
            "model": self._ask.config.model,
            "task_id": problem.task_id,
            **problem.provenance,
            "grade": problem.grade,
            "operators": [],
            "passes": [attempt.status == "ok" for attempt in attempts],
            "killed_mutants": round(killed, 3),
        }
        return Sample(
            (
                user(reflection_request(problem.prompt, problem.instruction)),
                assistant(*blocks),
                user(one_off_request(problem.prompt, problem.instruction)),
                assistant(Block("text", one_off_answer(program))),
            ),
            "reflection",
            {"id": rollout.id, "metadata": metadata},
        )


def _repeats(attempt: Attempt, earlier: Attempt, entry_point: str) -> bool:
    now, before = gates.assertions(attempt.code, entry_point), gates.assertions(earlier.code, entry_point)
    programs = gates.without_tests(attempt.code, entry_point), gates.without_tests(earlier.code, entry_point)
    return texts.repeats(attempt.code, earlier.code, now, before, programs)


def _answers(program: str, problem: Problem) -> bool:
    """Whether a program defines what is asked for; anything at all where the problem names nothing."""
    return gates.defines(program, problem.entry_point) if problem.entry_point else gates.defines_something(program)


def unusable(answered: dict[str, Any], read: ReadAnswer) -> Rejected | None:
    """Why an answer holds no program, if it does not."""
    if answered["finish_reason"] == "refused":
        return Rejected("refused")
    if answered["finish_reason"] == EMPTY:
        return Rejected("empty_answer")
    if not read.has_program:
        return Rejected("no_code", answered["text"][-500:])
    # A text that never ends: the stop text, which ends a block, stood in it.
    if answered["finish_reason"] == "length" or gates.ends_within_text(read.solution):
        return Rejected("answer_cut_off", answered["text"][-500:])
    return None
