"""Shows messages and the progress of long work, always on stderr: a rich bar on a terminal, elsewhere a plain line every few seconds.

The caller decides where they go: a command runs its work within `reporting(Reporter())`. Without a reporter the library is silent.
The reporter lives in the caller's context (`contextvars`); `sandbox.pool` passes it to its threads.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

from reflectioncoder.terminal import escaped

PLAIN_INTERVAL_S = 5.0
SILENT_INTERVAL_S = 60.0


def format_duration(seconds: float) -> str:
    seconds = max(0, round(seconds))
    return f"{seconds // 60}m{seconds % 60:02d}s" if seconds >= 60 else f"{seconds}s"


@dataclass(frozen=True)
class Reporter:
    """Sends messages and progress to stderr unless `quiet`, and messages with a timestamp to the log.

    Under torchrun only rank 0 reports.
    """

    quiet: bool = False
    log_path: Path | None = None

    @property
    def shows_bars(self) -> bool:
        return not self.quiet and sys.stderr.isatty() and _is_first_process()

    def say(self, message: str) -> None:
        if not _is_first_process():
            return
        message = escaped(message)
        if not self.quiet:
            with contextlib.suppress(OSError):  # the terminal is gone with its connection; the work still ends cleanly
                sys.stderr.write(f"{message}\n")  # one write, since threads report concurrently
                sys.stderr.flush()
        if self.log_path is not None:
            with open(self.log_path, "a", encoding="utf-8") as log:
                log.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S')} {message}\n")


def _is_first_process() -> bool:
    return os.environ.get("RANK", "0") == "0"


SILENT = Reporter(quiet=True)
_LOG_ATTRIBUTE = "_reflectioncoder_log"
_current: ContextVar[Reporter] = ContextVar("reporter", default=SILENT)


@contextlib.contextmanager
def reporting(reporter: Reporter) -> Iterator[None]:
    """Send the block's messages and progress to the reporter."""
    token = _current.set(reporter)
    try:
        yield
    finally:
        _current.reset(token)


@contextlib.contextmanager
def logging_to(path: Path) -> Iterator[None]:
    """Send the block's messages to a log too. An error that leaves the block names the log (`log_of`)."""
    token = _current.set(replace(_current.get(), log_path=path))
    try:
        yield
    except BaseException as error:
        if log_of(error) is None:
            setattr(error, _LOG_ATTRIBUTE, path)
        raise
    finally:
        _current.reset(token)


def log_of(error: BaseException) -> Path | None:
    """Return the log of the innermost `logging_to` that an error has left; None if there was none."""
    return getattr(error, _LOG_ATTRIBUTE, None)


def say(message: str) -> None:
    """Report one line to the user."""
    _current.get().say(message)


def speaker() -> Callable[[str], None]:
    """Return a `say` bound to this context's reporter, for use in any thread."""
    return _current.get().say


class Progress:
    """Shows progress: use as a context manager and call `update(done, note)`. The ETA ignores `start`, the work of an earlier run.

    `total` may be unknown (None). Without a terminal, a line appears every few seconds while there is progress, else every minute.
    """

    def __init__(self, label: str, total: int | None, start: int = 0):
        self.label, self.total, self._start = label, total, start
        self._reporter = _current.get()
        self._begun = self._last_line = time.monotonic()
        self._done, self._note, self._is_new = start, "", False
        self._bar = None
        self._task = None
        self._lock = threading.Lock()  # guards the mutable state
        self._ended = threading.Event()

    def __enter__(self) -> Progress:
        if self._reporter.shows_bars:
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
        elif not self._reporter.quiet:
            threading.Thread(target=self._tell, name="progress", daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._ended.set()
        if self._bar is not None:
            with contextlib.suppress(OSError):
                self._bar.stop()

    def update(self, done: int, note: str = "") -> None:
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done, note=escaped(note))
            return
        with self._lock:
            self._done, self._note, self._is_new = done, note, True
            if done == self.total and not self._reporter.quiet:
                self._say_line()

    def _tell(self) -> None:
        """Report from a separate thread, so that updates arriving in a burst give one line with one ETA."""
        while not self._ended.wait(PLAIN_INTERVAL_S):
            with self._lock, contextlib.suppress(OSError):  # the disk may be full; the work will meet that error too
                is_late = time.monotonic() - self._last_line >= SILENT_INTERVAL_S
                if (self._is_new or is_late) and not self._ended.is_set():
                    self._say_line()

    def _say_line(self) -> None:
        now = time.monotonic()
        self._last_line, self._is_new = now, False
        elapsed = format_duration(now - self._begun)
        if self.total is None:
            self._reporter.say(f"{self.label}: {self._done}  elapsed {elapsed}  {self._note}".rstrip())
            return
        fresh = self._done - self._start
        eta = format_duration((now - self._begun) / fresh * (self.total - self._done)) if fresh > 0 else "?"
        self._reporter.say(f"{self.label}: {self._done}/{self.total}  elapsed {elapsed}  eta {eta}  {self._note}".rstrip())
