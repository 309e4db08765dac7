"""All authors by name, and the check of a recipe's `build` section against the one that it names.

An option that the author does not use is refused, not ignored. The names themselves are declared in `choices.AuthorName`, which the
configuration needs without the builder.
"""

from __future__ import annotations

import dataclasses
from dataclasses import fields

from reflectioncoder.builder.author import Author
from reflectioncoder.builder.authors.attempts import AttemptsAuthor
from reflectioncoder.builder.authors.dialogue import DialogueAuthor
from reflectioncoder.builder.authors.hybrid import HybridAuthor
from reflectioncoder.builder.authors.mutation import MutationAuthor
from reflectioncoder.builder.authors.servers import ELSEWHERE, LLAMA_CPP, VLLM
from reflectioncoder.builder.critic import check_critic, options_of_critic
from reflectioncoder.choices import AuthorName
from reflectioncoder.config.building import BuildConfig, EndpointConfig
from reflectioncoder.errors import UsageError

AUTHORS: dict[AuthorName, Author] = {
    "mutation": MutationAuthor(),
    "openai": DialogueAuthor(ELSEWHERE),
    "local": DialogueAuthor(LLAMA_CPP),
    "vllm": DialogueAuthor(VLLM),
    "attempts": AttemptsAuthor(),
}
HYBRIDS: dict[AuthorName, Author] = {
    "openai": HybridAuthor(ELSEWHERE),
    "local": HybridAuthor(LLAMA_CPP),
    "vllm": HybridAuthor(VLLM),
}
"""The authors that `hybrid: true` turns those that ask a model into."""

COMMON_OPTIONS = frozenset(
    (
        "author",
        "problems",
        "samples_per_problem",
        "max_chars",
        "max_tokens",
        "tokenizer",
        "near_duplicates",
        "cell_timeout_s",
        "min_samples",
    )
)
"""The options of every build, whoever writes."""


def author_of(config: BuildConfig) -> Author:
    return _hybrid_of(config) or AUTHORS[config.author]


def _hybrid_of(config: BuildConfig) -> Author | None:
    return HYBRIDS.get(config.author) if config.hybrid else None


def check_author(config: BuildConfig) -> None:
    """Find what is wrong with the settings, before any work.

    Raises:
        UsageError: options that the author does not use or that have no effect beside others; a file is missing or malformed; no such
            prompts; no model.
        MachineError: the variable that holds the key is not set.
    """
    require_used_options(config)
    author_of(config).check(config)
    check_critic(config)


def require_used_options(config: BuildConfig) -> None:
    """Refuse options that the author does not use.

    Raises:
        UsageError: such options are given; all of them are named.
    """
    if unused := unused_options(config):
        author = f"{config.author}, hybrid" if _hybrid_of(config) else config.author
        raise UsageError(  # without the values: an address may hold a key
            f"the author {author} does not use {'these options' if len(unused) > 1 else 'this option'}\n"
            f"  where:   {', '.join(unused)}\n"
            f"  allowed: {', '.join(_used_options(config))}\n"
            "  hint:    leave out what is not used: it would have no effect"
        )


def unused_options(config: BuildConfig) -> list[str]:
    """Return the dotted names of options that are given (not at their defaults) and that the author does not use."""
    used = author_of(config).traits.options | COMMON_OPTIONS
    used |= options_of_critic(config) if "critic" in used else frozenset()
    given = [name for name in _given(config) if name != "endpoint"] + [f"endpoint.{name}" for name in _given(config.endpoint)]
    return [f"build.{name}" for name in given if name not in used]


def _given(section: BuildConfig | EndpointConfig) -> list[str]:
    """Return the fields that are not at their defaults."""
    found = []
    for spec in fields(section):
        default = spec.default if spec.default_factory is dataclasses.MISSING else spec.default_factory()
        if getattr(section, spec.name) != default:
            found.append(spec.name)
    return found


def _used_options(config: BuildConfig) -> list[str]:
    """Return the dotted names of the options that the author uses; the endpoint, of which it may use some fields only, as one."""
    options = author_of(config).traits.options
    used = {
        name.partition(".")[0] for name in options | (options_of_critic(config) if "critic" in options else frozenset())
    } | COMMON_OPTIONS
    return [f"build.{spec.name}" for spec in fields(config) if spec.name in used]
