"""Cells run in sandbox sessions, each run logged under the hash of what it depends on, so that a resumed build repeats nothing."""

from __future__ import annotations

import platform
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

from reflectioncoder.data.files import JsonlAppender, content_hash, read_jsonl
from reflectioncoder.sandbox.limits import Limits
from reflectioncoder.sandbox.session import Session


class ExecutionLog:
    """`log(cells)` runs cells in a fresh session, or answers from the log. Safe to call from several threads.

    Raises (from calls):
        SandboxUnavailableError: the sandbox failed; nothing is logged.
    """

    def __init__(self, path: Path, limits: Limits):
        self._limits = limits  # wall_s holds for each cell
        self._known: dict[str, list[dict[str, Any]]] = {}
        self._lock = threading.Lock()
        self.num_run = self.num_replayed = 0
        self._appender = JsonlAppender(path)
        for _, row in read_jsonl(path):
            self._known[row["key"]] = row["results"]

    def __call__(self, cells: list[str]) -> list[dict[str, Any]]:
        key = content_hash(cells, vars(self._limits), platform.python_version())
        with self._lock:
            if key in self._known:
                self.num_replayed += 1
                return self._known[key]
        # The CPU limit holds for a session's whole life: leave every cell its full time.
        limits = replace(self._limits, cpu_s=self._limits.wall_s * len(cells) + self._limits.cpu_s)
        with Session(limits) as session:
            ran = [session.run(cell) for cell in cells]
        results = [{"status": r.status, "output": r.output, "error": r.error} for r in ran]
        with self._lock:
            self.num_run += 1
            self._known[key] = results
            self._appender.append({"key": key, "results": results})
        return results

    def close(self) -> None:
        self._appender.close()

    def __enter__(self) -> ExecutionLog:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
