"""A build: problems in, reflection samples out, every candidate accounted for.

An author (`authors`) writes candidates about the problems, of which a model may say the diagnoses anew (`critic`); filters turn away
what repeats, is too long or is a benchmark task; the rest is the data set. `reflections.jsonl`, `rejected.jsonl` and `build.json` are
written at the end, and `log.sqlite` on the way: what was asked and run. The result depends on the recipe, the seed and the log only,
not on workers, speed or interruptions. Candidates are kept on disk, and read and written one at a time.
"""

from __future__ import annotations

import itertools
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from reflectioncoder.builder.author import Build
from reflectioncoder.builder.authors.registry import author_of, check_author
from reflectioncoder.builder.critic import criticised
from reflectioncoder.builder.earlier import require_same_author
from reflectioncoder.builder.executions import Executions
from reflectioncoder.builder.filters import filter_outcomes
from reflectioncoder.builder.funnel import write_outcomes
from reflectioncoder.builder.lengths import excess_tokens, token_counter
from reflectioncoder.builder.log import BuildLog
from reflectioncoder.builder.outcomes import Outcomes
from reflectioncoder.builder.problems import Problems
from reflectioncoder.builder.summary import BuildSummary, LogCounts
from reflectioncoder.config.declarations import Recipe
from reflectioncoder.config.limits import limits_from
from reflectioncoder.contamination.overlap import KnownTasks
from reflectioncoder.data.files import write_json
from reflectioncoder.data.problems import Problem, iter_problems
from reflectioncoder.data.prompts import answer_program
from reflectioncoder.sandbox.detect import detect_isolation, require_floor


def build_reflections(
    recipe: Recipe,
    output_dir: Path,
    limit: int | None = None,
    *,
    fork: bool = False,
    known: KnownTasks | None = None,
    behaviour: Callable[[str], str | None] | None = None,
) -> dict[str, Any]:
    """Build the data set in `output_dir`, from the first `limit` problems; returns what `build.json` says.

    Args:
        fork: go on with other settings than those that the folder was begun with; samples of another author are put aside.
        known: benchmark tasks, which are left out of problems and samples.
        behaviour: names the benchmark task that a program solves, if any; samples with such programs are left out.

    Raises:
        UsageError: impossible settings, options that the author does not use, malformed problems, other settings or another author
            than before.
        MachineError: the server of the model does not answer, or the budget is used up; run again to go on.
        CheckFailedError: too few samples.
        SandboxUnavailableError: programs cannot be run here.
    """
    started = time.monotonic()
    known = known or KnownTasks()
    config = recipe.build
    check_author(config)
    author = author_of(config)
    count_tokens = token_counter(recipe)
    limits = replace(limits_from(recipe.sandbox), wall_s=config.cell_timeout_s)
    require_floor(detect_isolation(), recipe.sandbox.floor)
    problems = Problems.read(partial(_first, config.problems, limit), partial(_contaminated_by, known))
    require_same_author(output_dir, config.author, config.hybrid, config.endpoint.model or None, fork=fork)
    with ExitStack() as stack:
        log = stack.enter_context(BuildLog(output_dir / "log.sqlite"))
        outcomes = stack.enter_context(closing(Outcomes()))
        execute = Executions(log, limits, recipe.sandbox.workers)
        build = Build(recipe, problems, log, execute, outcomes, limits, fork, count_tokens)
        dialogues = author.write(build)
        written, critic = stack.enter_context(criticised(build, outcomes))
        filtered = filter_outcomes(
            written,
            known,
            _logged(behaviour, known, log) if behaviour else None,
            max_chars=config.max_chars,
            too_many_tokens=partial(excess_tokens, count_tokens=count_tokens, max_tokens=config.max_tokens),
            near_duplicates=config.near_duplicates,
            same_problem=not author.traits.varies_one_program,
            workers=recipe.sandbox.workers,
        )
        funnel = write_outcomes(stack.enter_context(closing(filtered)), output_dir, config, count_tokens)
        summary = BuildSummary(
            config=config,
            seed=recipe.seed,
            num_problems=problems.count,
            decontaminated_against=known.names,
            compared_behaviour=behaviour is not None,
            num_candidates=len(filtered),
            funnel=funnel,
            log=LogCounts.of(log, config.endpoint),
            dialogues=dialogues,
            critic=critic,
            duration_s=round(time.monotonic() - started, 2),
            python=platform.python_version(),
            limits=limits,
        ).to_json()
    write_json(output_dir / "build.json", summary)
    return summary


def _logged(behaviour: Callable[[str], str | None], known: KnownTasks, log: BuildLog) -> Callable[[str], str | None]:
    """Log verdicts on programs: one may rest on a limit of time, and once taken it stays."""
    return lambda program: log.recall("behaviour", {"program": program, "against": known.names}, lambda: behaviour(program))


def _first(sources: tuple[str, ...], limit: int | None) -> Iterator[Problem]:
    return itertools.islice(iter_problems(sources), limit)


def _contaminated_by(known: KnownTasks, problem: Problem) -> str | None:
    code = answer_program(problem) if problem.has_reference else ""
    return known.find(problem.task_id, f"{problem.instruction}\n{problem.prompt}", code)
