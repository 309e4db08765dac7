"""Stories: turn failing attempts into the rounds of a reflection sequence, with texts that state only observed facts."""

from reflectioncoder.builder.stories.story import Attempt, Story
from reflectioncoder.builder.stories.telling import StorySettings, Told, tell, traced_blocks
from reflectioncoder.builder.stories.wording import Manner

__all__ = ["Attempt", "Manner", "Story", "StorySettings", "Told", "tell", "traced_blocks"]
