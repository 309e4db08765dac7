"""An OpenAI-compatible server: chat and completion requests with retries, as many at a time as it can take, within a budget.

How many go at once is found out: twice as many after every round until the first complaint, from then on one more after every round
without, half as many after a 429 or 503 (slow start, additive increase, multiplicative decrease). Retry-After is honoured. After many
failures in a row nothing more is asked (`EndpointError`).
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import json
import os
import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import httpx2

from reflectioncoder.config import EndpointConfig
from reflectioncoder.errors import MachineError, UsageError

_BUSY = frozenset((429, 503, 529))
_AGAIN = frozenset((408, 409, 425)) | _BUSY
_TOO_LONG = frozenset((400, 413, 422))  # of a request like others that are answered
_FIRST_PERMITS = 4
_FIRST_DELAY_S, _LONGEST_DELAY_S = 0.5, 60.0
_LONGEST_BUSY_S = 900.0  # that a server may ask a request to wait, all in all
_ROUNDS_OF_FAILURES = 5  # of all requests that are under way: then the server counts as gone


class EndpointError(MachineError):
    """The server does not answer as it should, for good; what was answered before is logged."""


class BudgetError(MachineError):
    """The next request could exceed the budget."""


@dataclass(frozen=True)
class Reply:
    """`finish_reason`: "stop", "length", or "refused" where the server gives no text."""

    text: str
    finish_reason: str
    input_tokens: int
    output_tokens: int


class Budget:
    """What may be used, asked before every request: the most that it can take is set aside until it is known what it took."""

    def __init__(self, config: EndpointConfig, most_tokens: int | None = None, most_usd: float | None = None):
        self._prices = config.input_usd / 1e6, config.output_usd / 1e6
        self._most_tokens, self._most_usd = most_tokens, most_usd
        self._tokens, self._usd = 0, 0.0
        self._lock = threading.Lock()

    def usd(self, input_tokens: int, output_tokens: int) -> float:
        return input_tokens * self._prices[0] + output_tokens * self._prices[1]

    def take(self, input_tokens: int, output_tokens: int) -> None:
        """
        Raises:
            BudgetError: it would be too much.
        """
        tokens, usd = input_tokens + output_tokens, self.usd(input_tokens, output_tokens)
        with self._lock:
            if self._most_tokens is not None and self._tokens + tokens > self._most_tokens:
                raise BudgetError(f"the budget of {self._most_tokens} tokens is used up\n  hint:    raise build.budget_tokens")
            if self._most_usd is not None and self._usd + usd > self._most_usd:
                raise BudgetError(f"the budget of {self._most_usd} USD is used up\n  hint:    raise build.budget_usd")
            self._tokens += tokens
            self._usd += usd

    def settle(self, taken: tuple[int, int], used: tuple[int, int]) -> None:
        """Replace what was set aside by what was used. What has been used before this process counts with (0, 0) taken."""
        with self._lock:
            self._tokens += sum(used) - sum(taken)
            self._usd += self.usd(*used) - self.usd(*taken)


class Limiter:
    """A number of permits that adapts, from 1 to `most`; `adapts=False`: always `most`. Who waits with the lowest order is next."""

    def __init__(self, most: int, *, adapts: bool = True):
        self._most = most
        self._adapts = adapts
        self._permits = float(min(most, _FIRST_PERMITS) if adapts else most)
        self._has_been_too_many = False
        self._in_use = 0
        self._not_before = self._lowered_at = 0.0
        self._stopped = False
        self._changed = threading.Condition()
        self._waiting: list[tuple[int, int]] = []
        self._num_tickets = itertools.count()

    @contextlib.contextmanager
    def permit(self, order: int = 0) -> Iterator[None]:
        """
        Raises:
            EndpointError: `stop` has been called.
        """
        self._enter(order)
        try:
            yield
        finally:
            with self._changed:
                self._in_use -= 1
                self._changed.notify_all()

    def _enter(self, order: int) -> None:
        with self._changed:
            ticket = order, next(self._num_tickets)
            heapq.heappush(self._waiting, ticket)
            while True:
                if self._stopped:
                    raise EndpointError("the build has been stopped")
                wait_s = self._not_before - time.monotonic()
                if wait_s <= 0 and self._waiting[0] == ticket and self._in_use < self.permits:
                    heapq.heappop(self._waiting)
                    self._in_use += 1
                    self._changed.notify_all()
                    return
                self._changed.wait(wait_s if wait_s > 0 else None)

    def succeeded(self) -> None:
        if not self._adapts:
            return
        with self._changed:
            more = 1 / max(1.0, self._permits) if self._has_been_too_many else 1.0
            self._permits = min(self._most, self._permits + more)
            self._changed.notify_all()

    def stop(self) -> None:
        """Let nobody in any more, also of those that wait."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def pause(self, seconds: float) -> None:
        """Sleep, unless stopped."""
        until = time.monotonic() + seconds
        with self._changed:
            while not self._stopped and (left := until - time.monotonic()) > 0:
                self._changed.wait(left)

    def too_many(self, asked_at: float, pause_s: float) -> None:
        """`asked_at`: one overload is answered by many complaints, of requests that were made before it was known; it counts once."""
        with self._changed:
            self._has_been_too_many = True
            if self._adapts and asked_at >= self._lowered_at:
                self._permits = max(1.0, self._permits / 2)
                self._lowered_at = time.monotonic()
            self._not_before = max(self._not_before, time.monotonic() + pause_s)
            self._changed.notify_all()

    @property
    def permits(self) -> int:
        return max(1, int(self._permits))


class Endpoint:
    """`ask` asks; all counts are of what this process has asked.

    Args:
        adapts: find out how many requests at a time the server takes; else it is always `config.max_in_flight`.

    Raises:
        MachineError: the variable with the key is not set.
    """

    def __init__(self, config: EndpointConfig, budget: Budget | None = None, *, trust_env: bool = True, adapts: bool = True):
        if not config.model:
            raise UsageError("build.endpoint.model is empty: which model is to be asked?")
        key = os.environ.get(config.api_key_env, "") if config.api_key_env else ""
        if config.api_key_env and not key:
            raise MachineError(
                f"the environment variable {config.api_key_env} is not set\n  hint:    api_key_env: '' if no key is needed"
            )
        self._config = config
        self._budget = budget or Budget(config)
        self._limiter = Limiter(config.max_in_flight, adapts=adapts)
        self._lock = threading.Lock()
        self._failures_in_a_row = 0
        self._has_answered = False
        self.num_retries = 0
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._client = httpx2.Client(
            base_url=config.base_url.rstrip("/") + "/",
            headers=headers,
            timeout=httpx2.Timeout(config.timeout_s, connect=10.0),
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=config.max_in_flight),
            trust_env=trust_env,
        )
        self._most_failures = max(40, _ROUNDS_OF_FAILURES * config.max_in_flight)

    def stop(self) -> None:
        """Make no more requests: those that wait, and later ones, raise EndpointError."""
        self._limiter.stop()

    def close(self) -> None:
        self._client.close()

    def ask(self, payload: dict[str, Any], order: int = 0) -> Reply:
        """The answer to a chat request (`messages`) or a completion request (`prompt`); of those that wait, lower orders go first.

        Raises:
            BudgetError: it could exceed the budget.
            UsageError: the server refuses all requests (a 4xx), or cannot be asked.
            EndpointError: no good answer after all retries.
        """
        # Programs and English have about four characters a token; what the server counts replaces this.
        texts = [message["content"] for message in payload["messages"]] if "messages" in payload else [payload["prompt"]]
        most = sum(map(len, texts)) // 3, payload["max_tokens"]
        reason, failures, waited_s = "too many failures", 0, 0.0
        while failures <= self._config.retries and waited_s <= _LONGEST_BUSY_S and self._failures_in_a_row < self._most_failures:
            with self._limiter.permit(order):
                self._budget.take(*most)
                asked_at = time.monotonic()
                try:
                    outcome = self._ask(payload, most)
                finally:
                    self._budget.settle(most, (0, 0))
            if isinstance(outcome, Reply):
                with self._lock:
                    self._failures_in_a_row = 0
                self._budget.settle((0, 0), (outcome.input_tokens, outcome.output_tokens))
                self._limiter.succeeded()
                return outcome
            reason, busy, retry_after_s = outcome
            delay_s = min(_LONGEST_DELAY_S, _FIRST_DELAY_S * 2**failures) * random.uniform(0.5, 1.0)
            delay_s = delay_s if retry_after_s is None else retry_after_s
            with self._lock:
                self.num_retries += 1
                self._failures_in_a_row += not busy
            if busy:  # all wait, and this one for its turn
                self._limiter.too_many(asked_at, delay_s)
                waited_s += max(delay_s, 0.01)
            else:
                failures += 1
                self._limiter.pause(delay_s)
        raise EndpointError(f"{self._config.base_url} gives no good answer: {reason}\n  hint:    what was answered is kept; run again")

    def _ask(self, payload: dict[str, Any], estimate: tuple[int, int]) -> Reply | tuple[str, bool, float | None]:
        """One request: a reply, or (what went wrong, is the server busy, seconds that it asks to wait)."""
        try:
            response = self._client.post("chat/completions" if "messages" in payload else "completions", json=payload)
        except httpx2.HTTPError as error:
            return f"{type(error).__name__}: {error}", False, None
        except (httpx2.InvalidURL, UnicodeEncodeError, ImportError) as error:
            raise UsageError(f"{self._config.base_url} cannot be asked: {error}") from error
        if response.status_code in _TOO_LONG and self._has_answered:
            return Reply("", "refused", 0, 0)
        if response.status_code in _AGAIN or response.status_code >= 500:
            return f"status {response.status_code}", response.status_code in _BUSY, _retry_after_s(response.headers.get("retry-after"))
        if response.status_code >= 400:
            raise UsageError(f"{self._config.base_url} refuses the request: status {response.status_code}: {response.text[:300]}")
        try:
            reply = _read_reply(response.json(), estimate)
            self._has_answered = True
            return reply
        except (json.JSONDecodeError, KeyError, IndexError, TypeError, ValueError) as error:
            return f"not a completion: {type(error).__name__}: {error}", False, None


def _read_reply(body: dict[str, Any], estimate: tuple[int, int]) -> Reply:
    """`estimate`: what counts as used where the server does not say."""
    choice = body["choices"][0]
    text, reason = choice["message"]["content"] if "message" in choice else choice["text"], choice["finish_reason"]
    usage = body.get("usage") or {}
    read, written = (usage.get(f"{kind}_tokens") for kind in ("prompt", "completion"))
    used = int(estimate[0] if read is None else read), int(estimate[1] if written is None else written)
    if not isinstance(text, str) or reason not in ("stop", "length"):  # filtered, or all tokens went into a reasoning that is not shown
        return Reply("", "refused", *used)
    return Reply(text, reason, *used)


def _retry_after_s(value: str | None) -> float | None:
    """Seconds from now, of both forms of the header (RFC 9110, 10.2.3)."""
    if value is None:
        return None
    try:
        return min(_LONGEST_DELAY_S, max(0.0, float(value)))
    except ValueError:
        pass
    try:
        return min(_LONGEST_DELAY_S, max(0.0, parsedate_to_datetime(value).timestamp() - time.time()))
    except ValueError:
        return None
