"""Plans the whole run as a pure function of (samples, settings, seed): which sample goes where, at which mask rate, with which weights.

Nothing is decided while training: masks, order, packing and normalization are the same for any number of data-loading workers and
ranks and any resume point, and no live trainer state is read. No torch.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from reflectioncoder.config.declarations import TrainConfig
from reflectioncoder.data.render import IGNORE_INDEX, RenderedSample
from reflectioncoder.errors import UsageError
from reflectioncoder.method.balance import balance
from reflectioncoder.method.masking import hidden_positions, mask_rate
from reflectioncoder.method.packing import PackedBatch, pack
from reflectioncoder.method.views import View, WeightedViews, student_view, teacher_view


@dataclass(frozen=True)
class PlannedSample:
    """One visit of a sample: its index, its epoch, the optimizer step (from 0) that trains it, its place in that step."""

    index: int
    epoch: int
    step: int
    slot: int


@dataclass(frozen=True)
class SampleSize:
    """The sizes that no mask changes: tokens of the teacher, of a student from whom no block is hidden, and the terms of both."""

    teacher_tokens: int
    student_tokens: int
    num_ce: int
    num_kl: int


class RunPlan:
    """All optimizer steps of a run. `steps[s]` are the visits of step s; the last step may be smaller.

    Args:
        names: of the samples, for messages.
    """

    def __init__(self, samples: Sequence[RenderedSample], config: TrainConfig, seed: int, names: Sequence[str] = ()):
        self.samples = samples
        self._names = names
        self.config = config
        self.seed = seed
        self._stream = list(self._visits())
        self._sizes: dict[int, SampleSize] = {}
        self.total_steps = self._affordable_steps()
        self.steps = [
            [PlannedSample(index, epoch, step, slot) for slot, (index, epoch) in enumerate(self._chunk(step))]
            for step in range(self.total_steps)
        ]

    def _visits(self) -> Iterator[tuple[int, int]]:
        """Yield (index, epoch) of every visit, shuffled within each epoch."""
        once = [
            index
            for index, sample in enumerate(self.samples)
            for _ in range(self.config.reflection_upsampling if sample.is_reflection else self.config.generation_upsampling)
        ]
        remaining = round(self.config.epochs * len(once))
        epoch = 0
        while remaining > 0:
            order = list(once)
            random.Random(f"order/{self.seed}/{epoch}").shuffle(order)
            yield from ((index, epoch) for index in order[:remaining])
            remaining -= len(order)
            epoch += 1

    def _chunk(self, step: int) -> list[tuple[int, int]]:
        size = self.config.global_batch_size
        return self._stream[step * size : (step + 1) * size]

    def _affordable_steps(self) -> int:
        """Return the largest number of steps whose tokens stay within `max_tokens` (the mask rate, and with it the cost, depends on
        it)."""
        low, high = 1, -(-len(self._stream) // self.config.global_batch_size)
        if high == 0:
            raise UsageError.for_value("no sample would be trained", "train.epochs", self.config.epochs, "a larger number")
        if self.config.max_tokens is None:
            return high
        if self._tokens(low) > self.config.max_tokens:
            raise UsageError.for_value(
                "the token budget is below one optimizer step",
                "train.max_tokens",
                self.config.max_tokens,
                f"{self._tokens(low)} or more",
            )
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self._tokens(middle) <= self.config.max_tokens else (low, middle - 1)
        return low

    def _tokens(self, total_steps: int) -> int:
        visits = (
            PlannedSample(index, epoch, step, slot)
            for step in range(total_steps)
            for slot, (index, epoch) in enumerate(self._chunk(step))
        )
        return sum(self.cost(visit, total_steps) for visit in visits)

    @cached_property
    def num_tokens(self) -> int:
        """Return the teacher and student tokens that go through the model in the whole run."""
        return self._tokens(self.total_steps)

    def rate(self, step: int, total_steps: int | None = None) -> float:
        return mask_rate(step, total_steps or self.total_steps, self.config.mask_schedule, self.config.mask_constant_rate)

    def hidden(self, visit: PlannedSample, total_steps: int | None = None) -> frozenset[int]:
        """Return the positions hidden in this visit, drawn from the seed and the visit alone."""
        return hidden_positions(
            self.samples[visit.index].reflection_blocks(),
            self.rate(visit.step, total_steps),
            self.config.mask_strategy,
            random.Random(f"mask/{self.seed}/{visit.epoch}/{visit.step}/{visit.slot}/{visit.index}"),
            self.config.mask_block_order,
        )

    def name_of(self, visit: PlannedSample) -> str:
        return self._names[visit.index] if self._names else f"#{visit.index}"

    def views(self, visit: PlannedSample) -> tuple[View, View | None]:
        sample = self.samples[visit.index]
        if not sample.is_reflection:
            return teacher_view(sample), None
        return teacher_view(sample), self._student(sample, self.hidden(visit))

    def _student(self, sample: RenderedSample, hidden: Collection[int]) -> View:
        return student_view(sample, hidden, self.config.student_positions, mask_frame=self.config.mask_frame)

    def size(self, index: int) -> SampleSize:
        if index not in self._sizes:
            sample = self.samples[index]
            student = self._student(sample, ()) if sample.is_reflection else None
            packed = pack([WeightedViews(teacher_view(sample), student, 1.0, self.config.kl_weight)])
            teacher_tokens, student_tokens = (*packed.lengths, 0, 0)[:2]
            self._sizes[index] = SampleSize(teacher_tokens, student_tokens, packed.num_targets, packed.num_pairs)
        return self._sizes[index]

    def cost(self, visit: PlannedSample, total_steps: int | None = None) -> int:
        """Return the number of tokens of a visit that go through the model."""
        size = self.size(visit.index)
        hidden = len(self.hidden(visit, total_steps)) if size.student_tokens else 0
        return size.teacher_tokens + size.student_tokens - hidden

    def weighted_views(self, visits: Sequence[PlannedSample]) -> list[WeightedViews]:
        """Return the visits of one step, weighted such that the sum over all of the step's visits is the loss of method, section 3."""
        of_step = [self.size(visit.index) for visit in self.steps[visits[0].step]] if visits else []
        num_ce, num_kl, share = sum(size.num_ce for size in of_step), sum(size.num_kl for size in of_step), 1.0
        weighted = []
        for visit in visits:
            own = self.size(visit.index)
            if self.config.normalization == "per_sample":
                num_ce, num_kl, share = own.num_ce, own.num_kl, 1.0 / len(of_step)
            ce_weight = share / num_ce if num_ce else 0.0
            kl_weight = self.config.kl_weight * share / num_kl if own.num_kl else 0.0
            weighted.append(WeightedViews(*self.views(visit), ce_weight, kl_weight))
        return weighted

    def batches(self, step: int, rank: int = 0, num_ranks: int = 1) -> list[PackedBatch]:
        """Return what a rank computes in an optimizer step, one batch per forward; every rank has equally many.

        Where there are fewer visits than ranks, some compute a visit without weight.
        """
        visits = self.steps[step]
        costs = [self.cost(visit) for visit in visits]
        forwards = balance(costs, num_ranks, self.config.micro_batch_tokens)[rank]
        return [pack(self.weighted_views([visits[slot] for slot in slots])) if slots else self._idle(visits) for slots in forwards]

    def _idle(self, visits: Sequence[PlannedSample]) -> PackedBatch:
        shortest = min(visits, key=lambda visit: (self.size(visit.index).teacher_tokens, visit.slot))
        batch = pack([WeightedViews(teacher_view(self.samples[shortest.index]), None, 0.0, 0.0)])
        return replace(batch, targets=(IGNORE_INDEX,) * len(batch.targets))
