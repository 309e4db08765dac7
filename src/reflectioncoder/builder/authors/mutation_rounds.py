"""Runs the candidates of the mutation author in rounds until every problem has enough samples."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Set
from dataclasses import replace
from functools import partial

from reflectioncoder.builder.author import Build
from reflectioncoder.builder.authors.mutation_samples import (
    Candidate,
    MutationPlan,
    candidates,
    settle,
    with_crafted_tests,
    with_small_repair,
    write_program_sample,
    write_sample,
)
from reflectioncoder.builder.authors.mutation_stories import StoryWriter
from reflectioncoder.builder.mutation.plausible import RARITY
from reflectioncoder.builder.outcomes import Rejected, rejection
from reflectioncoder.builder.stories import StorySettings
from reflectioncoder.choices import ROUND_KINDS, RoundKind
from reflectioncoder.data.problems import Problem
from reflectioncoder.data.samples import Sample
from reflectioncoder.languages import PYTHON
from reflectioncoder.progress import Progress
from reflectioncoder.sandbox.pool import map_ordered

SAMPLES_PER_PROBLEM = 4  # default if the recipe sets none
_MAX_BOOST = 5.0


def run_mutation_rounds(build: Build, problems: list[Problem], own: Set[str]) -> None:
    """Write the samples of all problems into `build.outcomes`.

    Each round takes one candidate of every problem that needs more samples, least-used slips first. Rounds make the choice independent
    of the order in which executions finish.

    Args:
        own: ids of the problems to write about. Candidates of other problems count as accepted, which most are, so that the choice of
            slips is close to that of a build of all problems.
    """
    rounds = _Rounds(build, problems)
    target = rounds.num_wanted * len(own)
    with Progress("build: reflections", target) as progress:
        while plans := rounds.next_plans():
            weights = rounds.kind_weights()
            here = [plan for plan in plans if plan.problem.task_id in own]
            written = map_ordered(partial(rounds.write, weights), here, build.recipe.sandbox.workers)
            for plan, (settled, outcome) in zip(here, written, strict=True):
                rounds.note(plan, settled, outcome)
                progress.update(build.outcomes.num_accepted, f"{build.outcomes.num_rejected} rejected")
            for plan in plans:
                if plan.problem.task_id not in own:
                    rounds.assume_accepted(plan)
        progress.update(target)


class _Rounds:
    """The remaining candidates and the number of samples of each problem, and the number of uses of each slip."""

    def __init__(self, build: Build, problems: list[Problem]):
        self._build = build
        self._problems = problems
        self._misreading_share = build.config.misreading_share
        misread = self._misreading_share > 0
        self._candidates = {}
        with Progress("build: slips", len(problems)) as progress:
            for number, problem in enumerate(problems, start=1):
                self._candidates[problem.task_id] = candidates(problem, build.recipe.seed, misread)
                progress.update(number)
        is_crafted = build.config.tests == "crafted"
        self._slips = {task_id: [c.slip.code for c in found] for task_id, found in self._candidates.items() if is_crafted}
        self._is_traced = build.config.diagnoses == "traced"
        if self._is_traced:  # template diagnoses keep all candidates, so that their samples do not change
            self._candidates = {task_id: [c for c in found if c.is_plausible] for task_id, found in self._candidates.items()}
        self._num_accepted: Counter[str] = Counter()
        self._used: Counter[str] = Counter()
        self._kinds: Counter[RoundKind] = Counter()
        self.num_wanted = build.config.samples_per_problem or SAMPLES_PER_PROBLEM

    def next_plans(self) -> list[MutationPlan]:
        """Return the plans of the next round; empty when no problem needs more samples or has candidates left."""
        plans = []
        for problem in self._problems:
            left = self._candidates[problem.task_id]
            if left and self._num_accepted[problem.task_id] < self.num_wanted:
                plans.append(self._plan(left, self._wanted(problem.task_id, left)))
        return plans

    def write(self, weights: Mapping[RoundKind, float], plan: MutationPlan) -> tuple[MutationPlan, Sample | Rejected]:
        """Write the sample of a plan, and return the plan as executed. Thread-safe.

        Args:
            weights: weights of the kinds of stories in this round.
        """
        build, config = self._build, self._build.config
        if plan.problem.language != PYTHON.name:
            return plan, write_program_sample(plan, build.execute, is_traced=self._is_traced)
        if config.tests == "crafted":
            slips = self._slips[plan.problem.task_id]
            plan = with_crafted_tests(plan, slips, config.shown_tests, build.recipe.seed, build.execute)
        plan = settle(plan, build.execute)
        if not self._is_traced:
            return plan, write_sample(plan, build.execute)
        plan = with_small_repair(plan, build.execute)
        return plan, StoryWriter(build.execute, StorySettings(weights, config.max_rounds), build.is_short).write(plan)

    def kind_weights(self) -> dict[RoundKind, float]:
        """Return weights for the kinds of stories, raised for kinds below their share: not every slip allows every kind."""
        weights: dict[RoundKind, float] = {}
        for kind in ROUND_KINDS:
            share = self._build.config.round_kinds.get(kind, 0.0)
            weights[kind] = share * min(_MAX_BOOST, (share * self._kinds.total() + 1) / (self._kinds[kind] + 1))
        return weights

    def _wanted(self, task_id: str, left: list[Candidate]) -> list[Candidate]:
        """Return the misreadings or the slips, as drawn for a problem's next sample; all candidates if none is of that kind."""
        number = self._num_accepted[task_id]
        wants_misreading = random.Random(f"kind/{self._build.recipe.seed}/{task_id}/{number}").random() < self._misreading_share
        return [candidate for candidate in left if candidate.is_misreading is wants_misreading] or left

    def _plan(self, left: list[Candidate], wanted: list[Candidate]) -> MutationPlan:
        candidate = min(wanted, key=lambda c: self._weight(c.slip.operator))
        left.remove(candidate)
        config, seed = self._build.config, self._build.recipe.seed
        plan = candidate.plan(config.shown_tests, config.two_slip_share, seed, config.interacting_slips, self._is_traced)
        self._used.update(plan.operators)
        marks = [mark for mark in (config.tests, config.diagnoses) if mark in ("crafted", "traced")]  # other texts need other ids
        return replace(plan, seed=":".join((*marks[::-1], plan.seed)))

    def _weight(self, operator: str) -> int:
        """Return an operator's number of uses, scaled up for operators that should be rare; the lowest goes next."""
        return (self._used[operator] + 1) * RARITY.get(operator, 1) if self._is_traced else self._used[operator]

    def note(self, planned: MutationPlan, plan: MutationPlan, outcome: Sample | Rejected) -> None:
        """Record a plan's outcome; the slips of a rejected plan count as unused."""
        outcomes, task_id = self._build.outcomes, plan.problem.task_id
        self._used.subtract(planned.operators)
        self._used.update(plan.operators)
        if isinstance(outcome, Rejected):
            self._used.subtract(plan.operators)
            outcomes.reject(len(outcomes), rejection(plan.id, task_id, outcome, plan.operators))
        else:
            outcomes.accept(len(outcomes), outcome)
            self._kinds.update([outcome.metadata["kind"]] if "kind" in outcome.metadata else [])
            self._num_accepted[task_id] += 1

    def assume_accepted(self, plan: MutationPlan) -> None:
        """Count a plan of another shard's problem as accepted."""
        self._num_accepted[plan.problem.task_id] += 1
