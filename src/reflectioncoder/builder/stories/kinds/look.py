"""Print and look: after each failing attempt, a cell prints the values where the attempt goes wrong."""

from __future__ import annotations

import random

from reflectioncoder.builder.executions import Executions
from reflectioncoder.builder.stories.kinds.kind import StoryKind
from reflectioncoder.builder.stories.rounds import corrections
from reflectioncoder.builder.stories.story import Draft, Story
from reflectioncoder.builder.stories.wording import Manner, opening


class Look(StoryKind):
    @property
    def min_rounds(self) -> int:
        return 2

    def draft(self, story: Story, execute: Executions, rng: random.Random, manner: Manner) -> Draft | None:
        return corrections(story, execute, opening(story, rng), rng)
