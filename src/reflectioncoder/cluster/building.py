"""Runs the programs of a build, of a check and of `problems` on the nodes of a cluster."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from reflectioncoder.builder.authors.registry import author_of
from reflectioncoder.builder.pipeline import build_reflections, first_problems
from reflectioncoder.builder.programs import RUNS
from reflectioncoder.builder.replay import Replays, replay_sample
from reflectioncoder.builder.sources.collect import collect_problems, verifier
from reflectioncoder.cluster.crew import ClusterWanted, DutyPool
from reflectioncoder.cluster.node import NodeFacts, OpenDuty
from reflectioncoder.config.declarations import Recipe
from reflectioncoder.contamination.records import behaviour_names, known_behaviour, known_tasks
from reflectioncoder.data.samples import Sample, language_of
from reflectioncoder.errors import CannotError
from reflectioncoder.languages import LANGUAGES, PYTHON
from reflectioncoder.sandbox.detect import FLOOR
from reflectioncoder.sandbox.limits import Limits


def toolchains_of(languages: Iterable[str]) -> dict[str, str]:
    """Return the versions of the languages' toolchains, which must match on all nodes; Python's is always compared.

    Raises:
        CannotError: a toolchain is missing.
    """
    found = {}
    for name in sorted({*languages} - {PYTHON.name}):
        toolchain = LANGUAGES[name].toolchain
        version = toolchain.version()
        if version is None:
            raise CannotError(f"{toolchain.missing()} is missing; {toolchain.install}")
        found[f"toolchain of {name}"] = version
    return found


@dataclass(frozen=True)
class Replaying:
    """Replays the programs of samples in `languages`."""

    limits: Limits
    languages: frozenset[str]

    def open(self, node: NodeFacts, workers: int) -> OpenDuty:
        def do(sample: Sample) -> dict[str, Any]:
            return {**replay_sample(sample, self.limits).to_json(), "node": node.of_row()}

        return OpenDuty(do, workers, toolchains_of(self.languages))


def replays_of(pool: DutyPool, samples: Sequence[Sample]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Replay samples on nodes (`builder.replay.Replays`)."""
    with pool.dispatching() as dispatcher:
        for number, future in dispatcher.map(samples):
            yield number, future.result()


@dataclass(frozen=True)
class Verifying:
    """Verifies drafts of problems. `floor`: the weakest isolation tier accepted."""

    floor: int

    def open(self, node: NodeFacts, workers: int) -> OpenDuty:
        return OpenDuty(verifier(self.floor), workers, {})


@dataclass(frozen=True)
class BuildRuns:
    """Executes the runs of a build, and compares programs with the behaviour of benchmarks' solutions."""

    data_dir: str | None
    languages: frozenset[str]

    def open(self, node: NodeFacts, workers: int) -> OpenDuty:
        behaviour = known_behaviour(self.data_dir)

        def do(job: tuple[Any, ...]) -> Any:
            name, *arguments = job
            if name == "behaviour":
                return behaviour(*arguments) if behaviour else None
            return RUNS[name](*arguments)

        return OpenDuty(do, workers, same_of_build(self.data_dir, self.languages))


def same_of_build(data_dir: str | None, languages: Iterable[str]) -> dict[str, Any]:
    """Return the values that must match on all nodes for the runs of a build."""
    return {"benchmarks whose behaviour is known": behaviour_names(data_dir), **toolchains_of(languages)}


@dataclass(frozen=True)
class BehaviourOfPool:
    """Compares programs with benchmarks' solutions on the nodes (`builder.pipeline.BehaviourCheck`)."""

    names: Sequence[str]
    run: Callable[..., Any]

    def __call__(self, program: str, /) -> str | None:
        return self.run("behaviour", program)


@contextlib.contextmanager
def replays_on(cluster: ClusterWanted, samples: Sequence[Sample], limits: Limits) -> Iterator[Replays]:
    """Connect to a cluster for the block, and yield a function that replays samples on it.

    Raises:
        The errors of `Crew.gathered`.
    """
    languages = frozenset(language_of(sample).name for sample in samples)
    here = toolchains_of(languages)
    with cluster.gathered() as crew:
        yield partial(replays_of, crew.on("check", Replaying(limits, languages), here))


def build_on(
    cluster: ClusterWanted, recipe: Recipe, directory: Path, limit: int | None, data_dir: str | None, *, fork: bool
) -> dict[str, Any]:
    """Build a data set whose programs run on a cluster; this process queries the models, so that there is one budget and one log.

    Raises:
        The errors of `Crew.gathered` and `build_reflections`.
        CannotError: a toolchain, whose version is part of the log, is missing here.
        MachineError: a node has other benchmark data or other toolchains.
    """
    written = author_of(recipe.build).traits.languages
    found = {problem.language for problem in first_problems(recipe.build.problems, limit)}
    languages = frozenset(found if written is None else found & written)
    here = same_of_build(data_dir, languages)
    with cluster.gathered(recipe.sandbox.floor) as crew:
        pool = crew.on("build", BuildRuns(data_dir, languages), here)
        recipe = replace(recipe, sandbox=replace(recipe.sandbox, workers=pool.num_jobs))
        with pool.dispatching() as dispatcher:

            def run(name: str, *arguments: Any) -> Any:
                return dispatcher.do((name, *arguments))

            names = behaviour_names(data_dir)
            behaviour = BehaviourOfPool(names, run) if names else None
            known = known_tasks(data_dir)
            return build_reflections(recipe, directory, limit, fork=fork, known=known, behaviour=behaviour, runner=run)


def collect_on(cluster: ClusterWanted, sources: list[str], output: Path, limit: int | None) -> dict[str, Any]:
    """Collect problems, verifying their drafts on a cluster.

    Raises:
        The errors of `Crew.gathered` and `collect_problems`.
    """
    with cluster.gathered() as crew:
        pool = crew.on("problems", Verifying(FLOOR if cluster.floor is None else cluster.floor), {})
        with pool.dispatching() as dispatcher:
            return collect_problems(sources, output, limit, pool.num_jobs, dispatcher.do)
