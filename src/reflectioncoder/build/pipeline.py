"""The build stage: problems → dialogues or chains of slips → samples, filters, and a funnel that accounts for every candidate.

Writes `reflections.jsonl`, `rejected.jsonl`, `build.json` at the end, and `log.sqlite` as it goes: what was asked and run. The result
depends on the recipe, the seed and the log only, not on workers, speed or interruptions.
"""

from __future__ import annotations

import contextlib
import platform
import time
from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from reflectioncoder.build.embedded import embedded_server
from reflectioncoder.build.endpoint import Budget, Endpoint, EndpointError
from reflectioncoder.build.executions import Executions
from reflectioncoder.build.filters import duplicates, operator_counts, over_share
from reflectioncoder.build.hybrid_author import HybridAuthor
from reflectioncoder.build.llm_author import Asker, LlmAuthor, Prompts, Rollout
from reflectioncoder.build.log import BuildLog
from reflectioncoder.build.mutation_author import Chain, Rejected, candidates, write_sample
from reflectioncoder.config import EndpointConfig, Recipe, SandboxConfig
from reflectioncoder.data.decontaminate import KnownTasks
from reflectioncoder.data.files import write_json, write_jsonl
from reflectioncoder.data.problems import Problem, load_problems
from reflectioncoder.data.prompts import answer_program
from reflectioncoder.data.samples import Sample
from reflectioncoder.errors import CheckFailedError
from reflectioncoder.model_source import resolve_gguf
from reflectioncoder.progress import Progress, say
from reflectioncoder.sandbox.isolation import detect_isolation, require_floor
from reflectioncoder.sandbox.limits import Limits
from reflectioncoder.sandbox.pool import map_ordered

_FORECAST_AFTER = 20  # dialogues
_TOKENS_OF_A_TURN = 800  # a problem, or what the interpreter prints


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


def build_reflections(
    recipe: Recipe, output_dir: Path, limit: int | None = None, *, fork: bool = False, known: KnownTasks | None = None
) -> dict[str, Any]:
    """Build the data set in `output_dir`, from the first `limit` problems; returns what `build.json` says.

    Args:
        fork: go on with other settings than those that the folder was begun with.
        known: benchmark tasks, which are left out of problems and samples.

    Raises:
        UsageError: impossible settings, or others than before.
        MachineError: the server of the model does not answer, or the budget is used up; run again to go on.
        CheckFailedError: a reference solution fails its own tests (the first ones are shown); too few samples.
        SandboxUnavailableError: programs cannot be run here.
    """
    started = time.monotonic()
    known = known or KnownTasks()
    problems, contaminated = _without_known(load_problems(recipe.build.problems)[:limit], known)
    limits = replace(limits_from(recipe.sandbox), wall_s=recipe.build.cell_timeout_s)
    require_floor(detect_isolation(), recipe.sandbox.floor)
    with BuildLog(output_dir / "log.sqlite") as log:
        if recipe.build.author != "mutation":  # whose executions cost nothing
            log.require_settings(_settings(recipe, limits), fork=fork)
        execute = Executions(log, limits, recipe.sandbox.workers)
        _check_references(problems, execute, recipe.sandbox.workers)
        if recipe.build.author == "mutation":
            build = _build_in_rounds(recipe, problems, execute)
        else:
            build = _build_from_dialogues(recipe, problems, log, execute)
        counts = {
            "num_executions": log.num_new["execution"],
            "num_replayed": log.num_replayed["execution"],
            "num_requests": log.num_new["request"],
            "num_replayed_requests": log.num_replayed["request"],
            **_used(log, recipe.build.endpoint),
        }
    build.rejected = [*contaminated, *build.rejected]
    samples = _filtered(build, known, recipe.build.max_operator_share if recipe.build.author == "mutation" else 1.0)
    funnel = Counter(row["reason"] for row in build.rejected)
    summary = {
        "schema_version": 1,
        "author": recipe.build.author,
        "seed": recipe.seed,
        "num_problems": len(problems),
        "decontamination": {"against": known.names, "words": 10, "problems_left_out": len(contaminated)},
        "num_candidates": len(samples) + len(build.rejected),
        "num_accepted": len(samples),
        "num_two_slip": sum(len(s.extra["metadata"]["operators"]) > 1 for s in samples),
        "num_problems_with_samples": len({s.extra["metadata"]["task_id"] for s in samples}),
        "rejected": dict(funnel.most_common()),
        "operators": dict(operator_counts(samples).most_common()),
        **counts,
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


def _without_known(problems: list[Problem], known: KnownTasks) -> tuple[list[Problem], list[dict[str, Any]]]:
    """(the problems that are no benchmark tasks, rows that say which the others are)."""
    kept, rows = [], []
    for problem in problems:
        found = known.find(problem.task_id, problem.prompt, answer_program(problem))
        if found is None:
            kept.append(problem)
        else:
            row = {"id": f"problem:{problem.task_id}", "task_id": problem.task_id, "operators": []}
            rows.append({**row, "reason": "contaminated", "detail": found})
    if rows:
        say(f"build: {len(rows)} of {len(problems)} problems are benchmark tasks and left out")
    return kept, rows


def _settings(recipe: Recipe, limits: Limits) -> dict[str, Any]:
    """What an answer in the log depends on. How the server is reached, and how much of it is used, may change."""
    build = asdict(recipe.build)
    for name in ("problems", "budget_tokens", "budget_usd", "min_samples"):
        del build[name]
    for name in ("base_url", "api_key_env", "timeout_s", "retries", "max_in_flight", "input_usd", "output_usd"):
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
    """By the model for all that is in the log."""
    read, written = log.used()
    return {"input_tokens": read, "output_tokens": written, "usd": round(Budget(endpoint).usd(read, written), 4)}


def _forecast(done: int, total: int, accepted: int, used: dict[str, Any], seconds: float) -> str:
    """What the whole build will take, from its first dialogues."""
    factor = total / done
    tokens = (used["input_tokens"] + used["output_tokens"]) * factor
    price = f", {used['usd'] * factor:.2f} USD" if used["usd"] else ""
    return (
        f"build: after {done} of {total} dialogues the whole looks like {tokens:,.0f} tokens{price}, "
        f"{seconds * factor / 60:.0f} minutes, {accepted * factor:.0f} samples ({100 * accepted / done:.0f} %)"
    )


def _build_from_dialogues(recipe: Recipe, problems: list[Problem], log: BuildLog, execute: Executions) -> Build:
    """Every rollout of every problem; results in the order of the problems, whatever answers first."""
    config = recipe.build
    used, started = _used(log, config.endpoint), time.monotonic()
    budget = Budget(config.endpoint, config.budget_tokens, config.budget_usd)
    budget.settle((0, 0), (used["input_tokens"], used["output_tokens"]))
    rollouts = [Rollout(problem, number) for number in range(config.rollouts) for problem in problems]
    build = Build()
    with contextlib.ExitStack() as stack:
        settings = config.endpoint
        if config.author == "local":
            context_tokens = (config.max_executions + 1) * (settings.max_tokens + _TOKENS_OF_A_TURN)
            url = stack.enter_context(embedded_server(resolve_gguf(settings.model), settings.max_in_flight, context_tokens))
            settings = replace(settings, base_url=url, api_key_env="")
        endpoint = stack.enter_context(contextlib.closing(Endpoint(settings, budget, trust_env=config.author != "local")))
        progress = stack.enter_context(Progress("build: dialogues", len(rollouts)))
        ask = Asker(settings, recipe.seed, endpoint, log)
        author = HybridAuthor(ask, recipe.seed, config.shown_tests, execute) if config.hybrid else LlmAuthor(config, ask, execute)

        failures: list[BaseException] = []

        def write(rollout: Rollout) -> Sample | Rejected:
            try:
                return author.write(rollout)
            except BaseException as error:  # the build ends with this: the others are to ask no more
                failures.append(error)
                endpoint.stop()
                raise

        stack.callback(endpoint.stop)
        # Twice as many dialogues as requests: while some run their programs others are answered.
        try:
            for done, outcome in enumerate(map_ordered(write, rollouts, 2 * config.endpoint.max_in_flight, endpoint.stop), start=1):
                rollout = rollouts[done - 1]
                if isinstance(outcome, Rejected):
                    row = {"id": rollout.id, "task_id": rollout.problem.task_id, "operators": []}
                    build.rejected.append({**row, "reason": outcome.reason, "detail": outcome.detail[-500:]})
                else:
                    build.accepted.append(outcome)
                progress.update(done, f"{len(build.accepted)} accepted")
                if done == _FORECAST_AFTER < len(rollouts) and not used["output_tokens"]:  # a resumed build has been forecast
                    say(_forecast(done, len(rollouts), len(build.accepted), _used(log, config.endpoint), time.monotonic() - started))
        except EndpointError:
            raise failures[0] from None  # the first; others have been stopped by it
    return build


def _check_references(problems: list[Problem], execute: Executions, workers: int) -> None:
    """Every reference passes all its tests, in the very form in which it becomes the answer."""

    def check(problem: Problem) -> dict[str, Any]:
        return execute([f"{answer_program(problem)}\n\n{problem.test_code}"])[0]

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


def _build_in_rounds(recipe: Recipe, problems: list[Problem], execute: Executions) -> Build:
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
            outcomes = map_ordered(lambda c: write_sample(c, execute), round_chains, recipe.sandbox.workers)
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


def _filtered(build: Build, known: KnownTasks, max_operator_share: float) -> list[Sample]:
    samples = []
    for sample in build.accepted:
        found = known.find("", "", sample.messages[-1].text)
        if found is None:
            samples.append(sample)
        else:
            build.reject(sample, "contaminated", found)
    for reason, find in (("duplicate", duplicates), ("operator_share", lambda s: over_share(s, max_operator_share))):
        dropped = find(samples)
        for index in sorted(dropped):
            build.reject(samples[index], reason)
        samples = [sample for index, sample in enumerate(samples) if index not in dropped]
    return samples
