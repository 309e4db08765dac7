"""The whole run as a pure function of (samples, settings, seed): which sample goes where, at which mask rate, with which weights.

Nothing is decided while training: masks, order and normalization are the same for any number of data-loading workers and any
resume point, and no live trainer state is read. No torch.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from reflectioncoder.config import TrainConfig
from reflectioncoder.data.render import IGNORE_INDEX, RenderedSample
from reflectioncoder.errors import UsageError
from reflectioncoder.train.masking import hidden_positions, mask_rate
from reflectioncoder.train.views import View, student_kept, student_view, teacher_view


@dataclass(frozen=True)
class PlannedSample:
    """One visit of a sample: its index, its epoch, the optimizer step (from 0) that trains it, its place in that step."""

    index: int
    epoch: int
    step: int
    slot: int


@dataclass(frozen=True)
class WeightedViews:
    """The rows of one visit. The step's loss is the sum over all visits of ce_weight · ΣCE + kl_weight · ΣKL."""

    teacher: View
    student: View | None
    ce_weight: float
    kl_weight: float


def num_targets(view: View) -> int:
    """Targets that a row really has: position 0 is predicted by nothing."""
    return sum(label != IGNORE_INDEX for label in view.labels[1:])


class RunPlan:
    """All optimizer steps of a run. `steps[s]` are the visits of step s; the last step may be smaller."""

    def __init__(self, samples: Sequence[RenderedSample], config: TrainConfig, seed: int):
        self.samples = samples
        self.config = config
        self.seed = seed
        self._stream = list(self._visits())
        self._counts_of_step: dict[int, tuple[int, int]] = {}  # of the step at hand only
        self.total_steps = self._affordable_steps()
        self.steps = [
            [PlannedSample(index, epoch, step, slot) for slot, (index, epoch) in enumerate(self._chunk(step))]
            for step in range(self.total_steps)
        ]
        self.micro_batches = [
            visits[start : start + config.micro_batch_size]
            for visits in self.steps
            for start in range(0, len(visits), config.micro_batch_size)
        ]

    @property
    def accumulation_steps(self) -> int:
        """Micro-batches per optimizer step."""
        size = min(self.config.global_batch_size, max((len(s) for s in self.steps), default=1))
        return -(-size // self.config.micro_batch_size)

    def _visits(self) -> Iterator[tuple[int, int]]:
        """(index, epoch) of every visit, shuffled within each epoch."""
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
        """The most steps whose tokens stay within `max_tokens` (the mask rate, and with it the cost, depends on their number)."""
        low, high = 1, -(-len(self._stream) // self.config.global_batch_size)
        if high == 0:
            raise UsageError.for_value("not one sample would be trained", "train.epochs", self.config.epochs, "more")
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
        total = 0
        for step in range(total_steps):
            for slot, (index, epoch) in enumerate(self._chunk(step)):
                visit, sample = PlannedSample(index, epoch, step, slot), self.samples[index]
                total += len(sample.input_ids)
                if sample.is_reflection:
                    hidden = self.hidden(visit, total_steps)
                    total += len(student_kept(sample, hidden, self.config.student_positions))
        return total

    @property
    def num_tokens(self) -> int:
        """Teacher and student tokens that go through the model in the whole run."""
        return self._tokens(self.total_steps)

    def rate(self, step: int, total_steps: int | None = None) -> float:
        return mask_rate(step, total_steps or self.total_steps, self.config.mask_schedule, self.config.mask_constant_rate)

    def hidden(self, visit: PlannedSample, total_steps: int | None = None) -> frozenset[int]:
        """The positions hidden in this visit, drawn from the seed and the visit alone."""
        return hidden_positions(
            self.samples[visit.index].reflection_blocks(),
            self.rate(visit.step, total_steps),
            self.config.mask_strategy,
            random.Random(f"mask/{self.seed}/{visit.epoch}/{visit.step}/{visit.slot}/{visit.index}"),
            self.config.mask_block_order,
        )

    def views(self, visit: PlannedSample) -> tuple[View, View | None]:
        sample = self.samples[visit.index]
        if not sample.is_reflection:
            return teacher_view(sample), None
        return teacher_view(sample), student_view(sample, self.hidden(visit), self.config.student_positions)

    def micro_batch(self, number: int) -> list[WeightedViews]:
        """The rows of micro-batch `number` of the run, weighted such that a step's sum is the loss of method, section 3."""
        visits = self.micro_batches[number]
        step = visits[0].step
        num_ce, num_kl = self._step_counts(step)
        share = 1.0 if self.config.normalization == "global" else 1.0 / len(self.steps[step])
        rows = []
        for visit in visits:
            teacher, student = self.views(visit)
            if self.config.normalization == "per_sample":
                num_ce, num_kl = _counts(teacher, student)
            rows.append(
                WeightedViews(
                    teacher,
                    student,
                    ce_weight=share / num_ce if num_ce else 0.0,
                    kl_weight=self.config.kl_weight * share / num_kl if num_kl else 0.0,
                )
            )
        return rows

    def _step_counts(self, step: int) -> tuple[int, int]:
        """(CE targets, KL rows) of a whole optimizer step."""
        if step not in self._counts_of_step:
            counts = [_counts(*self.views(visit)) for visit in self.steps[step]]
            self._counts_of_step = {step: (sum(ce for ce, _ in counts), sum(kl for _, kl in counts))}
        return self._counts_of_step[step]


def _counts(teacher: View, student: View | None) -> tuple[int, int]:
    return num_targets(teacher) + (num_targets(student) if student else 0), len(teacher.kl_rows)
