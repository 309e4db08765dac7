"""All dialogues of a build with a model: many at a time, none waiting for another, within the budget, with a forecast."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from reflectioncoder.build.embedded import embedded_server, vllm_server
from reflectioncoder.build.endpoint import Budget, Endpoint, EndpointError
from reflectioncoder.build.executions import Executions
from reflectioncoder.build.hybrid_author import AskedAttempts, AttemptsFile, HybridAuthor
from reflectioncoder.build.llm_author import Asker, LlmAuthor, Rollout
from reflectioncoder.build.log import BuildLog
from reflectioncoder.build.mutation_author import Rejected
from reflectioncoder.build.outcomes import Outcomes, rejection
from reflectioncoder.config import BuildConfig, EndpointConfig, Recipe
from reflectioncoder.data.problems import Problem
from reflectioncoder.data.prompts import answer_program
from reflectioncoder.data.samples import Sample
from reflectioncoder.model_source import resolve_gguf
from reflectioncoder.progress import Progress, format_duration, say
from reflectioncoder.sandbox.pool import default_workers, map_unordered

_FORECAST_AFTER = 20  # dialogues: the first ones
_DIALOGUES_A_REQUEST = 4
_TOKENS_OF_A_TURN = 800  # a problem, or what the interpreter prints


@dataclass(frozen=True)
class Problems:
    """Those that a build is of: `each()` reads them anew, one at a time."""

    each: Callable[[], Iterator[Problem]]
    count: int


@dataclass(frozen=True)
class Held:
    """What is said of all dialogues: the forecast, if there were enough for one, and how many requests were made again."""

    forecast: dict[str, Any] | None = None
    num_retries: int = 0


def hold_dialogues(
    recipe: Recipe,
    problems: Problems,
    contaminated_by: Callable[[Problem], str | None],
    log: BuildLog,
    execute: Executions,
    outcomes: Outcomes,
) -> Held:
    """Every rollout of every problem.

    Raises:
        EndpointError, BudgetError, SandboxUnavailableError, UsageError: the first that a dialogue met; what was answered is in the log.
    """
    config = recipe.build
    budget = Budget(config.endpoint, config.budget_tokens, config.budget_usd)
    budget.settle((0, 0), log.used())
    total = config.rollouts * problems.count
    forecast = Forecast(total, budget, log)

    def rollouts() -> Iterator[Rollout]:
        for number in range(config.rollouts):
            for index, problem in enumerate(problems.each()):
                order = number * problems.count + index
                if (found := contaminated_by(problem)) is None:
                    yield Rollout(problem, number, order)
                elif number == 0:
                    outcomes.reject(order, rejection(f"problem:{problem.task_id}", problem.task_id, "contaminated", found))

    with contextlib.ExitStack() as stack:
        writer = stack.enter_context(_writer(recipe, budget, log, execute))
        progress = stack.enter_context(Progress("build: dialogues", total))
        failures: list[BaseException] = []

        def write(rollout: Rollout) -> tuple[Rollout, Sample | Rejected]:
            try:
                return rollout, unwritable(rollout.problem, config, execute) or writer.write(rollout)
            except BaseException as error:  # the build ends with this: the others are to ask no more
                failures.append(error)
                writer.stop()
                raise

        stack.callback(writer.stop)
        try:
            for rollout, outcome in map_unordered(write, rollouts(), writer.at_once, writer.stop):
                if isinstance(outcome, Rejected):
                    outcomes.reject(rollout.order, rejection(rollout.id, rollout.problem.task_id, outcome.reason, outcome.detail))
                else:
                    outcomes.accept(rollout.order, outcome)
                forecast.add(rollout.order, not isinstance(outcome, Rejected), writer.used(rollout))
                progress.update(len(outcomes), f"{outcomes.num_accepted} accepted")
        except EndpointError:
            raise failures[0] from None  # the first; others have been stopped by it
    return Held(forecast.made, writer.num_retries())


@dataclass(frozen=True)
class _Writer:
    """An author, how many of its dialogues are held at once, how they are stopped, and what each has used."""

    write: Callable[[Rollout], Sample | Rejected]
    at_once: int
    stop: Callable[[], None] = lambda: None
    used: Callable[[Rollout], tuple[int, int]] = lambda _: (0, 0)
    num_retries: Callable[[], int] = lambda: 0


@contextlib.contextmanager
def _writer(recipe: Recipe, budget: Budget, log: BuildLog, execute: Executions) -> Iterator[_Writer]:
    config = recipe.build
    name, shown = config.endpoint.model, config.shown_tests
    if config.author == "attempts":
        author = HybridAuthor(AttemptsFile(config.attempts), name, recipe.seed, shown, execute)
        yield _Writer(author.write, recipe.sandbox.workers or default_workers())
        return
    # A server of this machine's takes what it was started for; others are found out about.
    own = config.author in ("local", "vllm")
    with _server(config) as served, contextlib.closing(Endpoint(served, budget, trust_env=not own, adapts=not own)) as endpoint:
        ask = Asker(served, recipe.seed, endpoint, log)
        if config.hybrid:
            write = HybridAuthor(AskedAttempts(ask), name, recipe.seed, shown, execute).write
        else:
            write = LlmAuthor(config, ask, execute).write
        # More dialogues than requests: while some run their programs, or wait for a processor, others are answered.
        yield _Writer(write, _DIALOGUES_A_REQUEST * served.max_in_flight, endpoint.stop, ask.used, lambda: endpoint.num_retries)


def unwritable(problem: Problem, config: BuildConfig, execute: Executions) -> Rejected | None:
    """Why nothing can be written about a problem. A reference has to pass all tests in the form in which it becomes the answer."""
    if not (problem.has_reference and problem.tests):
        needs_reference = config.hybrid or config.author in ("mutation", "attempts")
        return Rejected("no_reference") if needs_reference else None
    ran = execute([f"{answer_program(problem)}\n\n{problem.test_code}"])[0]
    return None if ran["status"] == "ok" else Rejected("reference_fails", ran["output"])


@contextlib.contextmanager
def _server(config: BuildConfig) -> Iterator[EndpointConfig]:
    """The endpoint as it is to be asked; servers of our own are started, and ended."""
    settings = config.endpoint
    if config.author == "openai":
        yield settings
        return
    context_tokens = (config.max_executions + 1) * (settings.max_tokens + _TOKENS_OF_A_TURN)
    if config.author == "local":
        server = embedded_server(resolve_gguf(settings.model), settings.max_in_flight, context_tokens)
    else:
        server = vllm_server(settings.model, settings.max_in_flight, context_tokens)
    with server as url:
        yield replace(settings, base_url=url, api_key_env="")


class Forecast:
    """What the whole build will take, from its first dialogues: said once, kept in the log to be compared with the fact."""

    def __init__(self, total: int, budget: Budget, log: BuildLog):
        self._total = total
        self._budget = budget
        self._log = log
        self._started, self._before = time.monotonic(), sum(log.used())
        self._first: dict[int, tuple[bool, tuple[int, int]]] = {}
        self.made: dict[str, Any] | None = None

    def add(self, order: int, accepted: bool, used: tuple[int, int]) -> None:
        """`used`: tokens that the dialogue has read and written."""
        if self.made is not None or self._total <= _FORECAST_AFTER:
            return
        if order < 2 * _FORECAST_AFTER:  # some of the first may be left out as contaminated
            self._first[order] = accepted, used
        if len(self._first) < _FORECAST_AFTER:
            return
        made = self.made = self._log.recall("forecast", {"dialogues": self._total}, lambda: asdict(self._make()))
        if self._log.num_new["forecast"]:
            price = f", {made['usd']:.2f} USD" if made["usd"] else ""
            say(
                f"build: after {made['dialogues']} of {self._total} dialogues the whole looks like {made['tokens']:,} tokens{price}, "
                f"{format_duration(made['duration_s'])}, {made['accepted']} samples"
            )

    def _make(self) -> Estimate:
        count = len(self._first)
        factor = self._total / count
        read, written = (sum(used[kind] for _, used in self._first.values()) for kind in (0, 1))
        tokens = factor * (read + written)
        asked = sum(self._log.used()) - self._before
        seconds = time.monotonic() - self._started
        return Estimate(
            dialogues=count,
            tokens=round(tokens),
            usd=round(factor * self._budget.usd(read, written), 4),
            duration_s=round(seconds * tokens / asked if asked else 0.0, 1),
            accepted=round(factor * sum(accepted for accepted, _ in self._first.values())),
        )


@dataclass(frozen=True)
class Estimate:
    """`tokens`, `usd`, `duration_s` and samples `accepted` of the whole, from `dialogues` dialogues."""

    dialogues: int
    tokens: int
    usd: float
    duration_s: float
    accepted: int
