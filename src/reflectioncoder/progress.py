"""Progress of long work: a rich bar on a terminal, one plain line every few seconds elsewhere, always on stderr."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from types import TracebackType

from reflectioncoder.terminal import escaped

PLAIN_INTERVAL_S = 5.0


def format_duration(seconds: float) -> str:
    seconds = max(0, round(seconds))
    return f"{seconds // 60}m{seconds % 60:02d}s" if seconds >= 60 else f"{seconds}s"


class Progress:
    """Use as a context manager; call `update(done, note)`. `start` is what an earlier run had done: it does not count for the ETA.

    `total` may be unknown (None).
    """

    quiet = False
    log_path: Path | None = None

    def __init__(self, label: str, total: int | None, start: int = 0):
        self.label, self.total, self._start = label, total, start
        self._begun = time.monotonic()
        self._last_line = self._begun
        self._bar = None
        self._task = None

    def __enter__(self) -> Progress:
        if not self.quiet and sys.stderr.isatty() and os.environ.get("RANK", "0") == "0":
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
            from rich.progress import Progress as RichProgress

            self._bar = RichProgress(
                TextColumn("{task.description:<28}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("eta"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[note]}", markup=False),
                console=Console(stderr=True),
            )
            self._bar.start()
            self._task = self._bar.add_task(escaped(self.label), total=self.total, completed=self._start, note="")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, done: int, note: str = "") -> None:
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done, note=escaped(note))
            return
        now = time.monotonic()
        if self.quiet or ((self.total is None or done < self.total) and now - self._last_line < PLAIN_INTERVAL_S):
            return
        self._last_line = now
        elapsed = format_duration(now - self._begun)
        if self.total is None:
            say(f"{self.label}: {done}  elapsed {elapsed}  {note}".rstrip())
            return
        fresh = done - self._start
        eta = format_duration((now - self._begun) / fresh * (self.total - done)) if fresh > 0 else "?"
        say(f"{self.label}: {done}/{self.total}  elapsed {elapsed}  eta {eta}  {note}".rstrip())


def say(message: str) -> None:
    """One line for people, on stderr, and with its time in the run's log; of several processes (torchrun) the first one speaks."""
    if os.environ.get("RANK", "0") != "0":
        return
    message = escaped(message)
    if not Progress.quiet:
        print(message, file=sys.stderr, flush=True)
    if Progress.log_path is not None:
        with open(Progress.log_path, "a", encoding="utf-8") as log:
            log.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S')} {message}\n")
