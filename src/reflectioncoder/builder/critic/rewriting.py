"""Asks a model to reword the diagnoses of finished samples, between the author and the filters.

Like an author's answers, the critic's are logged and count against the build's budget. A diagnosis whose new text is refused stays.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial

from reflectioncoder.builder.author import Build
from reflectioncoder.builder.authors.answers import Answer, name_of_model
from reflectioncoder.builder.authors.model import ENDPOINT_OPTIONS, LoggedModel, check_asking, connected, settings_of_endpoint
from reflectioncoder.builder.authors.servers import SERVERS
from reflectioncoder.builder.conversation import Conversation
from reflectioncoder.builder.critic.counts import CriticCounts, Refusal
from reflectioncoder.builder.critic.diagnoses import Diagnosis, diagnoses_of
from reflectioncoder.builder.critic.gates import refusal
from reflectioncoder.builder.outcomes import Outcomes, Rejection
from reflectioncoder.builder.templates import CriticPrompt
from reflectioncoder.config.building import BuildConfig
from reflectioncoder.data.answers import read_answer
from reflectioncoder.data.samples import Block, Sample, language_of
from reflectioncoder.errors import UsageError
from reflectioncoder.generate.budget import Budget
from reflectioncoder.generate.endpoint import MAX_POSTPONED, NotTakenError, UnansweredError
from reflectioncoder.languages import PYTHON
from reflectioncoder.progress import Progress
from reflectioncoder.sandbox.pool import map_ordered

_SAMPLES_PER_REQUEST = 2  # the server answers one while another is checked
_CONTEXT_TOKENS = 3000  # maximum length of a request
_QUOTES = {'"': '"', "“": "”"}


def options_of_critic(config: BuildConfig) -> frozenset[str]:
    """Return the build options that the critic uses."""
    if config.critic == "none":
        return frozenset()
    unused = SERVERS[config.critic].unused_options | {"endpoint.assistant_prefix"}
    return ENDPOINT_OPTIONS - unused | {"budget_tokens", "budget_usd", "prompts"}


def check_critic(config: BuildConfig) -> None:
    """Validate the critic's settings before any work.

    Raises:
        UsageError: the author is a model with another kind of server than the critic's; unknown prompts; no model.
        MachineError: the environment variable with the API key is not set.
    """
    if config.critic == "none":
        return
    if config.author in SERVERS and config.author != config.critic:
        what = "author and critic share one endpoint, and are asked in the same way"
        raise UsageError.for_value(what, "build.critic", config.critic, config.author)
    check_asking(config)
    CriticPrompt(config.prompts)
    SERVERS[config.critic].check(config.endpoint)


@contextmanager
def criticised(build: Build, outcomes: Outcomes) -> Iterator[tuple[Outcomes, CriticCounts | None]]:
    """Yield an author's outcomes with reworded diagnoses, and the counts; unchanged and without counts if no critic is set.

    Raises:
        EndpointError, BudgetError, UsageError: the build cannot continue; the log is kept.
    """
    config = build.config
    if config.critic == "none":
        yield outcomes, None
        return
    prompt = CriticPrompt(config.prompts)
    if config.author not in SERVERS:  # otherwise the author's settings cover the endpoint
        build.log.require_settings(_settings(build, prompt), fork=build.fork)
    budget = Budget(config.endpoint, config.budget_tokens, config.budget_usd)
    budget.settle((0, 0), build.log.used())
    counts = CriticCounts(config.endpoint.model)
    with closing(Outcomes()) as changed:
        with connected(SERVERS[config.critic], build, budget, _CONTEXT_TOKENS + config.endpoint.max_tokens) as model:
            _rewrite_all(Critic(model, prompt, build.recipe.seed), outcomes, changed, counts)
        yield changed, counts


def _settings(build: Build, prompt: CriticPrompt) -> dict[str, object]:
    """Return the settings that the critic's logged answers depend on."""
    endpoint = settings_of_endpoint(build.config)
    about = {"critic": build.config.critic, "prompt": prompt.digest, "seed": build.recipe.seed, "python": platform.python_version()}
    return {**about, "build.endpoint": endpoint}


def _rewrite_all(critic: Critic, outcomes: Outcomes, changed: Outcomes, counts: CriticCounts) -> None:
    model, failures = critic.model, 0
    rewrite = partial(_numbered, critic)
    with Progress("build: critic", len(outcomes)) as progress:
        workers = _SAMPLES_PER_REQUEST * model.config.max_in_flight
        with closing(map_ordered(rewrite, enumerate(outcomes), workers, model.stop)) as rewritten:
            for position, (outcome, reasons) in enumerate(rewritten):
                failures += reasons.count("no_answer")
                if not model.has_answered and failures > MAX_POSTPONED:
                    break
                counts.add(reasons)
                if isinstance(outcome, Sample):
                    changed.accept(position, outcome)
                else:
                    changed.reject(position, outcome)
                progress.update(position + 1, f"{counts.num_accepted} of {counts.num_asked} diagnoses said anew")
    if failures and not model.has_answered:
        raise critic.first_failure or UnansweredError("the critic was not answered")


def _numbered(critic: Critic, numbered: tuple[int, Sample | Rejection]) -> tuple[Sample | Rejection, list[Refusal | None]]:
    number, outcome = numbered
    if not isinstance(outcome, Sample) or language_of(outcome) != PYTHON:
        return outcome, []
    return critic.rewrite(outcome, number)


@dataclass
class Critic:
    """A model that rewords diagnoses."""

    model: LoggedModel
    prompt: CriticPrompt
    seed: int
    first_failure: UnansweredError | NotTakenError | None = None

    def rewrite(self, sample: Sample, order: int) -> tuple[Sample, list[Refusal | None]]:
        """Return a sample with the accepted texts, and for each diagnosis the reason of refusal (None: accepted)."""
        request, blocks = sample.messages[0].text, list(sample.messages[1].content)
        reasons: list[Refusal | None] = []
        for diagnosis in list(diagnoses_of(blocks)):
            text, reason = self._ask(sample, diagnosis, order)
            reason = reason or refusal(request, blocks, diagnosis, text)
            reasons.append(reason)
            if reason is None:
                blocks[diagnosis.block] = replace(blocks[diagnosis.block], content=text)
        return (self._changed(sample, blocks, reasons.count(None)) if None in reasons else sample), reasons

    def _ask(self, sample: Sample, diagnosis: Diagnosis, order: int) -> tuple[str, Refusal | None]:
        shown = {"attempt": diagnosis.attempt, "output": diagnosis.output, "looks": diagnosis.looks, "diagnosis": diagnosis.text}
        request = self.prompt.render(problem=sample.messages[0].text, **shown)
        about = f"{sample.id}/{diagnosis.block}"
        try:
            answer = self.model.ask_about(
                Conversation(self.model.config, request), f"{self.seed}/critic:{about}", {"critic": about}, order
            )
        except (UnansweredError, NotTakenError) as error:
            self.first_failure = self.first_failure or error
            return "", "no_answer"
        return _words(answer), _without_text(answer)

    def _changed(self, sample: Sample, blocks: list[Block], num_changed: int) -> Sample:
        """Return the sample with new blocks and a new id."""
        config = self.model.config
        about = {"critic": {"model": config.model, "num_diagnoses": num_changed}}
        asked, answer, *rest = sample.messages
        name = name_of_model(config) or hashlib.sha256(config.base_url.encode()).hexdigest()[:8]
        extra = {**sample.extra, "id": f"{sample.id}:{name}", "metadata": {**sample.metadata, **about}}
        return replace(sample, messages=(asked, replace(answer, content=tuple(blocks)), *rest), extra=extra)


def _without_text(answer: Answer) -> Refusal | None:
    if missing := answer.missing:
        return "refused" if missing.reason == "refused" else "empty_answer"
    return "answer_cut_off" if answer.was_cut_off else None


def _words(answer: Answer) -> str:
    """Return the model's answer without its reasoning and without enclosing quotation marks."""
    text = read_answer(answer.text).answer.strip()
    is_quoted = len(text) > 1 and _QUOTES.get(text[0]) == text[-1] and text.count(text[0]) <= 2
    return text[1:-1].strip() if is_quoted else text
