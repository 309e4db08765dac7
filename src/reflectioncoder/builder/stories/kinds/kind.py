"""The seam of the kinds of stories: what a kind is given, and what it makes of it."""

from __future__ import annotations

import random
from abc import abstractmethod
from typing import Protocol

from reflectioncoder.builder.executions import Executions
from reflectioncoder.builder.stories.story import Draft, Story
from reflectioncoder.builder.stories.wording import Manner


class StoryKind(Protocol):
    """Makes a story of failing attempts."""

    @property
    @abstractmethod
    def min_rounds(self) -> int:
        """Return the number of rounds that it needs, without the cell that passes."""

    @abstractmethod
    def draft(self, story: Story, execute: Executions, rng: random.Random, manner: Manner) -> Draft | None:
        """Return the story as it is to be run, None if these attempts do not allow it.

        The same story, log and state of `rng` give the same draft. What has to be seen beforehand is run by `execute`.
        """
