"""Prepares samples for the sequence viewer: the token ranges hidden from the student for every strategy and mask rate."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from reflectioncoder.choices import MASK_STRATEGIES
from reflectioncoder.data.render import Span
from reflectioncoder.method.masking import hidden_positions
from reflectioncoder.report.embedded import embedded_json

RATES = tuple(i / 20 for i in range(21))


def sequence(sample: dict[str, Any]) -> dict[str, Any]:
    """Return a sample in the form of `method.views.shown_sample`, with the hidden token ranges for every strategy and rate."""
    is_reflection = sample.get("is_reflection", True)  # a plain one-off sample has no reflection to hide
    blocks = [Span(**s) for s in sample["spans"] if is_reflection and s["message"] == 1 and s["block"] is not None]
    order = sample["block_order"]
    hidden = {
        strategy: [_ranges(hidden_positions(blocks, rate, [strategy], random.Random(sample["id"]), order)) for rate in RATES]
        for strategy in MASK_STRATEGIES
    }
    everything = frozenset(range(len(sample["tokens"])))
    frame = _ranges(everything - frozenset(sample["student_kept"]))
    spans = [[span["kind"], span["start"], span["end"]] for span in sample["spans"]]
    kept = ("id", "operators", "tokens", "teacher_trained", "student_trained")
    return {**{key: sample[key] for key in kept}, "spans": spans, "hidden": hidden, "frame_hidden": frame}


def _ranges(positions: frozenset[int]) -> list[list[int]]:
    ranges: list[list[int]] = []
    for position in sorted(positions):
        if ranges and ranges[-1][1] == position:
            ranges[-1][1] += 1
        else:
            ranges.append([position, position + 1])
    return ranges


def within(runs: Sequence[Sequence[dict[str, Any]]], max_bytes: int) -> list[list[dict[str, Any]]]:
    """Keep the first samples of each run, the same number for each, so that all fit into `max_bytes` (at least one each)."""
    sizes = [[_size(sample) for sample in samples] for samples in runs]
    longest = max(map(len, runs), default=0)
    fitting = (n for n in range(longest, 1, -1) if sum(sum(own[:n]) for own in sizes) <= max_bytes)
    count = next(fitting, 1)
    return [list(samples[:count]) for samples in runs]


def _size(sample: dict[str, Any]) -> int:
    return len(embedded_json(sample).encode())
