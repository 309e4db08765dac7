"""Keeps many rendered samples in memory-mapped Arrow columns of token ids and spans; labels follow from the spans.

A sample is built when it is accessed. A plan's information about all samples (`SpanTable`) is a few numpy arrays.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, get_args, overload

import numpy as np
from numpy.typing import NDArray

from reflectioncoder.data.render import RenderedSample, Span, SpanKind, labelled

Int32 = NDArray[np.int32]
KINDS: tuple[SpanKind, ...] = get_args(SpanKind)
_KIND_NUMBERS = {kind: number for number, kind in enumerate(KINDS)}
_NUMBERS_A_SPAN = 4
_FAILED = 64  # added to the number of a kind
_NO_MESSAGE = -1


@dataclass(frozen=True)
class SpanTable:
    """The spans of N samples, S spans in total, concatenated.

    Attributes:
        first: (N + 1) offsets: the spans of sample n are [first[n], first[n + 1]).
        kind: (S) indices into `KINDS`.
        failed: (S) whether the span is the code of a failed attempt.
        start, end: (S) token positions within the sample.
        message, block: (S) numbers within the dialogue and the message; -1: none.
        is_reflection: (N) whether the sample is a reflection sample.
        answer_start, answer_end: (N) as in `RenderedSample`.
        header_is_trained: the renderer's setting.
    """

    first: NDArray[np.int64]
    kind: Int32
    failed: NDArray[np.bool_]
    start: Int32
    end: Int32
    message: Int32
    block: Int32
    is_reflection: NDArray[np.bool_]
    answer_start: Int32
    answer_end: Int32
    header_is_trained: bool

    def __len__(self) -> int:
        return len(self.is_reflection)

    @property
    def sample(self) -> NDArray[np.int64]:
        """Return the sample index of each span, (S)."""
        return np.repeat(np.arange(len(self)), np.diff(self.first))

    @property
    def num_tokens(self) -> Int32:
        """Return the length of each sample, (N)."""
        return self.end[self.first[1:] - 1]

    def spans(self, index: int) -> list[Span]:
        columns = (self.kind, self.start, self.end, self.message, self.block, self.failed)
        rows = zip(*(column[self.first[index] : self.first[index + 1]].tolist() for column in columns), strict=True)
        return [
            Span(KINDS[kind], start, end, None if message < 0 else message, None if block < 0 else block, failed)
            for kind, start, end, message, block, failed in rows
        ]

    def take(self, indices: NDArray[np.int64]) -> SpanTable:
        """Return the table of the samples at `indices`, in that order."""
        counts = np.diff(self.first)[indices]
        first = np.concatenate([[0], np.cumsum(counts)])
        rows = np.repeat(self.first[:-1][indices] - first[:-1], counts) + np.arange(first[-1])
        return SpanTable(
            first=first,
            kind=self.kind[rows],
            failed=self.failed[rows],
            start=self.start[rows],
            end=self.end[rows],
            message=self.message[rows],
            block=self.block[rows],
            is_reflection=self.is_reflection[indices],
            answer_start=self.answer_start[indices],
            answer_end=self.answer_end[indices],
            header_is_trained=self.header_is_trained,
        )

    @staticmethod
    def of(samples: Iterable[RenderedSample]) -> SpanTable:
        """Return the table of samples in memory; all must come from the same renderer."""
        rows, counts, reflections, answers, header_is_trained = list[int](), [0], [], [], True
        for sample in samples:
            rows += span_numbers(sample.spans)
            counts.append(len(sample.spans))
            reflections.append(sample.is_reflection)
            answers.append((sample.answer_start, sample.answer_end))
            header_is_trained = _header_is_trained(sample)
        bounds = np.array(answers, np.int32).reshape(-1, 2)
        return _table(np.cumsum(counts), np.array(rows, np.int32), np.array(reflections, bool), bounds, header_is_trained)


def _header_is_trained(sample: RenderedSample) -> bool:
    headers = [span.start for span in sample.spans if span.kind == "header" and span.message is not None and span.message % 2 == 1]
    return any(sample.teacher_labels[start] == sample.input_ids[start] for start in headers)


def span_numbers(spans: Iterable[Span]) -> list[int]:
    """Encode a sample's spans as four numbers each: kind (failed attempts: + `_FAILED`), end, message, block. Starts are implied."""
    numbers = []
    for span in spans:
        message = _NO_MESSAGE if span.message is None else span.message
        numbers += (
            _KIND_NUMBERS[span.kind] + _FAILED * span.failed,
            span.end,
            message,
            _NO_MESSAGE if span.block is None else span.block,
        )
    return numbers


def _table(
    first: NDArray[np.int64], numbers: Int32, is_reflection: NDArray[np.bool_], answers: Int32, header_is_trained: bool
) -> SpanTable:
    kind, end, message, block = np.ascontiguousarray(numbers.reshape(-1, _NUMBERS_A_SPAN).T)
    failed = kind >= _FAILED
    start = np.zeros_like(end)
    start[1:] = end[:-1]
    start[first[:-1][np.diff(first) > 0]] = 0
    return SpanTable(
        first=first,
        kind=kind - _FAILED * failed.astype(np.int32),
        failed=failed,
        start=start,
        end=end,
        message=message,
        block=block,
        is_reflection=is_reflection,
        answer_start=answers[:, 0],
        answer_end=answers[:, 1],
        header_is_trained=header_is_trained,
    )


class _Lists:
    """A chunked Arrow column of int32 lists, read without a copy."""

    def __init__(self, column: Any):
        self._values = [chunk.values.to_numpy(zero_copy_only=True) for chunk in column.chunks]
        self._offsets = [chunk.offsets.to_numpy() for chunk in column.chunks]
        self._first = np.concatenate([[0], np.cumsum([len(offsets) - 1 for offsets in self._offsets])])

    def __getitem__(self, index: int) -> Int32:
        chunk = int(np.searchsorted(self._first, index, side="right")) - 1
        offsets, place = self._offsets[chunk], index - int(self._first[chunk])
        return self._values[chunk][offsets[place] : offsets[place + 1]]

    def lengths(self) -> NDArray[np.int64]:
        return np.concatenate([np.empty(0, np.int64), *(np.diff(offsets) for offsets in self._offsets)]).astype(np.int64)

    def joined(self) -> Int32:
        pieces = [values[o[0] : o[-1]] for values, o in zip(self._values, self._offsets, strict=True)]
        return np.concatenate([np.empty(0, np.int32), *pieces])


class RenderedSamples(Sequence[RenderedSample]):
    """A sequence of rendered samples whose tokens stay in Arrow tables.

    Args:
        table: a `pyarrow` table with the int32 list columns `input_ids`, `spans` (`span_numbers`) and `answer` (start, end).
        header_is_trained: the renderer's setting.
        max_length: longer samples are left out; None keeps all.

    Attributes:
        spans: the spans of the samples that are kept.
        rows: (N) the row numbers of these samples in the table.
        longest: tokens of the longest sample in the table.
    """

    def __init__(self, table: Any, *, header_is_trained: bool, max_length: int | None = None):
        spans, answers = _Lists(table.column("spans")), _Lists(table.column("answer"))
        bounds = answers.joined().reshape(-1, 2)
        first = np.concatenate([[0], np.cumsum(spans.lengths() // _NUMBERS_A_SPAN)])
        whole = _table(first, spans.joined(), bounds[:, 1] > bounds[:, 0], bounds, header_is_trained)
        self._table = table
        self._ids = _Lists(table.column("input_ids"))
        self.longest = int(whole.num_tokens.max(initial=0))
        self.num_rows = len(whole)
        self.rows = np.flatnonzero(whole.num_tokens <= max_length) if max_length is not None else np.arange(len(whole))
        self.spans = whole if len(self.rows) == len(whole) else whole.take(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> RenderedSample: ...
    @overload
    def __getitem__(self, index: slice) -> list[RenderedSample]: ...
    def __getitem__(self, index: int | slice) -> RenderedSample | list[RenderedSample]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        ids = self._ids[int(self.rows[index])].tolist()
        is_reflection = bool(self.spans.is_reflection[index])
        return labelled(ids, self.spans.spans(index % len(self)), is_reflection, header_is_trained=self.spans.header_is_trained)

    @property
    def left_out(self) -> NDArray[np.int64]:
        """Return the rows of the table that are longer than `max_length`."""
        return np.setdiff1d(np.arange(self.num_rows), self.rows, assume_unique=True)

    def column(self, name: str) -> Column:
        """Return another column of the table for the kept samples."""
        return Column(self._table.column(name), self.rows)

    def names(self, rows: NDArray[np.int64]) -> Names:
        """Return the names, for messages, of the samples in the given rows of the table."""
        return Names(self._table.column("name"), rows)


@dataclass(frozen=True)
class Column(Sequence[Any]):
    """The values of an Arrow column at the given rows, read on access."""

    values: Any
    rows: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> Any:
        return self.values[int(self.rows[index])].as_py()


class Names(Column):
    """Sample ids, or the row number for samples without an id."""

    def __getitem__(self, index: Any) -> str:
        return super().__getitem__(index) or f"#{self.rows[index]}"


def span_table(samples: Sequence[RenderedSample]) -> SpanTable:
    """Return the spans of samples; for `RenderedSamples` without a pass over the samples."""
    return samples.spans if isinstance(samples, RenderedSamples) else SpanTable.of(samples)
