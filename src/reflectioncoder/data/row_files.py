"""Reads rows of JSON Lines, Parquet and Arrow files, whole or in pieces for several processes, with few rows in memory at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reflectioncoder.data.files import opened, parse_row, read_jsonl
from reflectioncoder.errors import UsageError, require

ROW_SUFFIXES = (".jsonl", ".jsonl.gz", ".parquet")
_BATCH_ROWS = 64
_BUFFER_BYTES = 2**20


@dataclass(frozen=True)
class Piece:
    """Consecutive rows of a file, from `start` to `end`: bytes of JSON Lines, row groups of Parquet, record batches of Arrow.

    Attributes:
        size: bytes, used to balance pieces.
        name: the file's name in messages.
        num_rows, first_row: for messages about tables only; lines of JSON Lines are counted when a message needs them.
    """

    path: Path
    start: int
    end: int
    size: int
    name: str
    num_rows: int = 0
    first_row: int = 0

    def rows(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield (index in the piece, row).

        Raises:
            UsageError: the file is missing or damaged, or a line is not a JSON object (the error names file and line or row).
        """
        if self.path.suffix == ".gz":
            return ((number - 1, row) for number, row in read_jsonl(self.path))
        return enumerate(self._table_rows() if is_table(self.path) else self._json_rows())

    def place(self, index: int) -> str:
        """Return the location of a row for messages: `FILE:LINE`, with lines from 1, or `FILE, row N`, with rows from 0."""
        if is_table(self.path):
            return f"{self.name}, row {self.first_row + index}"
        return f"{self.name}:{_count_lines(self.path, self.start) + index + 1}"

    def _json_rows(self) -> Iterator[dict[str, Any]]:
        position = self.start
        with opened(self.path, "a JSON Lines file", _BUFFER_BYTES) as file:
            file.seek(self.start)
            for index, line in enumerate(file):
                if position >= self.end:
                    return
                position += len(line)
                try:
                    row = parse_row(line, self.name)
                except UsageError:
                    parse_row(line, self.place(index))
                    raise
                yield row

    def _table_rows(self) -> Iterator[dict[str, Any]]:
        with _table_errors(self.path, self.name):
            for batch in _batches(self.path, self.start, self.end):
                for first in range(0, batch.num_rows, _BATCH_ROWS):
                    yield from batch.slice(first, _BATCH_ROWS).to_pylist()

    def joined(self, other: Piece) -> Piece | None:
        """Return this piece and `other` as one; None unless `other` follows it in the same file."""
        if other.path != self.path or other.start != self.end:
            return None
        size, num_rows = self.size + other.size, self.num_rows + other.num_rows
        return Piece(self.path, self.start, other.end, size, self.name, num_rows, self.first_row)


def cut(path: Path, num_pieces: int, name: str | None = None, first_row: int = 0) -> list[Piece]:
    """Cut a file into pieces, in order: JSON Lines at line ends into about `num_pieces`, tables at every row group or record batch.

    A gzipped file stays whole.

    Raises:
        UsageError: the file cannot be read.
    """
    name = name or str(path)
    if is_table(path):
        pieces = []
        with _table_errors(path, name):
            for index, (num_rows, size) in enumerate(_groups(path)):
                pieces.append(Piece(path, index, index + 1, size, name, num_rows, first_row))
                first_row += num_rows
        return pieces
    with opened(path, "a JSON Lines file") as file:
        size = path.stat().st_size
        bounds = [0]
        for number in range(1, 1 if path.suffix == ".gz" else num_pieces):
            file.seek(max(size * number // num_pieces, 1) - 1)
            file.readline()
            if bounds[-1] < file.tell() < size:
                bounds.append(file.tell())
    return [Piece(path, start, end, end - start, name) for start, end in zip(bounds, [*bounds[1:], size], strict=True) if end > start]


def is_table(path: Path) -> bool:
    return path.suffix in (".parquet", ".arrow")


def _groups(path: Path) -> Iterator[tuple[int, int]]:
    """Yield (rows, bytes) of each row group or record batch."""
    if path.suffix == ".parquet":
        with require("pyarrow.parquet", "train").ParquetFile(path) as file:
            groups = [file.metadata.row_group(index) for index in range(file.num_row_groups)]
            yield from ((group.num_rows, group.total_byte_size) for group in groups)
    else:
        yield from ((batch.num_rows, batch.nbytes) for batch in _batches(path, 0, None))


def _batches(path: Path, start: int, end: int | None) -> Iterator[Any]:
    """Yield the rows of row groups or record batches, one batch at a time."""
    if path.suffix == ".parquet":
        with require("pyarrow.parquet", "train").ParquetFile(path) as file:
            yield from file.iter_batches(_BATCH_ROWS, row_groups=list(range(start, file.num_row_groups if end is None else end)))
        return
    pyarrow = require("pyarrow", "train")
    with pyarrow.memory_map(str(path)) as source, pyarrow.ipc.open_stream(source) as reader:
        for index, batch in enumerate(reader):
            if end is not None and index >= end:
                return
            if index >= start:
                yield batch


@contextlib.contextmanager
def _table_errors(path: Path, name: str) -> Iterator[None]:
    """Report a missing or damaged file as a user's error.

    Raises:
        UsageError: the error names `name` and the defect.
    """
    pyarrow = require("pyarrow", "train")
    if not path.is_file():
        raise UsageError(f"file not found: {path}")
    try:
        yield
    except (pyarrow.ArrowException, OSError) as error:
        kind = "Parquet" if path.suffix == ".parquet" else "Arrow"
        raise UsageError(f"{name} cannot be read as {kind}, it is damaged or something else: {str(error).splitlines()[0]}") from error


def _count_lines(path: Path, end: int) -> int:
    """Count the line ends in the first `end` bytes."""
    count = 0
    with open(path, "rb") as file:
        while end > 0 and (data := file.read(min(end, _BUFFER_BYTES))):
            count += data.count(b"\n")
            end -= len(data)
    return count
