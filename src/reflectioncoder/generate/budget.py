"""Holds a build to its budget: tokens, and money at the prices of the endpoint."""

from __future__ import annotations

import threading

from reflectioncoder.config.building import EndpointConfig
from reflectioncoder.errors import MachineError


class BudgetError(MachineError):
    """Raised if the next request could exceed the budget."""


class Budget:
    """The budget of a build. Before every request the most that it can use is set aside, until it is known what it used."""

    def __init__(self, config: EndpointConfig, max_tokens: int | None = None, max_usd: float | None = None):
        self._prices = config.input_usd / 1e6, config.output_usd / 1e6
        self._max_tokens, self._max_usd = max_tokens, max_usd
        self._used = self._set_aside = (0, 0)
        self._changed = threading.Condition()

    def usd(self, input_tokens: int, output_tokens: int) -> float:
        return input_tokens * self._prices[0] + output_tokens * self._prices[1]

    def take(self, input_tokens: int, output_tokens: int) -> None:
        """Set aside the most that a request can use; wait while only what others have set aside stands in the way.

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
        if self._max_tokens is not None and read + written > self._max_tokens:
            return f"the budget of {self._max_tokens} tokens is used up\n  hint:    raise build.budget_tokens"
        if self._max_usd is not None and self.usd(read, written) > self._max_usd:
            return f"the budget of {self._max_usd} USD is used up\n  hint:    raise build.budget_usd"
        return None

    def settle(self, taken: tuple[int, int], used: tuple[int, int]) -> None:
        """Replace what was set aside by what was used. Usage from before this process is settled with (0, 0) set aside."""
        with self._changed:
            self._set_aside = self._set_aside[0] - taken[0], self._set_aside[1] - taken[1]
            self._used = _sum(self._used, used)
            self._changed.notify_all()


def _sum(*parts: tuple[int, int]) -> tuple[int, int]:
    return sum(part[0] for part in parts), sum(part[1] for part in parts)
