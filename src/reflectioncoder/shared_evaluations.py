"""Caches the finished evaluations of all runs in a runs folder, so that an equal evaluation is copied instead of repeated.

Runs often share a base model. An evaluation is one file in RUNS_DIR/.evaluations/, named by its cache key; it holds the evaluation's
files and a hash of them. It is written atomically: a killed run leaves no partial file. Of two runs that need the same evaluation at
the same time one waits for the other. A damaged or changed file is ignored. The folder can be deleted at any time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reflectioncoder.data.file_lock import in_turn
from reflectioncoder.data.files import content_hash, read_json, write_atomic, write_json
from reflectioncoder.data.json_text import expected_form
from reflectioncoder.errors import UsageError
from reflectioncoder.progress import say


@dataclass(frozen=True)
class SharedEvaluations:
    """The evaluation cache of a runs folder."""

    runs_dir: Path

    def file(self, key: str) -> Path:
        return self.runs_dir / ".evaluations" / f"{key}.json"

    def once(self, key: str, name: str, outputs: Sequence[Path], evaluate: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return a cached evaluation's results and copy its files to `outputs`, all in one folder; else evaluate, and cache it.

        If another process is making the same evaluation, wait for it.

        Args:
            name: the evaluation's name in messages.
        """
        file = self.file(key)
        with in_turn(file.parent, f"{key}.lock", name):
            if (results := self.copy(key, outputs[0].parent)) is not None:
                say(f"{name}: copied from {file}: the same model, settings and versions")
                return results
            results = evaluate()
            self.keep(key, outputs, results)
            return results

    def copy(self, key: str, directory: Path) -> dict[str, Any] | None:
        """Write the files of a cached evaluation to `directory` and return its results; None if none is usable."""
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
        """Cache a finished evaluation, unless it has sandbox errors, which another attempt may not meet."""
        if "sandbox_error" in results.get("counts", ()):
            return
        content = {"key": key, "results": results, "files": {path.name: path.read_text(encoding="utf-8") for path in outputs}}
        write_json(self.file(key), {**content, "digest": content_hash(content)})
