"""The build stage: problems → candidate chains → executions → samples, filters, and a funnel that accounts for every candidate.

Writes `reflections.jsonl`, `rejected.jsonl`, `build.json` at the end, and `executions.jsonl` as it goes (the resume log). The result
depends on the recipe and the seed only, not on workers, speed or interruptions.
"""

from __future__ import annotations

import platform
import time
from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from reflectioncoder.build.executions import ExecutionLog
from reflectioncoder.build.filters import duplicates, operator_counts, over_share
from reflectioncoder.build.mutation_author import Chain, Rejected, candidates, write_sample
from reflectioncoder.config import Recipe, SandboxConfig
from reflectioncoder.data.files import write_json, write_jsonl
from reflectioncoder.data.problems import Problem, load_problems
from reflectioncoder.data.prompts import answer_program
from reflectioncoder.data.samples import Sample
from reflectioncoder.errors import CheckFailedError
from reflectioncoder.progress import Progress
from reflectioncoder.sandbox.isolation import detect_isolation, require_floor
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


@dataclass
class Build:
    """Samples accepted, and everything rejected as {"id", "task_id", "operators", "reason", "detail"}."""

    accepted: list[Sample] = field(default_factory=list)
    rejected: list[dict[str, Any]] = field(default_factory=list)

    def reject(self, chain_or_sample: Chain | Sample, reason: str, detail: str = "") -> None:
        if isinstance(chain_or_sample, Chain):
            row = {
                "id": f"mutation:{chain_or_sample.seed}",
                "task_id": chain_or_sample.problem.task_id,
                "operators": chain_or_sample.operators,
            }
        else:
            metadata = chain_or_sample.extra["metadata"]
            row = {"id": chain_or_sample.id, "task_id": metadata["task_id"], "operators": metadata["operators"]}
        self.rejected.append({**row, "reason": reason, "detail": detail[-500:]})


def build_reflections(recipe: Recipe, output_dir: Path, limit: int | None = None) -> dict[str, Any]:
    """Build the data set in `output_dir`, from the first `limit` problems; returns what `build.json` says.

    Raises:
        CheckFailedError: a reference solution fails its own tests (the first ones are shown); too few samples.
        SandboxUnavailableError: programs cannot be run here.
    """
    started = time.monotonic()
    problems = load_problems(recipe.build.problems)[:limit]
    limits = replace(limits_from(recipe.sandbox), wall_s=recipe.build.cell_timeout_s)
    require_floor(detect_isolation(), recipe.sandbox.floor)
    with ExecutionLog(output_dir / "executions.jsonl", limits) as log:
        _check_references(problems, log, recipe.sandbox.workers)
        build = _build_in_rounds(recipe, problems, log)
        num_run, num_replayed = log.num_run, log.num_replayed
    samples = _filtered(build, recipe.build.max_operator_share)
    funnel = Counter(row["reason"] for row in build.rejected)
    summary = {
        "schema_version": 1,
        "author": recipe.build.author,
        "seed": recipe.seed,
        "num_problems": len(problems),
        "num_candidates": len(samples) + len(build.rejected),
        "num_accepted": len(samples),
        "num_two_slip": sum(len(s.extra["metadata"]["operators"]) > 1 for s in samples),
        "num_problems_with_samples": len({s.extra["metadata"]["task_id"] for s in samples}),
        "rejected": dict(funnel.most_common()),
        "operators": dict(operator_counts(samples).most_common()),
        "num_executions": num_run,
        "num_replayed": num_replayed,
        "duration_s": round(time.monotonic() - started, 2),
        "python": platform.python_version(),
        "limits": asdict(limits),
    }
    write_jsonl(output_dir / "rejected.jsonl", build.rejected)
    if len(samples) < recipe.build.min_samples:
        raise CheckFailedError(
            f"only {len(samples)} reflection samples, build.min_samples is {recipe.build.min_samples}\n"
            f"  rejected: {dict(funnel.most_common())} (see {output_dir / 'rejected.jsonl'})"
        )
    write_jsonl(output_dir / "reflections.jsonl", [sample.to_json() for sample in samples])
    write_json(output_dir / "build.json", summary)
    return summary


def _check_references(problems: list[Problem], log: ExecutionLog, workers: int) -> None:
    """Every reference passes all its tests, in the very form in which it becomes the answer."""

    def check(problem: Problem) -> dict[str, Any]:
        return log([f"{answer_program(problem)}\n\n{problem.test_code}"])[0]

    failures = []
    with Progress("build: references", len(problems)) as progress:
        for done, result in enumerate(map_ordered(check, problems, workers), start=1):
            if result["status"] != "ok":
                failures.append((problems[done - 1], result["output"]))
            progress.update(done)
    if failures:
        shown = "\n".join(f"  {problem.task_id}:\n    {output.strip()[-400:]}" for problem, output in failures[:3])
        raise CheckFailedError(
            f"{len(failures)} of {len(problems)} reference solutions fail their own tests; correct or remove them\n{shown}"
        )


def _build_in_rounds(recipe: Recipe, problems: list[Problem], log: ExecutionLog) -> Build:
    """Each round takes one candidate of every problem that wants more; slips used least so far go first.

    Rounds make the choice independent of the order in which executions finish.
    """
    config = recipe.build
    waiting = {problem.task_id: candidates(problem, recipe.seed) for problem in problems}
    build = Build()
    num_accepted: Counter[str] = Counter()
    used: Counter[str] = Counter()
    target = config.samples_per_problem * len(problems)
    with Progress("build: reflections", target) as progress:
        while True:
            round_chains = []
            for problem in problems:
                left = waiting[problem.task_id]
                if left and num_accepted[problem.task_id] < config.samples_per_problem:
                    candidate = min(left, key=lambda c: used[c.slip.operator])
                    left.remove(candidate)
                    chain = candidate.chain(config.shown_tests, config.two_slip_share, recipe.seed)
                    used.update(chain.operators)
                    round_chains.append(chain)
            if not round_chains:
                break
            outcomes = map_ordered(lambda c: write_sample(c, log), round_chains, recipe.sandbox.workers)
            for chain, outcome in zip(round_chains, outcomes, strict=True):
                if isinstance(outcome, Rejected):
                    used.subtract(chain.operators)
                    build.reject(chain, outcome.reason, outcome.detail)
                else:
                    build.accepted.append(outcome)
                    num_accepted[chain.problem.task_id] += 1
                progress.update(len(build.accepted), f"{len(build.rejected)} rejected")
        progress.update(target)
    return build


def _filtered(build: Build, max_operator_share: float) -> list[Sample]:
    samples = build.accepted
    for reason, find in (("duplicate", duplicates), ("operator_share", lambda s: over_share(s, max_operator_share))):
        dropped = find(samples)
        for index in sorted(dropped):
            build.reject(samples[index], reason)
        samples = [sample for index, sample in enumerate(samples) if index not in dropped]
    return samples
