"""Exports samples: writes one JSON Lines file per format, with every row checked, then the card, and on request verifies all files.

Samples are streamed: only counts, hashes of ids and one length per row stay in memory. A file appears once it is complete.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from reflectioncoder.builder.text_measures import TextMeasures
from reflectioncoder.choices import FailedAttempts
from reflectioncoder.data.files import JsonlWriter, read_json, read_jsonl
from reflectioncoder.data.run_folders import run_folders
from reflectioncoder.data.samples import Sample, language_of, read_samples
from reflectioncoder.data.temporary import is_temporary
from reflectioncoder.errors import CheckFailedError, UsageError, require
from reflectioncoder.publish.exactly_once import RowRenderer, UnsupportedFormatError, check_row
from reflectioncoder.publish.formats import FORMATS, Row, Skipped, metadata_of

CARD_NAME = "README.md"
_BUILD_FILES = ("build/reflections.jsonl", "build/build.json")
CARD_SIGN = "Exported by ReflectionCoder"


@dataclass(frozen=True)
class Source:
    """A file of samples, and the report of the build that made them (`build.json`; None for a plain file)."""

    name: str
    samples: Path
    build: dict[str, Any] | None = None


@dataclass
class FormatCounts:
    """Counts for a format: rows written, samples without a row by reason, and the length of each row (`array`: four bytes a row).

    `unsupported`: the reason why the tokenizer's template cannot render the format, which then has no rows.
    """

    num_rows: int = 0
    unsupported: str | None = None
    skipped: Counter[str] = field(default_factory=Counter)
    num_chars: array[int] = field(default_factory=lambda: array("I"))
    num_tokens: array[int] = field(default_factory=lambda: array("I"))


@dataclass
class Tally:
    """Counts of the samples for the card; `None` in a key stands for a value missing from the sample."""

    types: Counter[str] = field(default_factory=Counter)
    writers: Counter[tuple[str | None, str | None]] = field(default_factory=Counter)
    origins: Counter[tuple[str | None, str | None]] = field(default_factory=Counter)
    languages: Counter[str] = field(default_factory=Counter)
    texts: TextMeasures = field(default_factory=TextMeasures)
    tasks: set[int] = field(default_factory=set)
    num_without_task: int = 0

    def add(self, sample: Sample) -> None:
        metadata = metadata_of(sample)
        self.types[sample.type] += 1
        self.languages[language_of(sample).title] += 1
        self.writers[_as_text(metadata.get("author")), _as_text(metadata.get("model"))] += 1
        self.origins[_as_text(metadata.get("source") or None), _as_text(metadata.get("license") or None)] += 1
        self.texts.add(sample)
        if "task_id" in metadata:
            self.tasks.add(hash(_as_text(metadata["task_id"])))
        else:
            self.num_without_task += 1


def _as_text(value: Any) -> str | None:
    """Return a value from a user's metadata as text, which it should be but need not be."""
    return value if value is None or isinstance(value, str) else json.dumps(value, sort_keys=True)


@dataclass(frozen=True)
class Exported:
    sources: tuple[Source, ...]
    formats: dict[str, FormatCounts]
    tally: Tally
    limit: int | None = None
    failed_attempts: FailedAttempts = "train"

    @property
    def num_samples(self) -> int:
        return self.tally.types.total()


def find_source(path: Path) -> Source:
    """Find the samples of a run folder with a finished build, or of a JSON Lines file.

    Raises:
        UsageError: `path` is neither.
    """
    if path.is_dir():
        if not _is_built(path):
            raise UsageError(f"{path} is not a run with a finished build: it has no {' and '.join(_BUILD_FILES)}")
        return _built_source(path, os.path.basename(os.path.realpath(path)))
    if not path.is_file():
        raise UsageError(f"file not found: {path}")
    return Source(path.name, path)


def find_sources(path: Path) -> list[Source]:
    """Return the source that `find_source` finds, or those of an `improve` folder's rounds with a finished build.

    Raises:
        UsageError: `path` is none of these.
    """
    rounds = run_folders(path)[1:] if path.is_dir() else []
    return [_built_source(folder.path, folder.name) for folder in rounds if _is_built(folder.path)] or [find_source(path)]


def _is_built(directory: Path) -> bool:
    return all((directory / name).is_file() for name in _BUILD_FILES)


def _built_source(directory: Path, name: str) -> Source:
    samples, said = (directory / name for name in _BUILD_FILES)
    build = read_json(said)
    if not isinstance(build, dict) or "num_accepted" not in build:
        raise UsageError(f"{said} is not as reflectioncoder wrote it: it does not say num_accepted")
    return Source(name, samples, build)


def export(
    sources: Sequence[Source],
    output_dir: Path,
    formats: Iterable[str],
    tokenizer: Any = None,
    limit: int | None = None,
    failed_attempts: FailedAttempts = "train",
) -> Exported:
    """Write `<format>.jsonl` for each format, except formats without rows and those that the template cannot render.

    Args:
        failed_attempts: whether the rows train the code of attempts whose output reports a failure.

    Raises:
        UsageError: no samples, none that has a row in any of the formats, a duplicate id, a sample in an unknown language, a template
            that can render none of the formats, an output folder with other files, a format that cannot mark code as not trained.
        CheckFailedError: a row does not hold exactly its sample.
    """
    names = [name for name in FORMATS if name in set(formats)]
    if failed_attempts == "context":
        _require_place_for_context(names)
    require_free(output_dir, names)
    renderer = RowRenderer(tokenizer)
    counts = {name: FormatCounts() for name in names}
    tally = Tally()
    output_dir.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        files = {name: stack.enter_context(JsonlWriter(output_dir / f"{name}.jsonl")) for name in names}
        for sample, name in islice(_unique(sources), limit):
            tally.add(sample)
            for form_name in [form_name for form_name in names if counts[form_name].unsupported is None]:
                try:
                    row = _checked_row(form_name, sample, renderer, name, counts[form_name], failed_attempts)
                except UnsupportedFormatError as error:
                    if all(counts[other].unsupported for other in names if other != form_name):
                        raise
                    counts[form_name] = FormatCounts(unsupported=error.reason)
                    continue
                if row is not None:
                    files[form_name].write(row)
        if not tally.types:
            raise UsageError(f"no samples in {', '.join(str(source.samples) for source in sources)}")
        if not any(count.num_rows for count in counts.values()):
            reasons = [f"  {name}: {_why_none(count)}" for name, count in counts.items()]
            raise UsageError("\n".join(["none of the samples has a row in these formats", *reasons, "  hint:    --format canonical"]))
    for name in [name for name, count in counts.items() if not count.num_rows]:
        (output_dir / f"{name}.jsonl").unlink()
    return Exported(tuple(sources), counts, tally, limit, failed_attempts)


def _why_none(count: FormatCounts) -> str:
    return count.unsupported or ", ".join(f"{reason} ({number} samples)" for reason, number in count.skipped.most_common())


def _require_place_for_context(names: Sequence[str]) -> None:
    """Refuse formats that cannot mark a part of an answer as not trained."""
    if without := [name for name in names if FORMATS[name].as_context is None]:
        raise UsageError.for_value(
            "rows of this format cannot say that failing attempts are not trained" if len(without) == 1 else
            "rows of these formats cannot say that failing attempts are not trained",
            "--format, with --failed-attempts context",
            ", ".join(without),
            [name for name, form in FORMATS.items() if form.as_context is not None],
            "ReflectionCoder itself trains rows of canonical so with train.failed_attempts: context",
        )  # fmt: skip


def _checked_row(
    form_name: str, sample: Sample, renderer: RowRenderer, name: str, counts: FormatCounts, failed_attempts: FailedAttempts
) -> Row | None:
    form = FORMATS[form_name]
    selected = form.select(sample)
    if isinstance(selected, Skipped):
        counts.skipped[selected.reason] += 1
        return None
    row = {**form.build(selected), **form.extra(sample)}
    if failed_attempts == "context" and form.as_context is not None:
        row = form.as_context(row, sample)
    try:
        checked = check_row(form, row, selected, renderer, name)
    except CheckFailedError:
        # Templates of reasoning models drop all text before a `</think>`, whatever its origin.
        if not any("</think>" in block.content for messages in selected for message in messages for block in message.content):
            raise
        counts.skipped["the tokenizer's chat template cuts a text at the end of a thought"] += 1
        return None
    if checked.spells_special_token:
        counts.skipped["a text spells a special token of the tokenizer"] += 1
        return None
    counts.num_rows += 1
    counts.num_chars.append(checked.num_chars)
    if checked.num_tokens is not None:
        counts.num_tokens.append(checked.num_tokens)
    return row


def _unique(sources: Sequence[Source]) -> Iterator[tuple[Sample, str]]:
    """Yield (sample, its name in messages) and refuse duplicate ids; a sample without an id is named by its position."""
    seen: set[int] = set()
    for source in sources:
        for number, sample in enumerate(read_samples(source.samples), start=1):
            if sample.id and hash(sample.id) in seen:
                raise UsageError(
                    f"{source.samples}:{number}: the id {sample.id!r} occurs twice; exported samples have ids of their own"
                )
            seen.add(hash(sample.id))
            yield sample, repr(sample.id) if sample.id else f"{source.samples}:{number}"


def require_free(output_dir: Path, formats: Iterable[str]) -> None:
    """Refuse to overwrite anything but earlier exports of the same formats.

    Raises:
        UsageError: the folder holds other files, or the path is a file.
    """
    if output_dir.exists() and not output_dir.is_dir():
        raise UsageError(f"{output_dir} is a file, expected a folder")
    card = output_dir / CARD_NAME
    own = {f"{name}.jsonl" for name in formats}
    if card.is_file() and CARD_SIGN in card.read_text(encoding="utf-8", errors="replace"):
        own.add(CARD_NAME)
    found = sorted(path.name for path in output_dir.iterdir()) if output_dir.is_dir() else []
    others = [name for name in found if name not in own and not is_temporary(name)]  # such are left by a killed export
    if others:
        shown = ", ".join(others[:5]) + (", …" if len(others) > 5 else "")
        raise UsageError(f"{output_dir} holds files that are not of this export: {shown}\n  hint:    name a new folder")


def verify(output_dir: Path, formats: Iterable[str]) -> dict[str, int]:
    """Load every format as a user would, by its configuration in the card, and compare it with the file; return rows per format.

    Raises:
        CheckFailedError: `datasets` reads rows that differ from the file's.
        MachineError: `datasets` is not installed.
    """
    datasets = require("datasets", "dev")
    datasets.disable_progress_bars()
    num_rows = {}
    for name in formats:
        with tempfile.TemporaryDirectory() as cache:
            try:
                loaded = datasets.load_dataset(str(output_dir), name, split="train", cache_dir=cache)
            except (ValueError, datasets.exceptions.DatasetsError) as error:
                raise CheckFailedError(f"{name}: datasets cannot load it: {error}") from error
            written = read_jsonl(output_dir / f"{name}.jsonl")
            for (number, row), found in zip(written, loaded, strict=False):
                if _without_none(row) != _without_none(found):
                    raise CheckFailedError(f"{name}.jsonl:{number}: datasets reads something else\n  found: {str(found)[:300]}")
            num_rows[name] = len(loaded)
            expected = sum(1 for _ in read_jsonl(output_dir / f"{name}.jsonl"))
            if num_rows[name] != expected:
                raise CheckFailedError(f"{name}.jsonl has {expected} rows, datasets reads {num_rows[name]}")
            del loaded
    return num_rows


def _without_none(value: Any) -> Any:
    """Remove the None values with which `datasets` fills keys that only some rows have."""
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    return [_without_none(item) for item in value] if isinstance(value, list) else value
