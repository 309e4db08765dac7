"""The build stage: problems → dialogues or chains of slips → samples, filters, and a funnel that accounts for every candidate.

Writes `reflections.jsonl`, `rejected.jsonl`, `build.json` at the end, and `log.sqlite` as it goes: what was asked and run. The result
depends on the recipe, the seed and the log only, not on workers, speed or interruptions. What models write is read from disk and
written there one at a time; the mutation author has all problems in memory, with their slips.
"""

from __future__ import annotations

import contextlib
import itertools
import platform
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from reflectioncoder.builder.chains import build_chains
from reflectioncoder.builder.checks import check_author
from reflectioncoder.builder.diagnoses import DiagnosisCounts
from reflectioncoder.builder.dialogues import Held, Problems, hold_dialogues, unwritable
from reflectioncoder.builder.earlier import require_same_author
from reflectioncoder.builder.executions import Executions
from reflectioncoder.builder.filters import over_share, sift
from reflectioncoder.builder.llm_author import Prompts
from reflectioncoder.builder.log import BuildLog
from reflectioncoder.builder.mutation_author import Rejected
from reflectioncoder.builder.outcomes import Outcomes, rejected_sample, rejection
from reflectioncoder.builder.reasons import Reason
from reflectioncoder.config.declarations import BuildConfig, EndpointConfig, Recipe, SandboxConfig
from reflectioncoder.contamination.overlap import KnownTasks
from reflectioncoder.data.files import JsonlWriter, write_json
from reflectioncoder.data.problems import Problem, iter_problems
from reflectioncoder.data.prompts import answer_program
from reflectioncoder.data.samples import Sample
from reflectioncoder.errors import CheckFailedError
from reflectioncoder.generate.budget import Budget
from reflectioncoder.progress import Progress, say
from reflectioncoder.sandbox.detect import detect_isolation, require_floor
from reflectioncoder.sandbox.limits import Limits
from reflectioncoder.sandbox.pool import map_ordered


def limits_from(config: SandboxConfig) -> Limits:
    return Limits(
        wall_s=config.wall_s,
        cpu_s=config.cpu_s,
        memory_bytes=config.memory_bytes,
        output_bytes=config.output_bytes,
        file_bytes=config.file_bytes,
        processes=config.processes,
    )


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
    limits = replace(limits_from(recipe.sandbox), wall_s=config.cell_timeout_s)
    require_floor(detect_isolation(), recipe.sandbox.floor)
    each = partial(_first, config.problems, limit)
    problems = Problems.read(each, partial(_contaminated_by, known))
    by_mutation = config.author == "mutation"
    require_same_author(output_dir, config.author, config.hybrid, config.endpoint.model or None, fork=fork)
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(BuildLog(output_dir / "log.sqlite"))
        outcomes = stack.enter_context(contextlib.closing(Outcomes()))
        if config.author not in ("mutation", "attempts"):  # whose executions cost nothing
            log.require_settings(_settings(recipe, limits), fork=fork)
        execute = Executions(log, limits, recipe.sandbox.workers)
        held = Held()
        if by_mutation:
            build_chains(recipe, _usable(recipe, problems, execute, outcomes), execute, outcomes)
        else:
            held = hold_dialogues(recipe, problems, log, execute, outcomes)
        judged = _logged(behaviour, known, log) if behaviour else None
        # Slips of one problem are variants of one sequence by design.
        bounds = {"max_chars": config.max_chars, "near_duplicates": config.near_duplicates, "same_problem": not by_mutation}
        sifted = stack.enter_context(contextlib.closing(sift(outcomes, known, judged, workers=recipe.sandbox.workers, **bounds)))
        funnel = _write(sifted, output_dir, config)
        summary = {
            "schema_version": 1,
            "author": config.author,
            "hybrid": config.hybrid,
            "model": config.endpoint.model or None,
            "seed": recipe.seed,
            "problems": list(config.problems),
            "num_problems": problems.count,
            "decontamination": {"against": known.names, "words": 10, "behaviour": behaviour is not None},
            "num_candidates": len(sifted),
            **funnel,
            "num_executions": log.num_new["execution"],
            "num_replayed": log.num_replayed["execution"],
            "num_requests": log.num_new["request"],
            "num_replayed_requests": log.num_replayed["request"],
            "num_retries": held.num_retries,
            **_used(log, config.endpoint),
            "forecast": held.forecast,
            "session": held.session,
            "duration_s": round(time.monotonic() - started, 2),
            "python": platform.python_version(),
            "limits": asdict(limits),
        }
    write_json(output_dir / "build.json", summary)
    return summary


def _logged(behaviour: Callable[[str], str | None], known: KnownTasks, log: BuildLog) -> Callable[[str], str | None]:
    """A verdict on a program may rest on a limit of time: once taken, it stays."""
    return lambda program: log.recall("behaviour", {"program": program, "against": known.names}, lambda: behaviour(program))


def _first(sources: tuple[str, ...], limit: int | None) -> Iterator[Problem]:
    return itertools.islice(iter_problems(sources), limit)


def _contaminated_by(known: KnownTasks, problem: Problem) -> str | None:
    code = answer_program(problem) if problem.has_reference else ""
    return known.find(problem.task_id, f"{problem.instruction}\n{problem.prompt}", code)


def _usable(recipe: Recipe, problems: Problems, execute: Executions, outcomes: Outcomes) -> list[Problem]:
    """The problems that can be written about; the others are rejected by name."""
    usable = []
    with Progress("build: references", problems.count) as progress:
        checked = map_ordered(lambda p: (p, unwritable(p, recipe.build, execute)), problems.each(), recipe.sandbox.workers)
        for index, (problem, rejected) in enumerate(checked):
            if found := problems.left_out.get(index):
                rejected = Rejected("contaminated", found)
            if rejected is not None:
                row = rejection(f"problem:{problem.task_id}", problem.task_id, rejected.reason, rejected.detail)
                outcomes.reject(len(outcomes), row)
            else:
                usable.append(problem)
            progress.update(index + 1)
    if outcomes.num_rejected:
        say(f"build: {outcomes.num_rejected} of {problems.count} problems cannot be used; rejected.jsonl says why")
    return usable


def _settings(recipe: Recipe, limits: Limits) -> dict[str, Any]:
    """What an answer in the log depends on. How the server is reached, and how much of it is used, may change."""
    build = asdict(recipe.build)
    for name in ("problems", "budget_tokens", "budget_usd", "min_samples", "max_chars", "near_duplicates", "attempts"):
        del build[name]
    for name in ("base_url", "api_key_env", "timeout_s", "retries", "max_in_flight", "input_usd", "output_usd"):
        del build["endpoint"][name]
    for name in ("extra_body", "omit", "max_tokens_field"):  # logs that are older do not know them
        if getattr(recipe.build.endpoint, name) == getattr(EndpointConfig(), name):
            del build["endpoint"][name]
    flat = {f"build.{key}": value for key, value in build.items()}
    return {
        **flat,
        "prompts": Prompts(recipe.build.prompts).digest,
        "seed": recipe.seed,
        "limits": asdict(limits),
        "python": platform.python_version(),
    }


def _used(log: BuildLog, endpoint: EndpointConfig) -> dict[str, Any]:
    """Return the tokens that a build has used, and their price.

    They are those that the model used for the answers in the log, and those that were paid, or may have been, for answers that were
    lost.
    """
    (read, written), lost = log.used("request"), log.used("lost")
    usd = Budget(endpoint).usd(read + lost[0], written + lost[1])
    return {"input_tokens": read, "output_tokens": written, "lost_tokens": sum(lost), "usd": round(usd, 4)}


def _left_out(sifted: Outcomes, config: BuildConfig) -> tuple[int, dict[int, Reason]]:
    """Count the samples; return by number those that are too many, with the reason."""
    left_out: dict[int, Reason] = {}
    of_problem: Counter[str] = Counter()
    operators: dict[int, list[str]] = {}
    num_samples = 0
    for num_samples, outcome in enumerate((found for found in sifted if isinstance(found, Sample)), start=1):
        metadata = outcome.extra["metadata"]
        of_problem[metadata["task_id"]] += 1
        if config.samples_per_problem is not None and of_problem[metadata["task_id"]] > config.samples_per_problem:
            left_out[num_samples - 1] = "samples_per_problem"
        else:
            operators[num_samples - 1] = metadata["operators"]
    if config.author == "mutation" and config.max_operator_share < 1:
        numbers = list(operators)
        dropped = over_share(list(operators.values()), config.max_operator_share)
        left_out |= dict.fromkeys((numbers[index] for index in dropped), "operator_share")
    return num_samples, left_out


def _write(sifted: Outcomes, output_dir: Path, config: BuildConfig) -> dict[str, Any]:
    """reflections.jsonl and rejected.jsonl; returns the funnel.

    Raises:
        CheckFailedError: there are fewer samples than `min_samples`; only rejected.jsonl has been written.
    """
    num_samples, left_out = _left_out(sifted, config)
    reasons: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    tasks: set[str] = set()
    num_two_slip = 0
    diagnoses = DiagnosisCounts()
    with JsonlWriter(output_dir / "rejected.jsonl") as written:
        numbers = itertools.count()
        for outcome in sifted:
            if isinstance(outcome, Sample):
                if (number := next(numbers)) not in left_out:
                    continue
                outcome = rejected_sample(outcome, left_out[number])
            reasons[outcome["reason"]] += 1
            written.write(outcome)
    if (num_accepted := num_samples - len(left_out)) < config.min_samples:
        raise CheckFailedError(
            f"only {num_accepted} reflection samples, build.min_samples is {config.min_samples}\n"
            f"  rejected: {dict(reasons.most_common())} (see {output_dir / 'rejected.jsonl'})"
        )
    with JsonlWriter(output_dir / "reflections.jsonl") as written:
        samples = (outcome for outcome in sifted if isinstance(outcome, Sample))
        for number, sample in enumerate(samples):
            if number not in left_out:
                metadata = sample.extra["metadata"]
                tasks.add(metadata["task_id"])
                kinds.update(metadata["operators"])
                num_two_slip += len(metadata["operators"]) > 1
                diagnoses.add(sample)
                written.write(sample.to_json())
    return {
        "num_accepted": num_accepted,
        "num_two_slip": num_two_slip,
        "num_problems_with_samples": len(tasks),
        "rejected": dict(reasons.most_common()),
        "operators": dict(kinds.most_common()),
        "diagnoses": diagnoses.to_json(),
    }
