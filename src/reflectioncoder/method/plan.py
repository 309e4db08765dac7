"""Plans the whole run as a pure function of (samples, settings, seed): the order, mask rate, masks and loss weights of every visit.

Nothing is decided during training: masks, order, packing and normalization are the same for any resume point and any number of
ranks and data-loading workers, and no live trainer state is read. No torch.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from reflectioncoder.config.declarations import TrainConfig
from reflectioncoder.data.render import IGNORE_INDEX, RenderedSample
from reflectioncoder.data.rendered import span_table
from reflectioncoder.errors import UsageError
from reflectioncoder.method.balance import balance
from reflectioncoder.method.masking import hidden_positions, mask_rate
from reflectioncoder.method.packing import PackedBatch, pack
from reflectioncoder.method.sizes import HiddenCounts, sample_sizes
from reflectioncoder.method.views import View, WeightedViews, student_view, teacher_view

_MAX_LOOKED_AT, _NUM_RATES = 1000, 16
_MAX_VISITS = 10**9


@dataclass(frozen=True)
class PlannedSample:
    """One visit of a sample: its index, its epoch, the optimizer step (from 0) that trains it, its slot in that step."""

    index: int
    epoch: int
    step: int
    slot: int


class RunPlan:
    """All optimizer steps of a run; the last one may be smaller.

    Args:
        names: sample names used in error messages.
    """

    def __init__(self, samples: Sequence[RenderedSample], config: TrainConfig, seed: int, names: Sequence[str] = ()):
        self.samples = samples
        self._names = names
        self.config = config
        self.seed = seed
        spans = span_table(samples)
        self.is_reflection = spans.is_reflection
        self.sizes = sample_sizes(spans, config)
        self._hidden_counts = HiddenCounts(spans, config)
        self._index, self._epoch = self._visits()
        self.total_steps = self._affordable_steps()

    def _visits(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return sample and epoch of every visit, shuffled within each epoch, as far as `max_tokens` can pay them and a little further.

        Raises:
            UsageError: they are more than can be planned.
        """
        budget = self.config.max_tokens
        teacher_tokens = np.maximum(self.sizes.teacher_tokens, 0)  # the least that a visit costs
        count = self._num_visits
        if budget is not None:
            mean = max(1, int(teacher_tokens.mean())) if len(teacher_tokens) else 1
            count = min(count, max(self.config.global_batch_size, budget // mean))
        while True:
            if count > _MAX_VISITS:
                what = "these are more visits of samples than can be planned"
                where = "train.epochs, train.reflection_upsampling, train.generation_upsampling, train.reflection_token_share"
                hint = "train.max_tokens limits a training to what it can pay"
                raise UsageError.for_value(what, where, count, f"at most {_MAX_VISITS}", hint)
            index, epoch = self._arranged(count)
            if count == self._num_visits or (budget is not None and int(teacher_tokens[index].sum()) > budget):
                return index, epoch
            count = min(self._num_visits, 2 * count)

    @cached_property
    def _num_visits(self) -> int:
        """Return the number of visits in all epochs, whether `max_tokens` can pay them or not."""
        if self.config.reflection_token_share is None:
            return round(self.config.epochs * int(self._upsampling.sum()))
        num_reflections, share = int(self.is_reflection.sum()), self.config.reflection_token_share
        one_pass = num_reflections / self._reflection_frequency if share else len(self.samples) - num_reflections
        return round(self.config.epochs * one_pass)

    @cached_property
    def _upsampling(self) -> NDArray[np.int64]:
        return np.where(self.is_reflection, self.config.reflection_upsampling, self.config.generation_upsampling)

    @cached_property
    def _reflection_frequency(self) -> float:
        """Return the share of visits that go to reflection samples, so that they take `reflection_token_share` of the tokens.

        Raises:
            UsageError: a kind with a nonzero share has no samples.
        """
        share = self.config.reflection_token_share or 0.0
        rates = []  # visits per token
        for kind, is_one, part, allowed in (
            ("reflection", self.is_reflection, share, "0"),
            ("one-off", ~self.is_reflection, 1 - share, "1"),
        ):
            group = np.flatnonzero(is_one)
            if part and not len(group):
                what = f"there are no {kind} samples that could take their share"
                raise UsageError.for_value(what, "train.reflection_token_share", share, allowed)
            rates.append(part / self._mean_cost(group) if part else 0.0)
        return rates[0] / sum(rates)

    def _arranged(self, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return sample and epoch of the first `count` visits, which are the same for every larger `count`.

        With a share of the tokens, reflection samples lie evenly among the one-off samples, so that the share holds for any number of
        steps. Each kind is shuffled by itself: every sample is visited before one of its kind is visited again.
        """
        if self.config.reflection_token_share is None:
            return self._passes("order", np.repeat(np.arange(len(self.samples)), self._upsampling), count)
        is_reflection = np.diff(np.floor(np.arange(count + 1) * self._reflection_frequency + 0.5)) > 0
        index, epoch = np.empty(count, np.int64), np.empty(count, np.int64)
        for name, kind, chosen in (
            ("reflections", self.is_reflection, is_reflection),
            ("one-off", ~self.is_reflection, ~is_reflection),
        ):
            index[chosen], epoch[chosen] = self._passes(name, np.flatnonzero(kind), int(chosen.sum()))
        return index, epoch

    def _passes(self, name: str, once: NDArray[np.int64], remaining: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return `remaining` visits from shuffled passes over `once`, and the pass number of each visit."""
        orders = []
        while remaining > 0 and len(once):
            order = once.tolist()
            random.Random(f"{name}/{self.seed}/{len(orders)}").shuffle(order)
            orders.append(np.array(order[:remaining]))
            remaining -= len(order)
        epochs = [np.full(len(order), epoch) for epoch, order in enumerate(orders)]
        return (np.concatenate(orders), np.concatenate(epochs)) if orders else (np.empty(0, np.int64), np.empty(0, np.int64))

    def _mean_cost(self, group: NDArray[np.int64]) -> float:
        """Return the mean tokens per visit over the run's mask rates, estimated from at most `_MAX_LOOKED_AT` samples."""
        some = group[:: -(-len(group) // _MAX_LOOKED_AT)]
        rates = [self.rate(step, _NUM_RATES) for step in range(_NUM_RATES)]
        hidden = [self._hidden_counts(some, np.full(len(some), rate), lambda visit: random.Random(f"cost/{visit}")) for rate in rates]
        return float((self.sizes.teacher_tokens[some] + self.sizes.student_tokens[some] - np.mean(hidden, axis=0)).mean())

    def visits(self, step: int) -> list[PlannedSample]:
        """Return the visits of an optimizer step."""
        begin = step * self.config.global_batch_size
        chosen = slice(begin, begin + self.config.global_batch_size)
        pairs = zip(self._index[chosen].tolist(), self._epoch[chosen].tolist(), strict=True)
        return [PlannedSample(index, epoch, step, slot) for slot, (index, epoch) in enumerate(pairs)]

    @property
    def visited(self) -> NDArray[np.int64]:
        """Return the sample index of every visit of the run, in order."""
        return self._index[: self.total_steps * self.config.global_batch_size]

    @property
    def is_cut_short(self) -> bool:
        """Tell whether `max_tokens` ends the run before `epochs` does."""
        return self.total_steps * self.config.global_batch_size < self._num_visits

    def _affordable_steps(self) -> int:
        """Return the largest number of steps whose tokens stay within `max_tokens` (the mask rate, and with it the cost, depends on
        it)."""
        low, high = 1, -(-self._num_visits // self.config.global_batch_size)
        if high == 0:
            raise UsageError(
                "no sample would be trained: too few epochs, or all samples are left out\n"
                f"  where:   train.epochs = {self.config.epochs}, train.reflection_upsampling = {self.config.reflection_upsampling}, "
                f"train.generation_upsampling = {self.config.generation_upsampling}"
            )
        if self.config.max_tokens is None:
            return high
        least = int(self.costs(low).sum())
        if least > self.config.max_tokens:
            raise UsageError.for_value(
                "the token budget is below one optimizer step", "train.max_tokens", self.config.max_tokens, f"{least} or more"
            )
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self._can_pay(middle, self.config.max_tokens) else (low, middle - 1)
        return low

    def _can_pay(self, total_steps: int, max_tokens: int) -> bool:
        num_planned = len(self._index)
        is_planned = num_planned == self._num_visits or total_steps * self.config.global_batch_size < num_planned
        return is_planned and int(self.costs(total_steps).sum()) <= max_tokens

    def costs(self, total_steps: int | None = None) -> NDArray[np.int64]:
        """Return the tokens of each visit that go through the model, for a run of `total_steps` steps (default: all planned)."""
        total_steps = total_steps or self.total_steps
        return self._costs(0, total_steps, total_steps)

    def step_costs(self, step: int) -> NDArray[np.int64]:
        """Return the token counts of the visits of one step."""
        return self._costs(step, step + 1, self.total_steps)

    def _costs(self, first_step: int, end_step: int, total_steps: int) -> NDArray[np.int64]:
        size = self.config.global_batch_size
        index, epoch = (column[first_step * size : end_step * size] for column in (self._index, self._epoch))
        steps = first_step + np.arange(len(index)) // size
        rates = np.array([self.rate(step, total_steps) for step in range(first_step, end_step)])[steps - first_step]

        def generator(visit: int) -> random.Random:
            return self._generator(PlannedSample(int(index[visit]), int(epoch[visit]), int(steps[visit]), visit % size))

        hidden = self._hidden_counts(index, rates, generator)
        return self.sizes.teacher_tokens[index] + self.sizes.student_tokens[index] - hidden

    @cached_property
    def num_tokens(self) -> int:
        """Return the teacher and student tokens that go through the model in the whole run."""
        return int(self.costs().sum())

    def rate(self, step: int, total_steps: int | None = None) -> float:
        return mask_rate(step, total_steps or self.total_steps, self.config.mask_schedule, self.config.mask_constant_rate)

    def hidden(self, visit: PlannedSample) -> frozenset[int]:
        """Return the positions hidden in this visit, drawn from the seed and the visit alone."""
        return self._hidden(self.samples[visit.index], visit)

    def _hidden(self, sample: RenderedSample, visit: PlannedSample) -> frozenset[int]:
        strategies, order = self.config.mask_strategy, self.config.mask_block_order
        return hidden_positions(sample.reflection_blocks(), self.rate(visit.step), strategies, self._generator(visit), order)

    def _generator(self, visit: PlannedSample) -> random.Random:
        return random.Random(f"mask/{self.seed}/{visit.epoch}/{visit.step}/{visit.slot}/{visit.index}")

    def name_of(self, visit: PlannedSample) -> str:
        return self._names[visit.index] if self._names else f"#{visit.index}"

    def views(self, visit: PlannedSample) -> tuple[View, View | None]:
        sample = self.samples[visit.index]
        if not sample.is_reflection:
            return teacher_view(sample), None
        teacher = teacher_view(sample, self.config.failed_attempts, self.config.teacher_targets)
        if not self.config.student_view:
            return teacher, None
        hidden = self._hidden(sample, visit)
        return teacher, student_view(sample, hidden, self.config.student_positions, mask_frame=self.config.mask_frame)

    def weighted_views(self, visits: Sequence[PlannedSample]) -> list[WeightedViews]:
        """Return views of visits of one step, weighted so that the sum over all visits of the step is the loss of method, section 3."""
        if not visits:
            return []
        of_step = [visit.index for visit in self.visits(visits[0].step)]
        num_ce, num_kl, share = int(self.sizes.num_ce[of_step].sum()), int(self.sizes.num_kl[of_step].sum()), 1.0
        weighted = []
        for visit in visits:
            own_kl = int(self.sizes.num_kl[visit.index])
            if self.config.normalization == "per_sample":
                num_ce, num_kl, share = int(self.sizes.num_ce[visit.index]), own_kl, 1.0 / len(of_step)
            ce_weight = share / num_ce if num_ce else 0.0
            kl_weight = self.config.kl_weight * share / num_kl if own_kl else 0.0
            weighted.append(WeightedViews(*self.views(visit), ce_weight, kl_weight))
        return weighted

    def batches(self, step: int, rank: int = 0, num_ranks: int = 1) -> list[PackedBatch]:
        """Return the batches of one rank in an optimizer step, one per forward; every rank has the same number.

        With fewer visits than ranks, the remaining ranks compute a visit with zero weight.
        """
        visits = self.visits(step)
        forwards = balance(self.step_costs(step).tolist(), num_ranks, self.config.micro_batch_tokens)[rank]
        return [pack(self.weighted_views([visits[slot] for slot in slots])) if slots else self._idle(visits) for slots in forwards]

    def _idle(self, visits: Sequence[PlannedSample]) -> PackedBatch:
        shortest = min(visits, key=lambda visit: (self.sizes.teacher_tokens[visit.index], visit.slot))
        batch = pack([WeightedViews(teacher_view(self.samples[shortest.index]), None, 0.0, 0.0)])
        return replace(batch, targets=(IGNORE_INDEX,) * len(batch.targets))
