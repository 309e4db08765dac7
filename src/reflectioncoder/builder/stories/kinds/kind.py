"""The interface that every kind of story implements."""

from __future__ import annotations

import random
from abc import abstractmethod
from typing import Protocol

from reflectioncoder.builder.executions import Executions
from reflectioncoder.builder.stories.story import Draft, Story
from reflectioncoder.builder.stories.wording import Manner


class StoryKind(Protocol):
    """Makes a story from failing attempts."""

    @property
    @abstractmethod
    def min_rounds(self) -> int:
        """Return the minimum number of rounds, not counting the passing cell."""

    @abstractmethod
    def draft(self, story: Story, execute: Executions, rng: random.Random, manner: Manner) -> Draft | None:
        """Return the draft of the story, or None if these attempts do not allow this kind.

        The draft depends only on the story, the log and the state of `rng`. `execute` runs programs whose results the draft needs.
        """
