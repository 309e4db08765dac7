"""Builds the held-out evaluation during training: one-off answers, requested as at inference.

For a reflection sample this is the student view with the whole reflection sequence hidden, the prefix (BOS) kept and no position gap:
the setting that the method is meant to improve. Pure functions, no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from reflectioncoder.data.render import IGNORE_INDEX, RenderedSample
from reflectioncoder.method.balance import balance
from reflectioncoder.method.packing import PackedBatch, pack
from reflectioncoder.method.views import View, WeightedViews, student_view, teacher_view


def one_off_view(sample: RenderedSample) -> View:
    if not sample.is_reflection:
        return teacher_view(sample)
    reflection = {p for span in sample.reflection_blocks() for p in range(span.start, span.end)}
    return student_view(sample, reflection, "dense")


class HeldOut:
    """The held-out samples of a run. `batches` returns the forwards of one rank; all ranks have the same number."""

    def __init__(self, samples: Sequence[RenderedSample], micro_batch_tokens: int = 0):
        self._views = [WeightedViews(one_off_view(sample), None, 1.0, 0.0) for sample in samples]
        self._budget = micro_batch_tokens

    def batches(self, rank: int = 0, num_ranks: int = 1) -> list[PackedBatch]:
        forwards = balance([len(views.teacher.input_ids) for views in self._views], num_ranks, self._budget)[rank]
        return [pack([self._views[index] for index in items]) if items else self._idle() for items in forwards]

    def _idle(self) -> PackedBatch:
        """Return a forward without loss terms; it keeps the ranks in step if there are fewer samples than ranks."""
        batch = pack([self._views[0]])
        return replace(batch, targets=(IGNORE_INDEX,) * len(batch.targets))
