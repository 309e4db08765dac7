"""Samples of injected slips with traced diagnoses: the plan's attempts become a story, which is shortened if it is too long."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from reflectioncoder.builder.authors.mutation_samples import MutationPlan, RanPlan, run_plan, sample_of
from reflectioncoder.builder.executions import Executions
from reflectioncoder.builder.mutation.plausible import is_plausible_failure
from reflectioncoder.builder.outcomes import Rejected
from reflectioncoder.builder.stories import Attempt, Manner, Story, StorySettings, tell
from reflectioncoder.data.prompts import reflection_request
from reflectioncoder.data.samples import Sample

_BRIEF = Manner(extras=0.0)
_LOOK = StorySettings({"look": 1.0})


@dataclass(frozen=True)
class StoryWriter:
    """`write(plan)` runs a plan and tells its story.

    Attributes:
        fits: tells whether a sample is short enough; if no form is, the last one written is returned.
    """

    execute: Executions
    settings: StorySettings
    fits: Callable[[Sample], bool] = lambda sample: True

    def write(self, plan: MutationPlan) -> Sample | Rejected:
        """Return the sample in the first, longest form that fits, or the rejection.

        Raises:
            SandboxUnavailableError: the sandbox failed, not a program.
        """
        ran = run_plan(plan, self.execute)
        if isinstance(ran, Rejected):
            return ran
        for slip, failure in zip(plan.steps, ran.failures, strict=True):
            if not is_plausible_failure(slip.operator, failure.error):
                return Rejected("implausible_attempt", failure.error)
        written = self._told(ran, Manner(), self.settings)
        forms = self._shorter(ran)
        while isinstance(written, Sample) and not self.fits(written) and (shorter := next(forms, None)) is not None:
            written = shorter if isinstance(shorter, Sample) else written
        return written

    def _shorter(self, ran: RanPlan) -> Iterator[Sample | Rejected]:
        """Yield shorter forms: fewer words, a shorter kind of story, shorter looks, then only one slip and fewer tests."""
        look = replace(_LOOK, max_rounds=self.settings.max_rounds)
        yield self._told(ran, _BRIEF, self.settings)
        yield self._told(ran, _BRIEF, look)
        yield self._told(ran, _BRIEF, look, short_looks=True)
        plan = ran.plan
        one_slip = replace(plan, programs=plan.programs[-2:], steps=plan.steps[-1:])
        for number in range(len(plan.shown_tests), 0, -1):
            cut = replace(one_slip, shown_tests=plan.shown_tests[:number], cases=plan.cases[:number])
            fewer = run_plan(cut, self.execute)
            for short_looks in (False, True):
                yield fewer if isinstance(fewer, Rejected) else self._told(fewer, _BRIEF, look, short_looks=short_looks)

    def _told(self, ran: RanPlan, manner: Manner, settings: StorySettings, *, short_looks: bool = False) -> Sample | Rejected:
        told = tell(replace(_story(ran), short_looks=short_looks), self.execute, ran.plan.seed, settings, manner)
        if isinstance(told, Rejected):
            return told
        if told.unexplained:
            return Rejected("unexplained", told.unexplained)
        about = {"diagnoses": "traced", "kind": told.kind, "rounds": list(told.rounds)}
        return sample_of(ran.plan, list(told.blocks), about, [slip.operator for slip in told.slips])


def _story(ran: RanPlan) -> Story:
    plan, cells = ran.plan, ran.plan.cells
    attempts = tuple(
        Attempt(plan.programs[index], plan.programs[index + 1], cells[index], ran.runs[index], failure, plan.steps[index])
        for index, failure in enumerate(ran.failures)
    )
    problem = plan.problem
    request = reflection_request(problem.prompt, problem.instruction)
    tests = tuple(test.strip() for test in plan.shown_tests)
    return Story(
        request, problem.entry_point, problem.setup, tests, attempts, cells[-1], ran.runs[-1].output, plan.cases, plan.relation or ""
    )
