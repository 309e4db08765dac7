"""The author for `build.hybrid: true`: a model makes one attempt at each problem, and the reference solution repairs it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from reflectioncoder.builder.author import Author, Build, DialogueStats, Traits
from reflectioncoder.builder.authors.answers import Answer
from reflectioncoder.builder.authors.model import MODEL_OPTIONS, LoggedModel, check_asking, run_with_model, source_of_answers
from reflectioncoder.builder.authors.repair import RepairWriter, of_diagnoses
from reflectioncoder.builder.authors.servers import Server
from reflectioncoder.builder.conversation import Conversation
from reflectioncoder.builder.outcomes import Rejected
from reflectioncoder.builder.rollouts import Rollout, SampleNames
from reflectioncoder.config.building import BuildConfig
from reflectioncoder.data.prompts import one_off_request, opening_fence
from reflectioncoder.data.samples import Sample


@dataclass(frozen=True)
class HybridAuthor(Author):
    """The author for `build.author: openai`, `local`, `vllm` with `hybrid: true`: for models too weak to correct themselves."""

    server: Server

    @property
    def traits(self) -> Traits:
        return Traits(
            options=MODEL_OPTIONS - {"endpoint.assistant_prefix"} - self.server.unused_options
            | {"shown_tests", "tests", "diagnoses", "critic"},
            languages=None,
            needs_reference=True,
            varies_one_program=False,
            heeds_other_problems=False,
        )

    def check(self, config: BuildConfig) -> None:
        check_asking(config)
        self.server.check(config.endpoint)

    def names_in_samples(self, config: BuildConfig) -> SampleNames:
        parts = (source_of_answers(config.endpoint), of_diagnoses(config))
        return SampleNames("hybrid", "@".join(part for part in parts if part))

    def write(self, build: Build) -> DialogueStats:
        return run_with_model(build, self, self.server, _writing)


def _writing(build: Build, model: LoggedModel) -> Callable[[Rollout], Sample | Rejected]:
    def attempt(rollout: Rollout) -> Answer:
        problem = rollout.problem
        request = one_off_request(problem.prompt, problem.instruction, problem.language)
        return model.ask(Conversation(model.config, request, fence=opening_fence(problem.language)), rollout, 0)

    return RepairWriter(build, attempt).write
