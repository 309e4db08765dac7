"""Judges the samples of a scoring on the nodes of a cluster."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any

from reflectioncoder.choices import Rules
from reflectioncoder.cluster.crew import ClusterWanted, DutyPool
from reflectioncoder.cluster.node import NodeFacts, OpenDuty
from reflectioncoder.errors import CannotError, SandboxUnavailableError
from reflectioncoder.evaluate.judges.base import Look, Verdict
from reflectioncoder.evaluate.score import Judges, SampleToScore, Scorer
from reflectioncoder.evaluate.second_look import judge_again
from reflectioncoder.evaluation import JudgesElsewhere
from reflectioncoder.sandbox.isolation import ISOLATIONS
from reflectioncoder.sandbox.limits import Limits
from reflectioncoder.sharded.benchmarks import WantedBenchmark, judged_references

_AGAIN_PER_CORE = 4  # verdicts in a job of second looks: so many find a core each


@dataclass(frozen=True)
class Judging:
    """Judges samples of a benchmark. `isolation`: that of the results, under which verdicts are kept; each node has its own."""

    wanted: WantedBenchmark
    references: Mapping[str, Any] | None
    limits: Limits
    rules: Rules
    floor: int
    isolation: str

    def open(self, node: NodeFacts, workers: int) -> OpenDuty:
        benchmark = self.wanted.load(self.references)
        if reason := benchmark.judge.why_skipped(workers):
            raise CannotError(reason)
        scorer = Scorer(benchmark, self.limits, self.rules, self.floor)
        workers = scorer.prepare(workers) or workers
        tasks = {task.task_id: task for task in benchmark.tasks}

        def sample_of(told: tuple[str, int, str]) -> SampleToScore:
            return SampleToScore(tasks[told[0]], *told[1:])

        def judged(verdict: Verdict) -> Verdict:
            if verdict.status == "sandbox_error":  # which another node may not have
                raise SandboxUnavailableError(verdict.detail)
            return replace(verdict, fields={**verdict.fields, "node": node.of_row()})

        def do(job: tuple[Any, ...]) -> Any:
            kind, told = job
            if kind == "first":
                sample = sample_of(told)
                return judged(scorer.judge(sample.task, sample.solution, Look(alone=False)))
            first = [(sample_of(sample), verdict) for sample, verdict in told]
            return [(number, judged(verdict)) for number, verdict in judge_again(scorer, first, workers)]

        return OpenDuty(do, workers, same_of_scorer(replace(scorer, isolation=ISOLATIONS[self.isolation])))


def same_of_scorer(scorer: Scorer) -> dict[str, Any]:
    """Return what must be the same on all nodes for verdicts of a scorer: the data, and how verdicts are made."""
    return {"benchmark": scorer.benchmark.sha256, "verdicts": scorer.settings, "toolchain": scorer.benchmark.judge.environment()}


@dataclass(frozen=True)
class JudgesOfPool:
    """Judges the samples of a scoring on nodes (`evaluate.score.Judges`)."""

    pool: DutyPool

    def first(self, samples: Sequence[SampleToScore]) -> Iterator[tuple[int, Verdict]]:
        jobs = _Jobs(samples)
        with self.pool.dispatching() as dispatcher:
            for number, future in dispatcher.map(jobs):
                yield number, _verdict_of(future)

    def again(self, first: Sequence[tuple[SampleToScore, Verdict]]) -> Iterator[tuple[int, Verdict]]:
        size = _AGAIN_PER_CORE * max(1, self.pool.num_cores // max(1, len(self.pool.members)))
        groups = [first[at : at + size] for at in range(0, len(first), size)]
        jobs = [("again", [(_told(sample), verdict) for sample, verdict in group]) for group in groups]
        with self.pool.dispatching(alone=True) as dispatcher:
            for group, future in dispatcher.map(jobs):
                error = future.exception()
                if isinstance(error, SandboxUnavailableError):
                    yield from ((group * size + at, _no_verdict(error)) for at in range(len(groups[group])))
                else:
                    yield from ((group * size + at, verdict) for at, verdict in future.result())


class _Jobs(Sequence[Any]):
    """The jobs of samples, each made when it is given out."""

    def __init__(self, samples: Sequence[SampleToScore]):
        self._samples = samples

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, number: Any) -> Any:
        return "first", _told(self._samples[number])


def _told(sample: SampleToScore) -> tuple[str, int, str]:
    return sample.task.task_id, sample.sample, sample.solution


def _verdict_of(future: Future[Any]) -> Verdict:
    error = future.exception()
    return _no_verdict(error) if isinstance(error, SandboxUnavailableError) else future.result()


def _no_verdict(error: SandboxUnavailableError) -> Verdict:
    return Verdict("sandbox_error", "sandbox_error", detail=str(error))


@contextlib.contextmanager
def judges_of(cluster: ClusterWanted, wanted: Mapping[str, WantedBenchmark]) -> Iterator[JudgesElsewhere]:
    """Judge samples on a cluster within the block. `wanted`: the benchmarks by their names.

    Raises:
        What `Crew.gathered` raises; and, when a benchmark is begun:
        CannotError: no node can judge it.
        MachineError: a node has other data of it, or would make other verdicts.
    """
    with cluster.gathered() as crew:

        def judges(scorer: Scorer) -> Judges:
            benchmark = scorer.benchmark
            references, isolation = judged_references(benchmark), scorer.isolation.name
            duty = Judging(wanted[benchmark.name], references, scorer.limits, scorer.rules, scorer.floor, isolation)
            return JudgesOfPool(crew.on(f"score {benchmark.name}", duty, same_of_scorer(scorer)))

        yield JudgesElsewhere(crew.isolation, judges)
