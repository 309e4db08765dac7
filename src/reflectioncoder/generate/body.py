"""Builds a request body in the form that a particular OpenAI-compatible server accepts: see `EndpointConfig`."""

from __future__ import annotations

import json
from typing import Any

from reflectioncoder.config.building import EndpointConfig
from reflectioncoder.errors import UsageError

_GOES_ON: dict[str, dict[str, Any]] = {
    "vllm": {"continue_final_message": True, "add_generation_prompt": False},
    "llama.cpp": {},  # continues whenever the last message is the assistant's
    "deepseek": {},  # the message itself carries the flag
}
_OWN_SETTINGS = frozenset(
    ("model", "messages", "prompt", "max_tokens", "max_completion_tokens", "temperature", "top_p", "seed", "stop", "stream", "n")
)


def request_body(config: EndpointConfig, payload: dict[str, Any]) -> dict[str, Any]:
    """Return the request in this server's form: parameters renamed, omitted and added as configured.

    Args:
        payload: a request with `max_tokens`.

    Raises:
        UsageError: `endpoint.extra_body` is not a JSON object, or sets a parameter that has its own setting.
    """
    check_extra_body(config)
    body = {name: value for name, value in payload.items() if name not in config.omit}
    if config.max_tokens_field != "max_tokens":
        body = {config.max_tokens_field if name == "max_tokens" else name: value for name, value in body.items()}
    return {**body, **config.extra_body}


def check_extra_body(config: EndpointConfig) -> None:
    """Check that `endpoint.extra_body` can be sent.

    Raises:
        UsageError: it is not a JSON object, or sets a parameter that has its own setting.
    """
    extra = config.extra_body
    try:
        json.dumps(extra, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(f"endpoint.extra_body cannot be written as JSON: {error}") from None
    if not all(isinstance(name, str) for name in extra):
        raise UsageError("endpoint.extra_body: its keys must be texts")
    if taken := sorted(extra.keys() & _OWN_SETTINGS):
        raise UsageError(
            f"endpoint.extra_body sets what is set elsewhere: {', '.join(taken)}\n"
            "  hint:    endpoint.temperature, top_p, max_tokens; endpoint.omit for parameters that the server does not take"
        )


def continuation_message(said: str, assistant_prefix: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return an assistant message for the server to continue, and the parameters that make it do so.

    Args:
        assistant_prefix: the server's convention (`EndpointConfig.assistant_prefix`), not "none".
    """
    message: dict[str, Any] = {"role": "assistant", "content": said}
    if assistant_prefix == "deepseek":
        message["prefix"] = True
    return message, _GOES_ON[assistant_prefix]
