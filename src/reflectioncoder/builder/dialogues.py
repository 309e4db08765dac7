"""Writes the rollouts of a build concurrently and independently, within the budget, with a cost forecast."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterable, Iterator
from functools import partial

from reflectioncoder.builder.author import Author, Build, DialogueStats
from reflectioncoder.builder.forecast import Forecast
from reflectioncoder.builder.outcomes import Rejected, rejected_problem, rejection
from reflectioncoder.builder.rollouts import Rollout, RolloutWriter
from reflectioncoder.data.problems import Problem
from reflectioncoder.data.samples import Sample
from reflectioncoder.generate.budget import Budget
from reflectioncoder.generate.endpoint import MAX_POSTPONED, NotTakenError, UnansweredError
from reflectioncoder.generate.limiter import EndpointError
from reflectioncoder.progress import Progress
from reflectioncoder.sandbox.pool import map_unordered
from reflectioncoder.terminal import in_line

OpenWriter = Callable[[Build, Budget], contextlib.AbstractContextManager[RolloutWriter]]
"""Opens and closes the resources that an author needs for all its rollouts, such as a connection to a server."""


def run_dialogues(build: Build, author: Author, open_writer: OpenWriter) -> DialogueStats:
    """Write every rollout of every problem into `build.outcomes`, along with rejected problems.

    Raises:
        EndpointError, BudgetError, SandboxUnavailableError, UsageError: the first error of a dialogue, unless it concerns only one
            request of that dialogue; answers received so far are in the log.
    """
    config, problems, outcomes = build.config, build.problems, build.outcomes
    budget = Budget(config.endpoint, config.budget_tokens, config.budget_usd)
    budget.settle((0, 0), build.log.used())
    own = [index for index in range(problems.count) if build.shard.takes(index)]
    forecast = Forecast(config.rollouts * sum(index not in problems.left_out for index in own), budget, build.log)
    with contextlib.ExitStack() as stack:
        writer = stack.enter_context(open_writer(build, budget))
        progress = stack.enter_context(Progress("build: dialogues", config.rollouts * len(own)))
        stack.callback(writer.model.stop)
        dialogues = _Dialogues(writer, partial(build.unwritable, author.traits))

        def note(written: Generator[tuple[Rollout, Sample | Rejected]]) -> None:
            with contextlib.closing(written):  # on interrupt, wait for pending answers while the log is open
                for rollout, outcome in written:
                    if isinstance(outcome, Rejected):
                        outcomes.reject(rollout.order, rejection(rollout.id, rollout.problem.task_id, outcome))
                    else:
                        outcomes.accept(rollout.order, outcome)
                    usage = writer.model.take_usage(rollout)
                    forecast.add(rollout.order, not isinstance(outcome, Rejected), usage, writer.model.first_asked_at)
                    progress.update(len(outcomes), f"{outcomes.num_accepted} accepted")

        note(dialogues.hold(_rollouts(build, author, forecast)))
        note(dialogues.hold_postponed())
        return DialogueStats(forecast.made, forecast.session(), writer.model.num_retries)


def _rollouts(build: Build, author: Author, forecast: Forecast) -> Iterator[Rollout]:
    """Yield the rollouts to write, and reject problems that are benchmark tasks."""
    problems = build.problems
    names = author.names_in_samples(build.config)
    for number in range(build.config.rollouts):
        for index, problem in enumerate(problems.each()):
            order = number * problems.count + index
            if not build.shard.takes(index):
                continue
            if index not in problems.left_out:
                forecast.expect(order)
                yield Rollout(problem, number, order, names, build.recipe.seed)
            elif number == 0:
                build.outcomes.reject(order, rejected_problem(problem, Rejected("contaminated", problems.left_out[index])))


class _Dialogues:
    """Runs dialogues.

    A dialogue that gets no answer is rejected, and the others continue. Until the first answer arrives the server may be at fault, so
    such a dialogue is postponed instead.
    """

    def __init__(self, writer: RolloutWriter, unwritable: Callable[[Problem], Rejected | None]):
        self._write_rollout = writer.write
        self._max_at_once = writer.max_at_once
        self._model = writer.model
        self._unwritable = unwritable
        self._postponed: list[tuple[Rollout, UnansweredError | NotTakenError]] = []
        self._failures: list[BaseException] = []

    def hold(self, rollouts: Iterable[Rollout]) -> Generator[tuple[Rollout, Sample | Rejected]]:
        """Run dialogues and yield their outcomes in order of completion.

        Raises:
            EndpointError, BudgetError, SandboxUnavailableError, UsageError: the first error that ends the build.
        """
        try:
            with contextlib.closing(map_unordered(self._write, rollouts, self._max_at_once, self._model.stop)) as ended:
                for rollout, outcome in ended:
                    if isinstance(outcome, (UnansweredError, NotTakenError)):
                        self._postponed.append((rollout, outcome))
                        if len(self._postponed) > MAX_POSTPONED and not self._model.has_answered:
                            raise self._failure_of_all()
                    else:
                        yield rollout, outcome
        except EndpointError:
            raise (self._failures or [self._failure_of_all()])[0] from None  # the first failure stopped the others

    def hold_postponed(self) -> Generator[tuple[Rollout, Sample | Rejected]]:
        """Yield the outcomes of the postponed dialogues.

        Raises:
            EndpointError, UsageError: the model never answered.
        """
        if not self._postponed:
            return
        if not self._model.has_answered:
            raise self._failure_of_all()
        again, self._postponed = self._postponed, []
        for rollout, error in again:
            if isinstance(error, UnansweredError):
                yield rollout, _unanswered(error)
        yield from self.hold([rollout for rollout, error in again if isinstance(error, NotTakenError)])

    def _write(self, rollout: Rollout) -> tuple[Rollout, Sample | Rejected | UnansweredError | NotTakenError]:
        try:
            return rollout, self._unwritable(rollout.problem) or self._write_rollout(rollout)
        except UnansweredError as error:
            return rollout, _unanswered(error) if self._model.has_answered else error
        except NotTakenError as error:
            return rollout, error
        except BaseException as error:  # ends the build: the other dialogues must send no further requests
            self._failures.append(error)
            self._model.stop()
            raise

    def _failure_of_all(self) -> UnansweredError | NotTakenError:
        rollout, error = self._postponed[0]
        return type(error)(f"nothing was answered; the first request was for {in_line(rollout.problem.task_id)}\n  {error}")


def _unanswered(error: UnansweredError) -> Rejected:
    return Rejected("no_answer", str(error).partition("\n")[0])
