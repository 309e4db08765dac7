"""Runs the programs of a build, of a check and of `problems` on the nodes of a cluster."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from reflectioncoder.builder.pipeline import build_reflections
from reflectioncoder.builder.programs import RUNS
from reflectioncoder.builder.replay import Replays, replay_sample
from reflectioncoder.builder.sources.collect import collect_problems, verifier
from reflectioncoder.cluster.crew import ClusterWanted, DutyPool
from reflectioncoder.cluster.node import NodeFacts, OpenDuty
from reflectioncoder.config.declarations import Recipe
from reflectioncoder.contamination.records import behaviour_names, known_behaviour, known_tasks
from reflectioncoder.data.samples import Sample
from reflectioncoder.sandbox.limits import Limits


@dataclass(frozen=True)
class Replaying:
    """Runs the programs of samples again."""

    limits: Limits

    def open(self, node: NodeFacts, workers: int) -> OpenDuty:
        return OpenDuty(lambda sample: {**replay_sample(sample, self.limits).to_json(), "node": node.of_row()}, workers, {})


def replays_of(pool: DutyPool, samples: Sequence[Sample]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Replay samples on nodes (`builder.replay.Replays`)."""
    with pool.dispatching() as dispatcher:
        for number, future in dispatcher.map(samples):
            yield number, future.result()


@dataclass(frozen=True)
class Verifying:
    """Verifies drafts of problems."""

    def open(self, node: NodeFacts, workers: int) -> OpenDuty:
        return OpenDuty(verifier(), workers, {})


@dataclass(frozen=True)
class BuildRuns:
    """Makes the runs of a build, and compares programs with what benchmarks' solutions do."""

    data_dir: str | None

    def open(self, node: NodeFacts, workers: int) -> OpenDuty:
        behaviour = known_behaviour(self.data_dir)

        def do(job: tuple[Any, ...]) -> Any:
            name, *arguments = job
            if name == "behaviour":
                return behaviour(*arguments) if behaviour else None
            return RUNS[name](*arguments)

        return OpenDuty(do, workers, same_of_build(self.data_dir))


def same_of_build(data_dir: str | None) -> dict[str, Any]:
    """Return what must be the same on all nodes for the runs of a build."""
    return {"benchmarks whose behaviour is known": behaviour_names(data_dir)}


@dataclass(frozen=True)
class BehaviourOfPool:
    """Compares programs with benchmarks' solutions on nodes (`builder.pipeline.BehaviourCheck`)."""

    names: Sequence[str]
    run: Callable[..., Any]

    def __call__(self, program: str, /) -> str | None:
        return self.run("behaviour", program)


@contextlib.contextmanager
def replays_on(cluster: ClusterWanted, limits: Limits) -> Iterator[Replays]:
    """Replay samples on a cluster within the block.

    Raises:
        What `Crew.gathered` raises.
    """
    with cluster.gathered() as crew:
        yield partial(replays_of, crew.on("check", Replaying(limits), {}))


def build_on(
    cluster: ClusterWanted, recipe: Recipe, directory: Path, limit: int | None, data_dir: str | None, *, fork: bool
) -> dict[str, Any]:
    """Build a data set whose programs run on a cluster; models are asked from here, so that one budget and one log hold for all.

    Raises:
        What `Crew.gathered` and `build_reflections` raise.
        MachineError: a node knows other benchmarks.
    """
    with cluster.gathered(recipe.sandbox.floor) as crew:
        pool = crew.on("build", BuildRuns(data_dir), same_of_build(data_dir))
        recipe = replace(recipe, sandbox=replace(recipe.sandbox, workers=pool.num_jobs))
        with pool.dispatching() as dispatcher:

            def run(name: str, *arguments: Any) -> Any:
                return dispatcher.do((name, *arguments))

            names = behaviour_names(data_dir)
            behaviour = BehaviourOfPool(names, run) if names else None
            known = known_tasks(data_dir)
            return build_reflections(recipe, directory, limit, fork=fork, known=known, behaviour=behaviour, runner=run)


def collect_on(cluster: ClusterWanted, sources: list[str], output: Path, limit: int | None) -> dict[str, Any]:
    """Collect problems, whose drafts are verified on a cluster.

    Raises:
        What `Crew.gathered` and `collect_problems` raise.
    """
    with cluster.gathered() as crew:
        pool = crew.on("problems", Verifying(), {})
        with pool.dispatching() as dispatcher:
            return collect_problems(sources, output, limit, pool.num_jobs, dispatcher.do)
