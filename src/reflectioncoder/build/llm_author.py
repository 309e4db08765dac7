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
from reflectioncoder.build import gates
from reflectioncoder.build.conversation import Conversation
from reflectioncoder.build.executions import Executions
from reflectioncoder.build.log import BuildLog
from reflectioncoder.build.mutation import mutations
from reflectioncoder.build.mutation_author import Rejected
from reflectioncoder.build.testing import Tests
from reflectioncoder.config import BuildConfig, EndpointConfig
from reflectioncoder.data.problems import Problem
from reflectioncoder.data.prompts import one_off_answer, one_off_request, reflection_request, statement
from reflectioncoder.data.samples import Block, Sample, assistant, user
from reflectioncoder.errors import UsageError
from reflectioncoder.generate.endpoint import Endpoint, RefusedError, Reply

AUTHOR = "llm"
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
        texts = [(folder / f"{part}.jinja").read_text(encoding="utf-8") for part in ("reflect", "feedback", "answer")]
        self.digest = hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]


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


class Asker:
    """`asker(conversation, rollout, turn)` is the model's answer, {"text", "finish_reason", …}, from the log where it is there.

    Raises (from calls): what `Endpoint.ask` raises.
    """

    def __init__(self, config: EndpointConfig, seed: int, endpoint: Endpoint, log: BuildLog):
        self.config = config
        self._seed = seed
        self._endpoint = endpoint
        self._log = log
        self._used: dict[int, tuple[int, int]] = {}

    def __call__(self, conversation: Conversation, rollout: Rollout, turn: int) -> dict[str, Any]:
        name = f"{self._seed}/{AUTHOR}:{rollout.problem.task_id}:{rollout.number}/{turn}"
        payload = {
            "model": self.config.model,
            **conversation.payload,
            "max_tokens": self.config.max_tokens,
            "temperature": self.config.temperature,
            "top_p": self.config.top_p,
            "seed": int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") >> 1,
        }
        request = {"payload": payload, "revision": self.config.revision, "rollout": rollout.number}
        try:
            keep = lambda reply: self._log.keep("request", request, asdict(reply))  # noqa: E731
            answered = self._log.recall("request", request, lambda: asdict(self._endpoint.ask(payload, rollout.order, keep)))
        except RefusedError:  # not logged: it has cost nothing, and another server may take it
            answered = asdict(Reply("", "refused", 0, 0))
        read, written = self._used.get(rollout.order, (0, 0))
        self._used[rollout.order] = read + answered["input_tokens"], written + answered["output_tokens"]
        return {**answered, "text": conversation.continuation(answered["text"])}

    def used(self, rollout: Rollout) -> tuple[int, int]:
        """Tokens read and written for a dialogue that has ended, replayed answers included; can be asked once."""
        return self._used.pop(rollout.order, (0, 0))


@dataclass(frozen=True)
class Attempt:
    text: str
    code: str
    status: str
    output: str


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
            found = gates.first_code_block(answered["text"])
            if rejected := unusable(answered, found):
                return rejected
            assert found is not None
            text, code = found
            ran = self._execute([*(attempt.code for attempt in attempts), code])[-1]
            if ran["status"] == "crashed":
                return Rejected("session_lost", ran["output"])
            output = ran["output"].rstrip("\n")
            if len(output) > _MAX_OUTPUT_CHARS:
                return Rejected("output_too_long", output[-500:])
            attempts.append(Attempt(text, code, ran["status"], output))
            conversation.attempted(text, code)
            if ran["status"] != "ok":
                conversation.failed(output, self._prompts.feedback.render(output=output))
        if rejected := self._judge_attempts(attempts, problem.entry_point):
            return rejected
        conversation.passed(attempts[-1].output, self._prompts.answer.render())
        answered = self._ask(conversation, rollout, len(attempts))
        return self._judge_answer(rollout, attempts, answered)

    def _judge_attempts(self, attempts: list[Attempt], entry_point: str) -> Rejected | None:
        texts = [part for attempt in attempts for part in (attempt.text, attempt.code, attempt.output)]
        if gates.spells_special_token(*texts):
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

    def _judge_answer(self, rollout: Rollout, attempts: list[Attempt], answered: dict[str, Any]) -> Sample | Rejected:
        found = gates.first_code_block(answered["text"])
        if answered["finish_reason"] == "refused":
            return Rejected("refused")
        problem = rollout.problem
        if found is None or answered["finish_reason"] == "length" or not _answers(found[1], problem):
            return Rejected("answer_without_program", answered["text"][-500:])
        program = found[1]
        if gates.spells_special_token(program):
            return Rejected("special_tokens")
        if gates.refers_back(program):
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
        except (libcst.CSTValidationError, libcst.ParserSyntaxError, RecursionError):
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


def _answers(program: str, problem: Problem) -> bool:
    """Whether a program defines what is asked for; anything at all where the problem names nothing."""
    return gates.defines(program, problem.entry_point) if problem.entry_point else gates.defines_something(program)


def unusable(answered: dict[str, Any], found: tuple[str, str] | None) -> Rejected | None:
    """Why an answer holds no program, if it does not."""
    if answered["finish_reason"] == "refused":
        return Rejected("refused")
    if found is None or answered["finish_reason"] == "length":
        return Rejected("no_code" if found is None else "answer_cut_off", answered["text"][-500:])
    return None
