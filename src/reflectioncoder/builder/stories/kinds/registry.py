"""All kinds of stories by name. `choices.RoundKind` declares the names, so that the configuration does not import the builder."""

from __future__ import annotations

from reflectioncoder.builder.stories.kinds.direct import Direct
from reflectioncoder.builder.stories.kinds.expectation import Expectation
from reflectioncoder.builder.stories.kinds.hidden import Hidden
from reflectioncoder.builder.stories.kinds.hypothesis import Hypothesis
from reflectioncoder.builder.stories.kinds.kind import StoryKind
from reflectioncoder.builder.stories.kinds.look import Look
from reflectioncoder.builder.stories.kinds.partial import Partial
from reflectioncoder.choices import RoundKind

KINDS: dict[RoundKind, StoryKind] = {
    "look": Look(),
    "hypothesis": Hypothesis(),
    "partial": Partial(),
    "expectation": Expectation(),
    "hidden": Hidden(),
    "direct": Direct(),
}
