"""Records a build's model requests and program runs under hashes of their inputs, so that nothing is asked, run or paid for twice.

The log is one SQLite file in WAL mode: entries are atomic, whenever the process is killed. A resumed build replays the log and writes
byte-identical files. Requests are recorded before they are sent: those in flight when the process is killed count as paid.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import asdict
from pathlib import Path
from typing import Any

from reflectioncoder.builder.log_file import DATABASE_ERRORS, LogLock, checksum, damaged, database_error, entry_key, open_checked
from reflectioncoder.config.differences import differing, flattened
from reflectioncoder.errors import UsageError
from reflectioncoder.generate.reply import Reply, clean

LOG_NAME = "log.sqlite"
_INSERT = "INSERT OR IGNORE INTO entries (key, kind, request, response, checksum) VALUES (?, ?, ?, ?, ?)"
_ROWS_AT_ONCE = 1000
_MAX_TOKENS = 10**12  # upper bound for a request in flight


class BuildLog:
    """The log of a build. Thread-safe: threads with the same request wait for the first one's answer.

    Raises:
        UsageError: the file is not a build log, is damaged, or has lost entries.
        MachineError: it cannot be written, or another build holds it.
    """

    def __init__(self, path: Path):
        self._path = path
        self._lock = threading.Lock()
        self._waiting: dict[str, Future[Any]] = {}
        self.num_new: Counter[str] = Counter()  # by kind
        self.num_replayed: Counter[str] = Counter()
        self._log_lock = LogLock(path)
        try:
            self._connection = open_checked(path)
            self._num_requests = self._count("request")
            self._log_lock.require_entries(self._num_requests)
            self._lose_what_was_under_way()
        except BaseException:
            self._log_lock.close()
            raise

    def _count(self, kind: str) -> int:
        with self._statements():
            return self._connection.execute("SELECT count(*) FROM entries WHERE kind = ?", (kind,)).fetchone()[0]

    @contextlib.contextmanager
    def _statements(self) -> Iterator[None]:
        """Run statements atomically, one thread at a time.

        Raises:
            UsageError: the file is damaged.
            MachineError: it cannot be written.
        """
        with self._lock:
            try:
                self._connection.execute("BEGIN")
                yield
                self._connection.execute("COMMIT")
            except DATABASE_ERRORS as error:
                if self._connection.in_transaction:
                    self._connection.rollback()
                raise database_error(self._path, error) from error
            except BaseException:
                self._connection.rollback()
                raise

    def require_settings(self, settings: dict[str, Any], *, fork: bool = False) -> None:
        """Refuse settings that differ from those the log was started with.

        Args:
            fork: accept them; logged answers are reused where the request is the same.

        Raises:
            UsageError: the settings differ; the message lists the differences.
        """
        text = json.dumps(settings, sort_keys=True)
        with self._statements():
            row = self._connection.execute("SELECT value FROM settings").fetchone()
            if row is not None and row[0] != text and not fork:
                raise UsageError(
                    f"{self._path.parent} was begun with other settings\n{_differences(json.loads(row[0]), json.loads(text))}"
                    "  hint:    another name for the run, or --fork to go on with the new settings"
                )
            replace = "INSERT OR REPLACE INTO settings (only, value, checksum) VALUES (1, ?, ?)"
            self._connection.execute(replace, (text, checksum(text)))

    def recall(self, kind: str, request: dict[str, Any], produce: Callable[[], Any]) -> Any:
        """Return the logged answer, or call `produce` and log its result; an exception from `produce` is not logged."""
        key = entry_key(kind, request)
        with self._statements():
            row = self._connection.execute("SELECT response FROM entries WHERE key = ?", (key,)).fetchone()
            if row is not None:
                self.num_replayed[kind] += 1
                return _cleaned(json.loads(row[0]))
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
        """Log an answer unless it is already logged, and mark its request as no longer in flight."""
        row = entry_key(kind, request), kind, json.dumps(request), json.dumps(response)
        with self._statements():
            self._connection.execute("DELETE FROM under_way WHERE key = ?", row[:1])
            is_new = self._connection.execute(_INSERT, (*row, checksum(*row))).rowcount
            self.num_new[kind] += is_new
        if kind == "request" and is_new:
            with self._lock:
                self._num_requests += 1
                self._log_lock.note_entries(self._num_requests)

    def account(self, request: dict[str, Any]) -> LoggedAccount:
        """Return the account that `Endpoint.ask` needs for a request of kind "request"."""
        return LoggedAccount(self, request)

    def begin(self, request: dict[str, Any], input_tokens: int, output_tokens: int) -> None:
        """Record that a request is about to be sent: if its outcome is never logged, these tokens count as paid."""
        with self._statements():
            row = entry_key("request", request), input_tokens, output_tokens
            self._connection.execute("INSERT OR REPLACE INTO under_way VALUES (?, ?, ?)", row)

    def lose(self, request: dict[str, Any], input_tokens: int, output_tokens: int) -> None:
        """Record that a request got no answer, with the tokens paid for it."""
        with self._statements():
            self._connection.execute("DELETE FROM under_way WHERE key = ?", (entry_key("request", request),))
            if input_tokens or output_tokens:
                self._insert_lost(input_tokens, output_tokens)

    def _lose_what_was_under_way(self) -> None:
        with self._statements():
            for row in self._connection.execute("SELECT input_tokens, output_tokens FROM under_way").fetchall():
                if not all(type(tokens) is int and 0 <= tokens <= _MAX_TOKENS for tokens in row):
                    raise damaged(self._path, "a request under way is not what was written")
                self._insert_lost(*row)
            self._connection.execute("DELETE FROM under_way")

    def _insert_lost(self, input_tokens: int, output_tokens: int) -> None:
        row = uuid.uuid4().hex, "lost", "{}", json.dumps({"input_tokens": input_tokens, "output_tokens": output_tokens})
        self._connection.execute(_INSERT, (*row, checksum(*row)))

    @property
    def holds_answers(self) -> bool:
        """Tell whether a model has answered anything."""
        return self._num_requests > 0

    def used(self, *kinds: str) -> tuple[int, int]:
        """Return the input and output tokens of all requests in the log, including those whose answers were lost.

        `kinds` restricts the sum to "request" (answered) or "lost".
        """
        # Older logs hold token counts as servers reported them, some of them negative.
        sums = (f"coalesce(sum(max(0, json_extract(response, '$.{kind}_tokens'))), 0)" for kind in ("input", "output"))
        kinds = kinds or ("request", "lost")
        query = f"SELECT {', '.join(sums)} FROM entries WHERE kind IN ({', '.join('?' * len(kinds))})"
        with self._statements():
            read, written = self._connection.execute(query, kinds).fetchone()
        return int(read), int(written)

    def entries(self, kind: str) -> list[tuple[dict[str, Any], Any]]:
        """Return (request, response) of every entry in order of insertion."""
        with self._statements():
            rows = self._connection.execute("SELECT request, response FROM entries WHERE kind = ? ORDER BY rowid", (kind,)).fetchall()
        return [(json.loads(request), _cleaned(json.loads(response))) for request, response in rows]

    def absorb(self, path: Path) -> None:
        """Copy the entries of another log, which no process may be writing; where both logs have an answer, this log's is kept.

        Raises:
            UsageError: the other log is damaged, or was started with other settings.
            MachineError: this log cannot be written.
        """
        try:
            with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as other:
                settings = other.execute("SELECT value FROM settings").fetchone()
                if settings is not None:
                    self.require_settings(json.loads(settings[0]))
                rows = other.execute("SELECT key, kind, request, response, checksum FROM entries ORDER BY rowid")
                while some := rows.fetchmany(_ROWS_AT_ONCE):
                    if not all(checksum(*row[:-1]) == row[-1] for row in some):
                        raise damaged(path, "an entry is not what was written")
                    with self._statements():
                        self._connection.executemany(_INSERT, some)
        except DATABASE_ERRORS as error:
            raise database_error(path, error) from error
        self._num_requests = self._count("request")
        self._log_lock.note_entries(self._num_requests)

    def close(self) -> None:
        self._connection.close()
        self._log_lock.close()

    def __enter__(self) -> BuildLog:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class LoggedAccount:
    """Records one request's token usage in the log (`endpoint.Account`)."""

    def __init__(self, log: BuildLog, request: dict[str, Any]):
        self._log = log
        self._request = request

    def sent(self, input_tokens: int, output_tokens: int) -> None:
        self._log.begin(self._request, input_tokens, output_tokens)

    def answered(self, reply: Reply) -> None:
        self._log.keep("request", self._request, asdict(reply))

    def failed(self, input_tokens: int, output_tokens: int) -> None:
        self._log.lose(self._request, input_tokens, output_tokens)


def _differences(before: dict[str, Any], now: dict[str, Any]) -> str:
    found = sorted(differing(flattened(before), flattened(now)))
    return "".join(f"  setting: {name}\n  before:  {old}\n  now:     {new}\n" for name, old, new in found)


def _cleaned(response: Any) -> Any:
    """Return a response without lone surrogates: older logs hold some, and they cannot be encoded as UTF-8."""
    if isinstance(response, str):
        return clean(response)
    if isinstance(response, dict):
        return {name: _cleaned(value) for name, value in response.items()}
    return [_cleaned(value) for value in response] if isinstance(response, list) else response
