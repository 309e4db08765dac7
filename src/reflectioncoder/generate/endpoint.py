"""An OpenAI-compatible server: chat and completion requests with retries, as many at a time as it can take, within a budget.

A request that fails is made again, with growing pauses; a server that is busy is waited for, and Retry-After is honoured. A request
that gets no good answer after its retries is an error of its own (`UnansweredError`); after many failures in a row nothing more is
asked (`EndpointError`).
"""

from __future__ import annotations

import random
import threading
import time
from typing import Any, Protocol

from reflectioncoder.config.building import EndpointConfig
from reflectioncoder.errors import UsageError
from reflectioncoder.generate.body import check_extra_body
from reflectioncoder.generate.budget import Budget
from reflectioncoder.generate.exchange import Exchange, Failure, Refusal
from reflectioncoder.generate.limiter import EndpointError, Limiter
from reflectioncoder.generate.reply import Reply
from reflectioncoder.progress import format_duration, say
from reflectioncoder.server_address import ServerAddress, read_key

MAX_POSTPONED = 16
"""The largest number of requests that are held back because they failed before any was answered: is it their fault, or the server's?"""

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
        self._exchange = Exchange(address, read_key(config.api_key_env), config.timeout_s, trust_env=trust_env)
        self._config = config
        self._budget = budget or Budget(config)
        self._limiter = Limiter(config.max_in_flight, adapts=adapts)
        self._lock = threading.Lock()
        self._failures_in_a_row = self._refusals_in_a_row = 0
        self._last_failure = Failure("too many failures")
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
        self._exchange.close()

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
            # A Retry-After of 0 says no more than that there is no date: the pauses grow all the same.
            delay_s = min(_MAX_DELAY_S, failure.retry_after_s or delay_s)
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

    def _try(self, payload: dict[str, Any], most: tuple[int, int], order: int, account: Account) -> tuple[float, Reply | Failure]:
        """Ask once, in turn and within the budget; return when, and what came of it."""
        with self._limiter.permit(order):
            self._budget.take(*most)
            asked_at, paid = time.monotonic(), most
            self.first_asked_at = self.first_asked_at or asked_at
            try:
                account.sent(*most)
                outcome = self._exchange.send(payload, most)
                if isinstance(outcome, Refusal):
                    raise self._refused(outcome)
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

    def _refused(self, refusal: Refusal) -> UsageError | RefusedError:
        """Count a refusal, and return the error that it is: of this request, of one that came too early to tell, or of all."""
        message = f"{self._name} refuses the request: {refusal.reason}"
        if not refusal.may_be_its_own:
            return UsageError(message)
        with self._lock:
            if not self.has_answered:
                return NotTakenError(message)
            self._refusals_in_a_row += 1
            return RefusedError(refusal.reason) if self._refusals_in_a_row <= _MAX_REFUSALS else UsageError(message)

    def _note_failure(self, failure: Failure) -> None:
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
