"""The interface between a build and its authors: what an author implements, and what the build passes to it.

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
        options: fields of `build` that it uses besides those that every build uses; endpoint fields are written "endpoint.model".
            Setting any other field is an error.
        languages: languages it writes about (None: all); problems in others are rejected.
        needs_reference: problems without a reference solution and tests are rejected.
        varies_one_program: its samples of one problem resemble each other by design, so near duplicates are searched for only
            between different problems.
        heeds_other_problems: its output for a problem depends on the outcomes of other problems. Shards can only guess these, and
            `merge` redoes the problems whose guesses were wrong.
    """

    options: frozenset[str]
    languages: frozenset[str] | None
    needs_reference: bool
    varies_one_program: bool
    heeds_other_problems: bool


@dataclass(frozen=True)
class Build:
    """A running build, as passed to its author.

    Attributes:
        limits: limits for each executed program; `execute` applies them.
        fork: whether the user allows settings that differ from those the log was started with.
        count_tokens: returns the length of a sample in tokens; None disables counting.
        shard: selects the problems to write about by their index in `problems`; outcomes of others are discarded.
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
        """Tell whether a sample is within `max_tokens`."""
        return excess_tokens(sample, self.count_tokens, self.config.max_tokens) is None

    @property
    def config(self) -> BuildConfig:
        return self.recipe.build

    @property
    def num_workers(self) -> int:
        """Return the maximum number of programs that run concurrently."""
        return self.recipe.sandbox.workers or default_workers()

    def unwritable(self, traits: Traits, problem: Problem) -> Rejected | None:
        """Return why an author with these traits cannot write about a problem; None if it can."""
        return unwritable(problem, self.execute, languages=traits.languages, needs_reference=traits.needs_reference)


@dataclass(frozen=True)
class DialogueStats:
    """Totals over all dialogues: the cost forecast (None below 20), what this session cost, and the number of retried requests."""

    forecast: Estimate | None = None
    session: SessionCost | None = None
    num_retries: int = 0


class Author(Protocol):
    """Writes reflection sequences. A class that lacks an abstract member cannot be instantiated, hence not registered."""

    @property
    @abstractmethod
    def traits(self) -> Traits: ...

    @abstractmethod
    def check(self, config: BuildConfig) -> None:
        """Validate the author's settings before any work, without network access.

        Raises:
            UsageError: a setting is impossible, or a file is missing or malformed.
            MachineError: something is missing on this machine.
        """

    @abstractmethod
    def names_in_samples(self, config: BuildConfig) -> SampleNames:
        """Return the names used in sample ids; builds from different sources must have different names."""

    @abstractmethod
    def write(self, build: Build) -> DialogueStats:
        """Record every candidate in `build.outcomes`, as a sample or as a rejection with its reason.

        The order must not depend on timing or the number of workers. An interrupted build restarts with the same log.

        Raises:
            EndpointError, BudgetError, SandboxUnavailableError, UsageError: the build cannot continue; the log is kept.
        """

    def files(self, config: BuildConfig) -> tuple[Path, ...]:
        """Return the author's input files other than the problems: a change to any of them triggers a rebuild."""
        return ()
