"""Runs the programs of finished samples again: does the interpreter still print what the samples say?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from reflectioncoder.builder.executions import run_as_cell
from reflectioncoder.data.samples import Sample, language_of
from reflectioncoder.languages import PYTHON
from reflectioncoder.sandbox.detect import detect_isolation
from reflectioncoder.sandbox.limits import Limits
from reflectioncoder.sandbox.pool import map_ordered
from reflectioncoder.sandbox.session import Session


@dataclass(frozen=True)
class Drift:
    """An execution with another output: the block's number in its message, what the sample says, what was printed this time."""

    sample_id: str
    block: int
    stored: str
    found: str


@dataclass(frozen=True)
class Replayed:
    num_executions: int
    drifts: tuple[Drift, ...]


def replay(samples: Iterable[Sample], limits: Limits, workers: int = 0) -> Iterator[Replayed]:
    """Yield one result per sample, in order. `limits.wall_s` holds for each program.

    Raises:
        SandboxUnavailableError: programs cannot be run here.
        UsageError: a sample names a language that is not known.
    """
    yield from map_ordered(lambda sample: _replay(sample, limits), samples, workers)


def _replay(sample: Sample, limits: Limits) -> Replayed:
    drifts, count = [], 0
    blocks = [block for message in sample.messages if message.role == "assistant" for block in message.content]
    language = language_of(sample).name
    num_programs = sum(block.type == "code" for block in blocks)
    cpu_s = limits.wall_s * num_programs + limits.cpu_s
    with Session(replace(limits, cpu_s=cpu_s), detect_isolation()) as session:
        printed = None
        for number, block in enumerate(blocks):
            if block.type == "code":
                if language == PYTHON.name:
                    printed = session.run(block.content).output.rstrip("\n")
                else:
                    printed = run_as_cell(block.content, language, limits.wall_s).output.rstrip("\n")
            elif block.type == "execution" and printed is not None:
                count += 1
                if printed != block.content.rstrip("\n"):
                    drifts.append(Drift(sample.id or "(no id)", number, block.content, printed))
    return Replayed(count, tuple(drifts))
