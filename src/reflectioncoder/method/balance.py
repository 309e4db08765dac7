"""Decides which visits of an optimizer step share a forward, and which rank computes it. A pure function of token counts.

Longest processing time first: the largest item goes to where least lies (Graham 1969). All ranks get equally many forwards: with
parameters sharded over ranks each forward is a meeting of all.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence


def balance(costs: Sequence[int], num_ranks: int, budget: int) -> list[list[list[int]]]:
    """Return the indices of `costs` by rank and forward. Forwards may be empty if there are fewer items than ranks.

    Args:
        costs: tokens of each item.
        budget: tokens of a forward at most, unless one item alone has more; 0: every item has a forward of its own.
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
    """Return indices by bin, at most `capacity` in each, the longest first within a bin."""
    bins: list[list[int]] = [[] for _ in range(num_bins)]
    open_bins = [(0, number) for number in range(num_bins)]
    for index in sorted(range(len(costs)), key=lambda i: (-costs[i], i)):
        load, number = heapq.heappop(open_bins)
        bins[number].append(index)
        if capacity is None or len(bins[number]) < capacity:
            heapq.heappush(open_bins, (load + costs[index], number))
    return bins
