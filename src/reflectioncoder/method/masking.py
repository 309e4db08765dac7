"""Decides which tokens of the reflection sequence are hidden from the student (method, section 4). Pure functions, no torch.

A strategy maps (blocks of `rs`, mask rate m, random generator) to the set of hidden token positions. Strategies do not cover the
tokens of round one that are always hidden: see `views.student_view`.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence

from reflectioncoder.choices import MaskSchedule, MaskStrategy
from reflectioncoder.data.render import Span
from reflectioncoder.data.samples import BLOCK_TYPES
from reflectioncoder.errors import UsageError, require_choice

BLOCK_TYPE_THRESHOLDS = (0.0, 0.33, 0.67)

_SCHEDULES: dict[MaskSchedule, Callable[[float, float], float]] = {
    "linear": lambda progress, constant_rate: progress,
    "cosine": lambda progress, constant_rate: (1 - math.cos(math.pi * progress)) / 2,
    "step": lambda progress, constant_rate: math.floor(progress * 4) / 4,
    "constant": lambda progress, constant_rate: constant_rate,
}


def mask_rate(step: int, total_steps: int, schedule: MaskSchedule = "linear", constant_rate: float = 1.0) -> float:
    """Return the mask rate of optimizer step `step` (from 0) of `total_steps`; linear: min(1, (step + 1) / total_steps).

    step: the linear rate rounded down to quarters; cosine: half a cosine from 0 to 1; constant: `constant_rate`.

    Raises:
        UsageError: unknown schedule.
    """
    require_choice("mask schedule", schedule, _SCHEDULES)
    return _SCHEDULES[schedule](min(1.0, (step + 1) / total_steps), constant_rate)


def _positions(spans: Sequence[Span]) -> list[int]:
    return [position for span in spans for position in range(span.start, span.end)]


def _none(blocks: Sequence[Span], rate: float, rng: random.Random, order: Sequence[str]) -> list[int]:
    return []


def _all(blocks: Sequence[Span], rate: float, rng: random.Random, order: Sequence[str]) -> list[int]:
    return _positions(blocks)


def _random_token(blocks: Sequence[Span], rate: float, rng: random.Random, order: Sequence[str]) -> list[int]:
    tokens = _positions(blocks)
    return rng.sample(tokens, math.ceil(rate * len(tokens)))


def _sequential_token(blocks: Sequence[Span], rate: float, rng: random.Random, order: Sequence[str]) -> list[int]:
    tokens = _positions(blocks)
    return tokens[: math.ceil(rate * len(tokens))]


def _random_block(blocks: Sequence[Span], rate: float, rng: random.Random, order: Sequence[str]) -> list[int]:
    return _positions(rng.sample(list(blocks), math.ceil(rate * len(blocks))))


def _sequential_block(blocks: Sequence[Span], rate: float, rng: random.Random, order: Sequence[str]) -> list[int]:
    return _positions(blocks[: math.ceil(rate * len(blocks))])


def _block_type(blocks: Sequence[Span], rate: float, rng: random.Random, order: Sequence[str]) -> list[int]:
    hidden = [kind for kind, threshold in zip(order, BLOCK_TYPE_THRESHOLDS, strict=True) if rate >= threshold]
    return _positions([span for span in blocks if span.kind in hidden])


_STRATEGIES: dict[MaskStrategy, Callable[[Sequence[Span], float, random.Random, Sequence[str]], list[int]]] = {
    "none": _none,
    "all": _all,
    "random_token": _random_token,
    "sequential_token": _sequential_token,
    "random_block": _random_block,
    "sequential_block": _sequential_block,
    "block_type": _block_type,
}


def hidden_positions(
    blocks: Sequence[Span],
    rate: float,
    strategies: Sequence[MaskStrategy],
    rng: random.Random,
    block_order: Sequence[str] = ("execution", "text", "code"),
) -> frozenset[int]:
    """Return the positions of the reflection sequence that are hidden from the student at mask rate `rate` in [0, 1].

    If `strategies` has several entries, one is drawn uniformly. `block_order` must name each block type once.

    Raises:
        UsageError: an unknown strategy, an invalid block order, or a rate outside [0, 1].
    """
    for strategy in strategies:
        require_choice("mask strategy", strategy, _STRATEGIES)
    if sorted(block_order) != sorted(BLOCK_TYPES):
        raise UsageError.for_value("the block order names each type once", "block_order", list(block_order), ", ".join(BLOCK_TYPES))
    if not 0 <= rate <= 1:
        raise UsageError.for_value("the mask rate is out of range", "rate", rate, "0 to 1")
    strategy = strategies[0] if len(strategies) == 1 else rng.choice(list(strategies))
    return frozenset(_STRATEGIES[strategy](blocks, rate, rng, block_order))
