"""Runs `problems` in shards. The unit is a draft of a problem; the log is `drafts.jsonl`, which records the outcome of each.

Every shard reads all sources, which is fast, and verifies only its own drafts, which is slow.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from reflectioncoder.builder.sources.collect import Verify, drafts, verifier, write_problems
from reflectioncoder.builder.sources.draft import Draft, Dropped
from reflectioncoder.data.files import JsonlAppender, content_hash, read_jsonl, sha256_file
from reflectioncoder.data.json_text import expected_form
from reflectioncoder.data.problems import Problem, parse_problem
from reflectioncoder.errors import UsageError
from reflectioncoder.progress import Progress
from reflectioncoder.sandbox.detect import FLOOR
from reflectioncoder.sandbox.pool import map_ordered
from reflectioncoder.shard_folders import ShardFolder, Work
from reflectioncoder.sharded.common import ShardOutcome, in_order
from reflectioncoder.shards import Shard

LOG = "drafts.jsonl"


def run_shard(
    sources: Sequence[str], output: Path, limit: int | None, workers: int, shard: Shard, *, floor: int = FLOOR
) -> ShardOutcome:
    """Verify this shard's drafts until it has `limit` problems, which is the most that the merge can need from it.

    Raises:
        The errors of `collect_problems` and `ShardFolder.begun`.
        UsageError: a source gives other drafts than when the shard began.
    """
    directory = output.with_name(f"{output.name}.shards") / shard.folder
    log = directory / LOG
    with ShardFolder.begun(directory, shard, _work(sources, output, limit)) as folder:
        num_done, num_kept, digest = _verify_own(sources, shard, log, limit, verifier(floor), workers)
        folder.finish([log], {"num_units": num_done, "drafts": None if num_kept == limit else digest})
    return ShardOutcome(folder, num_done, f"{num_kept} problems", output.parent)


def _verify_own(
    sources: Sequence[str], shard: Shard, log: Path, limit: int | None, verify: Verify, workers: int
) -> tuple[int, int, str | None]:
    """Append the outcomes of this shard's drafts to `log`; return their number, the number kept, and a hash of all shards' drafts."""
    there = [row for _, row in read_jsonl(log, tolerate_torn_tail=True)] if log.exists() else []
    with expected_form(log):
        known = {row["position"]: (row["key"], "problem" in row) for row in there}
    own = _OwnDrafts(sources, shard, {position: key for position, (key, _) in known.items()}, log)

    def result_of(job: tuple[int, str, Draft | Dropped]) -> dict[str, Any]:
        position, key, draft = job
        return {"position": position, "key": key, **_row(verify(draft))}

    num_done, num_kept = len(known), sum(is_kept for _, is_kept in known.values())
    with (
        JsonlAppender(log) as appender,
        Progress(f"problems, shard {shard}", None, num_done) as progress,
        contextlib.closing(map_ordered(result_of, own if num_kept != limit else (), workers)) as rows,
    ):
        for row in rows:
            appender.append(row)
            num_done += 1
            num_kept += "problem" in row
            progress.update(num_done, f"{num_kept} kept")
            if num_kept == limit:
                break
    return num_done, num_kept, own.digest


def merge(shards: Sequence[ShardFolder], output: Path) -> dict[str, Any]:
    """Write the problems that one machine would have written; return the counts of `collect_problems`.

    Raises:
        UsageError: the sources gave the shards different drafts.
    """
    read = {shard.directory: digest for shard in shards if (digest := shard.done().result["drafts"])}
    if len(set(read.values())) > 1:
        first, other = next((a, b) for a, b in itertools.pairwise(read) if read[a] != read[b])
        raise UsageError(f"the sources gave {first} and {other} different drafts\n  hint:    the same files and packages everywhere")
    logs = [(row for _, row in read_jsonl(shard.directory / LOG)) for shard in shards]
    return write_problems(map(_result, in_order(logs)), output, shards[0].work.settings["limit"])


class _OwnDrafts:
    """Iterates over the drafts of a shard that are not in its log yet, with their positions and keys, in order.

    `digest`: a hash of the drafts of all shards; None until all have been read.
    """

    def __init__(self, sources: Sequence[str], shard: Shard, known: dict[int, str], log: Path):
        self._sources, self._shard, self._known, self._log = sources, shard, known, log
        self.digest: str | None = None

    def __iter__(self) -> Iterator[tuple[int, str, Draft | Dropped]]:
        """Yield (position, key, draft); raise UsageError if a source gives other drafts than those in the log."""
        digest = hashlib.sha256()
        for position, draft in enumerate(drafts(self._sources)):
            key = content_hash({**asdict(draft), "where": ""})  # package paths differ between machines
            digest.update(key.encode())
            if not self._shard.takes(position):
                continue
            if self._known.get(position, key) != key:
                raise UsageError(f"{self._log} is about other drafts than the sources have now\n  hint:    remove the shard's folder")
            if position not in self._known:
                yield position, key, draft
        self.digest = digest.hexdigest()


def _row(result: Problem | Dropped) -> dict[str, Any]:
    return {"dropped": asdict(result)} if isinstance(result, Dropped) else {"problem": result.to_json()}


def _result(row: dict[str, Any]) -> Problem | Dropped:
    return Dropped(**row["dropped"]) if "dropped" in row else parse_problem(row["problem"])


def _work(sources: Sequence[str], output: Path, limit: int | None) -> Work:
    data = {source: _identity(source) for source in sources}
    return Work("problems", {"sources": list(sources), "limit": limit}, data, num_units=None, finishing={"name": output.name})


def _identity(source: str) -> str | None:
    """Return the hash of a source file, or the version of the package that a source comes from; None if neither is known."""
    if Path(source).is_file():
        return sha256_file(source)
    kind, _, rest = source.partition(":")
    try:
        return version("reasoning-gym" if kind == "reasoning-gym" else rest)
    except (PackageNotFoundError, ValueError):
        return None
