"""Forecasts the cost of the dialogues not yet in the log from the first ones; the summary compares forecast and actual cost."""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass

from reflectioncoder.builder.log import BuildLog
from reflectioncoder.builder.rollouts import Usage
from reflectioncoder.generate.budget import Budget
from reflectioncoder.progress import format_duration, say

_FORECAST_AFTER = 20  # dialogues


@dataclass(frozen=True)
class Estimate:
    """An estimate for `total` dialogues from the first `dialogues` of them: `tokens`, `usd`, `duration_s`, and samples `accepted`."""

    dialogues: int
    total: int
    tokens: int
    usd: float
    duration_s: float
    accepted: int


@dataclass(frozen=True)
class SessionCost:
    """The actual cost of one session's dialogues, to compare with the estimate."""

    dialogues: int
    tokens: int
    usd: float
    duration_s: float
    accepted: int


class Forecast:
    """A forecast for this session. Dialogues that an earlier session ran, wholly or in part, do not serve as its basis, and dialogues
    answered entirely from the log are not forecast.

    Args:
        total: number of dialogues, including those in the log.
    """

    def __init__(self, total: int, budget: Budget, log: BuildLog):
        self._total = total
        self._budget = budget
        self._log = log
        self._before = log.used()
        self._resumes = log.holds_answers
        # By start order; None until a dialogue ends. The first to end would bias the forecast: they are the short ones.
        self._begun: dict[int, tuple[bool, Usage] | None] = {}
        self._num_replayed = self._num_held = self._num_accepted = 0
        self._asking_since: float | None = None
        self.made: Estimate | None = None

    def expect(self, order: int) -> None:
        """Record the start of a dialogue."""
        if self.made is None:
            self._begun[order] = None

    def add(self, order: int, accepted: bool, used: Usage, asking_since: float | None) -> None:
        """Record the end of a dialogue and its usage."""
        self._asking_since = asking_since
        is_asked = used.num_turns > used.num_replayed
        self._num_held += is_asked
        self._num_accepted += is_asked and accepted
        # No turns: the problem was rejected without a request, possibly already by an earlier session.
        is_earlier = used.num_replayed > 0 or (self._resumes and not used.num_turns)
        self._num_replayed += is_earlier and not is_asked
        if self.made is not None or order not in self._begun:
            return
        if is_earlier:
            del self._begun[order]
        else:
            self._begun[order] = accepted, used
        first = list(itertools.islice(self._begun.values(), _FORECAST_AFTER))
        total = self._total - self._num_replayed
        if len(first) == _FORECAST_AFTER < total and None not in first:
            self.made = estimate = self._estimate([ended for ended in first if ended is not None], total)
            self._begun.clear()
            price = f", {estimate.usd:.2f} USD" if estimate.usd else ""
            which = "dialogues that are left" if self._num_replayed else "dialogues"
            say(
                f"build: after {estimate.dialogues} of {total} {which} the whole looks like {estimate.tokens:,} tokens{price}, "
                f"{format_duration(estimate.duration_s)}, {estimate.accepted} samples"
            )

    def session(self) -> SessionCost:
        read, written = self._asked()
        return SessionCost(
            dialogues=self._num_held,
            tokens=read + written,
            usd=round(self._budget.usd(read, written), 4),
            duration_s=round(self._asking_s(), 1),
            accepted=self._num_accepted,
        )

    def _estimate(self, first: list[tuple[bool, Usage]], total: int) -> Estimate:
        factor = total / len(first)
        read, written = sum(used.input_tokens for _, used in first), sum(used.output_tokens for _, used in first)
        asked = sum(self._asked())
        return Estimate(
            dialogues=len(first),
            total=total,
            tokens=round(factor * (read + written)),
            usd=round(factor * self._budget.usd(read, written), 4),
            duration_s=round(self._asking_s() * factor * (read + written) / asked if asked else 0.0, 1),
            accepted=round(factor * sum(accepted for accepted, _ in first)),
        )

    def _asked(self) -> tuple[int, int]:
        read, written = self._log.used()
        return read - self._before[0], written - self._before[1]

    def _asking_s(self) -> float:
        return 0.0 if self._asking_since is None else time.monotonic() - self._asking_since
