"""The body of a request, in the shape that a particular OpenAI-compatible server takes: see `EndpointConfig`."""

from __future__ import annotations

import json
from typing import Any

from reflectioncoder.config.building import EndpointConfig
from reflectioncoder.errors import UsageError

_GOES_ON: dict[str, dict[str, Any]] = {
    "vllm": {"continue_final_message": True, "add_generation_prompt": False},
    "llama.cpp": {},  # does so whenever the last message is the assistant's
    "deepseek": {},  # marks the message itself
}
_OWN_SETTINGS = frozenset(
    ("model", "messages", "prompt", "max_tokens", "max_completion_tokens", "temperature", "top_p", "seed", "stop", "stream", "n")
)


def request_body(config: EndpointConfig, payload: dict[str, Any]) -> dict[str, Any]:
    """Return a request as this server wants it: parameters renamed, left out and added as the settings say.

    Args:
        payload: with `max_tokens`.

    Raises:
        UsageError: `endpoint.extra_body` is no JSON object, or sets what has a setting of its own.
    """
    check_extra_body(config)
    body = {name: value for name, value in payload.items() if name not in config.omit}
    if config.max_tokens_field != "max_tokens":
        body = {config.max_tokens_field if name == "max_tokens" else name: value for name, value in body.items()}
    return {**body, **config.extra_body}


def check_extra_body(config: EndpointConfig) -> None:
    """Check that `endpoint.extra_body` can be sent.

    Raises:
        UsageError: it cannot.
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
    """Return an assistant message that is to be continued, and what else the request has to say of it.

    Args:
        assistant_prefix: how the server wants to be told (`EndpointConfig.assistant_prefix`), not "none".
    """
    message: dict[str, Any] = {"role": "assistant", "content": said}
    if assistant_prefix == "deepseek":
        message["prefix"] = True
    return message, _GOES_ON[assistant_prefix]
