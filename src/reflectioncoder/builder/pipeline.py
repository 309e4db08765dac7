"""A build: problems in, reflection samples out, every candidate accounted for.

An author (`authors`) writes candidates about the problems, and a model may reword their diagnoses (`critic`); filters reject
duplicates, over-long samples and benchmark tasks; the rest is the data set. `reflections.jsonl`, `rejected.jsonl` and `build.json` are
written at the end; `log.sqlite` records requests and runs as they happen. The result depends only on the recipe, the seed and the log,
not on workers, speed or interruptions. Candidates are kept on disk, and read and written one at a time.
"""

from __future__ import annotations

import itertools
import platform
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from reflectioncoder.builder.author import Build, DialogueStats
from reflectioncoder.builder.authors.registry import author_of, check_author
from reflectioncoder.builder.critic import CriticCounts, criticised
from reflectioncoder.builder.earlier import require_same_author
from reflectioncoder.builder.executions import Executions, Runner
from reflectioncoder.builder.filters import Candidate, filter_alone, filter_repeated
from reflectioncoder.builder.funnel import Funnel, write_outcomes
from reflectioncoder.builder.lengths import TokenCounter, excess_tokens, token_counter
from reflectioncoder.builder.log import LOG_NAME, BuildLog
from reflectioncoder.builder.outcomes import Outcomes
from reflectioncoder.builder.problems import Problems
from reflectioncoder.builder.summary import BuildSummary, LogCounts
from reflectioncoder.config.declarations import Recipe
from reflectioncoder.config.limits import limits_from
from reflectioncoder.contamination.overlap import KnownTasks
from reflectioncoder.data.files import write_json
from reflectioncoder.data.problems import Problem, iter_problems
from reflectioncoder.data.prompts import answer_program
from reflectioncoder.errors import UsageError
from reflectioncoder.sandbox.detect import detect_isolation, require_floor
from reflectioncoder.sandbox.limits import Limits
from reflectioncoder.shards import WHOLE, Shard


class BehaviourCheck(Protocol):
    """Names the benchmark task that a program solves, if any. `names`: the benchmarks that it covers."""

    @property
    def names(self) -> Sequence[str]: ...
    def __call__(self, program: str, /) -> str | None: ...


def build_reflections(
    recipe: Recipe,
    output_dir: Path,
    limit: int | None = None,
    *,
    fork: bool = False,
    known: KnownTasks | None = None,
    behaviour: BehaviourCheck | None = None,
    runner: Runner | None = None,
) -> dict[str, Any]:
    """Build the data set in `output_dir` from the first `limit` problems; return the content of `build.json`.

    Args:
        fork: continue with settings that differ from those the folder was started with; samples of another author are moved aside.
        known: benchmark tasks to exclude from problems and samples.
        behaviour: names the benchmark task that a program solves, if any; samples with such programs are dropped.
        runner: runs programs on other machines; by default they run on this one, `sandbox.workers` at a time.

    Raises:
        UsageError: impossible settings, options that the author does not use, malformed problems, or settings or an author that
            differ from the folder's.
        MachineError: the model's server does not answer, or the budget is exhausted; rerun to resume.
        CheckFailedError: too few samples.
        SandboxUnavailableError: programs cannot be run on this machine.
    """
    if not recipe.build.problems:
        raise UsageError.for_value("there is nothing to write about", "build.problems", [], "problem files, bundled:SPLIT")
    started = time.monotonic()
    known = known or KnownTasks()
    with written_candidates(recipe, output_dir, limit, fork=fork, known=known, behaviour=behaviour, runner=runner) as written:
        funnel = write_samples(written.alone, written.count, output_dir, recipe, written.build.count_tokens)
        summary = BuildSummary(
            config=recipe.build,
            seed=recipe.seed,
            num_problems=written.build.problems.count,
            decontaminated_against=known.names,
            compared_behaviour=behaviour.names if behaviour else (),
            num_candidates=written.count,
            funnel=funnel,
            log=LogCounts.of(written.build.log, recipe.build.endpoint),
            dialogues=written.dialogues,
            critic=written.critic,
            duration_s=round(time.monotonic() - started, 2),
            python=platform.python_version(),
            limits=written.build.limits,
        ).to_json()
    write_json(output_dir / "build.json", summary)
    return summary


@dataclass(frozen=True)
class WrittenCandidates:
    """An author's candidates, with diagnoses reworded by the critic.

    Attributes:
        alone: the candidates in order, with contaminated and over-long samples replaced by rejections; can be iterated once.
        positions: positions of the candidates among those of all shards.
    """

    build: Build
    alone: Generator[Candidate]
    positions: list[int]
    dialogues: DialogueStats
    critic: CriticCounts | None

    @property
    def count(self) -> int:
        return len(self.positions)


@contextmanager
def written_candidates(
    recipe: Recipe,
    output_dir: Path,
    limit: int | None = None,
    *,
    fork: bool = False,
    known: KnownTasks,
    behaviour: BehaviourCheck | None = None,
    shard: Shard = WHOLE,
    runner: Runner | None = None,
) -> Iterator[WrittenCandidates]:
    """Let the author write about the problems of a shard; its log in `output_dir` stays open within the `with` block.

    Raises:
        The errors of `build_reflections` except CheckFailedError.
    """
    config = recipe.build
    check_author(config)
    author = author_of(config)
    count_tokens = token_counter(recipe)
    limits = limits_of(recipe)
    if runner is None:
        require_floor(detect_isolation(), recipe.sandbox.floor)
    problems = read_problems(recipe, limit, known)
    require_same_author(output_dir, config.author, config.hybrid, config.endpoint.model or None, fork=fork)
    with ExitStack() as stack:
        log = stack.enter_context(BuildLog(output_dir / LOG_NAME))
        outcomes = stack.enter_context(closing(Outcomes()))
        execute = Executions(log, limits, recipe.sandbox.workers, runner)
        build = Build(recipe, problems, log, execute, outcomes, limits, fork, count_tokens, shard)
        dialogues = author.write(build)
        positions = outcomes.positions()
        written, critic = stack.enter_context(criticised(build, outcomes))
        alone = filter_alone(
            written,
            known,
            _logged(behaviour, log) if behaviour else None,
            max_chars=config.max_chars,
            too_many_tokens=partial(excess_tokens, count_tokens=count_tokens, max_tokens=config.max_tokens),
            workers=recipe.sandbox.workers,
        )
        with closing(alone):
            yield WrittenCandidates(build, alone, positions, dialogues, critic)


def write_samples(
    candidates: Iterable[Candidate], count: int, output_dir: Path, recipe: Recipe, count_tokens: TokenCounter | None
) -> Funnel:
    """Drop repeated and surplus samples, and write the samples and the rejections.

    Args:
        candidates: `count` candidates in order.

    Raises:
        CheckFailedError: too few samples.
    """
    same_problem = not author_of(recipe.build).traits.varies_one_program
    near_duplicates = recipe.build.near_duplicates
    with closing(filter_repeated(candidates, count, near_duplicates=near_duplicates, same_problem=same_problem)) as filtered:
        return write_outcomes(filtered, output_dir, recipe.build, count_tokens)


def limits_of(recipe: Recipe) -> Limits:
    """Return the limits for each program that a build runs."""
    return replace(limits_from(recipe.sandbox), wall_s=recipe.build.cell_timeout_s)


def read_problems(recipe: Recipe, limit: int | None, known: KnownTasks) -> Problems:
    """Read the first `limit` problems of a recipe.

    Raises:
        UsageError: a problem is malformed.
    """
    return Problems.read(partial(first_problems, recipe.build.problems, limit), partial(_contaminated_by, known))


def _logged(behaviour: BehaviourCheck, log: BuildLog) -> Callable[[str], str | None]:
    """Log behaviour verdicts: a verdict may depend on a time limit, and must not change when the build resumes."""
    return lambda program: log.recall("behaviour", {"program": program, "against": list(behaviour.names)}, lambda: behaviour(program))


def first_problems(sources: tuple[str, ...], limit: int | None) -> Iterator[Problem]:
    """Read the first `limit` problems of files.

    Raises:
        UsageError: a problem is malformed.
    """
    return itertools.islice(iter_problems(sources), limit)


def _contaminated_by(known: KnownTasks, problem: Problem) -> str | None:
    code = answer_program(problem) if problem.has_reference else ""
    return known.find(problem.task_id, f"{problem.instruction}\n{problem.prompt}", code)
