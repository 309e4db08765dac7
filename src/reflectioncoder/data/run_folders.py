"""Finds the runs in a folder below `runs/`: one run, the rounds of `improve`, or the arms of `ablate`."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reflectioncoder.data.files import read_json
from reflectioncoder.data.json_text import require_field

IMPROVE_FILE = "improve.json"
ABLATION_FILE = "ablation.json"


@dataclass(frozen=True)
class RunFolder:
    """The folder of a run.

    Attributes:
        rounds: the rounds in improve.json; None if it is not the folder of an `improve`.
        ablation: the content of ablation.json; None if it is not the folder of an `ablate`.
    """

    path: Path
    name: str
    rounds: list[dict[str, Any]] | None = None
    ablation: dict[str, Any] | None = None


def run_folders(path: Path) -> list[RunFolder]:
    """Return the folder itself, followed by the folders of its rounds in order if it belongs to an `improve`.

    Raises:
        UsageError: improve.json or ablation.json is damaged.
    """
    name = os.path.basename(os.path.realpath(path))  # `resolve` fails at a circle of links
    if (path / ABLATION_FILE).is_file():
        said = read_json(path / ABLATION_FILE)
        require_field(said if isinstance(said, dict) else {}, "arms", list, str(path / ABLATION_FILE))
        return [RunFolder(path, name, ablation=said)]  # its many cells have pages of their own
    if not (path / IMPROVE_FILE).is_file():
        return [RunFolder(path, name)]
    said = read_json(path / IMPROVE_FILE)
    rounds = require_field(said if isinstance(said, dict) else {}, "rounds", list, str(path / IMPROVE_FILE))
    folders = [p for p in (path / "rounds").glob("*") if p.is_dir() and p.name.isdecimal()]
    own = [RunFolder(p, f"{name}, round {p.name}") for p in sorted(folders, key=lambda p: int(p.name))]
    return [RunFolder(path, name, rounds), *own]
