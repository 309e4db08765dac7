"""Writes one problem file from several sources, row by row, without holding all drafts or problems in memory."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from reflectioncoder.builder.sources import read_source
from reflectioncoder.builder.sources.draft import Draft, Dropped
from reflectioncoder.builder.sources.verify import verify
from reflectioncoder.config.building import BuildConfig
from reflectioncoder.config.declarations import SandboxConfig
from reflectioncoder.config.limits import limits_from
from reflectioncoder.data.files import JsonlWriter
from reflectioncoder.data.problems import Problem
from reflectioncoder.progress import Progress
from reflectioncoder.sandbox.detect import FLOOR, detect_isolation, require_floor
from reflectioncoder.sandbox.limits import Limits
from reflectioncoder.sandbox.pool import map_ordered

_MAX_SHOWN = 3  # examples per reason for dropping
Verify = Callable[[Draft | Dropped], Problem | Dropped]
"""Turns a draft into a problem. Must be thread-safe."""


def collect_problems(
    sources: Iterable[str],
    output: Path,
    limit: int | None = None,
    workers: int = 0,
    verify_draft: Verify | None = None,
    *,
    floor: int = FLOOR,
) -> dict[str, Any]:
    """Write the first `limit` problems of all sources to `output`, and dropped drafts to a file beside it (`dropped_file`).

    Returns the number of kept problems, the numbers of dropped drafts by reason, and the first examples of each reason.

    Args:
        verify_draft: verifies a draft on another machine; by default drafts are verified on this one.
        floor: the weakest isolation tier accepted on this machine.

    Raises:
        UsageError: an unknown source, or rows of an unknown form. As with any error, `output` is left untouched.
        MachineError: a package is missing, or the disk is full.
        SandboxUnavailableError: programs cannot be run on this machine.
    """
    with contextlib.closing(map_ordered(verify_draft or verifier(floor), drafts(sources), workers)) as results:
        return write_problems(results, output, limit)


def verifier(floor: int = FLOOR) -> Verify:
    """Return the function that turns a draft into a problem under the default limits.

    Raises:
        SandboxUnavailableError: programs cannot be run on this machine, or only below the tier `floor`.
    """
    require_floor(detect_isolation(), floor)
    return partial(_verified, limits=replace(limits_from(SandboxConfig()), wall_s=BuildConfig().cell_timeout_s))


def dropped_file(output: Path) -> Path:
    """Return the path of the file beside a problem file that lists dropped drafts with reasons."""
    return output.with_name(f"{output.name.removesuffix('.jsonl')}.dropped.jsonl")


def write_problems(results: Iterable[Problem | Dropped], output: Path, limit: int | None) -> dict[str, Any]:
    """Write the first `limit` problems and the drafts dropped before the last of them; return the result of `collect_problems`."""
    num_kept, num_verified, dropped, first = 0, 0, Counter[str](), dict[str, list[str]]()
    with JsonlWriter(output) as written, JsonlWriter(dropped_file(output)) as left_out, Progress("problems", None) as progress:
        for done, result in enumerate(results, start=1):
            if isinstance(result, Dropped):
                dropped[result.reason] += 1
                left_out.write(asdict(result))
                if len(shown := first.setdefault(result.reason, [])) < _MAX_SHOWN:
                    shown.append(str(result))
            else:
                written.write(result.to_json())
                num_kept += 1
                num_verified += result.has_reference and bool(result.tests)
            progress.update(done, f"{num_kept} kept")
            if num_kept == limit:
                break
        if not num_kept and output.exists():
            written.discard()  # an earlier file is worth more than an empty one
    if not dropped:
        dropped_file(output).unlink(missing_ok=True)
    return {
        "num_problems": num_kept,
        "num_verified": num_verified,
        "dropped": dict(dropped.most_common()),
        "first_dropped": first,
    }


def _verified(draft: Draft | Dropped, limits: Limits) -> Problem | Dropped:
    return draft if isinstance(draft, Dropped) else verify(draft, limits)


def drafts(sources: Iterable[str]) -> Iterator[Draft | Dropped]:
    """Yield all drafts; drop those with an id that occurred before."""
    seen: set[int] = set()  # hashes save 10 MB per 10^5 ids
    for source in sources:
        for draft in read_source(source):
            task_id = draft.task_id if isinstance(draft, Dropped) else draft.problem.task_id
            if hash(task_id) in seen:
                yield Dropped(task_id, "duplicate_id", where=draft.where)
                continue
            seen.add(hash(task_id))
            yield draft
