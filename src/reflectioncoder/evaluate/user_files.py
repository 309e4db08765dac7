"""LiveCodeBench's files, which are the user's own: found on this machine, never fetched, and read line by line.

The hub's `code_generation_lite` has them as `test.jsonl`, `test2.jsonl`, …, gigabytes of packed tests. A row keeps where its tests
stand (`StoredTests`), and they are unpacked when a solution is judged.
"""

from __future__ import annotations

import base64
import binascii
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

from reflectioncoder.errors import MachineError
from reflectioncoder.evaluate.data_files import Origin, search_places

_FOLDERS = ("livecodebench", "code_generation_lite")
_NEEDED = ("question_id", "question_content", "starter_code", "public_test_cases", "private_test_cases", "contest_date")
_MAX_UNPACKED_BYTES = 2**30
# All that the pickle of one text consists of; nothing here names a class or calls anything.
_TEXT_OPCODES = frozenset(("UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"))
_OTHER_OPCODES = frozenset(("PROTO", "FRAME", "MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT", "STOP"))


class BrokenTestsError(ValueError):
    """Raised if packed tests are not what the hub has."""


@dataclass(frozen=True)
class StoredTests:
    """The tests of a row, where they stand: `digest` identifies the row's content."""

    path: str
    offset: int
    length: int
    digest: str

    def load(self) -> list[tuple[str, str]]:
        """Return input and expected output of each test, the public ones first.

        Raises:
            MachineError: the file has changed since, or holds no such tests.
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
        cases = [case for name in ("public_test_cases", "private_test_cases") for case in unpack_cases(row[name])]
        return [(case["input"], case["output"]) for case in cases]
    except (BrokenTestsError, KeyError, TypeError) as error:
        raise MachineError(f"{stored.path}: the tests of {row.get('question_id')} cannot be read: {error}") from error


def unpack_cases(packed: Any) -> list[dict[str, str]]:
    """Return test cases from a list, its JSON text, or that text pickled, compressed and in base64.

    Raises:
        BrokenTestsError: it is none of these.
    """
    if isinstance(packed, list):
        return packed
    if not isinstance(packed, str):
        raise BrokenTestsError("tests are text")
    try:
        cases = json.loads(packed)
    except ValueError:
        cases = _json(_pickled_text(_unpacked(packed)))
    if not isinstance(cases, list):
        raise BrokenTestsError("tests are a list")
    return cases


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
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
    """Return the text that a pickle holds. Nothing is unpickled: its opcodes are read, and any but those of one text are refused.

    Raises:
        BrokenTestsError: it holds anything else.
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

    They lie in a folder `livecodebench` or `code_generation_lite`, or as `test*.jsonl` in the data folder itself; all of them together
    are the benchmark. What they hold identifies it: there is no published hash.
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
        """Return the rows of all files, without their tests: `tests` says where these stand. Of rows with one id the first is taken."""
        rows: dict[str, dict[str, Any]] = {}
        for file in self._files(path):
            for row in _rows(file):
                rows.setdefault(row["question_id"], row)
        return list(rows.values())

    def _files(self, folder: Path) -> Iterator[Path]:
        pattern = "*.jsonl" if folder.name in _FOLDERS else "test*.jsonl"
        yield from (path for path in sorted(folder.glob(pattern)) if path.is_file() and _is_ours(path))


def _is_ours(path: Path) -> bool:
    """Tell whether the first line has the name of a field that other sets of problems do not have."""
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
    try:
        row = json.loads(line)
        missing = [name for name in _NEEDED if name not in row]
    except (ValueError, TypeError) as error:
        raise MachineError(f"{path}:{number}: no JSON object: {error}") from error
    if missing:
        raise MachineError(f"{path}:{number}: a row of code_generation_lite has {', '.join(missing)}, too")
    tests = StoredTests(str(path), offset, len(line), hashlib.sha256(line).hexdigest())
    return {**{key: value for key, value in row.items() if not key.endswith("_test_cases")}, "tests": tests}
