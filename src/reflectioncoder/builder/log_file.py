"""Opens the file of a build's log: one build locks it, and it is verified before use.

Every entry has a checksum, SQLite checks its own structure, and `log.lock` beside the log stores the minimum number of answers that it
must hold: a damaged, truncated, emptied or lost log is an error, so that no answer is paid for again unnoticed.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from pathlib import Path
from typing import Any

from reflectioncoder.data.file_lock import lock_alone
from reflectioncoder.errors import MachineError, ReflectionCoderError, UsageError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS entries
    (key TEXT PRIMARY KEY, kind TEXT NOT NULL, request TEXT NOT NULL, response TEXT NOT NULL, checksum TEXT);
CREATE TABLE IF NOT EXISTS settings (only INTEGER PRIMARY KEY CHECK (only = 1), value TEXT NOT NULL, checksum TEXT);
CREATE TABLE IF NOT EXISTS under_way (key TEXT PRIMARY KEY, input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL);
"""
_CHECKED = {
    "entries": ("key", "kind", "request", "response"),
    "settings": ("value",),
}
_NOT_TO_BE_WRITTEN = (
    "disk is full", "disk I/O error", "readonly", "read-only", "unable to open", "locked", "no space", "out of memory",
)  # fmt: skip


DATABASE_ERRORS = (sqlite3.Error, UnicodeDecodeError)  # UnicodeDecodeError: SQLite's message quotes damaged text


def checksum(*texts: str) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for text in texts:
        data = text.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()


def entry_key(kind: str, request: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps([kind, request], sort_keys=True, default=str).encode()).hexdigest()


def database_error(path: Path, error: Exception) -> ReflectionCoderError:
    """Translate a database error for the user: the file cannot be written, or it is damaged."""
    if isinstance(error, sqlite3.OperationalError) and any(words in str(error) for words in _NOT_TO_BE_WRITTEN):
        return MachineError(f"cannot write {path}: {error}\n  hint:    what was written before is intact; run again")
    return damaged(path, str(error))


def damaged(path: Path, how: str) -> UsageError:
    return UsageError(
        f"{path} is damaged, or not the log of a build: {how}\n  hint:    put an intact copy of it back; or choose another name for "
        "the run: everything is asked, and paid, anew"
    )


def open_checked(path: Path) -> sqlite3.Connection:
    """Open the database and verify its structure and all checksums; add checksums to older logs that lack them.

    Raises:
        UsageError: the file is damaged or not a build log.
        MachineError: it cannot be written.
    """
    try:
        connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
    except DATABASE_ERRORS as error:
        raise database_error(path, error) from error
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        # quick_check is not enough: it misses an entry lost from an index, whose answer would be paid for again.
        found = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
        if found != "ok":
            raise damaged(path, " ".join(found.split()))
        connection.execute("BEGIN")
        for statement in _SCHEMA.strip().split(";\n"):
            connection.execute(statement)
        for table, columns in _CHECKED.items():
            _add_checksums(connection, path, table, columns)
            _verify(connection, path, table, columns)
        connection.execute("COMMIT")
    except DATABASE_ERRORS as error:
        connection.close()
        raise database_error(path, error) from error
    except BaseException:
        connection.close()
        raise
    return connection


def _add_checksums(connection: sqlite3.Connection, path: Path, table: str, columns: tuple[str, ...]) -> None:
    """Add checksums to a table that has none, after verifying the keys of its entries, which are hashes of the requests."""
    if "checksum" in (row[1] for row in connection.execute(f"PRAGMA table_info({table})")):
        return
    if table == "entries":
        for key, kind, request, response in connection.execute("SELECT key, kind, request, response FROM entries"):
            try:
                json.loads(response)
                is_whole = kind == "lost" or entry_key(kind, json.loads(request)) == key
            except (ValueError, TypeError, RecursionError):
                is_whole = False
            if not is_whole:
                raise damaged(path, "an entry is not what was written")
    connection.execute(f"ALTER TABLE {table} ADD COLUMN checksum TEXT")
    connection.create_function("checksum", -1, checksum, deterministic=True)
    connection.execute(f"UPDATE {table} SET checksum = checksum({', '.join(columns)})")


def _verify(connection: sqlite3.Connection, path: Path, table: str, columns: tuple[str, ...]) -> None:
    for *texts, stored in connection.execute(f"SELECT {', '.join(columns)}, checksum FROM {table}"):
        if not all(isinstance(text, str) for text in texts) or checksum(*texts) != stored:
            raise damaged(path, f"an entry of the table {table} is not what was written")


class LogLock:
    """The lock of a log, `log.lock`, which one build at a time holds; it stores the minimum number of answers in the log.

    Raises:
        MachineError: another build holds the lock, or the folder cannot be written.
    """

    def __init__(self, path: Path):
        self._path = path
        lock = path.with_suffix(".lock")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise MachineError(f"cannot write {lock}: {error.strerror}") from error
        try:
            lock_alone(self._descriptor, lock, "another build")  # two builds in one folder would send every request twice
            noted = os.pread(self._descriptor, 20, 0).strip()
            self._min_entries = int(noted) if noted.isdigit() else self._entries_of_finished_data()
        except BaseException:
            self.close()
            raise

    def _entries_of_finished_data(self) -> int:
        """Return 1 if the folder holds finished data made with model requests, else 0."""
        try:
            summary: Any = json.loads((self._path.parent / "build.json").read_text(encoding="utf-8"))
            counts = [summary.get(name, 0) for name in ("num_requests", "num_replayed_requests")]
            return int(any(isinstance(count, int) and count > 0 for count in counts))
        except (OSError, ValueError, AttributeError, RecursionError):
            return 0

    def require_entries(self, found: int) -> None:
        """Refuse a log that holds fewer answers than the lock file records.

        Raises:
            UsageError: the log has lost answers.
        """
        if found < self._min_entries:
            raise UsageError(
                f"{self._path} has lost answers: it holds {found}, and held {self._min_entries} at least\n"
                "  hint:    put the log back (log.sqlite, and log.sqlite-wal if there is one); or remove log.lock, build.json and the "
                "log to have everything asked, and paid, anew"
            )
        self.note_entries(found)

    def note_entries(self, count: int) -> None:
        """Store the number of answers in the log."""
        try:
            os.pwrite(self._descriptor, f"{count:<19}\n".encode(), 0)
        except OSError as error:
            lock = self._path.with_suffix(".lock")
            raise MachineError(f"cannot write {lock}: {error.strerror}\n  hint:    what was written before is intact") from error

    def close(self) -> None:
        os.close(self._descriptor)
