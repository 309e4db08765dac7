"""Reads a completion from a server's response body: text, finish reason, token counts. Nothing in the body is trusted."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

STOP, LENGTH, REFUSED = "stop", "length", "refused"
_ENDED = {
    STOP: ("stop", "eos", "eos_token", "eos_found", "end", "end_turn", "end_of_turn", "stop_sequence", "stop_str", "stop_token",
           "complete", "completed", "done", "finish", "finished"),
    LENGTH: ("length", "max_tokens", "max_length", "max_output_tokens", "max_new_tokens", "model_length", "length_limit"),
    REFUSED: ("content_filter", "content_filtered", "safety", "recitation", "blocklist", "prohibited_content", "refusal", "sensitive",
              "tool_calls", "tool_call", "tool_use", "function_call"),
}  # fmt: skip
_FINISH_REASONS = {name: reason for reason, names in _ENDED.items() for name in names}
_TEXT_PARTS = (None, "text", "output_text")
_NOT_UTF_8 = re.compile("[\ud800-\udfff\0]")
_MAX_SHOWN_CHARS = 300
# Larger counts are invalid: a prompt has at most one token per byte, and what a server or reasoning adds is bounded too.
_MAX_ADDED_TOKENS, _MAX_TOKENS_FACTOR = 100_000, 10


@dataclass(frozen=True)
class Reply:
    """A server's reply. `finish_reason`: "stop", "length", or "refused" if the server filtered the answer.

    `text` is empty if the answer was refused or all tokens went into hidden reasoning.
    """

    text: str
    finish_reason: str
    input_tokens: int
    output_tokens: int


class NoCompletionError(Exception):
    """Raised if the body contains no completion.

    Attributes:
        status: the HTTP status that the body reports, if any.
        may_be_generated: the body may be the remains of a completion.
    """

    def __init__(self, message: str, *, status: int | None = None, may_be_generated: bool = False):
        super().__init__(message)
        self.status = status
        self.may_be_generated = may_be_generated


def read_reply(body: bytes, max_tokens: tuple[int, int]) -> Reply:
    """Read the body of a server's reply.

    Args:
        max_tokens: the most tokens that are read and written; used where the server's count is missing or impossible.

    Raises:
        NoCompletionError: the body contains no completion; the message may quote a finish_reason of any length.
    """
    try:
        said = json.loads(body)
    except (ValueError, RecursionError) as error:
        what = "its JSON is nested too deeply" if isinstance(error, RecursionError) else "it is not JSON"
        raise NoCompletionError(what, may_be_generated=body.lstrip()[:1] == b"{") from None
    if not isinstance(said, dict):
        raise NoCompletionError("it is no JSON object")
    choices = said.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        reported = said.get("error")
        what = "it reports an error" if reported else "it holds no choices"
        raise NoCompletionError(what, status=_status_in(reported))
    choice = choices[0]
    message = choice.get("message")
    message = message if isinstance(message, dict) else {"content": choice.get("text")}
    text = _text_of(message.get("content"))
    reasoning = clean(next((r for name in ("reasoning_content", "reasoning") if isinstance(r := message.get(name), str)), ""))
    used = _usage(said.get("usage"), max_tokens, len(f"{text}{reasoning}".encode()))
    reason = _why_ended(choice.get("finish_reason"), text, hit_limit=used[1] >= max_tokens[1])
    if reason == REFUSED or (not text.strip() and message.get("refusal")):
        return Reply("", REFUSED, *used)
    return Reply(text, reason, *used)


def clean(text: str) -> str:
    """Return the text with lone surrogates and NULs replaced, so that any file can hold it."""
    return _NOT_UTF_8.sub("\ufffd", text)


def excerpt(text: str) -> str:
    """Return the beginning of a server's text on one line, with non-printable characters escaped for terminals."""
    shown = " ".join(text[: 4 * _MAX_SHOWN_CHARS].split())[:_MAX_SHOWN_CHARS]
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in shown) or "(nothing)"


def _status_in(reported: Any) -> int | None:
    """Return the status in an error body: some servers send every error with HTTP status 200 and the real status as its code."""
    code = reported.get("code", reported.get("status")) if isinstance(reported, dict) else None
    try:
        status = int(code) if isinstance(code, (int, str)) else 0
    except ValueError:
        return None
    return status if 400 <= status < 600 else None


def _text_of(content: Any) -> str:
    """Return the text of a message's content: a string, the text parts of a list (without reasoning), or empty."""
    if content is None:
        return ""
    if isinstance(content, str):
        return clean(content)
    if not isinstance(content, list):
        raise NoCompletionError("its content is neither text nor a list of parts", may_be_generated=True)
    texts = [
        part if isinstance(part, str) else part.get("text")
        for part in content
        if isinstance(part, str) or (isinstance(part, dict) and part.get("type") in _TEXT_PARTS)
    ]
    return clean("".join(text for text in texts if isinstance(text, str)))


def _why_ended(reason: Any, text: str, *, hit_limit: bool) -> str:
    if reason is None or reason == "":
        if not text.strip():
            raise NoCompletionError("it has neither a text nor a finish_reason", may_be_generated=True)
        return LENGTH if hit_limit else STOP
    name = re.sub(r"[\s-]", "_", reason.strip().lower().rpartition(".")[2]) if isinstance(reason, str) else ""
    name = name.removeprefix("finish_reason_")
    if name not in _FINISH_REASONS:  # aborted, or the server ran out of a resource: a retry may succeed
        raise NoCompletionError(f"its finish_reason is {reason!r}", may_be_generated=True)
    return _FINISH_REASONS[name]


def _usage(usage: Any, max_tokens: tuple[int, int], num_bytes: int) -> tuple[int, int]:
    """Return the tokens read and written. Without the server's counts: at most one token per byte, within the limits."""
    usage = usage if isinstance(usage, dict) else {}
    read = _count(usage.get("prompt_tokens", usage.get("input_tokens")), 1, max_tokens[0])
    written = _count(usage.get("completion_tokens", usage.get("output_tokens")), bool(num_bytes), max_tokens[1])
    return max_tokens[0] if read is None else read, min(max_tokens[1], num_bytes) if written is None else written


def _count(value: Any, low: int, expected: int) -> int | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if not low <= value <= _MAX_TOKENS_FACTOR * expected + _MAX_ADDED_TOKENS or value != int(value):
        return None
    return int(value)
