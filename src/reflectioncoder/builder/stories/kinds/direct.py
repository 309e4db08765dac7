"""Direct repair without a look: the failing test already shows what is wrong."""

from __future__ import annotations

import random

from reflectioncoder.builder.executions import Executions
from reflectioncoder.builder.stories.kinds.kind import StoryKind
from reflectioncoder.builder.stories.rounds import attempt_place, closed
from reflectioncoder.builder.stories.story import Draft, Story
from reflectioncoder.builder.stories.wording import Manner, fix, opening


class Direct(StoryKind):
    @property
    def min_rounds(self) -> int:
        return 1

    def draft(self, story: Story, execute: Executions, rng: random.Random, manner: Manner) -> Draft | None:
        places, before = [], opening(story, rng)
        for attempt in story.attempts:
            places.append(attempt_place(attempt, story, before))
            before = fix(attempt, story)
        return closed(story, places, before)
