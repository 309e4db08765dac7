"""All dialogues of a build with a model: many at a time, none waiting for another, within the budget, with a forecast."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from reflectioncoder.build.coding import reference_cell
from reflectioncoder.build.executions import Executions
from reflectioncoder.build.hybrid_author import AskedAttempts, AttemptsFile, HybridAuthor
from reflectioncoder.build.llm_author import Asker, LlmAuthor, Rollout
from reflectioncoder.build.log import BuildLog
from reflectioncoder.build.mutation_author import Rejected
from reflectioncoder.build.options import names_in_samples
from reflectioncoder.build.outcomes import Outcomes, rejection
from reflectioncoder.build.testing import Tests
from reflectioncoder.config import BuildConfig, EndpointConfig, Recipe
from reflectioncoder.data.languages import PYTHON
from reflectioncoder.data.problems import Problem
from reflectioncoder.data.prompts import answer_program
from reflectioncoder.data.samples import Sample
from reflectioncoder.generate.embedded import embedded_server, vllm_server
from reflectioncoder.generate.endpoint import Budget, Endpoint, EndpointError
from reflectioncoder.model_source import resolve_gguf
from reflectioncoder.progress import Progress, format_duration, say
from reflectioncoder.sandbox.pool import default_workers, map_unordered

_FORECAST_AFTER = 20  # dialogues: the first ones
_DIALOGUES_A_REQUEST = 4
_TOKENS_OF_A_TURN = 800  # a problem, or what the interpreter prints


@dataclass(frozen=True)
class Problems:
    """Those that a build is of: `each()` reads them anew, one at a time; `left_out`: number → why one is not written about."""

    each: Callable[[], Iterator[Problem]]
    count: int
    left_out: dict[int, str]

    @classmethod
    def read(cls, each: Callable[[], Iterator[Problem]], contaminated_by: Callable[[Problem], str | None]) -> Problems:
        """Reads them all once: what is malformed is found before anything is asked."""
        count, left_out = 0, {}
        for problem in each():
            if found := contaminated_by(problem):
                left_out[count] = found
            count += 1
        return cls(each, count, left_out)


@dataclass(frozen=True)
class Held:
    """What is said of all dialogues: the forecast, if there were enough for one, and how many requests were made again."""

    forecast: dict[str, Any] | None = None
    num_retries: int = 0


def hold_dialogues(
    recipe: Recipe,
    problems: Problems,
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
    forecast = Forecast(config.rollouts * (problems.count - len(problems.left_out)), budget, log)
    author, source = names_in_samples(config)

    def rollouts() -> Iterator[Rollout]:
        for number in range(config.rollouts):
            for index, problem in enumerate(problems.each()):
                order = number * problems.count + index
                if index not in problems.left_out:
                    forecast.expect(order)
                    yield Rollout(problem, number, order, author, source, recipe.seed)
                elif number == 0:
                    row = rejection(f"problem:{problem.task_id}", problem.task_id, "contaminated", problems.left_out[index])
                    outcomes.reject(order, row)

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
        attempts = AttemptsFile(config.attempts)
        yield _Writer(HybridAuthor(attempts, name, recipe.seed, shown, execute).write, recipe.sandbox.workers or default_workers())
        if attempts.num_not_asked:
            say(f"build: {attempts.num_not_asked} rows of {config.attempts} are of no problem or rollout of this build")
        return
    # A server of this machine's takes what it was started for; others are found out about.
    own = config.author in ("local", "vllm")
    with _server(config) as served, contextlib.closing(_endpoint(served, budget, log, own=own)) as endpoint:
        ask = Asker(served, recipe.seed, endpoint, log)
        if config.hybrid:
            write = HybridAuthor(AskedAttempts(ask), name, recipe.seed, shown, execute).write
        else:
            write = LlmAuthor(config, ask, execute).write
        # More dialogues than requests: while some run their programs, or wait for a processor, others are answered.
        yield _Writer(write, _DIALOGUES_A_REQUEST * served.max_in_flight, endpoint.stop, ask.used, lambda: endpoint.num_retries)


def unwritable(problem: Problem, config: BuildConfig, execute: Executions) -> Rejected | None:
    """Why nothing can be written about a problem. A reference has to pass all tests in the form in which it becomes the answer."""
    whole = config.author == "mutation" or not (config.hybrid or config.author == "attempts")
    if whole and problem.language != PYTHON.name:
        return Rejected("not_python")
    if not (problem.has_reference and problem.tests):
        needs_reference = config.hybrid or config.author in ("mutation", "attempts")
        return Rejected("no_reference") if needs_reference else None
    if problem.language == PYTHON.name:
        ran = execute.test(answer_program(problem), Tests(problem.setup, problem.tests))
    else:
        ran = execute([reference_cell(problem)], problem.language)[0]
    return None if ran["status"] == "ok" else Rejected("reference_fails", ran["output"])


def _endpoint(served: EndpointConfig, budget: Budget, log: BuildLog, *, own: bool) -> Endpoint:
    return Endpoint(served, budget, trust_env=not own, adapts=not own, has_answered=log.used() != (0, 0), on_lost=log.add_lost)


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
        self._first: dict[int, tuple[bool, tuple[int, int]] | None] = {}
        self.made: dict[str, Any] | None = None

    def expect(self, order: int) -> None:
        """A dialogue begins."""
        if len(self._first) < _FORECAST_AFTER:
            self._first[order] = None

    def add(self, order: int, accepted: bool, used: tuple[int, int]) -> None:
        """It has ended; `used`: tokens that it has read and written. The first ones to end would not do: they are the short ones."""
        if self.made is not None or self._total <= _FORECAST_AFTER or order not in self._first:
            return
        self._first[order] = accepted, used
        if None in self._first.values() or len(self._first) < _FORECAST_AFTER:
            return
        made = self.made = self._log.recall("forecast", {"dialogues": self._total}, lambda: asdict(self._make()))
        if self._log.num_new["forecast"]:
            price = f", {made['usd']:.2f} USD" if made["usd"] else ""
            say(
                f"build: after {made['dialogues']} of {self._total} dialogues the whole looks like {made['tokens']:,} tokens{price}, "
                f"{format_duration(made['duration_s'])}, {made['accepted']} samples"
            )

    def _make(self) -> Estimate:
        first = [ended for ended in self._first.values() if ended is not None]
        factor = self._total / len(first)
        read, written = (sum(used[kind] for _, used in first) for kind in (0, 1))
        tokens = factor * (read + written)
        asked = sum(self._log.used()) - self._before
        seconds = time.monotonic() - self._started
        return Estimate(
            dialogues=len(first),
            tokens=round(tokens),
            usd=round(factor * self._budget.usd(read, written), 4),
            duration_s=round(seconds * tokens / asked if asked else 0.0, 1),
            accepted=round(factor * sum(accepted for accepted, _ in first)),
        )


@dataclass(frozen=True)
class Estimate:
    """`tokens`, `usd`, `duration_s` and samples `accepted` of the whole, from `dialogues` dialogues."""

    dialogues: int
    tokens: int
    usd: float
    duration_s: float
    accepted: int
