"""A client of an OpenAI-compatible server: chat and completion requests with retries, adaptive parallelism and a budget.

Failed requests are retried with growing pauses; a busy server is waited for, and Retry-After is honoured. A request without a good
answer after its retries raises its own error (`UnansweredError`); after many failures in a row no more requests are sent
(`EndpointError`).
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
"""Maximum number of requests postponed because they failed before any was answered: are they at fault, or the server?"""

_FIRST_DELAY_S, _MAX_DELAY_S = 0.5, 60.0
_MAX_BUSY_DOUBLINGS = 4
_MAX_BUSY_S = 900.0  # total waiting time of one request for a busy server
_TOLD_EVERY_S = 60.0
_MAX_REFUSALS = 20  # in a row; after that the server is taken to refuse all requests of this kind
_ROUNDS_OF_FAILURES = 5  # of all requests in flight; after that the server is taken to be down


class UnansweredError(EndpointError):
    """Raised if a request got no good answer after all its retries; other requests may still get one."""


class NotTakenError(UsageError):
    """Raised if the server refuses a request before it has answered any: it may refuse this one only, or all."""


class RefusedError(Exception):
    """Raised if the server refuses this request but answers others: it is too long for the model, or filtered."""


class Account(Protocol):
    """Records the fate of a request, so that its cost is known even if the process is killed."""

    def sent(self, input_tokens: int, output_tokens: int) -> None:
        """Record that the request is about to be sent, and the most tokens it can use."""

    def answered(self, reply: Reply) -> None:
        """Record the answer, before the next request takes its slot: a kill loses at most as many answers as requests are in flight."""

    def failed(self, input_tokens: int, output_tokens: int) -> None:
        """Record that there is no answer, and how many tokens it may have cost."""


class _NoAccount:
    def sent(self, input_tokens: int, output_tokens: int) -> None: ...

    def answered(self, reply: Reply) -> None: ...

    def failed(self, input_tokens: int, output_tokens: int) -> None: ...


def check_endpoint(config: EndpointConfig) -> ServerAddress:
    """Check the settings before any request is sent, and return the server's address.

    Raises:
        UsageError: the base URL is invalid, the model has no name, or requests cannot have the configured form.
        MachineError: the variable with the key is not set, or its value cannot be sent.
    """
    if not config.model:
        raise UsageError("the endpoint's model is empty: which model is to be asked?\n  hint:    build.endpoint.model")
    check_extra_body(config)
    read_key(config.api_key_env)
    return ServerAddress.parse(config.base_url)


class Endpoint:
    """A server to send requests to with `ask`; all counts cover this process only.

    Args:
        adapts: find out how many parallel requests the server takes; otherwise always use `config.max_in_flight`.
        has_answered: the server has answered such requests before, so a refusal concerns the single request.

    Raises:
        UsageError, MachineError: these settings cannot be used (`check_endpoint`).
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
        """Send no more requests: waiting and later ones raise EndpointError."""
        self._limiter.stop()

    def close(self) -> None:
        self._exchange.close()

    def ask(self, payload: dict[str, Any], order: int = 0, account: Account | None = None) -> Reply:
        """Send a chat (`messages`) or completion (`prompt`) request made by `request_body`, and return the reply.

        Among waiting requests those with a lower order go first.

        Raises:
            BudgetError: the request could exceed the budget.
            RefusedError, NotTakenError: the server refuses this request.
            UsageError: the server refuses all requests (a 4xx), or cannot be asked.
            UnansweredError: no good answer after all retries.
            EndpointError: the server is unreachable, busy for too long, or gives no good answers at all.
        """
        account = account or _NoAccount()
        # An upper estimate: code and English have about four characters per token. The server's own count replaces it.
        texts = [message["content"] for message in payload["messages"]] if "messages" in payload else [payload["prompt"]]
        most = sum(map(len, texts)) // 3 + 1, payload[self._config.max_tokens_field]
        failure, num_failures, num_busy, waited_s = self._last_failure, 0, 0, 0.0  # raised if this request is never sent
        while num_failures <= self._config.retries and waited_s <= _MAX_BUSY_S and self._failures_in_a_row < self._max_failures:
            asked_at, outcome = self._try(payload, most, order, account)
            if isinstance(outcome, Reply):
                return outcome
            failure = outcome
            self._note_failure(failure)
            doublings = min(num_busy, _MAX_BUSY_DOUBLINGS) if failure.busy else num_failures
            delay_s = min(_MAX_DELAY_S, _FIRST_DELAY_S * 2**doublings) * random.uniform(0.5, 1.0)
            # A Retry-After of 0 only means that the server names no time: the growing pause still applies.
            delay_s = min(_MAX_DELAY_S, failure.retry_after_s or delay_s)
            if failure.busy:  # all requests pause, then this one queues again
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
        """Send the request once, in turn and within the budget; return the time of sending and the outcome."""
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
        """Count a refusal and return its error: for this request, for all requests, or for one sent too early to tell."""
        message = f"{self._name} refuses the request: {refusal.reason}"
        if not refusal.may_be_its_own:
            return UsageError(message)
        with self._lock:
            if not self.has_answered:
                return NotTakenError(message)
            self._refusals_in_a_row += 1
            return RefusedError(refusal.reason) if self._refusals_in_a_row <= _MAX_REFUSALS else UsageError(message)

    def _note_failure(self, failure: Failure) -> None:
        """Count the failure, and report once a minute what the requests are waiting for."""
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
