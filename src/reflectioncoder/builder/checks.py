"""Checks of an author's settings that are made before any work. Nobody is asked and nothing is downloaded."""

from __future__ import annotations

from pathlib import Path

from reflectioncoder.builder.hybrid_author import AttemptsFile
from reflectioncoder.builder.llm_author import Prompts
from reflectioncoder.builder.options import require_used_options
from reflectioncoder.config.declarations import BuildConfig
from reflectioncoder.errors import UsageError
from reflectioncoder.generate.endpoint import check_endpoint
from reflectioncoder.models.packaged import EMBEDDED_MODELS, resolve_gguf


def check_author(config: BuildConfig) -> None:
    """Find what is wrong with the settings, before any work.

    Raises:
        UsageError: options that the author does not use; no such file of attempts, or a malformed one; no such prompts; no model.
        MachineError: the variable that holds the key is not set.
    """
    require_used_options(config)
    if config.author == "mutation":
        return
    if config.author == "attempts":
        if not Path(config.attempts).is_file():
            raise UsageError(f"file not found: {config.attempts!r}\n  key:     build.attempts, the completions to be repaired")
        AttemptsFile(config.attempts)
        return
    if not config.hybrid:  # whose one request is not a template
        Prompts(config.prompts)
    if config.author == "openai":
        check_endpoint(config.endpoint)
    elif config.author == "local" and config.endpoint.model not in EMBEDDED_MODELS:
        resolve_gguf(config.endpoint.model)
    elif not config.endpoint.model:
        raise UsageError("the endpoint's model is empty: which model is to be served?\n  hint:    build.endpoint.model")
