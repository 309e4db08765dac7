"""Computes pass@k and its intervals."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean, stdev


@dataclass(frozen=True)
class Interval:
    value: float
    ci_low: float
    ci_high: float


def pass_at_k(num_samples: int, num_correct: int, k: int) -> float:
    """Return the unbiased estimate of the chance that one of k samples passes: 1 - C(n-c, k) / C(n, k) (Chen et al., arXiv 2107.03374).

    Raises:
        ValueError: k > num_samples.
    """
    if k > num_samples:
        raise ValueError(f"pass@{k} needs at least {k} samples, got {num_samples}")
    return 1.0 - math.comb(num_samples - num_correct, k) / math.comb(num_samples, k)


def wilson_interval(successes: float, trials: int, confidence: float = 0.95) -> Interval:
    """Return Wilson's score interval of a proportion, which is sensible near 0 and 1 and for few trials.

    Args:
        successes: may be fractional (a mean of shares times `trials`), which varies no more than a count of passes.
    """
    if trials == 0:
        return Interval(0.0, 0.0, 1.0)
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share = successes / trials
    centre = share + z * z / (2 * trials)
    spread = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    low = 0.0 if successes == 0 else (centre - spread) / scale
    high = 1.0 if successes == trials else (centre + spread) / scale
    return Interval(share, low, high)


def bootstrap_interval(values: Sequence[float], confidence: float = 0.95, seed: int = 0, rounds: int = 2000) -> Interval:
    """Return the percentile bootstrap interval of the mean over tasks."""
    rng = random.Random(seed)
    means = sorted(fmean(rng.choices(values, k=len(values))) for _ in range(rounds))
    low = means[math.floor((1 - confidence) / 2 * (rounds - 1))]
    high = means[math.ceil((1 + confidence) / 2 * (rounds - 1))]
    return Interval(fmean(values), low, high)


def ratio_interval(pairs: Sequence[tuple[float, float]], confidence: float = 0.95, seed: int = 0, rounds: int = 2000) -> Interval:
    """Return the percentile bootstrap interval of sum(x) / sum(y) over tasks given as (x, y)."""
    rng = random.Random(seed)

    def ratio(drawn: Sequence[tuple[float, float]]) -> float:
        return math.fsum(x for x, _ in drawn) / math.fsum(y for _, y in drawn)

    ratios = sorted(ratio(rng.choices(pairs, k=len(pairs))) for _ in range(rounds))
    low = ratios[math.floor((1 - confidence) / 2 * (rounds - 1))]
    high = ratios[math.ceil((1 + confidence) / 2 * (rounds - 1))]
    return Interval(ratio(pairs), low, high)


def mean_pass_at_k(per_task: Sequence[tuple[int, int]], k: int, confidence: float = 0.95) -> Interval:
    """Return the mean pass@k over tasks given as (samples, correct), with Wilson's interval for one sample per task, else a bootstrap.

    The bootstrap interval has no width if all tasks are alike, and is too narrow near 0 and 1. Its upper bound is therefore at least
    Wilson's for as many tasks with none solved, its lower bound at most Wilson's with all solved.
    """
    values = [pass_at_k(n, c, k) for n, c in per_task]
    if all(n == 1 for n, _ in per_task):
        return wilson_interval(sum(c for _, c in per_task), len(per_task), confidence)
    if len(set(values)) == 1:
        return wilson_interval(values[0] * len(values), len(values), confidence)
    interval = bootstrap_interval(values, confidence)
    never, always = (wilson_interval(solved, len(values), confidence) for solved in (0, len(values)))
    return Interval(interval.value, min(interval.ci_low, always.ci_low), max(interval.ci_high, never.ci_high))


def paired_interval(interval: Interval, num_tasks: int, confidence: float = 0.95, *, single: bool) -> Interval:
    """Return the interval of a difference of two pass rates on the same tasks, widened to what their number can support.

    If the two differ on few tasks or none, the bootstrap interval is too narrow. It is therefore widened to reach at least as far to
    both sides as Wilson's upper bound on the share of differing tasks when none of `num_tasks` differs.

    Args:
        single: one sample per task. With several, tasks differ fractionally, and the bootstrap is kept unless it has no width.
    """
    if not single and interval.ci_low < interval.ci_high:
        return interval
    reach = wilson_interval(0, num_tasks, confidence).ci_high
    low, high = min(interval.ci_low, interval.value - reach), max(interval.ci_high, interval.value + reach)
    return Interval(interval.value, max(low, -1.0), min(high, 1.0))


def standard_error(values: Sequence[float]) -> float:
    """Return the standard error of the mean over tasks; 0 for fewer than two tasks."""
    return stdev(values) / math.sqrt(len(values)) if len(values) > 1 else 0.0


def exact_mcnemar(only_before: int, only_after: int) -> float:
    """Return the two-sided exact McNemar p-value, from the numbers of tasks that only one of two paired runs solves."""
    discordant = only_before + only_after
    if discordant == 0:
        return 1.0
    tail = sum(math.comb(discordant, i) for i in range(min(only_before, only_after) + 1)) / 2**discordant
    return min(1.0, 2 * tail)
