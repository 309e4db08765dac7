"""Writes results in other tools' formats: one module and one entry in `WRITERS` each.

These formats support every benchmark. A format for only one kind of test belongs to its judge (`Judge.result_files`).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from reflectioncoder.result_formats.eee import write_eee
from reflectioncoder.result_formats.inspect_log import write_inspect
from reflectioncoder.result_formats.scoring import Scoring

Writer = Callable[[Scoring, Path, str], list[Path]]
"""Writes the files of a scoring into a folder, with names that begin with the third argument; returns their paths."""
WRITERS: dict[str, Writer] = {"eee": write_eee, "inspect": write_inspect}
