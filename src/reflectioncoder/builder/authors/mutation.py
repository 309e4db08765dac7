"""The author for `build.author: mutation`: injects slips into reference solutions and corrects them one by one. Works offline."""

from __future__ import annotations

from reflectioncoder.builder.author import Author, Build, DialogueStats, Traits
from reflectioncoder.builder.authors.mutation_rounds import run_mutation_rounds
from reflectioncoder.builder.authors.mutation_samples import AUTHOR
from reflectioncoder.builder.outcomes import Rejected, rejected_problem
from reflectioncoder.builder.rollouts import SampleNames
from reflectioncoder.builder.slips import SLIPS
from reflectioncoder.config.building import BuildConfig
from reflectioncoder.data.problems import Problem
from reflectioncoder.errors import UsageError
from reflectioncoder.progress import Progress, say
from reflectioncoder.sandbox.pool import map_ordered


class MutationAuthor(Author):
    """Injects slips into reference solutions. Holds all problems and their slips in memory."""

    @property
    def traits(self) -> Traits:
        return Traits(
            options=frozenset(
                (
                    *("two_slip_share", "interacting_slips", "misreading_share", "max_operator_share", "diagnoses", "critic"),
                    *("shown_tests", "tests", "round_kinds", "max_rounds"),
                )
            ),
            languages=frozenset(SLIPS),
            needs_reference=True,
            varies_one_program=True,
            heeds_other_problems=True,
        )

    def check(self, config: BuildConfig) -> None:
        """Refuse settings of stories unless diagnoses are traced."""
        default = BuildConfig()
        given = [name for name in ("round_kinds", "max_rounds") if getattr(config, name) != getattr(default, name)]
        if given and config.diagnoses != "traced":
            where = ", ".join(f"build.{name}" for name in given)
            raise UsageError(f"{where} has no effect with build.diagnoses: {config.diagnoses}\n  hint:    set build.diagnoses: traced")

    def names_in_samples(self, config: BuildConfig) -> SampleNames:
        return SampleNames(AUTHOR, "")  # no model's answers

    def write(self, build: Build) -> DialogueStats:
        for language in sorted({problem.language for problem in build.problems.each()} & SLIPS.keys()):
            SLIPS[language].require()
        usable = self._usable(build)
        own = {problem.task_id for index, problem in usable.items() if build.shard.takes(index)}
        run_mutation_rounds(build, list(usable.values()), own)
        return DialogueStats()

    def _usable(self, build: Build) -> dict[int, Problem]:
        """Return the problems that can be written about, by index, and reject the others.

        Problems of other shards count as usable if they look usable; nothing is run for them.
        """
        outcomes, problems, workers = build.outcomes, build.problems, build.recipe.sandbox.workers
        usable = {}

        def check(numbered: tuple[int, Problem]) -> tuple[Problem, Rejected | None]:
            index, problem = numbered
            if build.shard.takes(index):
                return problem, build.unwritable(self.traits, problem)
            looks_usable = problem.language in SLIPS and problem.has_reference and problem.tests
            return problem, None if looks_usable else Rejected("no_reference")

        with Progress("build: references", problems.count) as progress:
            for index, (problem, rejected) in enumerate(map_ordered(check, enumerate(problems.each()), workers)):
                if found := problems.left_out.get(index):
                    rejected = Rejected("contaminated", found)
                if rejected is None:
                    usable[index] = problem
                elif build.shard.takes(index):
                    outcomes.reject(len(outcomes), rejected_problem(problem, rejected))
                progress.update(index + 1)
        if outcomes.num_rejected:
            say(f"build: {outcomes.num_rejected} of {problems.count} problems cannot be used; rejected.jsonl says why")
        return usable
