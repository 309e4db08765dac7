"""Marks finished stages with a key of their inputs and fingerprints of their outputs, so that changed files are noticed.

A file with the recorded size and modification time counts as unchanged; if only the time differs, its content is compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reflectioncoder.data.files import content_hash, read_json, sha256_file, write_json
from reflectioncoder.data.json_text import expected_form
from reflectioncoder.errors import UsageError

WHOLE_RUN = "run"
"""The marker of a whole finished run, beside those of its stages; its output is `config.yaml`."""
BASE, TRAINED = "base", "trained"
"""The two models of a run that are evaluated."""


def evaluation_stage(benchmark: str, which: str) -> str:
    """Return the name of the stage that evaluates the base or the trained model on a benchmark."""
    return f"eval-{benchmark}-{which}"


def reference_loss_stage(benchmark: str, which: str) -> str:
    """Return the name of the stage that measures the loss of a benchmark's canonical programs under the base or the trained model."""
    return f"reference-loss-{benchmark}-{which}"


def marker_path(directory: Path, stage: str) -> Path:
    """Return the path of a stage's marker in a run folder."""
    return directory / "stages" / f"{stage.replace('/', '-')}.json"


@dataclass(frozen=True)
class Marker:
    """The marker of a stage. `outputs`: path relative to the run folder → (size in bytes, modification time in ns, SHA-256)."""

    key: str
    duration_s: float
    result: Any
    outputs: dict[str, tuple[int, int, str]]

    @classmethod
    def read(cls, path: Path) -> Marker | None:
        """Read a marker; None if it is missing or unusable, in which case the stage counts as not done."""
        try:
            with expected_form(path):
                known = read_json(path)
                if known.pop("digest") != content_hash(known):
                    return None
                outputs = {name: (int(size), int(time), str(digest)) for name, (size, time, digest) in known["outputs"].items()}
                return cls(known["key"], float(known["duration_s"]), known["result"], outputs)
        except (UsageError, ValueError):
            return None

    @classmethod
    def of(cls, key: str, duration_s: float, result: Any, folder: Path, outputs: Sequence[Path]) -> Marker:
        """Return the marker of a stage that has just written `outputs`; a folder stands for all files in it."""
        return cls(key, duration_s, result, {str(file.relative_to(folder)): _fingerprint(file) for file in _files(outputs)})

    def write(self, path: Path) -> None:
        content = {**vars(self), "outputs": {name: list(fingerprint) for name, fingerprint in self.outputs.items()}}
        write_json(path, {**content, "digest": content_hash(content)})

    def changed(self, folder: Path) -> list[Path]:
        """Return the outputs that are missing or changed since they were written."""
        return [folder / name for name, known in self.outputs.items() if not _is_unchanged(folder / name, known)]


def _files(paths: Iterable[Path]) -> list[Path]:
    return [file for path in paths for file in (sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path])]


def _fingerprint(file: Path) -> tuple[int, int, str]:
    before = file.stat()
    return before.st_size, before.st_mtime_ns, sha256_file(file)


def _is_unchanged(file: Path, known: tuple[int, int, str]) -> bool:
    size, time, digest = known
    if not file.is_file():
        return False
    now = file.stat()
    return now.st_size == size and (now.st_mtime_ns == time or sha256_file(file) == digest)
