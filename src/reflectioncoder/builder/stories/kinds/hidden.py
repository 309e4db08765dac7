"""A crash that hides a second fault: repairing the crash reveals a wrong value."""

from __future__ import annotations

import random

from reflectioncoder.builder.cells import Execution
from reflectioncoder.builder.executions import Executions
from reflectioncoder.builder.stories.kinds.kind import StoryKind
from reflectioncoder.builder.stories.rounds import corrections
from reflectioncoder.builder.stories.second_slips import with_second_slip
from reflectioncoder.builder.stories.story import Draft, Story
from reflectioncoder.builder.stories.wording import Manner, opening

_NO_CRASH = ("AssertionError", "SyntaxError", "IndentationError", "TabError")


_CRASHING = ("misspelt_name", "missing_import", "missing_return", "missing_conversion", "wrong_method", "off_by_one_index")


class Hidden(StoryKind):
    @property
    def min_rounds(self) -> int:
        return 2

    def draft(self, story: Story, execute: Executions, rng: random.Random, manner: Manner) -> Draft | None:
        *before, last = story.attempts
        if last.ran.error != "AssertionError" or len(before) > 1:
            return None
        if not before:
            chosen = with_second_slip(story, execute, rng, lambda ran, _: _is_crash(ran), _CRASHING)
        else:
            chosen = story if _is_crash(before[0].ran) else None
        return chosen and corrections(chosen, execute, opening(chosen, rng), rng, ("", "failure.uncovered"))


def _is_crash(ran: Execution) -> bool:
    return ran.status == "failed" and ran.error is not None and ran.error not in _NO_CRASH
