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
        successes: a mean of shares times `trials` will do: such a mean varies no more than one of failures and successes.
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
    """Return the mean pass@k over tasks given as (samples, correct). One sample per task: Wilson; more: bootstrap over tasks.

    Tasks that are all alike tell a bootstrap nothing, and near the ends few differ: the interval there is at least as wide as
    Wilson's for as many tasks of which none (or each) is solved.
    """
    values = [pass_at_k(n, c, k) for n, c in per_task]
    if all(n == 1 for n, _ in per_task):
        return wilson_interval(sum(c for _, c in per_task), len(per_task), confidence)
    if len(set(values)) == 1:
        return wilson_interval(values[0] * len(values), len(values), confidence)
    interval = bootstrap_interval(values, confidence)
    never, always = (wilson_interval(solved, len(values), confidence) for solved in (0, len(values)))
    return Interval(interval.value, min(interval.ci_low, always.ci_low), max(interval.ci_high, never.ci_high))


def standard_error(values: Sequence[float]) -> float:
    """Return the standard error of the mean of the tasks' values; 0 for fewer than two."""
    return stdev(values) / math.sqrt(len(values)) if len(values) > 1 else 0.0


def exact_mcnemar(only_before: int, only_after: int) -> float:
    """Return the two-sided exact p-value for two paired runs being equally good, from the tasks that only one of them solves."""
    discordant = only_before + only_after
    if discordant == 0:
        return 1.0
    tail = sum(math.comb(discordant, i) for i in range(min(only_before, only_after) + 1)) / 2**discordant
    return min(1.0, 2 * tail)
