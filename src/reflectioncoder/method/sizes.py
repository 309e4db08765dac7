"""Counts tokens and loss terms of all samples and visits from their spans, without building views. Pure functions on numpy arrays.

The counts equal those of `views` and `packing`; a test compares them sample by sample.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reflectioncoder.config.declarations import TrainConfig
from reflectioncoder.data.render import TRAINED_BLOCKS
from reflectioncoder.data.rendered import KINDS, SpanTable
from reflectioncoder.data.samples import BLOCK_TYPES
from reflectioncoder.method.masking import BLOCK_TYPE_THRESHOLDS, hidden_positions

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class SampleSizes:
    """Sizes independent of the mask, (N) each: teacher tokens, tokens of a student that sees all blocks, loss terms of both views."""

    teacher_tokens: Counts
    student_tokens: Counts
    num_ce: Counts
    num_kl: Counts


def sample_sizes(spans: SpanTable, config: TrainConfig) -> SampleSizes:
    """Return the sizes of all samples under `config`."""
    sample, count = spans.sample, len(spans)
    kind = {name: number for number, name in enumerate(KINDS)}

    def per_sample(of_spans: NDArray[np.integer]) -> Counts:
        return np.bincount(sample, weights=of_spans, minlength=count).astype(np.int64)

    def last_end(chosen: NDArray[np.bool_]) -> Counts:
        ends = np.zeros(count, np.int64)
        np.maximum.at(ends, sample[chosen], spans.end[chosen])
        return ends

    by_assistant = spans.message % 2 == 1  # -1 (no message) is odd too
    by_assistant &= spans.message >= 0
    kinds = [kind[name] for name in (*TRAINED_BLOCKS, "close", *(("header",) if spans.header_is_trained else ()))]
    trained = (by_assistant & np.isin(spans.kind, kinds)) | (spans.kind == kind["eos"])
    if config.failed_attempts == "context":
        trained &= ~spans.failed
    last_message = np.full(count, -1)
    np.maximum.at(last_message, sample, spans.message)
    answer = trained & (spans.message == last_message[sample])
    if config.teacher_targets == "answer":
        trained = np.where(spans.is_reflection[sample], answer, trained)
    lengths = spans.end - spans.start
    distilled = spans.is_reflection & (config.kl_weight != 0.0)

    # Tokens after the last row with a term are cut off: that row precedes the last target, or is the last KL row.
    teacher_tokens = np.maximum(last_end(trained) - 1, np.where(distilled, spans.answer_end, 0))
    seen_to = np.maximum(last_end(answer) - 1, np.where(distilled, spans.answer_end, 0))
    is_frame = (spans.message == 0) | ((spans.message == 1) & (spans.block < 0))
    if config.student_positions == "gap":
        is_frame |= (spans.message < 0) & (spans.kind == kind["prefix"])
    seen = ~is_frame if config.mask_frame else np.ones_like(is_frame)
    reached = np.clip(np.minimum(spans.end, seen_to[sample]) - spans.start, 0, None)
    has_student = spans.is_reflection & config.student_view
    student_tokens = np.where(has_student, per_sample(reached * seen), 0)

    num_ce = per_sample(lengths * trained) - _starts_trained(spans, trained)
    num_ce += np.where(has_student, per_sample(lengths * answer), 0)
    num_kl = np.where(distilled, spans.answer_end - spans.answer_start, 0)
    return SampleSizes(teacher_tokens, student_tokens, num_ce, num_kl.astype(np.int64))


def _starts_trained(spans: SpanTable, trained: NDArray[np.bool_]) -> Counts:
    """Return 1 for each sample whose first token is a target: no logits predict it."""
    return trained[spans.first[:-1]].astype(np.int64)


class HiddenCounts:
    """Counts the reflection tokens that masks hide, for many visits at once: `len(hidden_positions(...))` of each.

    Random strategies, and any without a closed form here, are evaluated visit by visit.
    """

    def __init__(self, spans: SpanTable, config: TrainConfig):
        self._spans, self._config = spans, config
        in_sequence = spans.is_reflection[spans.sample] & (spans.message == 1) & (spans.block >= 0)
        kind, lengths = spans.kind[in_sequence], (spans.end - spans.start)[in_sequence].astype(np.int64)
        self._ends = _ends(lengths)
        self._ends_of_type = {name: _ends(lengths * (kind == number)) for number, name in enumerate(KINDS) if name in BLOCK_TYPES}
        self._first = _ends(np.bincount(spans.sample[in_sequence], minlength=len(spans)))

    def __call__(self, index: Counts, rates: NDArray[np.float64], generator: Callable[[int], random.Random]) -> Counts:
        """Return the number of hidden tokens of each of V visits.

        Args:
            index: (V) sample indices.
            rates: (V) mask rates.
            generator: returns the random generator of a visit.
        """
        first, end = self._first[index], self._first[index + 1]
        tokens = self._ends[end] - self._ends[first]
        if not self._config.student_view:
            return np.zeros_like(tokens)
        match self._config.mask_strategy:
            case ("none",):
                return np.zeros_like(tokens)
            case ("all",):
                return tokens
            case ("random_token",) | ("sequential_token",):
                return np.ceil(rates * tokens).astype(np.int64)
            case ("sequential_block",):
                return self._ends[first + np.ceil(rates * (end - first)).astype(np.int64)] - self._ends[first]
            case ("block_type",):
                hidden = np.zeros_like(tokens)
                for name, threshold in zip(self._config.mask_block_order, BLOCK_TYPE_THRESHOLDS, strict=True):
                    ends = self._ends_of_type[name]
                    hidden += (rates >= threshold) * (ends[end] - ends[first])
                return hidden
        hidden = np.zeros_like(tokens)
        for visit in np.flatnonzero(tokens).tolist():
            blocks = [span for span in self._spans.spans(int(index[visit])) if span.message == 1 and span.block is not None]
            strategies, order = self._config.mask_strategy, self._config.mask_block_order
            hidden[visit] = len(hidden_positions(blocks, float(rates[visit]), strategies, generator(visit), order))
        return hidden


def _ends(lengths: NDArray[np.integer]) -> Counts:
    """Return the end offsets of consecutive pieces, preceded by a 0."""
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
