"""Assigns the visits of an optimizer step to ranks and forwards. A pure function of token counts.

Longest processing time first: each item goes to the bin with the least load (Graham 1969). All ranks get the same number of
forwards, because with sharded parameters every forward is a collective operation.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence


def balance(costs: Sequence[int], num_ranks: int, budget: int) -> list[list[list[int]]]:
    """Return the indices of `costs` by rank and forward. With fewer items than ranks some forwards are empty.

    Args:
        costs: tokens of each item.
        budget: maximum tokens per forward (a single longer item exceeds it); 0 gives every item a forward of its own.
    """
    if budget == 0:
        forwards = [[index] for index in range(len(costs))]
    else:
        per_rank = max(1, -(-sum(costs) // (num_ranks * budget)))
        while True:
            forwards = _longest_first(costs, per_rank * num_ranks)
            if all(len(items) <= 1 or sum(costs[i] for i in items) <= budget for items in forwards):
                break
            per_rank += 1
    per_rank = -(-len(forwards) // num_ranks)
    loads = [sum(costs[i] for i in items) for items in forwards]
    ranks = [[forwards[n] for n in chosen] for chosen in _longest_first(loads, num_ranks, per_rank)]
    return [[*chosen, *([[]] * (per_rank - len(chosen)))] for chosen in ranks]


def _longest_first(costs: Sequence[int], num_bins: int, capacity: int | None = None) -> list[list[int]]:
    """Return indices by bin, at most `capacity` per bin, each bin sorted from longest to shortest."""
    bins: list[list[int]] = [[] for _ in range(num_bins)]
    open_bins = [(0, number) for number in range(num_bins)]
    for index in sorted(range(len(costs)), key=lambda i: (-costs[i], i)):
        load, number = heapq.heappop(open_bins)
        bins[number].append(index)
        if capacity is None or len(bins[number]) < capacity:
            heapq.heappush(open_bins, (load + costs[index], number))
    return bins
