"""Streams data sets from the Hugging Face Hub, or from local folders in one of its formats."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from reflectioncoder.builder.sources.draft import Draft, Dropped
from reflectioncoder.builder.sources.forms import Origin, draft_from
from reflectioncoder.data.hub import (
    HubAddress,
    config_and_split,
    file_of_repository,
    first_lines,
    hub_errors,
    parse_hub_address,
    quiet_datasets,
)
from reflectioncoder.errors import MachineError, UsageError, require


def from_hub(text: str) -> Iterator[Draft | Dropped]:
    """Yield the drafts of `NAME[:CONFIG][:SPLIT][@REVISION]`; a single part is a configuration if one has this name, else a split.

    Raises:
        MachineError: the package `datasets` is missing, or the Hub is unreachable.
        UsageError: unknown data set, revision, configuration or split; a gated data set; rows of an unknown form.
    """
    address = parse_hub_address(text)
    name = address.name
    if address.revision and Path(name).is_dir():
        raise UsageError.for_value("a local folder has no revisions", "source", str(address), "the folder's name without @REVISION")
    datasets = quiet_datasets("hub")
    with hub_errors(str(address), name, address.revision):
        config, split = config_and_split(datasets, address, address.revision)
        rows = datasets.load_dataset(name, config, split=split, revision=address.revision, streaming=True)
        # Errors in the address only show when the first row is read.
        first = list(itertools.islice(rows, 1))
    origin = Origin(Path(name).name, name, rows.info.license or _stated_license(address))
    for number, row in enumerate(_readable(itertools.chain(first, itertools.islice(rows, 1, None)), address)):
        yield draft_from(row, number, f"{address}, row {number}", origin)


def _readable(rows: Iterable[dict[str, Any]], address: HubAddress) -> Iterator[dict[str, Any]]:
    """Yield the rows; any library exception about a broken file becomes a MachineError that names the row."""
    iterator = iter(rows)
    for number in itertools.count():
        try:
            row = next(iterator)
        except StopIteration:
            return
        except Exception as error:
            raise MachineError(f"{address}, row {number}: cannot be read: {first_lines(error)}") from error
        yield row


def _stated_license(address: HubAddress) -> str:
    """Return the licence stated in the data set's card; "" if there is none."""
    hub: Any = require("huggingface_hub", "hub")
    try:
        local = Path(address.name) / "README.md"
        is_local = Path(address.name).is_dir()
        path = local if is_local else file_of_repository("data set", address.name, local.name, address.revision)
        if path is None:
            return ""
        stated = hub.DatasetCard.load(path).data.to_dict().get("license")
    except (OSError, ValueError):
        return ""
    return ", ".join(stated) if isinstance(stated, list) else stated or ""
