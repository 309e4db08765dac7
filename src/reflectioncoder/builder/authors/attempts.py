"""The author for `build.author: attempts`: repairs failing completions from a file with the reference solutions."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from reflectioncoder.builder.author import Author, Build, DialogueStats, Traits
from reflectioncoder.builder.authors.answers import ABSENT, Answer, name_of_model
from reflectioncoder.builder.authors.repair import RepairWriter, of_diagnoses, read_attempt
from reflectioncoder.builder.coding import coding_of
from reflectioncoder.builder.dialogues import run_dialogues
from reflectioncoder.builder.rollouts import NoModel, Rollout, RolloutWriter, SampleNames
from reflectioncoder.config.building import BuildConfig, EndpointConfig
from reflectioncoder.data.files import read_jsonl
from reflectioncoder.data.problems import Problem
from reflectioncoder.data.prompts import one_off_answer
from reflectioncoder.errors import UsageError
from reflectioncoder.generate.budget import Budget
from reflectioncoder.generate.reply import STOP
from reflectioncoder.progress import say
from reflectioncoder.shards import WHOLE


class AttemptsAuthor(Author):
    """Repairs the completions of a file without asking a model; the endpoint's settings only name the model that wrote them."""

    @property
    def traits(self) -> Traits:
        return Traits(
            options=frozenset(
                ("attempts", "rollouts", "shown_tests", "tests", "diagnoses", "critic", "endpoint.model", "endpoint.revision")
            ),
            languages=None,
            needs_reference=True,
            varies_one_program=False,
            heeds_other_problems=False,
        )

    def check(self, config: BuildConfig) -> None:
        if not Path(config.attempts).is_file():
            raise UsageError(f"file not found: {config.attempts!r}\n  key:     build.attempts, the completions to be repaired")
        AttemptsFile(config.attempts)

    def files(self, config: BuildConfig) -> tuple[Path, ...]:
        return (Path(config.attempts),)

    def names_in_samples(self, config: BuildConfig) -> SampleNames:
        """Return names that include a hash of the file's content."""
        path = Path(config.attempts)
        content = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
        endpoint = writer_of(config)
        parts = (name_of_model(endpoint) or path.stem, endpoint.revision, content, of_diagnoses(config))
        return SampleNames("attempts", "@".join(part for part in parts if part))

    def write(self, build: Build) -> DialogueStats:
        return run_dialogues(build, self, _open_file)


def writer_of(config: BuildConfig) -> EndpointConfig:
    """Return the endpoint that names the completions' model; an unnamed one with a critic, because the endpoint is the critic's."""
    return config.endpoint if config.critic == "none" else EndpointConfig()


@contextmanager
def _open_file(build: Build, budget: Budget) -> Iterator[RolloutWriter]:
    file = AttemptsFile(build.config.attempts)
    writer = RepairWriter(build, file.attempt, writer_of(build.config).model)
    yield RolloutWriter(writer.write, build.num_workers, NoModel())
    if file.num_not_asked and build.shard == WHOLE:  # otherwise they belong to other shards
        say(f"build: {file.num_not_asked} rows of {build.config.attempts} are of no problem or rollout of this build")
    if file.num_missing:
        say(f"build: {build.config.attempts} has no row for {file.num_missing} rollouts, build.rollouts of each problem: no_attempt")


class AttemptsFile:
    """Completions in a file: rows written by `generate`, or EvalPlus samples.

    Raises:
        UsageError: a row without task_id and solution or completion, or for a sample that an earlier row is for (file and line are
            named).
    """

    def __init__(self, path: str):
        self._answers: dict[tuple[str, int], dict[str, Any]] = {}
        lines: dict[tuple[str, int], int] = {}
        counts: Counter[str] = Counter()
        for number, row in read_jsonl(path):
            task_id = row.get("task_id")
            if not isinstance(row.get("solution", row.get("completion")), str) or not isinstance(task_id, str):
                raise UsageError(f"{path}:{number}: expected task_id and solution (or completion), got {sorted(row)}")
            sample = row.get("sample", counts[task_id])
            if type(sample) is not int:
                raise UsageError(f"{path}:{number}: sample must be a whole number, got {sample!r:.60}")
            if (task_id, sample) in lines:
                raise UsageError.for_value(
                    "two rows are for the same sample of a task",
                    f"{path}:{number}, {path}:{lines[task_id, sample]}",
                    {"task_id": task_id, "sample": sample},
                    "each sample once",
                    "in files that were put together the samples need new numbers; without any they are numbered in their order",
                )
            lines[task_id, sample] = number
            self._answers[task_id, sample] = row
            counts[task_id] += 1
        self._not_asked = set(self._answers)
        self._missing: set[tuple[str, int]] = set()

    @property
    def num_not_asked(self) -> int:
        """Return the number of rows that belong to no requested rollout."""
        return len(self._not_asked)

    @property
    def num_missing(self) -> int:
        """Return the number of rollouts that were asked for and have no row."""
        return len(self._missing)

    def attempt(self, rollout: Rollout) -> Answer:
        """Return what the file has for a rollout, as an answer to the one-off request; an absent one if there is nothing."""
        key = rollout.problem.task_id, rollout.number
        self._not_asked.discard(key)
        row = self._answers.get(key)
        if row is None:
            self._missing.add(key)
            return Answer("", ABSENT)
        program = row["solution"] if "solution" in row else self._whole(row.get("completion", ""), rollout.problem)
        text = one_off_answer(program, rollout.problem.language) if program.strip() else ""
        return Answer(text, row.get("finish_reason", STOP))

    @staticmethod
    def _whole(completion: str, problem: Problem) -> str:
        """Return a completion's program: its code block, the completion itself, or the prompt followed by the completion."""
        coding = coding_of(problem)
        read = read_attempt(completion, problem)
        if read.has_program and coding.defines(read.solution, problem.entry_point):
            return read.solution.strip("\n")
        program = read.solution.strip("\n") or ("" if read.reason == "unfinished_thought" else completion)
        return program if not program.strip() or coding.defines(program, problem.entry_point) else problem.prompt + program
