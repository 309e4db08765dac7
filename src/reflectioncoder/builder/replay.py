"""Reruns the programs of finished samples to check that the interpreter still prints the recorded outputs.

Outcomes can be kept in a file, one row per sample, so that an interrupted replay resumes.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from reflectioncoder.builder.programs import run_as_cell
from reflectioncoder.data.files import JsonlAppender, content_hash, read_jsonl, write_jsonl
from reflectioncoder.data.json_text import expected_form
from reflectioncoder.data.samples import Sample, language_of
from reflectioncoder.errors import UsageError
from reflectioncoder.languages import PYTHON
from reflectioncoder.progress import Progress
from reflectioncoder.sandbox.detect import detect_isolation
from reflectioncoder.sandbox.limits import Limits
from reflectioncoder.sandbox.pool import map_ordered
from reflectioncoder.sandbox.session import Session

NO_PROGRAM = "(nothing: it stands behind no code block)"
OUTCOMES = "check.jsonl"
"""Name of the file in which a check stores its outcomes."""


@dataclass(frozen=True)
class Drift:
    """An execution with another output: the block's number in its message, what the sample says, what was printed this time.

    `found` is `NO_PROGRAM` where no program can have printed anything.
    """

    sample_id: str
    block: int
    stored: str
    found: str


@dataclass(frozen=True)
class Replayed:
    num_executions: int
    drifts: tuple[Drift, ...]

    def to_json(self) -> dict[str, Any]:
        return {"num_executions": self.num_executions, "drifts": [asdict(drift) for drift in self.drifts]}


def replay(samples: Iterable[Sample], limits: Limits, workers: int = 0) -> Iterator[Replayed]:
    """Yield one result per sample, in order. `limits.wall_s` applies to each program.

    Raises:
        SandboxUnavailableError: programs cannot be run on this machine.
        UsageError: a sample names an unknown language.
    """
    yield from map_ordered(lambda sample: replay_sample(sample, limits), samples, workers)


Replays = Callable[[Sequence[Sample]], Iterator[tuple[int, dict[str, Any]]]]
"""Yields (index, `Replayed.to_json()`) for samples replayed on other machines, in order of completion."""


def replay_into(
    path: Path, samples: Sequence[tuple[int, Sample]], limits: Limits, workers: int, label: str, elsewhere: Replays | None = None
) -> list[dict[str, Any]]:
    """Replay numbered samples into `path` (JSON Lines), skip those already in it, and return the rows in the order of the samples.

    Args:
        elsewhere: replays samples on other machines; by default this one replays `workers` samples at a time.

    Raises:
        The errors of `replay`.
        UsageError: the file holds other content, such as outcomes of other samples.
    """
    keys = {number: content_hash(sample.to_json(), asdict(limits), platform.python_version()) for number, sample in samples}
    there = [row for _, row in read_jsonl(path, tolerate_torn_tail=True)] if path.exists() else []
    with expected_form(path):
        known = {row["position"]: row for row in there}
        for row in there:
            _require_outcome(row)
        if any(keys.get(position) != row["key"] for position, row in known.items()):
            hint = "choose another folder, or remove the file"
            raise UsageError(f"{path} is about other samples, limits or another Python\n  hint:    {hint}")
    todo = [(number, sample) for number, sample in samples if number not in known]
    num_drifts = sum(len(row["drifts"]) for row in known.values())
    with JsonlAppender(path) as appender, Progress(label, len(samples), len(known)) as progress:
        here = ((at, found.to_json()) for at, found in enumerate(replay((sample for _, sample in todo), limits, workers)))
        for at, found in elsewhere([sample for _, sample in todo]) if elsewhere else here:
            number, sample = todo[at]
            row = {"position": number, "id": sample.id, "key": keys[number], **found}
            appender.append(row)
            known[number] = row
            num_drifts += len(found["drifts"])
            progress.update(len(known), f"{num_drifts} differ")
    rows = [known[number] for number, _ in samples]
    write_jsonl(path, rows)
    return rows


def _require_outcome(row: dict[str, Any]) -> None:
    """Raise LookupError or TypeError if a row lacks a field that `Replayed.to_json` writes."""
    _ = row["num_executions"] + 0, [Drift(**drift) for drift in row["drifts"]]


def replay_sample(sample: Sample, limits: Limits) -> Replayed:
    """Run the programs of a sample again; an execution that does not follow a code block is a drift, whatever it says.

    Raises:
        The errors of `replay`.
    """
    drifts, count = [], 0
    spoken = [message.content for message in sample.messages if message.role == "assistant"]
    blocks = [(block, before) for content in spoken for block, before in zip(content, (None, *content), strict=False)]
    language = language_of(sample).name
    num_programs = sum(block.type == "code" for block, _ in blocks)
    cpu_s = limits.wall_s * num_programs + limits.cpu_s
    with Session(replace(limits, cpu_s=cpu_s), detect_isolation()) as session:
        printed = ""
        for number, (block, before) in enumerate(blocks):
            if block.type == "code":
                if language == PYTHON.name:
                    printed = session.run(block.content).output.rstrip("\n")
                else:
                    printed = run_as_cell(block.content, language, limits.wall_s).output.rstrip("\n")
            elif block.type == "execution":
                count += 1
                found = printed if before is not None and before.type == "code" else NO_PROGRAM
                if found is NO_PROGRAM or found != block.content.rstrip("\n"):
                    drifts.append(Drift(sample.id or "(no id)", number, block.content, found))
    return Replayed(count, tuple(drifts))
