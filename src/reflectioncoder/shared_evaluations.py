"""Keeps finished evaluations of all runs of a runs folder, so that an equal one is copied and not made again.

Several runs often have the same base model. An evaluation is one file in RUNS_DIR/.evaluations/, named by a key of all that its
numbers depend on; it holds the files of the evaluation and a hash of them. It is written in one step, so a kill leaves none, and of
two runs that evaluate the same at the same time the later one replaces the other's file with its own. A file that was damaged or
changed is not used. The folder can be deleted at any time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reflectioncoder.data.files import content_hash, read_json, write_atomic, write_json
from reflectioncoder.data.json_text import expected_form
from reflectioncoder.errors import UsageError
from reflectioncoder.progress import say


@dataclass(frozen=True)
class SharedEvaluations:
    """The evaluations of a runs folder."""

    runs_dir: Path

    def file(self, key: str) -> Path:
        return self.runs_dir / ".evaluations" / f"{key}.json"

    def once(self, key: str, name: str, outputs: Sequence[Path], evaluate: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return an earlier evaluation's results, its files copied to `outputs`, which are in one folder; else evaluate, and keep it.

        Args:
            name: what notes call the evaluation.
        """
        if (results := self.copy(key, outputs[0].parent)) is not None:
            say(f"{name}: copied from {self.file(key)}: the same model, settings and versions")
            return results
        results = evaluate()
        self.keep(key, outputs, results)
        return results

    def copy(self, key: str, directory: Path) -> dict[str, Any] | None:
        """Write the files of an earlier evaluation to `directory` and return its results; None if there is none that can be used."""
        try:
            with expected_form(self.file(key)):
                kept = read_json(self.file(key))
                if kept.pop("digest") != content_hash(kept) or kept["key"] != key:
                    return None
                files, results = kept["files"], kept["results"]
        except (UsageError, ValueError):
            return None
        for name, text in files.items():
            write_atomic(directory / name, text)
        return results

    def keep(self, key: str, outputs: Sequence[Path], results: dict[str, Any]) -> None:
        """Keep a finished evaluation, unless programs in it could not be run: another run may have more luck."""
        if "sandbox_error" in results.get("counts", ()):
            return
        content = {"key": key, "results": results, "files": {path.name: path.read_text(encoding="utf-8") for path in outputs}}
        write_json(self.file(key), {**content, "digest": content_hash(content)})
