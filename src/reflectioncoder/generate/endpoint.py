"""An OpenAI-compatible server: chat and completion requests with retries, as many at a time as it can take, within a budget.

How many go at once is found out: twice as many after every round until the first complaint, from then on one more after every round
without, three quarters after a 429 or 503 (slow start, additive increase, multiplicative decrease). Retry-After is honoured. After
many failures in a row nothing more is asked (`EndpointError`).
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
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import httpx2

from reflectioncoder.config import EndpointConfig
from reflectioncoder.errors import MachineError, UsageError

_GOES_ON: dict[str, dict[str, Any]] = {
    "vllm": {"continue_final_message": True, "add_generation_prompt": False},
    "llama.cpp": {},  # does so whenever the last message is the assistant's
    "deepseek": {},  # marks the message itself
}
_BUSY = frozenset((429, 503, 529))
_AGAIN = frozenset((408, 409, 425)) | _BUSY
_TOO_LONG = frozenset((400, 413, 422))  # of a request like others that are answered
_ENDS = frozenset(("stop", "length", "content_filter", "tool_calls", "function_call"))
_FIRST_PERMITS = 4
_DECREASE = 0.75  # by a half, as TCP does, a quarter of the server's capacity is never used
_FIRST_DELAY_S, _LONGEST_DELAY_S = 0.5, 60.0
_LONGEST_BUSY_S = 900.0  # that a server may ask a request to wait, all in all
_MOST_REFUSALS = 20  # in a row: then the server takes nothing of this kind
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


class RefusedError(Exception):
    """The server does not take this request, though it takes others: it is too long for the model, or filtered."""


class Budget:
    """What may be used, asked before every request: the most that it can take is set aside until it is known what it took."""

    def __init__(self, config: EndpointConfig, most_tokens: int | None = None, most_usd: float | None = None):
        self._prices = config.input_usd / 1e6, config.output_usd / 1e6
        self._most_tokens, self._most_usd = most_tokens, most_usd
        self._used = self._set_aside = (0, 0)
        self._changed = threading.Condition()

    def usd(self, input_tokens: int, output_tokens: int) -> float:
        return input_tokens * self._prices[0] + output_tokens * self._prices[1]

    def take(self, input_tokens: int, output_tokens: int) -> None:
        """Set it aside; waits while only what others have set aside stands in the way.

        Raises:
            BudgetError: it would be too much with what is used.
        """
        wanted = input_tokens, output_tokens
        with self._changed:
            while True:
                if exceeded := self._exceeded(self._used, wanted):
                    raise BudgetError(exceeded)
                if not self._exceeded(self._used, self._set_aside, wanted):
                    self._set_aside = _sum(self._set_aside, wanted)
                    return
                self._changed.wait()

    def _exceeded(self, *parts: tuple[int, int]) -> str | None:
        read, written = _sum(*parts)
        if self._most_tokens is not None and read + written > self._most_tokens:
            return f"the budget of {self._most_tokens} tokens is used up\n  hint:    raise build.budget_tokens"
        if self._most_usd is not None and self.usd(read, written) > self._most_usd:
            return f"the budget of {self._most_usd} USD is used up\n  hint:    raise build.budget_usd"
        return None

    def settle(self, taken: tuple[int, int], used: tuple[int, int]) -> None:
        """Replace what was set aside by what was used. What has been used before this process counts with (0, 0) taken."""
        with self._changed:
            self._set_aside = self._set_aside[0] - taken[0], self._set_aside[1] - taken[1]
            self._used = _sum(self._used, used)
            self._changed.notify_all()


def _sum(*parts: tuple[int, int]) -> tuple[int, int]:
    return sum(part[0] for part in parts), sum(part[1] for part in parts)


class Limiter:
    """A number of permits that adapts, from 1 to `most`; `adapts=False`: always `most`. Who waits with the lowest order is next."""

    def __init__(self, most: int, *, adapts: bool = True):
        self._most = most
        self._adapts = adapts
        self._permits = float(min(most, _FIRST_PERMITS) if adapts else most)
        self._has_been_too_many = False
        self._in_use = 0
        self._not_before = self._lowered_at = 0.0
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._waiting: list[tuple[int, int, threading.Event]] = []  # each is woken alone: there may be thousands
        self._num_tickets = itertools.count()

    @contextlib.contextmanager
    def permit(self, order: int = 0) -> Iterator[None]:
        """
        Raises:
            EndpointError: `stop` has been called.
        """
        admitted = threading.Event()
        with self._lock:
            heapq.heappush(self._waiting, (order, next(self._num_tickets), admitted))
            self._admit()
        admitted.wait()
        try:
            if self._stopped.is_set():
                raise EndpointError("it has been stopped")
            yield
        finally:
            with self._lock:
                self._in_use -= 1
                self._admit()

    def _admit(self) -> None:
        """Let in those that may. Called with the lock."""
        while self._waiting and (self._stopped.is_set() or (self._in_use < self.permits and time.monotonic() >= self._not_before)):
            self._in_use += 1
            heapq.heappop(self._waiting)[2].set()

    def _admit_later(self, seconds: float) -> None:
        def admit() -> None:
            with self._lock:
                self._admit()

        timer = threading.Timer(seconds, admit)
        timer.daemon = True
        timer.start()

    def succeeded(self) -> None:
        if not self._adapts:
            return
        with self._lock:
            more = 1 / max(1.0, self._permits) if self._has_been_too_many else 1.0
            self._permits = min(self._most, self._permits + more)
            self._admit()

    def stop(self) -> None:
        """Let nobody in any more, also of those that wait."""
        self._stopped.set()
        with self._lock:
            self._admit()

    def pause(self, seconds: float) -> None:
        """Sleep, unless stopped."""
        self._stopped.wait(seconds)

    def too_many(self, asked_at: float, pause_s: float) -> None:
        """`asked_at`: one overload is answered by many complaints, of requests that were made before it was known; it counts once."""
        now = time.monotonic()
        with self._lock:
            self._has_been_too_many = True
            if self._adapts and asked_at >= self._lowered_at:
                self._permits = max(1.0, self._permits * _DECREASE)
                self._lowered_at = now
            if now + pause_s > self._not_before:
                self._not_before = now + pause_s
                self._admit_later(pause_s + 0.001)

    @property
    def permits(self) -> int:
        return max(1, int(self._permits))


class Endpoint:
    """`ask` asks; all counts are of what this process has asked.

    Args:
        adapts: find out how many requests at a time the server takes; else it is always `config.max_in_flight`.
        has_answered: it has taken such requests before: one that it refuses is not like them.
        on_lost: is told the tokens of an answer that was made and did not arrive.

    Raises:
        MachineError: the variable with the key is not set.
    """

    def __init__(
        self,
        config: EndpointConfig,
        budget: Budget | None = None,
        *,
        trust_env: bool = True,
        adapts: bool = True,
        has_answered: bool = False,
        on_lost: Callable[[int, int], None] = lambda *_: None,
    ):
        if not config.model:
            raise UsageError("the endpoint's model is empty: which model is to be asked?\n  hint:    build.endpoint.model")
        key = os.environ.get(config.api_key_env, "") if config.api_key_env else ""
        if config.api_key_env and not key:
            raise MachineError(
                f"the environment variable {config.api_key_env} is not set\n  hint:    api_key_env: '' if no key is needed"
            )
        self._config = config
        self._budget = budget or Budget(config)
        self._limiter = Limiter(config.max_in_flight, adapts=adapts)
        self._lock = threading.Lock()
        self._failures_in_a_row = self._refusals_in_a_row = 0
        self._has_answered = has_answered
        self._on_lost = on_lost
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

    def ask(self, payload: dict[str, Any], order: int = 0, keep: Callable[[Reply], None] = lambda _: None) -> Reply:
        """The answer to a chat request (`messages`) or a completion request (`prompt`); of those that wait, lower orders go first.

        Args:
            keep: is given the answer before the next request may be made in its place: killed at any time, no more answers are lost
                than requests are under way.

        Raises:
            BudgetError: it could exceed the budget.
            RefusedError: the server does not take this request.
            UsageError: it refuses all requests (a 4xx), or cannot be asked.
            EndpointError: no good answer after all retries.
        """
        # Programs and English have about four characters a token; what the server counts replaces this.
        texts = [message["content"] for message in payload["messages"]] if "messages" in payload else [payload["prompt"]]
        most = sum(map(len, texts)) // 3, payload["max_tokens"]
        reason, failures, waited_s = "too many failures", 0, 0.0
        while failures <= self._config.retries and waited_s <= _LONGEST_BUSY_S and self._failures_in_a_row < self._most_failures:
            with self._limiter.permit(order):
                self._budget.take(*most)
                asked_at, used = time.monotonic(), (0, 0)
                try:
                    outcome = self._ask(payload, most)
                    if isinstance(outcome, Reply):
                        used = outcome.input_tokens, outcome.output_tokens
                        keep(outcome)
                    elif outcome[3]:
                        used = most
                finally:
                    self._budget.settle(most, used)
            if isinstance(outcome, Reply):
                with self._lock:
                    self._failures_in_a_row = self._refusals_in_a_row = 0
                self._limiter.succeeded()
                return outcome
            reason, busy, retry_after_s, lost = outcome
            if lost:
                self._on_lost(*most)
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

    def _ask(self, payload: dict[str, Any], estimate: tuple[int, int]) -> Reply | tuple[str, bool, float | None, bool]:
        """One request: a reply, or (what went wrong, is the server busy, seconds it asks to wait, may an answer have been paid)."""
        try:
            response = self._client.post("chat/completions" if "messages" in payload else "completions", json=payload)
        except httpx2.HTTPError as error:
            lost = not isinstance(error, (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout))
            return f"{type(error).__name__}: {error}", False, None, lost
        except (httpx2.InvalidURL, UnicodeEncodeError, ImportError) as error:
            raise UsageError(f"{self._config.base_url} cannot be asked: {error}") from error
        if response.status_code in _TOO_LONG and self._has_answered:
            with self._lock:
                self._refusals_in_a_row += 1
            if self._refusals_in_a_row <= _MOST_REFUSALS:
                raise RefusedError(f"status {response.status_code}: {response.text[:300]}")
        if response.status_code in _AGAIN or response.status_code >= 500:
            return (
                f"status {response.status_code}",
                response.status_code in _BUSY,
                _retry_after_s(response.headers.get("retry-after")),
                False,
            )
        if response.status_code >= 400:
            raise UsageError(f"{self._config.base_url} refuses the request: status {response.status_code}: {response.text[:300]}")
        try:
            reply = _read_reply(response.json(), estimate)
            self._has_answered = True
            return reply
        except (json.JSONDecodeError, KeyError, IndexError, TypeError, ValueError) as error:
            return f"not a completion: {type(error).__name__}: {error}", False, None, True


def going_on(said: str, assistant_prefix: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """An assistant message that is to be continued, and what else the request has to say of it.

    Args:
        assistant_prefix: how the server wants to be told (`EndpointConfig.assistant_prefix`), not "none".
    """
    message: dict[str, Any] = {"role": "assistant", "content": said}
    if assistant_prefix == "deepseek":
        message["prefix"] = True
    return message, _GOES_ON[assistant_prefix]


def _read_reply(body: dict[str, Any], estimate: tuple[int, int]) -> Reply:
    """`estimate`: what counts as used where the server does not say."""
    choice = body["choices"][0]
    text, reason = choice["message"]["content"] if "message" in choice else choice["text"], choice["finish_reason"]
    usage = body.get("usage") or {}
    read, written = (usage.get(f"{kind}_tokens") for kind in ("prompt", "completion"))
    used = int(estimate[0] if read is None else read), int(estimate[1] if written is None else written)
    if reason not in _ENDS:  # aborted, or the server has run out of something: it may go well another time
        raise ValueError(f"finish_reason {reason!r}")
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
