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

_AGAIN_PER_CORE = 4  # verdicts per core in a job of second looks


@dataclass(frozen=True)
class Judging:
    """Judges samples of a benchmark. `isolation`: the one in the results and the verdicts' keys; each node uses its own."""

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

        def here(verdict: Verdict) -> Verdict:
            return replace(verdict, fields={**verdict.fields, "node": node.of_row()})

        def do(job: tuple[Any, ...]) -> Any:
            kind, told = job
            if kind == "first":
                sample = sample_of(told)
                return _require_verdict(here(scorer.judge(sample.task, sample.solution, Look(alone=False))))
            first = [(sample_of(sample), verdict) for sample, verdict in told]
            verdicts = {number: here(verdict) for number, verdict in judge_again(scorer, first, workers)}
            return _require_verdict(verdicts[0]) if kind == "once more" else verdicts

        return OpenDuty(do, workers, same_of_scorer(replace(scorer, isolation=ISOLATIONS[self.isolation])))


def same_of_scorer(scorer: Scorer) -> dict[str, Any]:
    """Return the values that must match on all nodes for a scorer's verdicts: the data, and how verdicts are made."""
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
        told = [(_told(sample), verdict) for sample, verdict in first]
        groups = [range(at, min(at + size, len(told))) for at in range(0, len(told), size)]
        failed: list[int] = []  # another node's sandbox may work
        with self.pool.dispatching(alone=True) as dispatcher:
            for group, future in dispatcher.map([("again", [told[number] for number in group]) for group in groups]):
                no_sandbox = isinstance(future.exception(), SandboxUnavailableError)
                verdicts: Mapping[int, Verdict] = {} if no_sandbox else future.result()
                for at, number in enumerate(groups[group]):
                    if at in verdicts and verdicts[at].status != "sandbox_error":
                        yield number, verdicts[at]
                    else:
                        failed.append(number)
            for at, future in dispatcher.map([("once more", [told[number]]) for number in failed]):
                yield failed[at], _verdict_of(future)


class _Jobs(Sequence[Any]):
    """The jobs for samples, each made when it is dispatched."""

    def __init__(self, samples: Sequence[SampleToScore]):
        self._samples = samples

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, number: Any) -> Any:
        return "first", _told(self._samples[number])


def _told(sample: SampleToScore) -> tuple[str, int, str]:
    return sample.task.task_id, sample.sample, sample.solution


def _require_verdict(verdict: Verdict) -> Verdict:
    """Raise SandboxUnavailableError if the sandbox failed, so that the dispatcher tries another node."""
    if verdict.status == "sandbox_error":
        raise SandboxUnavailableError(verdict.detail)
    return verdict


def _verdict_of(future: Future[Any]) -> Verdict:
    error = future.exception()
    if isinstance(error, SandboxUnavailableError):
        return Verdict("sandbox_error", "sandbox_error", detail=str(error))
    return future.result()


@contextlib.contextmanager
def judges_of(cluster: ClusterWanted, wanted: Mapping[str, WantedBenchmark]) -> Iterator[JudgesElsewhere]:
    """Connect to a cluster for the block, and yield judges on it. `wanted`: the benchmarks by name.

    Raises:
        The errors of `Crew.gathered`; and, when a benchmark begins:
        CannotError: no node can judge it.
        MachineError: a node has other data for it, or would give other verdicts.
    """
    with cluster.gathered() as crew:

        def judges(scorer: Scorer) -> Judges:
            benchmark = scorer.benchmark
            references, isolation = judged_references(benchmark), scorer.isolation.name
            duty = Judging(wanted[benchmark.name], references, scorer.limits, scorer.rules, scorer.floor, isolation)
            return JudgesOfPool(crew.on(f"score {benchmark.name}", duty, same_of_scorer(scorer)))

        yield JudgesElsewhere(crew.isolation, judges)
