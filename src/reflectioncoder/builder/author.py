"""The seam of authors: what a build asks of an author, and what it gives it to work with.

An author implements `Author` in a module of `builder/authors/` and has a row in `authors.registry.AUTHORS`; nothing else in the package
knows it by name. docs/adding/author.md shows how one is added.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from reflectioncoder.builder.executions import Executions
from reflectioncoder.builder.forecast import Estimate, SessionCost
from reflectioncoder.builder.lengths import TokenCounter, excess_tokens
from reflectioncoder.builder.log import BuildLog
from reflectioncoder.builder.outcomes import Outcomes, Rejected
from reflectioncoder.builder.problems import Problems, unwritable
from reflectioncoder.builder.rollouts import SampleNames
from reflectioncoder.config.building import BuildConfig
from reflectioncoder.config.declarations import Recipe
from reflectioncoder.data.problems import Problem
from reflectioncoder.data.samples import Sample
from reflectioncoder.sandbox.limits import Limits
from reflectioncoder.sandbox.pool import default_workers
from reflectioncoder.shards import WHOLE, Shard


@dataclass(frozen=True, kw_only=True)
class Traits:
    """The properties of an author that a build acts on.

    Attributes:
        options: fields of `build` that it uses beside those that every build uses; fields of the endpoint as "endpoint.model". All
            others are refused where they are set.
        languages: problems in others are rejected; None: it writes about all.
        needs_reference: problems without a reference solution and tests are rejected.
        varies_one_program: its samples of one problem resemble each other by design: near duplicates are looked for among other
            problems only.
        heeds_other_problems: what it writes about a problem depends on the other problems and what became of them; shards can only
            guess these, and `merge` does again what was guessed wrongly.
    """

    options: frozenset[str]
    languages: frozenset[str] | None
    needs_reference: bool
    varies_one_program: bool
    heeds_other_problems: bool


@dataclass(frozen=True)
class Build:
    """A build at work: what an author is given.

    Attributes:
        limits: of one program that is run; `execute` applies them.
        fork: the user allows other settings than those that the log was begun with.
        count_tokens: returns the length of a sample in tokens; None if nothing is to be counted.
        shard: the problems that are to be written about, by their number among `problems`; what is said of the others is not used.
    """

    recipe: Recipe
    problems: Problems
    log: BuildLog
    execute: Executions
    outcomes: Outcomes
    limits: Limits
    fork: bool
    count_tokens: TokenCounter | None = None
    shard: Shard = WHOLE

    def is_short(self, sample: Sample) -> bool:
        """Tell whether a sample keeps to `max_tokens`."""
        return excess_tokens(sample, self.count_tokens, self.config.max_tokens) is None

    @property
    def config(self) -> BuildConfig:
        return self.recipe.build

    @property
    def num_workers(self) -> int:
        """Return how many programs are run at the same time."""
        return self.recipe.sandbox.workers or default_workers()

    def unwritable(self, traits: Traits, problem: Problem) -> Rejected | None:
        """Return why an author of these traits can write nothing about a problem."""
        return unwritable(problem, self.execute, languages=traits.languages, needs_reference=traits.needs_reference)


@dataclass(frozen=True)
class DialogueStats:
    """Totals over all dialogues: the cost forecast (None below 20), what this session cost, and the number of retried requests."""

    forecast: Estimate | None = None
    session: SessionCost | None = None
    num_retries: int = 0


class Author(Protocol):
    """Writes reflection sequences. One without any of the abstract parts cannot be made, and so not be registered."""

    @property
    @abstractmethod
    def traits(self) -> Traits: ...

    @abstractmethod
    def check(self, config: BuildConfig) -> None:
        """Find what is wrong with its settings before any work. Nobody is asked, and nothing is downloaded.

        Raises:
            UsageError: a setting is impossible, or a file is missing or malformed.
            MachineError: something is missing on this machine.
        """

    @abstractmethod
    def names_in_samples(self, config: BuildConfig) -> SampleNames:
        """Return the names that stand in ids: samples of builds that differ in what they are made of have different ones."""

    @abstractmethod
    def write(self, build: Build) -> DialogueStats:
        """Give every candidate of a build to `build.outcomes`, as a sample or with the reason why it is none.

        The order must not depend on speed or the number of workers. An interrupted build is begun anew with the same log.

        Raises:
            EndpointError, BudgetError, SandboxUnavailableError, UsageError: the build cannot go on; what is in the log is kept.
        """

    def files(self, config: BuildConfig) -> tuple[Path, ...]:
        """Return the files beside the problems that its samples are made of: if one of them changes, a run builds anew."""
        return ()
