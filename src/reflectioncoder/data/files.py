"""Writes files that survive a kill: atomic replacement, appends that can be torn and repaired, JSONL with line numbers.

Every appended file is JSON Lines. A kill can leave at most one unfinished last line; `JsonlAppender` removes it when the file
is opened again, readers of unfinished files pass `tolerate_torn_tail=True`.
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
from reflectioncoder.errors import MachineError, ReflectionCoderError, UsageError

_NEARLY_FULL_BYTES = 2**26


_FULL = (errno.ENOSPC, errno.EDQUOT)
# What libraries that write by themselves say of it: Rust's (safetensors), torch's, SQLite's.
_SAID_FULL = re.compile(
    rf"os error ({errno.ENOSPC}|{errno.EDQUOT})\b|No space left on device|[Qq]uota exceeded|database or disk is full"
)
_SAID_UNWRITTEN = re.compile(r"PytorchStreamWriter|file write failed|SafetensorError")


def _storage_error(path: Path, error: OSError) -> MachineError:
    reason = "the disk is full" if error.errno in _FULL else error.strerror or str(error)
    return MachineError(f"cannot write {path}: {reason}\n  hint:    what was written before is intact; run again")


def write_atomic(path: str | Path, content: str | bytes) -> Path:
    """Write to a temporary name beside `path`, sync, rename: readers see the old file or the whole new one.

    Lone surrogates, which UTF-8 cannot hold, are written as escapes.

    Raises:
        MachineError: the disk is full or the place cannot be written. The old file is untouched.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as handle:
            handle.write(content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content)
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise _storage_error(path, error) from error
    return path


def write_json(path: str | Path, value: Any) -> Path:
    return write_atomic(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: str | Path) -> Any:
    """Read a JSON file.

    Raises:
        UsageError: it is missing or malformed; the error names the file, and the line.
    """
    with opened(Path(path), "a JSON file") as file:
        return parse_json(file.read(), str(path))


@contextlib.contextmanager
def opened(path: Path, expected: str, buffer_bytes: int = -1) -> Iterator[IO[bytes]]:
    """Open a file that a user has named. `expected` is what it should be, should it be a directory.

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
    with file:
        yield file


def dumps_row(row: Any) -> str:
    """Return one JSON Lines row, as the published ReflectionSeq files write it: non-ASCII kept, default separators.

    A row with a lone surrogate, which UTF-8 cannot hold, is written with escapes.
    """
    text = json.dumps(row, ensure_ascii=False)
    return text if text.isascii() or not any("\ud800" <= c <= "\udfff" for c in text) else json.dumps(row)


def read_jsonl(
    path: str | Path, *, tolerate_torn_tail: bool = False, skip_blank: bool = False, allow_nan: bool = False
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number from 1, object) of a JSON Lines file, plain or packed (`.gz`), one line in memory at a time.

    Raises:
        UsageError: no such file; an empty line; a line that is not a JSON object (file and line are named).
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
    """Return the object of a line of JSON Lines.

    Raises:
        UsageError: the line is empty, or no JSON object.
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
    """Appends rows, each flushed to the kernel as one write; a torn last line from an earlier kill is cut off on open.

    Raises:
        MachineError: the disk is full; the rows before are intact and the torn row is removed on the next open.
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
    """Writes rows as they come into a temporary file beside `path`, which takes its place when the `with` block ends without an error.

    Raises:
        MachineError: the disk is full or the place cannot be written. The old file is untouched.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self._temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}.tmp")

    def __enter__(self) -> JsonlWriter:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            remove_stale(self.path)
            self._handle = open(self._temporary, "wb")
        except OSError as error:
            raise _storage_error(self.path, error) from error
        return self

    def write(self, row: dict[str, Any]) -> None:
        try:
            self._handle.write(dumps_row(row).encode() + b"\n")
        except OSError as error:
            raise _storage_error(self.path, error) from error

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        try:
            with self._handle:
                self._handle.flush()
                os.fsync(self._handle.fileno())
            if kind is None:
                os.replace(self._temporary, self.path)
        except OSError as failure:
            raise _storage_error(self.path, failure) from failure
        finally:
            with contextlib.suppress(OSError):
                self._temporary.unlink()


def write_jsonl(path: str | Path, rows: list[dict[str, Any]]) -> Path:
    return write_atomic(path, "".join(dumps_row(row) + "\n" for row in rows))


def remove_stale(path: Path) -> None:
    """Remove the files that killed writers of `path` have left beside it (`.NAME.PID.tmp`)."""
    for stale in path.parent.glob(f".{path.name}.*.tmp"):
        shutil.rmtree(stale) if stale.is_dir() else stale.unlink(missing_ok=True)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn whatever keeps a block from writing `path` into one clear error.

    Raises:
        MachineError: the disk is full or the place cannot be written.
    """
    try:
        yield
    except OSError as error:
        raise _storage_error(path, error) from error


@contextlib.contextmanager
def explain_full_disk(path: Path) -> Iterator[None]:
    """Turn a full disk into one clear error, around libraries that write by themselves. All other failures pass unchanged.

    Raises:
        MachineError: the disk of `path`, or the user's share of it, is full.
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
    """Tell whether the failure, or what it was raised from, is a full disk's."""
    if isinstance(error, OSError) and error.errno is not None:
        if error.errno in _FULL:
            return True
    elif _SAID_FULL.search(str(error)):
        return True
    elif _SAID_UNWRITTEN.search(f"{type(error).__name__} {error}"):  # which does not say why
        existing = next(place for place in (path, *path.absolute().parents) if place.exists())
        return shutil.disk_usage(existing).free < _NEARLY_FULL_BYTES
    return error.__cause__ is not None and _is_full(error.__cause__, path)


def claim(directory: Path, key: str) -> bool:
    """Tell whether `directory` is for results of `key`. A free one is claimed (`settings.json`), that of another key is left alone."""
    owner = directory / "settings.json"
    if owner.is_file():
        with expected_form(owner):
            return read_json(owner)["key"] == key
    if directory.is_dir() and any(directory.iterdir()):
        return False
    write_json(owner, {"key": key})
    return True


def put_aside(path: Path) -> Path:
    """Rename a file or folder to a free name beside it, NAME-before-1 and so on, and return the new path."""
    number = 1
    while (aside := path.with_name(f"{path.name}-before-{number}")).exists():
        number += 1
    path.rename(aside)
    return aside


def sha256_file(path: str | Path) -> str:
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def content_hash(*values: Any) -> str:
    """Return a stable 16-hex-digit key of JSON values: what a stage's result depends on."""
    text = json.dumps(values, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
