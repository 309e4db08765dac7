"""Estimates how much an arm differs from the control: a bootstrap over seeds and tasks, of which all seeds have the same.

A metric of one run is sum(x) / sum(y) over tasks: passes and samples, or nats and tokens. Arms are paired by seed and task: both of a
pair are drawn together, so what makes a task hard, or a seed lucky, for both cancels out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROUNDS = 10_000
POWER_Z = 1.959964 + 0.841621
"""Standard errors of a difference that is found with 80 % probability at a level of 5 % (two-sided)."""

TaskValues = Mapping[str, tuple[float, float]]
"""The values of one run: task → what is summed above and below the line."""


Column = NDArray[np.float64]
Pair = tuple[tuple[Column, Column], tuple[Column, Column]]
"""The columns of an arm and of the control: the tasks' values above and below the line."""


@dataclass(frozen=True)
class Estimate:
    """A value with its interval. `standard_error`: of the bootstrap; `num_seeds`, `num_tasks`: what it rests on."""

    value: float
    ci_low: float
    ci_high: float
    standard_error: float
    num_seeds: int
    num_tasks: int


def mean_of(runs: Sequence[TaskValues]) -> float:
    """Return the mean of a metric over runs."""
    return float(np.mean([sum(x for x, _ in run.values()) / sum(y for _, y in run.values()) for run in runs]))


def paired_difference(
    arm: Sequence[TaskValues], control: Sequence[TaskValues], confidence: float = 0.95, seed: int = 0, rounds: int = ROUNDS
) -> Estimate:
    """Return the difference arm - control of a metric, mean over seeds, with a bootstrap interval over seeds and tasks.

    With one seed the interval is over tasks alone, and says nothing about other seeds. Drawing seeds and tasks counts the noise of
    single answers three times (Owen 2007, arXiv 0712.1111); the excess is taken away, and few seeds widen the interval as in a t-test.

    Args:
        arm, control: one run each per seed, in the same order.

    Raises:
        ValueError: no run, not equally many, or no task that all runs have.
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
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Estimate(value, value + float(low), value + float(high), error, len(pairs), len(tasks))


def _drawings(pairs: Sequence[Pair], rng: np.random.Generator, rounds: int) -> NDArray[np.float64]:
    """Return the difference in drawings of seeds and tasks; all seeds of a drawing have the same tasks."""
    num_tasks = len(pairs[0][0][0])
    share = rng.multinomial(len(pairs), [1 / len(pairs)] * len(pairs), size=rounds) / len(pairs)
    counts = rng.multinomial(num_tasks, [1 / num_tasks] * num_tasks, size=rounds)
    return np.sum([share[:, number] * _differences(pair, counts) for number, pair in enumerate(pairs)], axis=0)


def _contributions(pair: Pair) -> NDArray[np.float64]:
    """Return a number for each task whose mean is the difference of the two runs, and whose spread is its noise (linearised)."""
    sides = []
    for x, y in pair:
        ratio = x.sum() / y.sum()
        sides.append(ratio + (x - ratio * y) / y.mean())
    return sides[0] - sides[1]


def _standard_error(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return the standard error of the mean of a table (seeds, tasks), both drawn at random, and Satterthwaite's degrees of freedom."""
    num_seeds, num_tasks = values.shape
    by_seed, by_task, mean = values.mean(axis=1), values.mean(axis=0), values.mean()
    rest = values - by_seed[:, None] - by_task[None, :] + mean
    of_seeds = num_tasks * float(np.sum((by_seed - mean) ** 2)) / (num_seeds - 1)
    of_tasks = num_seeds * float(np.sum((by_task - mean) ** 2)) / (num_tasks - 1)
    noise_freedom = (num_seeds - 1) * (num_tasks - 1)
    noise = float(np.sum(rest**2)) / noise_freedom
    total = of_seeds + of_tasks - noise
    if total <= noise:  # neither seeds nor tasks differ by more than the noise
        total, freedom = noise, float(noise_freedom)
    else:
        spread = of_seeds**2 / (num_seeds - 1) + of_tasks**2 / (num_tasks - 1) + noise**2 / noise_freedom
        freedom = total**2 / spread
    return math.sqrt(total / values.size), max(freedom, 1.0)


def _columns(run: TaskValues, tasks: Sequence[str]) -> tuple[Column, Column]:
    above, below = zip(*(run[task] for task in tasks), strict=True)
    return np.array(above, dtype=float), np.array(below, dtype=float)


def _differences(pair: Pair, counts: NDArray[Any]) -> Column:
    """Return the difference of the two runs in every drawing; `counts`: (drawings, tasks), how often each task was drawn."""
    (x_arm, y_arm), (x_control, y_control) = pair
    return counts @ x_arm / (counts @ y_arm) - counts @ x_control / (counts @ y_control)


def detectable_share(base_rate: float, num_tasks: int, num_seeds: int, num_samples: int = 1) -> float:
    """Return the difference of two pass rates that would be found in 4 of 5 repetitions, before anything is known but the base's rate.

    As if all answers were independent: of other tasks, seeds and samples, and of the two arms. Arms mostly solve the same tasks, which
    makes smaller differences visible; answers to one task resemble each other, and few seeds say little about the others, which makes
    only larger ones visible.
    """
    variance = max(base_rate * (1 - base_rate), 0.5 / num_tasks) / (num_tasks * num_seeds * num_samples)
    return POWER_Z * math.sqrt(2 * variance)
