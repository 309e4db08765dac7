"""Estimates the difference between an arm and the control by a bootstrap over seeds and tasks; all seeds share the tasks.

A run's metric is sum(x) / sum(y) over tasks: passes and samples, or nats and tokens. Arms are paired by seed and task: both members of
a pair are drawn together, so effects common to both (a hard task, a lucky seed) cancel out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reflectioncoder.evaluate.metrics import Interval, paired_interval

ROUNDS = 10_000
POWER = 0.8
"""The statistical power of `detectable`: the share of repetitions in which a true difference of that size is found."""

TaskValues = Mapping[str, tuple[float, float]]
"""The values of one run: task → (numerator, denominator)."""

Column = NDArray[np.float64]
Pair = tuple[tuple[Column, Column], tuple[Column, Column]]
"""The columns of an arm and of the control: numerators and denominators by task."""


@dataclass(frozen=True)
class Estimate:
    """A value with its confidence interval.

    `detectable`: the smallest true difference whose interval would exclude zero in a share `POWER` of repetitions. `num_seeds`,
    `num_tasks`: the size of the paired data.
    """

    value: float
    ci_low: float
    ci_high: float
    standard_error: float
    detectable: float
    num_seeds: int
    num_tasks: int


def mean_of(runs: Sequence[TaskValues]) -> float:
    """Return a metric's mean over runs."""
    return float(np.mean([sum(x for x, _ in run.values()) / sum(y for _, y in run.values()) for run in runs]))


def paired_difference(
    arm: Sequence[TaskValues],
    control: Sequence[TaskValues],
    confidence: float = 0.95,
    *,
    of_shares: bool = False,
    seed: int = 0,
    rounds: int = ROUNDS,
) -> Estimate:
    """Return the difference arm - control of a metric, averaged over seeds, with a bootstrap interval over seeds and tasks.

    With one seed the interval is over tasks only and says nothing about other seeds. Drawing seeds and tasks counts the noise of single
    answers three times (Owen 2007, arXiv 0712.1111); the draws are rescaled to remove the excess, and widened as in a t-test.

    Args:
        arm, control: one run per seed each, in the same order.
        of_shares: the metric is a pass rate; the interval is then at least as wide as the number of tasks allows (`paired_interval`).

    Raises:
        ValueError: no runs, unequal numbers of runs, or no task common to all runs.
    """
    tasks = sorted(set.intersection(*(set(run) for run in (*arm, *control)))) if arm and control else []
    if len(arm) != len(control) or not tasks:
        raise ValueError("paired runs need equally many seeds and a common task")
    pairs = [(_columns(ours, tasks), _columns(theirs, tasks)) for ours, theirs in zip(arm, control, strict=True)]
    value = float(np.mean([_differences(pair, np.ones((1, len(tasks))))[0] for pair in pairs]))
    rng = np.random.default_rng(seed)
    drawn = _drawings(pairs, rng, rounds) - value
    error = float(np.std(drawn, ddof=1))
    if len(pairs) > 1 and len(tasks) > 1 and error > 0:
        exact, freedom = _standard_error(np.array([_contributions(pair) for pair in pairs]))
        drawn *= exact / error * np.sqrt(freedom / rng.chisquare(freedom, size=rounds))
        error = exact
    low, high, shifted = (float(x) for x in np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2, POWER]))
    interval = Interval(value, value + low, value + high)
    if of_shares:
        single = all(denominators.max() == 1 for pair in pairs for _, denominators in pair)
        interval = paired_interval(interval, len(tasks), confidence, single=single)
    detectable = (interval.ci_high - interval.ci_low) / 2 + shifted
    return Estimate(value, interval.ci_low, interval.ci_high, error, detectable, len(pairs), len(tasks))


def _drawings(pairs: Sequence[Pair], rng: np.random.Generator, rounds: int) -> NDArray[np.float64]:
    """Return the difference for bootstrap draws of seeds and tasks; within a draw all seeds have the same tasks."""
    num_tasks = len(pairs[0][0][0])
    share = rng.multinomial(len(pairs), [1 / len(pairs)] * len(pairs), size=rounds) / len(pairs)
    counts = rng.multinomial(num_tasks, [1 / num_tasks] * num_tasks, size=rounds)
    return np.sum([share[:, number] * _differences(pair, counts) for number, pair in enumerate(pairs)], axis=0)


def _contributions(pair: Pair) -> NDArray[np.float64]:
    """Return a value per task whose mean is the difference of the two runs and whose spread is its noise (linearised)."""
    sides = []
    for x, y in pair:
        ratio = x.sum() / y.sum()
        sides.append(ratio + (x - ratio * y) / y.mean())
    return sides[0] - sides[1]


def _standard_error(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return the standard error of the mean of a (seeds, tasks) table, both factors random, and Satterthwaite's degrees of freedom."""
    num_seeds, num_tasks = values.shape
    by_seed, by_task, mean = values.mean(axis=1), values.mean(axis=0), values.mean()
    rest = values - by_seed[:, None] - by_task[None, :] + mean
    of_seeds = num_tasks * float(np.sum((by_seed - mean) ** 2)) / (num_seeds - 1)
    of_tasks = num_seeds * float(np.sum((by_task - mean) ** 2)) / (num_tasks - 1)
    noise_freedom = (num_seeds - 1) * (num_tasks - 1)
    noise = float(np.sum(rest**2)) / noise_freedom
    total = of_seeds + of_tasks - noise
    if total <= noise:  # neither seeds nor tasks vary by more than the noise
        total, freedom = noise, float(noise_freedom)
    else:
        spread = of_seeds**2 / (num_seeds - 1) + of_tasks**2 / (num_tasks - 1) + noise**2 / noise_freedom
        freedom = total**2 / spread
    return math.sqrt(total / values.size), max(freedom, 1.0)


def _columns(run: TaskValues, tasks: Sequence[str]) -> tuple[Column, Column]:
    numerators, denominators = zip(*(run[task] for task in tasks), strict=True)
    return np.array(numerators, dtype=float), np.array(denominators, dtype=float)


def _differences(pair: Pair, counts: NDArray[Any]) -> Column:
    """Return the difference of the two runs in every draw; `counts`: (draws, tasks), how often each task was drawn."""
    (x_arm, y_arm), (x_control, y_control) = pair
    return counts @ x_arm / (counts @ y_arm) - counts @ x_control / (counts @ y_control)


def detectable_share(base_rate: float, num_tasks: int, num_seeds: int, num_samples: int = 1, confidence: float = 0.95) -> float:
    """Return the pass-rate difference that would be found with power `POWER` (4 of 5 repetitions), given only the base model's rate.

    It assumes independent answers across tasks, seeds, samples and arms. Smaller differences are detectable if the arms solve mostly
    the same tasks; correlated answers to one task, and few seeds, do the opposite.
    """
    variance = max(base_rate * (1 - base_rate), 0.5 / num_tasks) / (num_tasks * num_seeds * num_samples)
    normal = NormalDist()
    return (normal.inv_cdf((1 + confidence) / 2) + normal.inv_cdf(POWER)) * math.sqrt(2 * variance)
