"""All dialogues of a build with a model: many at a time, none waiting for another, within the budget, with a forecast."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from reflectioncoder.builder.coding import reference_cell
from reflectioncoder.builder.executions import Executions
from reflectioncoder.builder.forecast import Forecast
from reflectioncoder.builder.hybrid_author import AskedAttempts, AttemptsFile, HybridAuthor
from reflectioncoder.builder.llm_author import Asker, LlmAuthor, Rollout, Used
from reflectioncoder.builder.log import BuildLog
from reflectioncoder.builder.mutation_author import Rejected
from reflectioncoder.builder.options import names_in_samples
from reflectioncoder.builder.outcomes import Outcomes, rejection
from reflectioncoder.builder.testing import Tests
from reflectioncoder.config.declarations import BuildConfig, EndpointConfig, Recipe
from reflectioncoder.data.problems import Problem
from reflectioncoder.data.prompts import answer_program
from reflectioncoder.data.samples import Sample
from reflectioncoder.generate.budget import Budget
from reflectioncoder.generate.embedded import embedded_server, vllm_server
from reflectioncoder.generate.endpoint import MAX_POSTPONED, Endpoint, NotTakenError, UnansweredError
from reflectioncoder.generate.limiter import EndpointError
from reflectioncoder.languages import PYTHON
from reflectioncoder.models.packaged import resolve_gguf
from reflectioncoder.progress import Progress, say
from reflectioncoder.sandbox.pool import default_workers, map_unordered

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
    """Totals over all dialogues of this process.

    They are the forecast, if there were enough dialogues for one, beside it what the dialogues took, and the number of requests that
    were made again.
    """

    forecast: dict[str, Any] | None = None
    session: dict[str, Any] | None = None
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
        EndpointError, BudgetError, SandboxUnavailableError, UsageError: the first that a dialogue met, unless it is about a request of
            this dialogue alone; what was answered is in the log.
    """
    config = recipe.build
    budget = Budget(config.endpoint, config.budget_tokens, config.budget_usd)
    budget.settle((0, 0), log.used())
    forecast = Forecast(config.rollouts * (problems.count - len(problems.left_out)), budget, log)
    with contextlib.ExitStack() as stack:
        writer = stack.enter_context(_writer(recipe, budget, log, execute))
        progress = stack.enter_context(Progress("build: dialogues", config.rollouts * problems.count))
        stack.callback(writer.stop)
        dialogues = _Dialogues(writer, lambda problem: unwritable(problem, config, execute))

        def note(written: Generator[tuple[Rollout, Sample | Rejected]]) -> None:
            with contextlib.closing(written):  # at an interrupt the answers that are under way are waited for while the log is open
                for rollout, outcome in written:
                    if isinstance(outcome, Rejected):
                        outcomes.reject(rollout.order, rejection(rollout.id, rollout.problem.task_id, outcome.reason, outcome.detail))
                    else:
                        outcomes.accept(rollout.order, outcome)
                    forecast.add(rollout.order, not isinstance(outcome, Rejected), writer.used(rollout), writer.asking_since())
                    progress.update(len(outcomes), f"{outcomes.num_accepted} accepted")

        note(dialogues.hold(_rollouts(recipe, problems, outcomes, forecast)))
        note(dialogues.hold_postponed())
        return Held(forecast.made, forecast.session(), writer.num_retries())


def _rollouts(recipe: Recipe, problems: Problems, outcomes: Outcomes, forecast: Forecast) -> Iterator[Rollout]:
    """Yield the rollouts that are to be held, and reject the others."""
    config = recipe.build
    author, source = names_in_samples(config)
    for number in range(config.rollouts):
        for index, problem in enumerate(problems.each()):
            order = number * problems.count + index
            if index not in problems.left_out:
                forecast.expect(order)
                yield Rollout(problem, number, order, author, source, recipe.seed)
            elif number == 0:
                row = rejection(f"problem:{problem.task_id}", problem.task_id, "contaminated", problems.left_out[index])
                outcomes.reject(order, row)


class _Dialogues:
    """Holds dialogues.

    A dialogue that gets no answer is rejected, and the others go on. While nothing has been answered yet, the server may be the cause,
    and the dialogue is postponed.
    """

    def __init__(self, writer: _Writer, unwritable: Callable[[Problem], Rejected | None]):
        self._writer = writer
        self._unwritable = unwritable
        self._postponed: list[tuple[Rollout, UnansweredError | NotTakenError]] = []
        self._failures: list[BaseException] = []

    def hold(self, rollouts: Iterable[Rollout]) -> Generator[tuple[Rollout, Sample | Rejected]]:
        """Hold dialogues and yield their outcomes, in the order in which the dialogues end.

        Raises:
            EndpointError, BudgetError, SandboxUnavailableError, UsageError: the first that ends the build.
        """
        try:
            with contextlib.closing(map_unordered(self._write, rollouts, self._writer.at_once, self._writer.stop)) as ended:
                for rollout, outcome in ended:
                    if isinstance(outcome, (UnansweredError, NotTakenError)):
                        self._postponed.append((rollout, outcome))
                        if len(self._postponed) > MAX_POSTPONED and not self._writer.has_answered():
                            raise self._failure_of_all()
                    else:
                        yield rollout, outcome
        except EndpointError:
            raise (self._failures or [self._failure_of_all()])[0] from None  # the first; others have been stopped by it

    def hold_postponed(self) -> Generator[tuple[Rollout, Sample | Rejected]]:
        """Yield the outcomes of the dialogues that were postponed.

        Raises:
            EndpointError, UsageError: nothing was answered.
        """
        if not self._postponed:
            return
        if not self._writer.has_answered():
            raise self._failure_of_all()
        again, self._postponed = self._postponed, []
        for rollout, error in again:
            if isinstance(error, UnansweredError):
                yield rollout, _unanswered(error)
        yield from self.hold([rollout for rollout, error in again if isinstance(error, NotTakenError)])

    def _write(self, rollout: Rollout) -> tuple[Rollout, Sample | Rejected | UnansweredError | NotTakenError]:
        try:
            return rollout, self._unwritable(rollout.problem) or self._writer.write(rollout)
        except UnansweredError as error:
            return rollout, _unanswered(error) if self._writer.has_answered() else error
        except NotTakenError as error:
            return rollout, error
        except BaseException as error:  # the build ends with this: the others are to ask no more
            self._failures.append(error)
            self._writer.stop()
            raise

    def _failure_of_all(self) -> UnansweredError | NotTakenError:
        rollout, error = self._postponed[0]
        return type(error)(f"nothing was answered; the first request was for {rollout.problem.task_id}\n  {error}")


def _unanswered(error: UnansweredError) -> Rejected:
    return Rejected("no_answer", str(error).partition("\n")[0])


@dataclass(frozen=True)
class _Writer:
    """An author, how many of its dialogues are held at once, how they are stopped, and what each has used."""

    write: Callable[[Rollout], Sample | Rejected]
    at_once: int
    stop: Callable[[], None] = lambda: None
    used: Callable[[Rollout], Used] = lambda _: Used()
    num_retries: Callable[[], int] = lambda: 0
    has_answered: Callable[[], bool] = lambda: False
    asking_since: Callable[[], float | None] = lambda: None


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
        yield _Writer(
            write,
            _DIALOGUES_A_REQUEST * served.max_in_flight,
            endpoint.stop,
            ask.used,
            lambda: endpoint.num_retries,
            lambda: endpoint.has_answered,
            lambda: endpoint.first_asked_at,
        )


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
    return Endpoint(served, budget, trust_env=not own, adapts=not own, has_answered=log.holds_answers)


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
