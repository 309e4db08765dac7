"""Stand-in."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from reflectioncoder.data.files import sha256_file
from reflectioncoder.data.json_text import parse_json
from reflectioncoder.data.samples import Sample, parse_sample
from reflectioncoder.errors import UsageError


@dataclass(frozen=True)
class Part:
    path: Path
    begin: int
    end: int

    def samples(self) -> Iterator[Sample]:
        with open(self.path, "rb") as file:
            number = 0
            if self.begin:
                file.seek(self.begin - 1)
                file.readline()
            while file.tell() < self.end and (line := file.readline()):
                number += 1
                yield parse_sample(parse_json(line, f"{self.path}"), f"{self.path}")


@dataclass(frozen=True)
class TrainingSet:
    spec: str
    files: tuple[Path, ...]
    identity: str
    revision: str | None
    kind: Literal["reflection", "generation"]

    @property
    def num_bytes(self) -> int:
        return sum(os.path.getsize(file) for file in self.files)

    def parts(self, num_parts: int) -> list[Part]:
        parts = []
        for file in self.files:
            size = os.path.getsize(file)
            cuts = [size * n // num_parts for n in range(num_parts + 1)]
            parts += [Part(file, a, b) for a, b in zip(cuts, cuts[1:], strict=False)]
        return parts


def find_training_set(spec: str, kind: Literal["reflection", "generation"], normalization: str = "none") -> TrainingSet:
    if not Path(spec).is_file():
        raise UsageError(f"file not found: {spec}")
    return TrainingSet(spec, (Path(spec),), sha256_file(spec), None, kind)
