"""Reads CodeI/O from the package reasoning-gym: programs with input generators, from which tests are recorded."""

from __future__ import annotations

from collections.abc import Iterator

from reflectioncoder.builder.sources.draft import Draft, Dropped
from reflectioncoder.builder.sources.forms import Origin, draft_from
from reflectioncoder.builder.sources.packages import package_root, provenance
from reflectioncoder.data.files import read_jsonl
from reflectioncoder.errors import UsageError

PACKAGE = "reasoning_gym"
DATA = {"codeio": "codeio.jsonl.gz", "codeio-hq": "codeio-hq.jsonl.gz"}


def from_reasoning_gym(data: str) -> Iterator[Draft | Dropped]:
    """Yield drafts from one of the package's data files. The package itself is heavy and not imported.

    Raises:
        MachineError: the package is not installed.
        UsageError: unknown data file.
    """
    if data not in DATA:
        raise UsageError.for_value("unknown data of reasoning-gym", "source", data, DATA)
    path = package_root(PACKAGE, "--no-deps reasoning-gym") / "data" / DATA[data]
    source, license_ = provenance(PACKAGE)
    origin = Origin(data, f"CodeI/O, {source}", f"{license_}; CodeI/O: ODC-BY")
    for number, row in read_jsonl(path):
        yield draft_from(row, number, f"{path}:{number}", origin)
