"""Shared code of the sharded commands."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reflectioncoder.data.files import dumps_row, write_jsonl
from reflectioncoder.errors import UsageError
from reflectioncoder.shard_folders import ShardFolder, Work


@dataclass(frozen=True)
class ShardOutcome:
    """A finished shard. `num_units`: its number of units; `counted`: further counts as text; `output`: where to merge to."""

    folder: ShardFolder
    num_units: int
    counted: str
    output: Path

    def to_json(self) -> dict[str, Any]:
        shard, work = self.folder.shard, self.folder.work
        about = {"index": shard.index, "count": shard.count, "num_units": self.num_units, "num_units_in_all": work.num_units}
        return {"shard": about, "folder": str(self.folder.directory)}

    def lines(self) -> list[str]:
        shard, work = self.folder.shard, self.folder.work
        of_all = "" if work.num_units is None else f" of {work.num_units}"
        pattern = self.folder.directory.parent / f"shard-*-of-{shard.count}"
        return [
            f"{work.command}, shard {shard}: {self.num_units}{of_all} units, {self.counted}",
            f"when all {shard.count} are done: reflectioncoder merge {pattern} --output {self.output}",
        ]


def require_same_data(here: Work, of_shards: Work) -> None:
    """Refuse to merge with data other than the shards'.

    Raises:
        UsageError: the data differs.
    """
    for name, value in of_shards.data.items():
        if here.data.get(name) != value:
            where = of_shards.paths.get(name) or of_shards.paths.get("data_dir") or "$REFLECTIONCODER_DATA, then the cache"
            raise UsageError(
                f"the data that merge finds here is not that of the shards: {name}\n  where:   {where}\n"
                "  hint:    merge where that is as it was for the shards"
            )


def write_merged(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write the merged rows (JSON Lines), without replacing a file that holds anything else.

    Raises:
        UsageError: `path` is a file with other content.
    """
    if path.exists() and path.read_bytes() != "".join(dumps_row(row) + "\n" for row in rows).encode():
        raise UsageError(f"{path} holds other results than those of the shards\n  hint:    choose another --output")
    write_jsonl(path, rows)


def in_order(logs: Sequence[Iterable[dict[str, Any]]]) -> Iterator[dict[str, Any]]:
    """Yield the rows of all shards' logs, each log sorted by `position`, in the order of their positions.

    Raises:
        UsageError: a position is missing or duplicated.
    """
    for position, row in enumerate(heapq.merge(*logs, key=lambda row: row["position"])):
        if row["position"] != position:
            raise UsageError(f"the shards' logs do not fit together: unit {position} is missing or there twice")
        yield row
