"""The mutation author's candidates in rounds, until every problem has as many samples as are wanted."""

from __future__ import annotations

from collections import Counter

from reflectioncoder.builder.executions import Executions
from reflectioncoder.builder.mutation_author import Rejected, candidates, write_sample
from reflectioncoder.builder.outcomes import Outcomes, rejection
from reflectioncoder.config.declarations import Recipe
from reflectioncoder.data.problems import Problem
from reflectioncoder.progress import Progress
from reflectioncoder.sandbox.pool import map_ordered

SAMPLES_PER_PROBLEM = 4  # where the recipe says nothing


def build_chains(recipe: Recipe, problems: list[Problem], execute: Executions, outcomes: Outcomes) -> None:
    """Each round takes one candidate of every problem that wants more; slips used least so far go first.

    Rounds make the choice independent of the order in which executions finish.
    """
    config = recipe.build
    waiting = {problem.task_id: candidates(problem, recipe.seed) for problem in problems}
    num_accepted: Counter[str] = Counter()
    used: Counter[str] = Counter()
    wanted = config.samples_per_problem or SAMPLES_PER_PROBLEM
    target = wanted * len(problems)
    with Progress("build: reflections", target) as progress:
        while True:
            round_chains = []
            for problem in problems:
                left = waiting[problem.task_id]
                if left and num_accepted[problem.task_id] < wanted:
                    candidate = min(left, key=lambda c: used[c.slip.operator])
                    left.remove(candidate)
                    chain = candidate.chain(config.shown_tests, config.two_slip_share, recipe.seed)
                    used.update(chain.operators)
                    round_chains.append(chain)
            if not round_chains:
                break
            written = map_ordered(lambda c: write_sample(c, execute), round_chains, recipe.sandbox.workers)
            for chain, outcome in zip(round_chains, written, strict=True):
                if isinstance(outcome, Rejected):
                    used.subtract(chain.operators)
                    row = rejection(chain.id, chain.problem.task_id, outcome.reason, outcome.detail, chain.operators)
                    outcomes.reject(len(outcomes), row)
                else:
                    outcomes.accept(len(outcomes), outcome)
                    num_accepted[chain.problem.task_id] += 1
                progress.update(outcomes.num_accepted, f"{outcomes.num_rejected} rejected")
        progress.update(target)
