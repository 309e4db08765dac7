"""All authors by name, and the check of a recipe's `build` section against the author that it names.

An option that the author does not use is an error. `choices.AuthorName` declares the names, so that the configuration can check them
without the builder.
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
"""The authors used instead of those in `AUTHORS` when `hybrid: true`."""

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
"""The options that every build uses, with any author."""


def author_of(config: BuildConfig) -> Author:
    return _hybrid_of(config) or AUTHORS[config.author]


def _hybrid_of(config: BuildConfig) -> Author | None:
    return HYBRIDS.get(config.author) if config.hybrid else None


def check_author(config: BuildConfig) -> None:
    """Validate the settings before any work.

    Raises:
        UsageError: the author does not use an option, or an option has no effect given the others; a file is missing or malformed;
            unknown prompts; no model.
        MachineError: the environment variable with the API key is not set.
    """
    require_used_options(config)
    author_of(config).check(config)
    check_critic(config)


def require_used_options(config: BuildConfig) -> None:
    """Refuse options that the author does not use.

    Raises:
        UsageError: such options are set; the message lists all of them.
    """
    if unused := unused_options(config):
        author = f"{config.author}, hybrid" if _hybrid_of(config) else config.author
        raise UsageError(  # omits the values: an address may contain a key
            f"the author {author} does not use {'these options' if len(unused) > 1 else 'this option'}\n"
            f"  where:   {', '.join(unused)}\n"
            f"  allowed: {', '.join(_used_options(config))}\n"
            "  hint:    leave out what is not used: it would have no effect"
        )


def unused_options(config: BuildConfig) -> list[str]:
    """Return the dotted names of options that are set (differ from their defaults) but not used by the author."""
    used = author_of(config).traits.options | COMMON_OPTIONS
    used |= options_of_critic(config) if "critic" in used else frozenset()
    given = [name for name in _given(config) if name != "endpoint"] + [f"endpoint.{name}" for name in _given(config.endpoint)]
    return [f"build.{name}" for name in given if name not in used]


def _given(section: BuildConfig | EndpointConfig) -> list[str]:
    """Return the fields that differ from their defaults."""
    found = []
    for spec in fields(section):
        default = spec.default if spec.default_factory is dataclasses.MISSING else spec.default_factory()
        if getattr(section, spec.name) != default:
            found.append(spec.name)
    return found


def _used_options(config: BuildConfig) -> list[str]:
    """Return the dotted names of the options that the author uses; the endpoint counts as one option."""
    options = author_of(config).traits.options
    used = {
        name.partition(".")[0] for name in options | (options_of_critic(config) if "critic" in options else frozenset())
    } | COMMON_OPTIONS
    return [f"build.{spec.name}" for spec in fields(config) if spec.name in used]
