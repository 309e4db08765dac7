"""What a build has asked and run, kept under the hash of the question: nothing is asked, run or paid for twice.

One SQLite file in WAL mode: an entry is there whole or not at all, whenever the process is killed. Replaying the log, a resumed build
comes to byte-identical files.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import IO, Any

from reflectioncoder.errors import MachineError, UsageError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (key TEXT PRIMARY KEY, kind TEXT NOT NULL, request TEXT NOT NULL, response TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS settings (only INTEGER PRIMARY KEY CHECK (only = 1), value TEXT NOT NULL);
"""


def _lock_alone(handle: IO[str], path: Path) -> None:
    """Two builds in one folder would ask everything twice."""
    try:
        import fcntl
    except ImportError:  # not POSIX
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise MachineError(f"another build is at work in {path.parent}") from None


class BuildLog:
    """Safe to use from several threads; a question that is being answered for one is waited for by the others.

    Raises:
        UsageError: the file is no such log.
        MachineError: it cannot be written.
    """

    def __init__(self, path: Path):
        self._path = path
        self._lock = threading.Lock()
        self._waiting: dict[str, Future[Any]] = {}
        self.num_new: Counter[str] = Counter()  # by kind
        self.num_replayed: Counter[str] = Counter()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._claim = open(path.with_suffix(".lock"), "w")  # noqa: SIM115 (held while the log is open)
            _lock_alone(self._claim, path)
            self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=NORMAL")
            self._connection.executescript(_SCHEMA)
        except sqlite3.OperationalError as error:
            raise MachineError(f"cannot write {path}: {error}") from error
        except sqlite3.DatabaseError as error:
            raise UsageError(f"{path} is not the log of a build: {error}") from error
        except OSError as error:
            raise MachineError(f"cannot write {path}: {error}") from error

    def require_settings(self, settings: dict[str, Any], *, fork: bool = False) -> None:
        """Refuse to go on with other settings than those that the log was begun with.

        Args:
            fork: go on all the same; what is answered in the log already is used where the question is the same.

        Raises:
            UsageError: the settings differ; the first that does is named.
        """
        text = json.dumps(settings, sort_keys=True)
        with self._lock:
            row = self._connection.execute("SELECT value FROM settings").fetchone()
            if row is not None and row[0] != text and not fork:
                before = json.loads(row[0])
                name = next((key for key in sorted({*before, *settings}) if before.get(key) != settings.get(key)), "")
                raise UsageError(
                    f"{self._path.parent} was begun with other settings\n  setting: {name}\n  before:  {before.get(name)!r}\n"
                    f"  now:     {settings.get(name)!r}\n  hint:    another name for the run, or --fork to go on with the new settings"
                )
            self._connection.execute("INSERT OR REPLACE INTO settings VALUES (1, ?)", (text,))

    def recall(self, kind: str, request: dict[str, Any], produce: Callable[[], Any]) -> Any:
        """The answer in the log, or that of `produce`, which is logged; an exception of `produce` is not."""
        key = _key(kind, request)
        with self._lock:
            row = self._connection.execute("SELECT response FROM entries WHERE key = ?", (key,)).fetchone()
            if row is not None:
                self.num_replayed[kind] += 1
                return json.loads(row[0])
            own: Future[Any] = Future()
            waiting = self._waiting.setdefault(key, own)
        if waiting is not own:
            return waiting.result()
        try:
            response = produce()
            self.keep(kind, request, response)
        except BaseException as error:
            own.set_exception(error)
            raise
        else:
            own.set_result(response)
            return response
        finally:
            with self._lock:
                del self._waiting[key]

    def keep(self, kind: str, request: dict[str, Any], response: Any) -> None:
        """Log an answer; nothing happens if it is there already."""
        row = (_key(kind, request), kind, json.dumps(request), json.dumps(response))
        with self._lock:
            try:
                cursor = self._connection.execute("INSERT OR IGNORE INTO entries VALUES (?, ?, ?, ?)", row)
            except sqlite3.OperationalError as error:
                raise MachineError(
                    f"cannot write {self._path}: {error}\n  hint:    what was written before is intact; run again"
                ) from error
            self.num_new[kind] += cursor.rowcount

    def add_lost(self, input_tokens: int, output_tokens: int) -> None:
        """Tokens that were paid for an answer that did not arrive."""
        row = (uuid.uuid4().hex, "lost", "{}", json.dumps({"input_tokens": input_tokens, "output_tokens": output_tokens}))
        with self._lock:
            self._connection.execute("INSERT INTO entries VALUES (?, ?, ?, ?)", row)

    def used(self) -> tuple[int, int]:
        """Tokens read and written for all requests in the log, those included whose answers were lost."""
        sums = (f"coalesce(sum(json_extract(response, '$.{kind}_tokens')), 0)" for kind in ("input", "output"))
        query = f"SELECT {', '.join(sums)} FROM entries WHERE kind IN ('request', 'lost')"
        with self._lock:
            read, written = self._connection.execute(query).fetchone()
        return read, written

    def entries(self, kind: str) -> list[tuple[dict[str, Any], Any]]:
        """(request, response) of every entry, in the order in which they were made."""
        with self._lock:
            rows = self._connection.execute("SELECT request, response FROM entries WHERE kind = ? ORDER BY rowid", (kind,)).fetchall()
        return [(json.loads(request), json.loads(response)) for request, response in rows]

    def close(self) -> None:
        self._connection.close()
        self._claim.close()

    def __enter__(self) -> BuildLog:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _key(kind: str, request: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps([kind, request], sort_keys=True, default=str).encode()).hexdigest()
