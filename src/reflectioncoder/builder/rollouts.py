"""Rollouts: the dialogues of a build that are independent of each other, what writes them, and what they have used."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from reflectioncoder.builder.outcomes import Rejected
from reflectioncoder.data.problems import Problem
from reflectioncoder.data.samples import Sample


@dataclass(frozen=True)
class SampleNames:
    """The names by which samples are told apart: `author` is also the metadata's; `source` says whose answers they are made of."""

    author: str
    source: str


@dataclass(frozen=True)
class Rollout:
    """One dialogue to be held: the `number`-th about a problem, the `order`-th of all."""

    problem: Problem
    number: int
    order: int  # lower ones go first where requests wait
    names: SampleNames
    seed: int

    @property
    def id(self) -> str:
        """Return the sample's id, which differs from those in data sets of other models and seeds."""
        return f"{self.names.author}:{self.names.source}:{self.problem.task_id}:{self.seed}-{self.number}"


@dataclass
class Usage:
    """A dialogue's use of the model in this process: tokens, its turns, and how many of these were in the log."""

    input_tokens: int = 0
    output_tokens: int = 0
    num_turns: int = 0
    num_replayed: int = 0


class AskedModel(Protocol):
    """The model behind the dialogues of a build, as far as `run_dialogues` deals with it."""

    @property
    def num_retries(self) -> int: ...

    @property
    def has_answered(self) -> bool:
        """Tell whether it has ever answered: if not, a failing request may be the server's fault."""
        ...

    @property
    def first_asked_at(self) -> float | None:
        """Return the monotonic time of the first request of this process; None before it."""
        ...

    def take_usage(self, rollout: Rollout) -> Usage:
        """Return what a dialogue that has ended has used; it can be asked for once."""
        ...

    def stop(self) -> None:
        """Ask nothing more; requests that are under way go on."""
        ...


class NoModel:
    """The model of rollouts that ask nothing."""

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
        write: returns the sample of a rollout, or why there is none. Called from several threads. The same rollout with the same log
            gives the same result. Whatever it raises, but for `UnansweredError` and `NotTakenError`, ends the build.
        max_at_once: how many rollouts are written at the same time.
    """

    write: Callable[[Rollout], Sample | Rejected]
    max_at_once: int
    model: AskedModel
