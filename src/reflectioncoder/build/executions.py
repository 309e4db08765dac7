"""Cells run in sandbox sessions, each run logged under what it depends on, so that a resumed build repeats nothing."""

from __future__ import annotations

import platform
import threading
from dataclasses import replace
from typing import Any

from reflectioncoder.build.log import BuildLog
from reflectioncoder.sandbox.limits import Limits
from reflectioncoder.sandbox.pool import default_workers
from reflectioncoder.sandbox.session import Session


class Executions:
    """`executions(cells)` runs cells in a fresh session, or answers from the log. Safe to call from several threads.

    Raises (from calls):
        SandboxUnavailableError: the sandbox failed; nothing is logged.
    """

    def __init__(self, log: BuildLog, limits: Limits, workers: int = 0):
        self._log = log
        # However many ask: what waits for a processor would run into its time limit.
        self._running = threading.Semaphore(workers or default_workers())
        self._limits = limits  # wall_s holds for each cell

    def __call__(self, cells: list[str]) -> list[dict[str, Any]]:
        request = {"cells": cells, "limits": vars(self._limits), "python": platform.python_version()}
        return self._log.recall("execution", request, lambda: self._run(cells))

    def _run(self, cells: list[str]) -> list[dict[str, Any]]:
        # The CPU limit holds for a session's whole life: leave every cell its full time.
        limits = replace(self._limits, cpu_s=self._limits.wall_s * len(cells) + self._limits.cpu_s)
        with self._running, Session(limits) as session:
            ran = [session.run(cell) for cell in cells]
        return [{"status": r.status, "output": r.output, "error": r.error} for r in ran]
