"""Finds training data by name and reads it as samples: files, folders of files, data sets of the Hugging Face Hub.

`find_training_set` reads only the first row. `TrainingSet.parts` cuts a set into parts that can be sent to other processes; their
rows are checked as they are read, with few of them in memory at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from reflectioncoder.choices import TextNormalization
from reflectioncoder.data.files import content_hash, sha256_file
from reflectioncoder.data.hub import HUB_FORM, HUB_PREFIX, find_hub_data, parse_hub_address
from reflectioncoder.data.row_files import ROW_SUFFIXES, Piece, cut
from reflectioncoder.data.row_forms import FORM_BY_NAME, form_of
from reflectioncoder.data.samples import Sample
from reflectioncoder.errors import UsageError

SetKind = Literal["reflection", "generation"]
_CUTS_PER_PART = 4  # so that the parts of a set with many files have similar sizes


@dataclass(frozen=True)
class TrainingSet:
    """One entry of `train.reflection_data` or `train.generation_data`, found on this machine.

    Attributes:
        spec: the name in the recipe.
        files: .jsonl, .jsonl.gz and .parquet files, or the Arrow files of a hub data set, in order.
        identity: a hash of everything that the samples depend on: the files' contents, or the hub data set's name, configuration,
            split and commit; and the normalization.
        revision: the commit of a hub data set.
        kind: the setting that names it.
        form: the name of its rows' form (`row_forms.FORMS`); "" if it has no rows.
    """

    spec: str
    files: tuple[Path, ...]
    identity: str
    revision: str | None
    kind: SetKind
    normalization: TextNormalization = "none"
    form: str = ""

    def to_json(self) -> dict[str, str | None]:
        """Return the run's record of the set."""
        return {name: getattr(self, name) for name in ("spec", "kind", "form", "normalization", "revision", "identity")}

    @property
    def num_bytes(self) -> int:
        """Return the total size of the files."""
        return sum(file.stat().st_size for file in self.files)

    def parts(self, num_parts: int) -> list[Part]:
        """Cut the set into at most `num_parts` parts of similar size; their samples, in order, are the whole set."""
        pieces = self._pieces(num_parts * _CUTS_PER_PART)
        total = max(1, sum(piece.size for piece in pieces))  # a table without columns has no bytes
        groups: list[list[Piece]] = [[] for _ in range(num_parts)]
        done = 0
        for piece in pieces:
            groups[min((2 * done + piece.size) * num_parts // (2 * total), num_parts - 1)].append(piece)
            done += piece.size
        return [Part(tuple(_joined(group)), self.form, self.normalization) for group in groups if group]

    def samples(self) -> Iterator[Sample]:
        """Read all samples in order.

        Raises:
            UsageError: see `Part.samples`.
        """
        for part in self.parts(1):
            yield from part.samples()

    def _pieces(self, num_cuts: int) -> list[Piece]:
        sizes = [max(file.stat().st_size, 1) for file in self.files]
        name = self.spec if self.revision else None  # users do not know the files of a cache
        pieces: list[Piece] = []
        for file, size in zip(self.files, sizes, strict=True):
            first_row = sum(piece.num_rows for piece in pieces) if name else 0
            pieces += cut(file, -(-num_cuts * size // sum(sizes)), name, first_row)
        return pieces


@dataclass(frozen=True)
class Part:
    """Consecutive rows of a set; can be pickled."""

    pieces: tuple[Piece, ...]
    form: str
    normalization: TextNormalization = "none"

    def samples(self) -> Iterator[Sample]:
        """Read, check and normalise the rows.

        Raises:
            UsageError: a row is malformed or has another form; the error names file, line or row, field, value and what is allowed.
        """
        form = FORM_BY_NAME[self.form] if self.form else None
        for piece in self.pieces:
            for index, row in piece.rows():
                form = form or form_of(row, piece.place(index))
                try:
                    sample = form.sample(row, "", self.normalization)
                except UsageError:
                    form.sample(row, piece.place(index))  # raises with the location; counting lines takes time
                    raise
                yield sample


def find_training_set(spec: str, kind: SetKind, normalization: TextNormalization = "none") -> TrainingSet:
    """Find a file, a folder or a hub data set (downloaded if it is not cached) and recognise the form of its rows.

    Args:
        spec: a file (.jsonl, .jsonl.gz, .parquet); a folder, for all such files in it, by name; `hub:NAME[:CONFIG][:SPLIT][@REVISION]`.
        kind: the setting that names it.
        normalization: the changes to make in the texts.

    Raises:
        UsageError: it does not exist, a file of another kind, a folder without data files, rows of an unknown form.
        MachineError: the hub cannot be reached and the data set is not cached; a package is missing.
    """
    revision = None
    if spec.startswith(HUB_PREFIX):
        address = parse_hub_address(spec)
        found = find_hub_data(address)
        files, revision = found.files, found.commit
        identity = content_hash("hub", address.name, found.config, found.split, found.commit, normalization)
    else:
        files = _local_files(spec)
        identity = content_hash("files", [sha256_file(file) for file in files], normalization)
    found_set = TrainingSet(spec, files, identity, revision, kind, normalization)
    return TrainingSet(spec, files, identity, revision, kind, normalization, _form_name(found_set._pieces(1)))


def _form_name(pieces: Sequence[Piece]) -> str:
    for piece in pieces:
        for index, row in piece.rows():
            return form_of(row, piece.place(index)).name
    return ""


def _local_files(spec: str) -> tuple[Path, ...]:
    path = Path(spec)
    if path.is_dir():
        files = tuple(sorted(file for file in path.iterdir() if file.name.endswith(ROW_SUFFIXES) and file.is_file()))
        if not files:
            raise UsageError.for_value("no data files in this folder", spec, _shown_names(path), f"files that end in {_SUFFIXES}")
        return files
    if not path.is_file():
        hint = f" (a data set of the hub is named {HUB_FORM})" if not path.suffix and spec.count("/") == 1 else ""
        raise UsageError(f"file not found: {spec}{hint}")
    if not path.name.endswith(ROW_SUFFIXES):
        raise UsageError.for_value("training data in an unknown kind of file", spec, "".join(path.suffixes[-2:]), _SUFFIXES)
    return (path,)


_SUFFIXES = ", ".join(ROW_SUFFIXES)


def _shown_names(path: Path) -> str:
    names = sorted(file.name for file in path.iterdir())
    return ", ".join(names[:5]) + (" …" if len(names) > 5 else "") if names else "nothing"


def _joined(pieces: Sequence[Piece]) -> list[Piece]:
    joined: list[Piece] = []
    for piece in pieces:
        both = joined[-1].joined(piece) if joined else None
        if both is None:
            joined.append(piece)
        else:
            joined[-1] = both
    return joined
