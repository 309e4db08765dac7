"""Judges solutions again whose verdicts depend on a limit, undisturbed by other programs.

Programs run pinned to idle cores, one per core, with slightly longer limits, since programs share more than cores. A program that
exceeds even these has exceeded its own limits. One that ends within them but beyond its own limits is judged once more, alone.
"""

from __future__ import annotations

import queue
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from reflectioncoder.evaluate.judges.base import Look, Verdict
from reflectioncoder.sandbox.cores import idle_cores
from reflectioncoder.sandbox.pool import default_workers, map_unordered

if TYPE_CHECKING:
    from reflectioncoder.evaluate.score import SampleToScore, Scorer


def judge_again(scorer: Scorer, first: Sequence[tuple[SampleToScore, Verdict]], workers: int = 0) -> Iterator[tuple[int, Verdict]]:
    """Yield (index in `first`, final verdict) as they complete.

    Args:
        first: samples with their verdicts from the first round, when programs ran in parallel.
        workers: the most programs at a time; 0: one per core.
    """
    can_be_shared = len(first) > 1 and scorer.benchmark.judge.runs_beside_others
    cores = idle_cores()[: workers or default_workers()] if can_be_shared else []
    left = list(enumerate(first))
    if len(cores) > 1:
        unsure = []
        for number, sample, verdict in _on_cores(scorer, left, cores):
            if verdict.is_unsure:
                unsure.append((number, (sample, verdict)))
            else:
                yield number, verdict
        left = unsure
    for number, (sample, verdict) in left:
        yield number, scorer.judge(sample.task, sample.solution, Look(earlier=verdict))


def _on_cores(
    scorer: Scorer, numbered: Sequence[tuple[int, tuple[SampleToScore, Verdict]]], cores: Sequence[int]
) -> Iterator[tuple[int, SampleToScore, Verdict]]:
    free: queue.SimpleQueue[int] = queue.SimpleQueue()
    for core in cores:
        free.put(core)

    def judge(item: tuple[int, tuple[SampleToScore, Verdict]]) -> tuple[int, SampleToScore, Verdict]:
        number, (sample, earlier) = item
        core = free.get()
        try:
            return number, sample, scorer.judge(sample.task, sample.solution, Look(core=core, earlier=earlier))
        finally:
            free.put(core)

    yield from map_unordered(judge, numbered, len(cores))
