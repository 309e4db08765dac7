"""Reads LiveCodeBench's files, which the user provides: found on this machine, never downloaded, and read line by line.

The hub's `code_generation_lite` has them as `test.jsonl`, `test2.jsonl`, …, gigabytes of packed tests. A row keeps where its tests
stand (`StoredTests`), and they are unpacked when a solution is judged. What else it holds is checked when it is read.
"""

from __future__ import annotations

import base64
import binascii
import datetime
import hashlib
import io
import json
import pickletools
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from reflectioncoder.data.files import parse_row
from reflectioncoder.errors import MachineError, UsageError
from reflectioncoder.evaluate.data_files import Origin, search_places
from reflectioncoder.terminal import in_line

_FOLDERS = ("livecodebench", "code_generation_lite")
_CASES = ("public_test_cases", "private_test_cases")
_NEEDED = ("question_id", "question_content", "starter_code", *_CASES, "contest_date")
_TEXTS = ("question_id", "question_content", "contest_date")
_TEXTS_OR_NULL = ("starter_code", "question_title", "difficulty")
_MAX_UNPACKED_BYTES = 2**30
# The opcodes of a pickled string; none of them names a class or calls anything.
_TEXT_OPCODES = frozenset(("UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"))
_OTHER_OPCODES = frozenset(("PROTO", "FRAME", "MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT", "STOP"))


class BrokenTestsError(ValueError):
    """Packed tests do not have the hub's format."""


@dataclass(frozen=True)
class StoredTests:
    """The tests of a row, where they stand: `number` is that of its line, `digest` identifies the row's content."""

    path: str
    number: int
    offset: int
    length: int
    digest: str

    @property
    def place(self) -> str:
        return f"{self.path}:{self.number}"

    def load(self) -> list[tuple[str, str]]:
        """Return the (input, expected output) of each test, public tests first.

        Raises:
            MachineError: the file has changed since, or holds no such tests, or none at all.
        """
        return _load(self)


@lru_cache(maxsize=2)
def _load(stored: StoredTests) -> list[tuple[str, str]]:
    with open(stored.path, "rb") as handle:
        handle.seek(stored.offset)
        line = handle.read(stored.length)
    if hashlib.sha256(line).hexdigest() != stored.digest:
        raise MachineError(f"{stored.path} has changed while it was used")
    row = json.loads(line)
    try:
        cases = [case for name in _CASES for case in unpack_cases(row[name])]
    except BrokenTestsError as error:
        raise MachineError(f"{stored.place}: the tests of {in_line(row['question_id'])} cannot be read: {error}") from error
    if not cases:
        raise _no_tests(stored.place, row["question_id"])
    return [(case["input"], case["output"]) for case in cases]


def _no_tests(place: str, question_id: str) -> MachineError:
    return MachineError(f"{place}: {in_line(question_id)} has no tests: every program would pass")


def unpack_cases(packed: Any) -> list[dict[str, str]]:
    """Return test cases from a list, its JSON text, or that text pickled, compressed and encoded in base64.

    Raises:
        BrokenTestsError: it is none of these, or a case is no pair of texts.
    """
    cases = packed if isinstance(packed, list) else _unpacked_cases(packed)
    if not isinstance(cases, list):
        raise BrokenTestsError("tests are a list")
    for case in cases:
        if not (isinstance(case, dict) and all(isinstance(case.get(name), str) for name in ("input", "output"))):
            raise BrokenTestsError("each test has an input and an output, which are texts")
    return cases


def _unpacked_cases(packed: Any) -> Any:
    if not isinstance(packed, str):
        raise BrokenTestsError("tests are text")
    try:
        return json.loads(packed)
    except RecursionError as error:
        raise BrokenTestsError("nested too deeply") from error
    except ValueError:
        return _json(_pickled_text(_unpacked(packed)))


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BrokenTestsError(f"no JSON: {error}") from error


def _unpacked(packed: str) -> bytes:
    try:
        unpacker = zlib.decompressobj()
        content = unpacker.decompress(base64.b64decode(packed.encode(), validate=True), _MAX_UNPACKED_BYTES)
    except (UnicodeEncodeError, binascii.Error, zlib.error) as error:
        raise BrokenTestsError(f"neither JSON nor packed: {error}") from error
    if not unpacker.eof:
        raise BrokenTestsError("packed tests that are cut off, or too large")
    return content


def _pickled_text(content: bytes) -> str:
    """Return the string in a pickle without unpickling it: reads the opcodes, and refuses all but those of one string.

    Raises:
        BrokenTestsError: the pickle holds anything else.
    """
    texts: list[str] = []
    try:
        for opcode, argument, _ in pickletools.genops(io.BytesIO(content)):
            if opcode.name in _TEXT_OPCODES:
                texts.append(str(argument))
            elif opcode.name not in _OTHER_OPCODES:
                raise BrokenTestsError(f"a pickle with {opcode.name}, which no text needs")
    except BrokenTestsError:
        raise
    except Exception as error:
        raise BrokenTestsError(f"no pickle: {error}") from error
    if len(texts) != 1:
        raise BrokenTestsError(f"a pickle of {len(texts)} texts")
    return texts[0]


@dataclass(frozen=True)
class LiveCodeBenchFiles:
    """The user's `code_generation_lite` files.

    They lie in a folder `livecodebench` or `code_generation_lite`, or as `test*.jsonl` in the data folder itself; together they form
    the benchmark, which is identified by their content, since there is no published hash.
    """

    version: str = "code_generation_lite, the user's files"
    sha256: str = ""
    md5: str = ""
    url: str = ""
    origin: Origin = "own"
    num_tasks: int | None = None

    def find(self, data_dir: str | None = None) -> Path | None:
        """Return the folder that holds the files."""
        for place in search_places(data_dir):
            named = [folder for name in _FOLDERS for folder in sorted(place.rglob(name))] if place.is_dir() else []
            for folder in (*named, place):
                if any(self._files(folder)):
                    return folder
        return None

    def obtain(self, data_dir: str | None = None) -> Path:
        folder = self.find(data_dir)
        if folder is None:
            looked = "\n".join(f"    {place}" for place in search_places(data_dir))
            raise MachineError(
                f"LiveCodeBench's tasks are not found, and they are not downloaded\n  looked in:\n{looked}\n"
                "  hint:    put test.jsonl, test2.jsonl, … of the hub's livecodebench/code_generation_lite into a folder livecodebench "
                "of one of these, or give one as --data-dir"
            )
        return folder

    def read(self, path: Path) -> list[dict[str, Any]]:
        """Return the rows of all files with the location of their tests in `tests`. The first of several rows with one id is kept."""
        rows: dict[str, dict[str, Any]] = {}
        for file in self._files(path):
            for row in _rows(file):
                rows.setdefault(row["question_id"], row)
        return list(rows.values())

    def _files(self, folder: Path) -> Iterator[Path]:
        pattern = "*.jsonl" if folder.name in _FOLDERS else "test*.jsonl"
        yield from (path for path in sorted(folder.glob(pattern)) if path.is_file() and _is_ours(path))


def _is_ours(path: Path) -> bool:
    """Tell whether the first line has a field name that other problem sets lack."""
    with open(path, "rb") as handle:
        return b'"private_test_cases"' in handle.readline()


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with open(path, "rb") as handle:
        offset = 0
        for number, line in enumerate(handle, start=1):
            if line.strip():
                yield _row(path, number, offset, line)
            offset += len(line)


def _row(path: Path, number: int, offset: int, line: bytes) -> dict[str, Any]:
    """Return a row with the place of its tests in place of these.

    Raises:
        MachineError: it is no row of code_generation_lite, or has no tests.
    """
    tests = StoredTests(str(path), number, offset, len(line), hashlib.sha256(line).hexdigest())
    try:
        row = parse_row(line, tests.place, allow_nan=True)
    except UsageError as error:
        raise MachineError(str(error)) from error
    if missing := [name for name in _NEEDED if name not in row]:
        raise MachineError(f"{tests.place}: a row of code_generation_lite has {', '.join(missing)}, too")
    for name in (*_TEXTS, *_TEXTS_OR_NULL):
        if not isinstance(value := row.get(name), str if name in _TEXTS else str | None) or (name == "question_id" and not value):
            raise MachineError(f"{tests.place}: {name} is text in a row of code_generation_lite, got {value!r:.60}")
    if not _begins_with_date(row["contest_date"]):
        raise MachineError(f"{tests.place}: contest_date begins with a day, YYYY-MM-DD, got {row['contest_date']!r:.60}")
    try:  # most rows have public tests; the others' private ones are unpacked, which takes longer
        if not any(unpack_cases(row[name]) for name in _CASES):
            raise _no_tests(tests.place, row["question_id"])
    except BrokenTestsError as error:
        raise MachineError(f"{tests.place}: the tests of {in_line(row['question_id'])} cannot be read: {error}") from error
    return {**{key: value for key, value in row.items() if key not in _CASES}, "tests": tests}


def _begins_with_date(text: str) -> bool:
    try:
        return datetime.date.fromisoformat(text[:10]).isoformat() == text[:10]
    except ValueError:
        return False
