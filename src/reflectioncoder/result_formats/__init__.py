"""Results in the formats of other tools: one module each, one entry in `WRITERS`.

These formats hold for every benchmark. What only one kind of test has a format for, its judge knows (`Judge.result_files`).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from reflectioncoder.result_formats.eee import write_eee
from reflectioncoder.result_formats.inspect_log import write_inspect
from reflectioncoder.result_formats.scoring import Scoring

Writer = Callable[[Scoring, Path, str], list[Path]]
"""Writes the files of a scoring into a folder, with names that begin as the third argument says; returns their paths."""
WRITERS: dict[str, Writer] = {"eee": write_eee, "inspect": write_inspect}
