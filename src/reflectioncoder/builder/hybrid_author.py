"""The author for weak models: a model's own failing attempt, with the reference solution as its repair.

The attempt is what the model answers to the plain one-off request, asked for here or read from a file; it is run with tests of the
problem, so that what fails is the program and not the model's idea of the tests. What the sample says of the failure is what the
interpreter showed.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from typing import Any

from reflectioncoder.builder import gates
from reflectioncoder.builder.coding import coding_of
from reflectioncoder.builder.conversation import Conversation
from reflectioncoder.builder.executions import Executions
from reflectioncoder.builder.llm_author import Asker, Rollout, unusable
from reflectioncoder.builder.mutation.diagnosis import OPENINGS, observe
from reflectioncoder.builder.mutation_author import Rejected
from reflectioncoder.data.answers import ReadAnswer, read_answer
from reflectioncoder.data.files import read_jsonl
from reflectioncoder.data.problems import Problem
from reflectioncoder.data.prompts import answer_program, one_off_answer, one_off_request, opening_fence, reflection_request
from reflectioncoder.data.samples import Block, Sample, assistant, user
from reflectioncoder.errors import UsageError
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


class AttemptsFile:
    """`attempts(rollout)` is what a file of completions has for a problem: rows as `generate` writes them, or EvalPlus's samples.

    Raises:
        UsageError: a row without task_id and solution or completion (file and line are named).
    """

    def __init__(self, path: str):
        self._answers: dict[tuple[str, int], dict[str, Any]] = {}
        counts: Counter[str] = Counter()
        for number, row in read_jsonl(path):
            task_id = row.get("task_id")
            if not isinstance(row.get("solution", row.get("completion")), str) or not isinstance(task_id, str):
                raise UsageError(f"{path}:{number}: expected task_id and solution (or completion), got {sorted(row)}")
            sample = row.get("sample", counts[task_id])
            if type(sample) is not int:
                raise UsageError(f"{path}:{number}: sample must be a whole number, got {sample!r:.60}")
            self._answers[task_id, sample] = row
            counts[task_id] += 1
        self._not_asked = set(self._answers)

    @property
    def num_not_asked(self) -> int:
        """Rows of no problem or rollout that was asked for."""
        return len(self._not_asked)

    def __call__(self, rollout: Rollout) -> dict[str, Any]:
        key = rollout.problem.task_id, rollout.number
        self._not_asked.discard(key)
        row = self._answers.get(key, {})
        program = row["solution"] if "solution" in row else self._whole(row.get("completion", ""), rollout.problem)
        answer = one_off_answer(program, rollout.problem.language)
        return {"text": answer if program.strip() else "", "finish_reason": row.get("finish_reason", "stop")}

    @staticmethod
    def _whole(completion: str, problem: Problem) -> str:
        """The program of a completion: in a fence, whole, or what stands behind the prompt."""
        coding = coding_of(problem)
        read = read_attempt(completion, problem)
        if read.has_program and coding.defines(read.solution, problem.entry_point):
            return read.solution.strip("\n")
        program = read.solution.strip("\n") or ("" if read.reason == "unfinished_thought" else completion)
        return program if not program.strip() or coding.defines(program, problem.entry_point) else problem.prompt + program


class AskedAttempts:
    """`attempts(rollout)` is what a model answers now; raises what the asker raises."""

    def __init__(self, ask: Asker):
        self._ask = ask

    def __call__(self, rollout: Rollout) -> dict[str, Any]:
        problem = rollout.problem
        request = one_off_request(problem.prompt, problem.instruction, problem.language)
        return self._ask(Conversation(self._ask.config, request, fence=opening_fence(problem.language)), rollout, 0)


class HybridAuthor:
    """`write(rollout)` takes one attempt and completes it; raises what comes from attempts and the sandbox.

    Args:
        attempts: a model's answer to the one-off request, {"text", "finish_reason"}.
        model: whose answers they are.
    """

    def __init__(self, attempts: Callable[[Rollout], dict[str, Any]], model: str, seed: int, shown_tests: int, execute: Executions):
        self._attempts = attempts
        self._model = model
        self._seed = seed
        self._shown_tests = shown_tests
        self._execute = execute

    def write(self, rollout: Rollout) -> Sample | Rejected:
        problem = rollout.problem
        coding = coding_of(problem)
        answered = self._attempts(rollout)
        read = read_attempt(answered["text"], problem)
        if rejected := unusable(answered, read):
            return rejected
        attempt = read.solution.strip("\n")
        program = coding.without_tests(attempt, problem.entry_point)
        if not coding.defines_something(program):
            return Rejected("no_code", attempt[-500:])
        if coding.defines(attempt, problem.entry_point) and not coding.defines(program, problem.entry_point):
            return Rejected("not_understood", attempt[-500:])
        if gates.spells_special_token(program):
            return Rejected("special_tokens")
        if coding.uses_outside_world(program):
            return Rejected("outside_world")
        rng = random.Random(f"hybrid/{self._seed}/{rollout.problem.task_id}/{rollout.number}")
        shown = sorted(rng.sample(range(len(problem.tests)), min(self._shown_tests, len(problem.tests))))
        tests = tuple(problem.tests[number] for number in shown)
        cells = [coding.cell(code, problem, tests) for code in (program.lstrip("\n"), answer_program(problem))]
        first, second = self._execute(cells, problem.language)
        if first["status"] == "ok":
            return Rejected("first_try")
        if first["status"] == "crashed":
            return Rejected("session_lost", first["output"])
        if len(first["output"]) > _MAX_OUTPUT_CHARS:
            return Rejected("output_too_long", first["output"][-500:])
        if second["status"] != "ok":
            return Rejected("answer_fails_tests", second["output"][-500:])
        failure = coding.read_failure(cells[0], tests, first, self._execute)
        fence = coding.language.fence
        opening, seen = rng.choice(OPENINGS), observe(failure, rng, python=coding.language == PYTHON)
        blocks = [
            Block("text", opening),
            Block("code", cells[0], fence),
            Block("execution", first["output"].rstrip("\n")),
            Block("text", f"{seen} {rng.choice(_REPAIRS.get(failure.kind, _BROKEN))}"),
            Block("code", cells[1], fence),
            Block("execution", second["output"].rstrip("\n")),
        ]
        metadata = {
            "author": rollout.author,
            "model": self._model,
            "task_id": problem.task_id,
            **problem.provenance,
            **({"language": problem.language} if problem.language != PYTHON.name else {}),
            "grade": problem.grade,
            "operators": [],
            "passes": [False, True],
            "shown_tests": list(tests),
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
