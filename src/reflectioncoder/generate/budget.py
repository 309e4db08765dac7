"""Keeps a build within its budget of tokens and of money at the endpoint's prices."""

from __future__ import annotations

import threading

from reflectioncoder.config.building import EndpointConfig
from reflectioncoder.errors import MachineError


class BudgetError(MachineError):
    """Raised if the next request could exceed the budget."""


class Budget:
    """The budget of a build. The maximum usage of every request is reserved before it is sent, until the actual usage is known."""

    def __init__(self, config: EndpointConfig, max_tokens: int | None = None, max_usd: float | None = None):
        self._prices = config.input_usd / 1e6, config.output_usd / 1e6
        self._max_tokens, self._max_usd = max_tokens, max_usd
        self._used = self._set_aside = (0, 0)
        self._changed = threading.Condition()

    def usd(self, input_tokens: int, output_tokens: int) -> float:
        return input_tokens * self._prices[0] + output_tokens * self._prices[1]

    def take(self, input_tokens: int, output_tokens: int) -> None:
        """Reserve the maximum usage of a request; wait if only the reservations of other requests leave too little.

        Raises:
            BudgetError: the usage so far and this request together could exceed the budget.
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
        if self._max_tokens is not None and read + written > self._max_tokens:
            return f"the budget of {self._max_tokens} tokens is used up\n  hint:    raise build.budget_tokens"
        if self._max_usd is not None and self.usd(read, written) > self._max_usd:
            return f"the budget of {self._max_usd} USD is used up\n  hint:    raise build.budget_usd"
        return None

    def settle(self, taken: tuple[int, int], used: tuple[int, int]) -> None:
        """Replace a reservation by the actual usage. For usage from before this process, `taken` is (0, 0)."""
        with self._changed:
            self._set_aside = self._set_aside[0] - taken[0], self._set_aside[1] - taken[1]
            self._used = _sum(self._used, used)
            self._changed.notify_all()


def _sum(*parts: tuple[int, int]) -> tuple[int, int]:
    return sum(part[0] for part in parts), sum(part[1] for part in parts)
