"""Writes files that survive a kill: atomic replacement, appends with repair of a torn line, JSONL with line numbers.

Every appended file is JSON Lines. A kill can leave at most one unfinished last line; `JsonlAppender` removes it when it opens
the file again, and readers of unfinished files pass `tolerate_torn_tail=True`.
"""

from __future__ import annotations

import contextlib
import errno
import gzip
import hashlib
import json
import os
import re
import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from reflectioncoder.data.json_text import expected_form, parse_json
from reflectioncoder.data.temporary import holds_something, remove_abandoned, temporary_beside
from reflectioncoder.errors import NO_PATH, MachineError, ReflectionCoderError, UsageError

_NEARLY_FULL_BYTES = 2**26


_FULL = (errno.ENOSPC, errno.EDQUOT)
# Messages about a full disk from libraries that write files themselves: Rust's (safetensors), torch's, SQLite's.
_SAID_FULL = re.compile(
    rf"os error ({errno.ENOSPC}|{errno.EDQUOT})\b|No space left on device|[Qq]uota exceeded|database or disk is full"
)
_SAID_UNWRITTEN = re.compile(r"PytorchStreamWriter|file write failed|SafetensorError")

LOCK_FILE = ".lock"
"""The file in a folder that a command locks while it works there (`file_lock`); beside it a folder still counts as empty."""


def _storage_error(path: Path, error: OSError) -> MachineError:
    reason = "the disk is full" if error.errno in _FULL else error.strerror or str(error)
    return MachineError(f"cannot write {path}: {reason}\n  hint:    what was written before is intact; run again")


def replaceable(path: Path) -> Path:
    """Return the file that a new one may take the place of: `path`, or what the link there leads to.

    Raises:
        UsageError: it is a device, a pipe or a socket; to put a file in its place would destroy it for the whole machine.
    """
    target = Path(os.path.realpath(path)) if path.is_symlink() else path
    if target.exists() and not target.is_file() and not target.is_dir():
        raise UsageError(f"{path} is not a regular file, so no file can take its place\n  hint:    name a file")
    return target


def write_atomic(path: str | Path, content: str | bytes) -> Path:
    """Write to a temporary file beside `path`, sync, rename: readers see either the old file or the whole new one.

    Lone surrogates, which UTF-8 cannot encode, are written as escapes.

    Raises:
        UsageError: see `replaceable`.
        MachineError: the disk is full or the path is not writable. The old file is untouched.
    """
    path = Path(path)
    target = replaceable(path)
    temporary = temporary_beside(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as handle:
            handle.write(content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content)
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(temporary, target)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise _storage_error(path, error) from error
    return path


def write_json(path: str | Path, value: Any) -> Path:
    return write_atomic(path, _json_text(value))


def _json_text(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def remember(path: Path, content: str | bytes) -> None:
    """Write a file of the user cache. One that cannot be written costs the time to compute its content again, and is no error."""
    with contextlib.suppress(ReflectionCoderError, OSError):
        write_atomic(path, content)


def remember_json(path: Path, value: Any) -> None:
    """Do what `remember` does, for a JSON value."""
    remember(path, _json_text(value))


def read_json(path: str | Path) -> Any:
    """Read a JSON file.

    Raises:
        UsageError: the file is missing or malformed (the error names the file and line).
    """
    with opened(Path(path), "a JSON file") as file:
        return parse_json(file.read(), str(path))


@contextlib.contextmanager
def opened(path: Path, expected: str, buffer_bytes: int = -1) -> Iterator[IO[bytes]]:
    """Open a file named by a user. `expected` describes the expected file, for the error if it is a directory.

    Raises:
        UsageError: it is missing or cannot be read.
    """
    try:
        file = open(path, "rb", buffer_bytes)  # noqa: SIM115 (closed below)
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(f"file not found: {path}") from None
    except IsADirectoryError:
        raise UsageError(f"{path} is a directory, expected {expected}") from None
    except (PermissionError, ValueError) as error:  # ValueError: NUL in the name
        raise UsageError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    except OSError as error:
        if error.errno not in NO_PATH:
            raise
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    with file:
        yield file


def dumps_row(row: Any) -> str:
    """Return one JSON Lines row in the format of the published ReflectionSeq files: non-ASCII kept, default separators.

    A row with a lone surrogate, which UTF-8 cannot encode, is written with escapes.
    """
    text = json.dumps(row, ensure_ascii=False)
    return text if text.isascii() or not any("\ud800" <= c <= "\udfff" for c in text) else json.dumps(row)


def read_jsonl(
    path: str | Path, *, tolerate_torn_tail: bool = False, skip_blank: bool = False, allow_nan: bool = False
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number from 1, object) of a JSON Lines file, plain or gzipped (`.gz`), with one line in memory at a time.

    Raises:
        UsageError: the file is missing, or a line is empty or not a JSON object (the error names file and line).
    """
    path = Path(path)
    with opened(path, "a JSON Lines file") as file:
        lines = _unpacked(path, file) if path.suffix == ".gz" else file
        for number, line in enumerate(lines, start=1):
            if tolerate_torn_tail and not line.endswith(b"\n"):
                return
            if skip_blank and not line.strip():
                continue
            yield number, parse_row(line, f"{path}:{number}", allow_nan=allow_nan)


def parse_row(line: bytes, where: str, *, allow_nan: bool = False) -> dict[str, Any]:
    """Return the object in one line of JSON Lines.

    Raises:
        UsageError: the line is empty or not a JSON object.
    """
    if line.isspace() or not line:
        raise UsageError(f"{where}: empty line, expected one JSON object")
    row = parse_json(line, where, allow_nan=allow_nan)
    if not isinstance(row, dict):
        raise UsageError(f"{where}: expected a JSON object, got {type(row).__name__}")
    return row


def _unpacked(path: Path, file: IO[bytes]) -> Iterator[bytes]:
    try:
        with gzip.open(file) as unpacked:
            yield from unpacked
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UsageError(f"{path} cannot be unpacked: {error}") from None


class JsonlAppender:
    """Appends rows, each in one unbuffered write; opening the file cuts off a torn last line left by a kill.

    Raises:
        MachineError: the disk is full; earlier rows are intact, and the next open removes the torn row.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._repair()
            self._handle = open(self.path, "ab", buffering=0)  # noqa: SIM115 (owned by the object)
        except OSError as error:
            raise _storage_error(self.path, error) from error

    def _repair(self) -> None:
        if not self.path.is_file():
            return
        with open(self.path, "rb+") as handle:
            content = handle.read()
            if content and not content.endswith(b"\n"):
                handle.truncate(content.rfind(b"\n") + 1)

    def append(self, row: dict[str, Any]) -> None:
        data = memoryview(dumps_row(row).encode() + b"\n")
        try:
            while data:
                data = data[self._handle.write(data) :]
        except OSError as error:
            raise _storage_error(self.path, error) from error

    def close(self) -> None:
        self._handle.close()

    def __enter__(self) -> JsonlAppender:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class JsonlWriter:
    """Writes rows one by one to a temporary file beside `path`, which replaces `path` when the `with` block ends without an error.

    Raises:
        UsageError: see `replaceable`.
        MachineError: the disk is full or the path is not writable. The old file is untouched.
    """

    def __init__(self, path: str | Path):
        self.path = replaceable(Path(path))
        self._is_wanted = True
        self._temporary = temporary_beside(self.path)

    def __enter__(self) -> JsonlWriter:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            remove_abandoned(self.path)
            self._handle = open(self._temporary, "wb")
        except OSError as error:
            raise _storage_error(self.path, error) from error
        return self

    def write(self, row: dict[str, Any]) -> None:
        try:
            self._handle.write(dumps_row(row).encode() + b"\n")
        except OSError as error:
            raise _storage_error(self.path, error) from error

    def discard(self) -> None:
        """Keep the old file, if there is one, when the block ends."""
        self._is_wanted = False

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        try:
            with self._handle:
                self._handle.flush()
                os.fsync(self._handle.fileno())
            if kind is None and self._is_wanted:
                os.replace(self._temporary, self.path)
        except OSError as failure:
            raise _storage_error(self.path, failure) from failure
        finally:
            with contextlib.suppress(OSError):
                self._temporary.unlink()


def write_jsonl(path: str | Path, rows: list[dict[str, Any]]) -> Path:
    return write_atomic(path, "".join(dumps_row(row) + "\n" for row in rows))


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn any OS error while writing `path` into one clear error.

    Raises:
        MachineError: the disk is full or the path is not writable.
    """
    try:
        yield
    except OSError as error:
        raise _storage_error(path, error) from error


@contextlib.contextmanager
def explain_full_disk(path: Path) -> Iterator[None]:
    """Turn a full disk into one clear error, around libraries that write files themselves. All other errors pass unchanged.

    Raises:
        MachineError: the disk of `path` is full, or the user's quota on it.
    """
    try:
        yield
    except ReflectionCoderError:
        raise
    except Exception as error:
        if _is_full(error, path):
            raise _storage_error(path, OSError(errno.ENOSPC, str(error))) from error
        raise


def _is_full(error: BaseException, path: Path) -> bool:
    """Tell whether a full disk caused the error or an error in its chain of causes."""
    if isinstance(error, OSError) and error.errno is not None:
        if error.errno in _FULL:
            return True
    elif _SAID_FULL.search(str(error)):
        return True
    elif _SAID_UNWRITTEN.search(f"{type(error).__name__} {error}"):  # the message does not name the reason
        existing = next(place for place in (path, *path.absolute().parents) if place.exists())
        return shutil.disk_usage(existing).free < _NEARLY_FULL_BYTES
    return error.__cause__ is not None and _is_full(error.__cause__, path)


def claim(directory: Path, key: str) -> bool:
    """Tell whether `directory` belongs to `key`. A free one is claimed (`settings.json`); one with another key is left alone."""
    owner = directory / "settings.json"
    if owner.is_file():
        with expected_form(owner):
            return read_json(owner)["key"] == key
    if holds_something(directory, lock=LOCK_FILE):
        return False
    _own(directory, key)
    return True


def claim_for_answers(directory: Path, key: str) -> None:
    """Claim `directory` for the answers of `key`. A folder of another key is taken over as long as it has no answer or verdict.

    Raises:
        UsageError: it has some.
    """
    if claim(directory, key):
        return
    files = (directory / name for name in ("completions.jsonl", "samples.jsonl"))
    if kept := next((file for file in files if file.exists() and file.stat().st_size), None):
        raise UsageError(f"{kept} is of another model or of other settings\n  hint:    choose another --output")
    _own(directory, key)


def _own(directory: Path, key: str) -> None:
    write_json(directory / "settings.json", {"key": key})


def put_aside(path: Path) -> Path:
    """Rename a file or folder to a free name beside it (NAME-before-1, NAME-before-2, …) and return the new path."""
    number = 1
    while (aside := path.with_name(f"{path.name}-before-{number}")).exists():
        number += 1
    path.rename(aside)
    return aside


def sha256_file(path: str | Path) -> str:
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def content_hash(*values: Any) -> str:
    """Return a stable key of 16 hex digits for JSON values, used for everything that a stage's result depends on."""
    text = json.dumps(values, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
