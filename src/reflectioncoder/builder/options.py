"""The options of a recipe's `build` section that each author uses. An option that the author does not use is refused, not ignored."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from dataclasses import fields
from pathlib import Path
from typing import Literal

from reflectioncoder.config.declarations import BuildConfig, EndpointConfig
from reflectioncoder.errors import UsageError

Writer = Literal["mutation", "dialogue", "hybrid", "attempts"]
"""The kinds of authors, whatever serves the model. dialogue and hybrid ask one (author: openai, local, vllm; hybrid: false, true)."""

_ALL: frozenset[Writer] = frozenset(("mutation", "dialogue", "hybrid", "attempts"))
_ASKING: frozenset[Writer] = frozenset(("dialogue", "hybrid"))
_DIALOGUE: frozenset[Writer] = frozenset(("dialogue",))
_MUTATION: frozenset[Writer] = frozenset(("mutation",))
_OF_A_MODEL: frozenset[Writer] = frozenset(("dialogue", "hybrid", "attempts"))
OPTIONS: dict[str, frozenset[Writer]] = {
    "author": _ALL,
    "endpoint": _OF_A_MODEL,  # field by field: ENDPOINT_OPTIONS
    "hybrid": _ASKING,
    "attempts": frozenset(("attempts",)),
    "rollouts": _OF_A_MODEL,
    "max_executions": _DIALOGUE,
    "keep_first_try": _DIALOGUE,
    "min_killed_mutants": _DIALOGUE,
    "budget_tokens": _ASKING,
    "budget_usd": _ASKING,
    "prompts": _DIALOGUE,
    "problems": _ALL,
    "samples_per_problem": _ALL,
    "two_slip_share": _MUTATION,
    "max_operator_share": _MUTATION,
    "max_chars": _ALL,
    "near_duplicates": _ALL,
    "shown_tests": _ALL - _DIALOGUE,
    "cell_timeout_s": _ALL,
    "min_samples": _ALL,
}
# All other fields of the endpoint belong to a request, which attempts do not make.
ENDPOINT_OPTIONS: dict[str, frozenset[Writer]] = {"model": _OF_A_MODEL, "revision": _OF_A_MODEL, "assistant_prefix": _DIALOGUE}
_FOR_A_SERVER_ELSEWHERE = frozenset(("base_url", "api_key_env"))


def writer_of(config: BuildConfig) -> Writer:
    if config.author == "mutation" or config.author == "attempts":
        return config.author
    return "hybrid" if config.hybrid else "dialogue"


def unused_options(config: BuildConfig) -> list[str]:
    """Return the dotted names of options that are given (not at their defaults) and that the author does not use."""
    writer = writer_of(config)
    unused = [f"build.{name}" for name in _given(config) if name != "endpoint" and writer not in OPTIONS.get(name, _ALL)]
    served_here = config.author in ("local", "vllm")
    for name in _given(config.endpoint):
        if writer not in ENDPOINT_OPTIONS.get(name, _ASKING) or (served_here and name in _FOR_A_SERVER_ELSEWHERE):
            unused.append(f"build.endpoint.{name}")
    return unused


def require_used_options(config: BuildConfig) -> None:
    """Refuse options that have no effect.

    Raises:
        UsageError: options are given that the author does not use (all of them are named), or that have no effect beside others.
    """
    if unused := unused_options(config):
        author = f"{config.author}, hybrid" if writer_of(config) == "hybrid" else config.author
        raise UsageError(  # without the values: an address may hold a key
            f"the author {author} does not use {'these options' if len(unused) > 1 else 'this option'}\n"
            f"  where:   {', '.join(unused)}\n"
            f"  allowed: {', '.join(_used_by(config))}\n"
            "  hint:    leave out what is not used: it would have no effect"
        )

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


def _given(section: BuildConfig | EndpointConfig) -> list[str]:
    """Return the fields that are not at their defaults."""
    found = []
    for spec in fields(section):
        default = spec.default if spec.default_factory is dataclasses.MISSING else spec.default_factory()
        if getattr(section, spec.name) != default:
            found.append(spec.name)
    return found


def _used_by(config: BuildConfig) -> list[str]:
    writer = writer_of(config)
    return [f"build.{name}" for name, writers in OPTIONS.items() if writer in writers]


def names_in_samples(config: BuildConfig) -> tuple[str, str]:
    """Return (author, source) as ids and metadata name them: samples of different builds have different ids.

    The source is the model, with its revision; of attempts that of the file too, whose content it is made of. A local path is named by
    its last part.
    """
    writer = writer_of(config)
    author = "llm" if writer == "dialogue" else writer
    model, revision = config.endpoint.model, config.endpoint.revision
    name = model if re.fullmatch(r"[\w.-]+/[\w.-]+", model) and not Path(model).exists() else model.rstrip("/").rpartition("/")[2]
    if writer == "attempts":
        path = Path(config.attempts)
        content = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
        return author, "@".join(part for part in (name or path.stem, revision, content) if part)
    name = name or f"model-{hashlib.sha256(config.endpoint.base_url.encode()).hexdigest()[:8]}"
    return author, f"{name}@{revision}" if revision else name
