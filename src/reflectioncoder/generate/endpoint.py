"""An OpenAI-compatible server: chat and completion requests with retries, as many at a time as it can take, within a budget.

A request that fails is made again, with growing pauses; a server that is busy is waited for, and Retry-After is honoured. A request
that gets no good answer after its retries is an error of its own (`UnansweredError`); after many failures in a row nothing more is
asked (`EndpointError`).
"""

from __future__ import annotations

import contextlib
import json
import random
import threading
import time
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from typing import Any, Protocol

from reflectioncoder.config.declarations import EndpointConfig
from reflectioncoder.errors import UsageError
from reflectioncoder.generate.budget import Budget
from reflectioncoder.generate.limiter import EndpointError, Limiter
from reflectioncoder.generate.reply import NoCompletionError, Reply, excerpt, read_reply
from reflectioncoder.generate.transfer import Answer, Transfer, TransferError
from reflectioncoder.progress import format_duration, say
from reflectioncoder.server_address import ServerAddress, read_key

MAX_POSTPONED = 16
"""The largest number of requests that are held back because they failed before any was answered: is it their fault, or the server's?"""

_GOES_ON: dict[str, dict[str, Any]] = {
    "vllm": {"continue_final_message": True, "add_generation_prompt": False},
    "llama.cpp": {},  # does so whenever the last message is the assistant's
    "deepseek": {},  # marks the message itself
}
_OWN_SETTINGS = frozenset(
    ("model", "messages", "prompt", "max_tokens", "max_completion_tokens", "temperature", "top_p", "seed", "stop", "stream", "n")
)
_BUSY = frozenset((429, 503, 529))
_AGAIN = frozenset((408, 409, 425)) | _BUSY
_GAVE_UP = frozenset((408, 504, 524))  # on an answer that may have been under way
_THIS_REQUEST = frozenset((400, 403, 413, 422, 451))  # too long or filtered, where others like it are answered
_FIRST_DELAY_S, _MAX_DELAY_S = 0.5, 60.0
_MAX_BUSY_DOUBLINGS = 4
_MAX_BUSY_S = 900.0  # that a server may ask a request to wait, all in all
_TOLD_EVERY_S = 60.0
_MAX_REFUSALS = 20  # in a row: then the server takes nothing of this kind
_ROUNDS_OF_FAILURES = 5  # of all requests that are under way: then the server counts as gone


class UnansweredError(EndpointError):
    """Raised if this request got no good answer after all its retries; others may get one."""


class NotTakenError(UsageError):
    """Raised if the server does not take this request and has not answered any yet: it may refuse this one, or all."""


class RefusedError(Exception):
    """The server does not take this request, though it takes others: it is too long for the model, or filtered."""


class Account(Protocol):
    """A listener that is told what becomes of a request, so that its cost is known whenever the process is killed."""

    def sent(self, input_tokens: int, output_tokens: int) -> None:
        """Note that the request is about to be sent, and how many tokens it can take."""

    def answered(self, reply: Reply) -> None:
        """Note the answer. Called before the next request may take its place: no more answers are lost than requests are under way."""

    def failed(self, input_tokens: int, output_tokens: int) -> None:
        """Note that there is no answer, and how many tokens may have been paid for it."""


class _NoAccount:
    def sent(self, input_tokens: int, output_tokens: int) -> None: ...

    def answered(self, reply: Reply) -> None: ...

    def failed(self, input_tokens: int, output_tokens: int) -> None: ...


@dataclass(frozen=True)
class _Failure:
    """A failed request. `paid`: tokens read and written that it may have cost. `is_there`: a server was reached."""

    reason: str
    paid: tuple[int, int] = (0, 0)
    busy: bool = False
    retry_after_s: float | None = None
    is_there: bool = True


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


def check_endpoint(config: EndpointConfig) -> ServerAddress:
    """Find what is wrong with the settings before anything is asked, and return the address.

    Raises:
        UsageError: the base URL is none, the model is not named, or the shape of requests is impossible.
        MachineError: the variable with the key is not set, or holds what cannot be sent.
    """
    if not config.model:
        raise UsageError("the endpoint's model is empty: which model is to be asked?\n  hint:    build.endpoint.model")
    check_extra_body(config)
    read_key(config.api_key_env)
    return ServerAddress.parse(config.base_url)


class Endpoint:
    """`ask` asks; all counts are of what this process has asked.

    Args:
        adapts: find out how many requests at a time the server takes; else it is always `config.max_in_flight`.
        has_answered: it has taken such requests before: one that it refuses is not like them.

    Raises:
        UsageError, MachineError: it cannot be asked with these settings (`check_endpoint`).
    """

    def __init__(
        self,
        config: EndpointConfig,
        budget: Budget | None = None,
        *,
        trust_env: bool = True,
        adapts: bool = True,
        has_answered: bool = False,
    ):
        address = check_endpoint(config)
        self._name = address.shown
        self._transfer = Transfer(address, read_key(config.api_key_env), config.timeout_s, trust_env=trust_env)
        self._config = config
        self._budget = budget or Budget(config)
        self._limiter = Limiter(config.max_in_flight, adapts=adapts)
        self._lock = threading.Lock()
        self._failures_in_a_row = self._refusals_in_a_row = 0
        self._last_failure = _Failure("too many failures")
        self._in_trouble_since: float | None = None
        self._told_at = 0.0
        self._max_failures = max(40, _ROUNDS_OF_FAILURES * config.max_in_flight)
        self.has_answered = has_answered
        self.num_retries = 0
        self.first_asked_at: float | None = None

    def stop(self) -> None:
        """Make no more requests: those that wait, and later ones, raise EndpointError."""
        self._limiter.stop()

    def close(self) -> None:
        self._transfer.close()

    def ask(self, payload: dict[str, Any], order: int = 0, account: Account | None = None) -> Reply:
        """Send a chat request (`messages`) or a completion request (`prompt`), a `request_body`, and return the answer.

        Of the requests that wait, those of lower orders go first.

        Raises:
            BudgetError: it could exceed the budget.
            RefusedError, NotTakenError: the server does not take this request.
            UsageError: it refuses all requests (a 4xx), or cannot be asked.
            UnansweredError: no good answer after all retries.
            EndpointError: the server is not there, busy for too long, or gives no good answer to anything.
        """
        account = account or _NoAccount()
        # Programs and English have about four characters a token; what the server counts replaces this.
        texts = [message["content"] for message in payload["messages"]] if "messages" in payload else [payload["prompt"]]
        most = sum(map(len, texts)) // 3 + 1, payload[self._config.max_tokens_field]
        failure, num_failures, num_busy, waited_s = self._last_failure, 0, 0, 0.0  # of another request, if this one is not made
        while num_failures <= self._config.retries and waited_s <= _MAX_BUSY_S and self._failures_in_a_row < self._max_failures:
            asked_at, outcome = self._try(payload, most, order, account)
            if isinstance(outcome, Reply):
                return outcome
            failure = outcome
            self._note_failure(failure)
            doublings = min(num_busy, _MAX_BUSY_DOUBLINGS) if failure.busy else num_failures
            delay_s = min(_MAX_DELAY_S, _FIRST_DELAY_S * 2**doublings) * random.uniform(0.5, 1.0)
            delay_s = failure.retry_after_s or delay_s  # 0 says no more than that there is no date: the pauses grow all the same
            if failure.busy:  # all wait, and this one for its turn
                self._limiter.too_many(asked_at, delay_s)
                num_busy += 1
                waited_s += max(delay_s, 0.01)
            else:
                num_failures += 1
                self._limiter.pause(delay_s)
        its_own = failure.is_there and not failure.busy and self._failures_in_a_row < self._max_failures
        message = f"{self._name} gives no good answer: {failure.reason}\n  hint:    what was answered is kept; run again"
        raise (UnansweredError if its_own else EndpointError)(message)

    def _try(self, payload: dict[str, Any], most: tuple[int, int], order: int, account: Account) -> tuple[float, Reply | _Failure]:
        """Ask once, in turn and within the budget; return when, and what came of it."""
        with self._limiter.permit(order):
            self._budget.take(*most)
            asked_at, paid = time.monotonic(), most
            self.first_asked_at = self.first_asked_at or asked_at
            try:
                account.sent(*most)
                outcome = self._ask(payload, most)
                paid = (outcome.input_tokens, outcome.output_tokens) if isinstance(outcome, Reply) else outcome.paid
                if isinstance(outcome, Reply):
                    account.answered(outcome)
                else:
                    account.failed(*paid)
            except (UsageError, RefusedError):
                paid = 0, 0
                account.failed(0, 0)
                raise
            finally:
                self._budget.settle(most, paid)
        if isinstance(outcome, Reply):
            with self._lock:
                self._failures_in_a_row = self._refusals_in_a_row = 0
                self._in_trouble_since = None
                self.has_answered = True
            self._limiter.succeeded()
        return asked_at, outcome

    def _ask(self, payload: dict[str, Any], most: tuple[int, int]) -> Reply | _Failure:
        """Send one request and read what comes back."""
        try:
            answer = self._transfer.post("chat/completions" if "messages" in payload else "completions", payload)
        except TransferError as error:
            paid = (most[0], int(min(most[1], error.max_written))) if error.max_written else (0, 0)
            return _Failure(str(error), paid, is_there=error.is_there)
        status, what = answer.status, ""
        if status < 300:
            try:
                reply = read_reply(answer.body, most)
                return replace(reply, text=self._transfer.without_keys(reply.text))
            except NoCompletionError as error:
                if error.status is None:
                    paid = (most[0], min(most[1], len(answer.body))) if error.may_be_generated else (0, 0)
                    return _Failure(f"status {status}, but {self._shown(str(error))}: {self._words(answer)}", paid)
                status, what = error.status, f"status {status}, but it reports "
        reason = f"{what}status {status}: {self._words(answer)}"
        if status in _AGAIN or status >= 500:
            paid = (most[0], min(most[1], answer.max_written)) if status in _GAVE_UP else (0, 0)
            return _Failure(reason, paid, status in _BUSY, _retry_after_s(answer.retry_after))
        if status in _THIS_REQUEST:
            self._note_refusal(reason)
        raise UsageError(f"{self._name} refuses the request: {reason}")

    def _note_refusal(self, reason: str) -> None:
        """Count a refusal; return only if so many were refused in a row that the server refuses all.

        Raises:
            NotTakenError: nothing has been answered yet.
            RefusedError: the server refuses this request.
        """
        with self._lock:
            if not self.has_answered:
                raise NotTakenError(f"{self._name} refuses the request: {reason}")
            self._refusals_in_a_row += 1
            if self._refusals_in_a_row <= _MAX_REFUSALS:
                raise RefusedError(reason)

    def _words(self, answer: Answer) -> str:
        return self._shown(answer.body.replace(b"\0", b"").decode("utf-8", "replace"))  # UTF-16 would hide a credential

    def _shown(self, said: str) -> str:
        # What is cut off could be the half of a credential: it is removed before.
        return excerpt(self._transfer.scrub(said))

    def _note_failure(self, failure: _Failure) -> None:
        """Count the failure, and say every minute what is waited for."""
        now = time.monotonic()
        with self._lock:
            self.num_retries += 1
            self._failures_in_a_row += not failure.busy
            self._last_failure = failure
            if self._in_trouble_since is None:
                self._in_trouble_since = self._told_at = now
            if now - self._told_at < _TOLD_EVERY_S:
                return
            self._told_at = now
            waiting_s = now - self._in_trouble_since
        say(f"{self._name}: no answer for {format_duration(waiting_s)}, asked again and again: {failure.reason}")


def continuation_message(said: str, assistant_prefix: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return an assistant message that is to be continued, and what else the request has to say of it.

    Args:
        assistant_prefix: how the server wants to be told (`EndpointConfig.assistant_prefix`), not "none".
    """
    message: dict[str, Any] = {"role": "assistant", "content": said}
    if assistant_prefix == "deepseek":
        message["prefix"] = True
    return message, _GOES_ON[assistant_prefix]


def _retry_after_s(value: str | None) -> float | None:
    """Seconds from now, of both forms of the header (RFC 9110, 10.2.3)."""
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
    return min(_MAX_DELAY_S, max(0.0, seconds)) if seconds == seconds else None  # NaN
