"""Prepares samples for the sequence viewer: for every strategy and mask rate the token ranges that the student does not see."""

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
    """Return a sample, as `method.views.shown_sample` describes it, with the hidden token ranges of every strategy at every rate."""
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
    """Keep the first samples of each run, as many of each as fit into `max_bytes` together (at least one of each)."""
    sizes = [[_size(sample) for sample in samples] for samples in runs]
    longest = max(map(len, runs), default=0)
    fitting = (n for n in range(longest, 1, -1) if sum(sum(own[:n]) for own in sizes) <= max_bytes)
    count = next(fitting, 1)
    return [list(samples[:count]) for samples in runs]


def _size(sample: dict[str, Any]) -> int:
    return len(embedded_json(sample).encode())
