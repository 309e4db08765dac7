"""Counts the tokens of samples without torch: the `tokenizers` library loads `tokenizer.json`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from reflectioncoder.config.declarations import Recipe
from reflectioncoder.data.hub import file_of_repository, hub_errors
from reflectioncoder.data.render_chat import chat_block
from reflectioncoder.data.samples import Sample
from reflectioncoder.errors import ReflectionCoderError, UsageError, require
from reflectioncoder.models.packaged import PACKAGED_MODELS, tokenizer_of_package

TokenCounter = Callable[[Sample], int]
"""Returns the length of a sample in tokens."""

_FILE = "tokenizer.json"
_TOKENS_OF_A_TURN = 5  # added by a chat template: turn start, role, turn end


def token_counter(recipe: Recipe) -> TokenCounter | None:
    """Return the token counter for `build.max_tokens`; None if the recipe names no tokenizer and sets no limit.

    Raises:
        UsageError: the tokenizer cannot be loaded.
        MachineError: the package `tokenizers` is missing.
    """
    config = recipe.build
    if config.max_tokens is None and config.tokenizer is None:
        return None
    name, key = (config.tokenizer, "build.tokenizer") if config.tokenizer is not None else (recipe.model.name, "model.name")
    tokenizer = _load(name, recipe.model.revision if config.tokenizer is None else None, key)

    def count(sample: Sample) -> int:
        texts = ["\n\n".join(map(chat_block, message.content)) for message in sample.messages]
        return sum(len(found.ids) + _TOKENS_OF_A_TURN for found in tokenizer.encode_batch(texts, add_special_tokens=False))

    return count


def excess_tokens(sample: Sample, count_tokens: TokenCounter | None, max_tokens: int | None) -> int | None:
    """Return a sample's length in tokens if it exceeds the limit; None if it does not, or without a counter or limit."""
    if count_tokens is None or max_tokens is None:
        return None
    return found if (found := count_tokens(sample)) > max_tokens else None


def _load(name: str, revision: str | None, key: str) -> Any:
    tokenizers = require("tokenizers", "train")
    try:
        file = _file(name, revision)
        return tokenizers.Tokenizer.from_file(str(file))
    except Exception as error:
        reason = str(error).split("\n", 1)[0]
        raise UsageError(
            f"no tokenizer to count tokens with: {reason}\n  where:   {key}\n  got:     {name!r}\n"
            f"  hint:    set build.tokenizer to a {_FILE}, to a folder with one, or to a hub id; or leave build.max_tokens out"
        ) from error


def _file(name: str, revision: str | None) -> Path:
    path = Path(name)
    if path.is_file():
        return path
    if path.is_dir():
        if not (path / _FILE).is_file():
            raise UsageError(f"{path} has no {_FILE}")
        return path / _FILE
    if path.is_absolute() or name.startswith(".") or name.count("/") > 1:
        raise UsageError(f"no such file or folder: {path}")
    try:
        return _from_hub(name, revision)
    except ReflectionCoderError:
        if name not in PACKAGED_MODELS or revision is not None:
            raise
        return tokenizer_of_package(PACKAGED_MODELS[name]) / _FILE


def _from_hub(name: str, revision: str | None) -> Path:
    with hub_errors(f"tokenizer {name}", name, revision, "model"):
        file = file_of_repository("model", name, _FILE, revision, **({"etag_timeout": 5} if name in PACKAGED_MODELS else {}))
    if file is None:
        raise UsageError(f"{name} has no {_FILE} on the hub")
    return file
