"""Runs `check` in shards. The unit is a sample; the log is `check.jsonl`, as without shards."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from reflectioncoder.builder.replay import OUTCOMES, replay_into
from reflectioncoder.data.files import content_hash, read_jsonl
from reflectioncoder.data.samples import Sample
from reflectioncoder.sandbox.limits import Limits
from reflectioncoder.shard_folders import ShardFolder, Work
from reflectioncoder.sharded.common import ShardOutcome, in_order, require_same_data, write_merged
from reflectioncoder.shards import Shard


def run_shard(
    path: str, limit: int | None, samples: Sequence[Sample], limits: Limits, workers: int, finishing: dict[str, Any], directory: Path,
    shard: Shard,
) -> ShardOutcome:  # fmt: skip
    """Run the programs of this shard's samples again, and write the outcomes into `directory`.

    Args:
        path, limit: the source from which `merge` reads the samples again.
        finishing: options that affect only the merged check.

    Raises:
        The errors of `replay_into` and `ShardFolder.begun`.
    """
    own = [(position, sample) for position, sample in enumerate(samples) if shard.takes(position)]
    work = _work(samples, asdict(limits), finishing, {"data": os.path.abspath(path), "limit": limit})
    with ShardFolder.begun(directory, shard, work) as folder:
        rows = replay_into(directory / OUTCOMES, own, limits, workers, f"check, shard {shard}")
        folder.finish([directory / OUTCOMES], {"num_units": len(own)})
    return ShardOutcome(folder, len(own), f"{sum(len(row['drifts']) for row in rows)} executions differ", directory.parent)


def merge(shards: Sequence[ShardFolder], samples: Sequence[Sample], directory: Path) -> list[dict[str, Any]]:
    """Write the `check.jsonl` that one machine would have written, and return its rows.

    Raises:
        UsageError: the samples differ from the shards'; `directory` holds another check.
    """
    work = shards[0].work
    require_same_data(_work(samples, work.settings["limits"], work.finishing, work.paths), work)
    rows = list(in_order([[row for _, row in read_jsonl(shard.directory / OUTCOMES)] for shard in shards]))
    write_merged(directory / OUTCOMES, rows)
    return rows


def _work(samples: Sequence[Sample], limits: dict[str, Any], finishing: dict[str, Any], paths: dict[str, Any]) -> Work:
    data = {"data": content_hash([sample.to_json() for sample in samples])}
    return Work("check", {"limits": limits}, data, num_units=len(samples), finishing=finishing, paths=paths)
