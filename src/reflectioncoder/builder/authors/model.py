"""Code shared by authors that ask a model: the logged model, the settings that its answers depend on, and the options."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, fields
from functools import partial
from typing import Any

from reflectioncoder.builder.author import Author, Build, DialogueStats
from reflectioncoder.builder.authors.answers import EMPTY, Answer, name_of_model
from reflectioncoder.builder.authors.servers import Server
from reflectioncoder.builder.conversation import Conversation
from reflectioncoder.builder.dialogues import run_dialogues
from reflectioncoder.builder.log import BuildLog
from reflectioncoder.builder.outcomes import Rejected
from reflectioncoder.builder.rollouts import Rollout, RolloutWriter, Usage
from reflectioncoder.builder.templates import Prompts
from reflectioncoder.config.building import NOT_OF_A_REQUEST, BuildConfig, EndpointConfig
from reflectioncoder.data.samples import Sample
from reflectioncoder.errors import UsageError
from reflectioncoder.generate.body import request_body
from reflectioncoder.generate.budget import Budget
from reflectioncoder.generate.endpoint import Endpoint, RefusedError
from reflectioncoder.generate.reply import REFUSED

ENDPOINT_OPTIONS = frozenset(f"endpoint.{spec.name}" for spec in fields(EndpointConfig))
MODEL_OPTIONS = ENDPOINT_OPTIONS | {"hybrid", "rollouts", "budget_tokens", "budget_usd"}
"""Options that every author that asks a model uses."""

_DIALOGUES_PER_REQUEST = 4  # keeps the server busy while other dialogues run programs
_TOKENS_PER_TURN = 800  # estimate for a problem or an interpreter output
# Settings that do not affect answers: which problems are asked, the budget, and the processing of samples afterwards.
_NOT_OF_AN_ANSWER = (
    "problems", "budget_tokens", "budget_usd", "min_samples", "max_chars", "near_duplicates", "attempts", "diagnoses", "tests",
    "critic", "max_tokens", "tokenizer", "round_kinds", "max_rounds",
)  # fmt: skip
_NOT_IN_OLDER_LOGS = ("extra_body", "omit", "max_tokens_field")


class LoggedModel:
    """A model whose answers are kept in the build's log; logged requests are not sent again (`rollouts.AskedModel`)."""

    def __init__(self, config: EndpointConfig, seed: int, endpoint: Endpoint, log: BuildLog):
        self.config = config
        self._seed = seed
        self._endpoint = endpoint
        self._log = log
        self._usage: dict[int, Usage] = {}

    def ask(self, conversation: Conversation, rollout: Rollout, turn: int) -> Answer:
        """Return the model's answer to the conversation so far.

        Raises:
            The errors of `Endpoint.ask` except `RefusedError`.
        """
        name = f"{self._seed}/llm:{rollout.problem.task_id}:{rollout.number}/{turn}"
        return self.ask_about(conversation, name, {"rollout": rollout.number}, rollout.order)

    def ask_about(self, conversation: Conversation, name: str, about: dict[str, Any], order: int) -> Answer:
        """Return the model's answer to the conversation so far.

        Args:
            name: string from which the sampling seed is derived.
            about: extra fields of the log key, which tell apart requests with the same text.
            order: priority among waiting requests, lowest first.

        Raises:
            The errors of `Endpoint.ask` except `RefusedError`.
        """
        payload = self._payload(conversation, name)
        request = {"payload": payload, "revision": self.config.revision, **about}
        usage = self._usage.setdefault(order, Usage())
        usage.num_turns += 1
        usage.num_replayed += 1

        def ask() -> dict[str, Any]:
            usage.num_replayed -= 1
            reply = self._endpoint.ask(payload, order, self._log.account(request))
            usage.input_tokens += reply.input_tokens
            usage.output_tokens += reply.output_tokens
            return asdict(reply)

        try:
            logged = self._log.recall("request", request, ask)
        except RefusedError:  # not logged: it cost nothing, and another server may accept the request
            return Answer("", REFUSED)
        text, finish_reason = logged["text"], logged["finish_reason"]
        if finish_reason != REFUSED and not text.strip():
            return Answer(text, EMPTY)
        return Answer(conversation.continuation(text), finish_reason)

    def _payload(self, conversation: Conversation, name: str) -> dict[str, Any]:
        sampling = {
            "max_tokens": self.config.max_tokens,
            "temperature": self.config.temperature,
            "top_p": self.config.top_p,
            "seed": int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") >> 1,
        }
        return request_body(self.config, {"model": self.config.model, **conversation.payload, **sampling})

    @property
    def num_retries(self) -> int:
        return self._endpoint.num_retries

    @property
    def has_answered(self) -> bool:
        return self._endpoint.has_answered

    @property
    def first_asked_at(self) -> float | None:
        return self._endpoint.first_asked_at

    def take_usage(self, rollout: Rollout) -> Usage:
        return self._usage.pop(rollout.order, Usage())

    def stop(self) -> None:
        self._endpoint.stop()


Writing = Callable[[Build, LoggedModel], Callable[[Rollout], Sample | Rejected]]
"""Returns the function that writes a rollout with a model's answers."""


def run_with_model(build: Build, author: Author, server: Server, writing: Writing) -> DialogueStats:
    """Write all rollouts with a model; refuse a log whose answers were made with other settings.

    Raises:
        The errors of `run_dialogues`, and UsageError if the log's settings differ.
    """
    build.log.require_settings(_settings_of_answers(build), fork=build.fork)
    return run_dialogues(build, author, partial(_open_model, server, writing))


@contextmanager
def _open_model(server: Server, writing: Writing, build: Build, budget: Budget) -> Iterator[RolloutWriter]:
    config = build.config
    context_tokens = (config.max_executions + 1) * (config.endpoint.max_tokens + _TOKENS_PER_TURN)
    with connected(server, build, budget, context_tokens) as model:
        yield RolloutWriter(writing(build, model), _DIALOGUES_PER_REQUEST * model.config.max_in_flight, model)


@contextmanager
def connected(server: Server, build: Build, budget: Budget, context_tokens: int) -> Iterator[LoggedModel]:
    """Yield the model of a build's endpoint, starting its server if needed. `context_tokens`: length of the longest dialogue."""
    with server.serve(build.config.endpoint, context_tokens) as served:
        is_elsewhere = not server.is_own
        connection = Endpoint(served, budget, trust_env=is_elsewhere, adapts=is_elsewhere, has_answered=build.log.holds_answers)
        with closing(connection) as endpoint:
            yield LoggedModel(served, build.recipe.seed, endpoint, build.log)


def _settings_of_answers(build: Build) -> dict[str, Any]:
    """Return the settings that the log's answers depend on."""
    settings = asdict(build.config)
    for name in _NOT_OF_AN_ANSWER:
        del settings[name]
    settings["endpoint"] = settings_of_endpoint(build.config)
    return {
        **{f"build.{name}": value for name, value in settings.items()},
        "prompts": Prompts(build.config.prompts).digest,
        "seed": build.recipe.seed,
        "limits": asdict(build.limits),
        "python": platform.python_version(),
    }


def settings_of_endpoint(config: BuildConfig) -> dict[str, Any]:
    """Return the settings of an endpoint on which its answers depend."""
    settings = asdict(config.endpoint)
    for name in NOT_OF_A_REQUEST:
        del settings[name]
    for name in _NOT_IN_OLDER_LOGS:
        if getattr(config.endpoint, name) == getattr(EndpointConfig(), name):
            del settings[name]
    return settings


def check_asking(config: BuildConfig) -> None:
    """Check options of the endpoint and the budget against each other.

    Raises:
        UsageError: one of them has no effect given the others.
    """
    endpoint = config.endpoint
    if config.budget_usd is not None and not (endpoint.input_usd or endpoint.output_usd):
        raise UsageError(
            "build.budget_usd bounds nothing: without prices every request costs 0 USD\n  where:   build.budget_usd\n"
            "  hint:    build.endpoint.input_usd and output_usd, the prices of a million tokens; or build.budget_tokens"
        )
    if endpoint.api == "completion" and endpoint.assistant_prefix != "none":
        raise UsageError(
            "completions have no assistant message to go on with\n  where:   build.endpoint.assistant_prefix\n"
            f"  got:     {endpoint.assistant_prefix!r}, with build.endpoint.api: completion\n  allowed: none"
        )


def source_of_answers(endpoint: EndpointConfig) -> str:
    """Return the model's part of sample ids: its name, or else a hash of the server's address, and its revision."""
    name = name_of_model(endpoint) or f"model-{hashlib.sha256(endpoint.base_url.encode()).hexdigest()[:8]}"
    return f"{name}@{endpoint.revision}" if endpoint.revision else name
