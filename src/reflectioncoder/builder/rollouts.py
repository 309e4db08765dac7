"""Rollouts, the independent dialogues of a build; their writer, and their token usage."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from reflectioncoder.builder.outcomes import Rejected
from reflectioncoder.data.problems import Problem
from reflectioncoder.data.samples import Sample


@dataclass(frozen=True)
class SampleNames:
    """The names in sample ids: `author` also stands in the metadata; `source` identifies the model or data behind the answers."""

    author: str
    source: str


@dataclass(frozen=True)
class Rollout:
    """One dialogue to write: the `number`-th about a problem, the `order`-th of all."""

    problem: Problem
    number: int
    order: int  # priority among waiting requests, lowest first
    names: SampleNames
    seed: int

    @property
    def id(self) -> str:
        """Return the sample's id, which is distinct across data sets of other models and seeds."""
        return f"{self.names.author}:{self.names.source}:{self.problem.task_id}:{self.seed}-{self.number}"


@dataclass
class Usage:
    """A dialogue's use of the model in this process: tokens, turns, and turns answered from the log."""

    input_tokens: int = 0
    output_tokens: int = 0
    num_turns: int = 0
    num_replayed: int = 0


class AskedModel(Protocol):
    """The model behind the dialogues of a build, as `run_dialogues` sees it."""

    @property
    def num_retries(self) -> int: ...

    @property
    def has_answered(self) -> bool:
        """Tell whether the model has ever answered: if not, a failing request may be the server's fault."""
        ...

    @property
    def first_asked_at(self) -> float | None:
        """Return the monotonic time of this process's first request; None before it."""
        ...

    def take_usage(self, rollout: Rollout) -> Usage:
        """Return and forget the usage of a finished dialogue."""
        ...

    def stop(self) -> None:
        """Send no further requests; those in flight continue."""
        ...


class NoModel:
    """A stand-in for rollouts that use no model."""

    num_retries = 0
    has_answered = False
    first_asked_at = None

    def take_usage(self, rollout: Rollout) -> Usage:
        return Usage()

    def stop(self) -> None: ...


@dataclass(frozen=True)
class RolloutWriter:
    """Writes the rollouts of a build.

    Attributes:
        write: returns the sample of a rollout, or the rejection. Must be thread-safe and deterministic given the rollout and the log.
            Any exception except `UnansweredError` and `NotTakenError` ends the build.
        max_at_once: maximum number of rollouts written concurrently.
    """

    write: Callable[[Rollout], Sample | Rejected]
    max_at_once: int
    model: AskedModel
