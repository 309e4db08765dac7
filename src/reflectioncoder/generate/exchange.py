"""Sends one request to an OpenAI-compatible server; the outcome is a reply, a failure that may pass, or a refusal.

This module decides what a status means and what a failed request may have cost. It never retries; `endpoint` does.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from typing import Any

from reflectioncoder.generate.reply import NoCompletionError, Reply, excerpt, read_reply
from reflectioncoder.generate.transfer import Answer, Transfer, TransferError
from reflectioncoder.server_address import ServerAddress

_BUSY = frozenset((429, 503, 529))
_AGAIN = frozenset((408, 409, 425)) | _BUSY
_GAVE_UP = frozenset((408, 504, 524))  # timeouts: the server may already have been generating
_THIS_REQUEST = frozenset((400, 403, 413, 422, 451))  # too long or filtered; similar requests may be answered


@dataclass(frozen=True)
class Failure:
    """A failed request that may be retried.

    `paid`: tokens read and written that it may have cost. `is_there`: the server was reached.
    """

    reason: str
    paid: tuple[int, int] = (0, 0)
    busy: bool = False
    retry_after_s: float | None = None
    is_there: bool = True


@dataclass(frozen=True)
class Refusal:
    """A request that the server rejects. `may_be_its_own`: similar requests may be answered."""

    reason: str
    may_be_its_own: bool


class Exchange:
    """Sends requests with `send`; nothing that it returns or raises contains a credential.

    Raises:
        UsageError, MachineError: see `Transfer`.
    """

    def __init__(self, address: ServerAddress, key: str, timeout_s: float, *, trust_env: bool):
        self._transfer = Transfer(address, key, timeout_s, trust_env=trust_env)

    def close(self) -> None:
        self._transfer.close()

    def send(self, payload: dict[str, Any], max_tokens: tuple[int, int]) -> Reply | Failure | Refusal:
        """Send one request and interpret the response.

        Args:
            payload: a chat request (`messages`) or a completion request (`prompt`).
            max_tokens: the most tokens that it can read and write.

        Raises:
            UsageError: the request cannot be sent.
        """
        try:
            answer = self._transfer.post("chat/completions" if "messages" in payload else "completions", payload)
        except TransferError as error:
            paid = (max_tokens[0], int(min(max_tokens[1], error.max_written))) if error.max_written else (0, 0)
            return Failure(str(error), paid, is_there=error.is_there)
        if answer.status < 300:
            return self._read(answer, max_tokens)
        return self._meaning(answer.status, f"status {answer.status}: {self._words(answer)}", answer, max_tokens)

    def _read(self, answer: Answer, max_tokens: tuple[int, int]) -> Reply | Failure | Refusal:
        """Read a response with a success status; its body may still report an error."""
        try:
            reply = read_reply(answer.body, max_tokens)
            return replace(reply, text=self._transfer.without_keys(reply.text))
        except NoCompletionError as error:
            if error.status is None:
                paid = (max_tokens[0], min(max_tokens[1], len(answer.body))) if error.may_be_generated else (0, 0)
                return Failure(f"status {answer.status}, but {self._shown(str(error))}: {self._words(answer)}", paid)
            reason = f"status {answer.status}, but it reports status {error.status}: {self._words(answer)}"
            return self._meaning(error.status, reason, answer, max_tokens)

    def _meaning(self, status: int, reason: str, answer: Answer, max_tokens: tuple[int, int]) -> Failure | Refusal:
        """Interpret an error status."""
        if status in _AGAIN or status >= 500:
            paid = (max_tokens[0], min(max_tokens[1], answer.max_written)) if status in _GAVE_UP else (0, 0)
            return Failure(reason, paid, status in _BUSY, _retry_after_s(answer.retry_after))
        return Refusal(reason, status in _THIS_REQUEST)

    def _words(self, answer: Answer) -> str:
        return self._shown(answer.body.replace(b"\0", b"").decode("utf-8", "replace"))  # NULs, as in UTF-16, would hide a credential

    def _shown(self, said: str) -> str:
        # Scrub before truncating: a cut could leave half of a credential.
        return excerpt(self._transfer.scrub(said))


def _retry_after_s(value: str | None) -> float | None:
    """Return the seconds from now for either form of the Retry-After header (RFC 9110, 10.2.3)."""
    if value is None:
        return None
    seconds = None
    with contextlib.suppress(ValueError):
        seconds = float(value)
    if seconds is None:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, OverflowError):
            return None
    return max(0.0, seconds) if seconds == seconds else None  # NaN
