"""What is left out of the data, each with a reason that is counted."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from reflectioncoder.data.samples import Sample


def operator_counts(samples: Sequence[Sample]) -> Counter[str]:
    """How many slips of each kind the samples hold."""
    return Counter(op for sample in samples for op in sample.extra["metadata"]["operators"])


def over_share(samples: Sequence[Sample], max_share: float) -> set[int]:
    """Indices of samples to drop, last ones first, until no kind of slip exceeds `max_share` of all slips."""
    kept = dict(enumerate(samples))
    while kept:
        counts = operator_counts(list(kept.values()))
        if not counts:
            break
        total = sum(counts.values())
        operator, count = max(counts.items(), key=lambda item: (item[1], item[0]))
        if len(counts) * max_share <= 1 or count <= max(1, math.floor(max_share * total)):
            break
        last = max(i for i, sample in kept.items() if operator in sample.extra["metadata"]["operators"])
        del kept[last]
    return set(range(len(samples))) - set(kept)


def duplicates(samples: Sequence[Sample]) -> set[int]:
    """Indices of samples whose reflection sequence occurred before."""
    seen: set[tuple[str, ...]] = set()
    repeated: set[int] = set()
    for index, sample in enumerate(samples):
        key = tuple(block.content for block in sample.messages[1].content if block.type == "code")
        if key in seen:
            repeated.add(index)
        seen.add(key)
    return repeated
