"""Reads data sets of the Hugging Face Hub, or local folders in one of its formats, row by row without downloading the whole."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from reflectioncoder.builder.sources.draft import Draft, Dropped
from reflectioncoder.builder.sources.forms import Origin, draft_from
from reflectioncoder.errors import MachineError, UsageError, require

_DEFAULT_SPLIT = "train"


def from_hub(address: str) -> Iterator[Draft | Dropped]:
    """Yield the drafts of `NAME`, `NAME:SPLIT`, `NAME:CONFIG` or `NAME:CONFIG:SPLIT`; an ambiguous part is a configuration.

    Raises:
        MachineError: the package `datasets` is missing, or the Hub is not reached.
        UsageError: no such data set, configuration or split; rows of an unknown form.
    """
    datasets: Any = require("datasets", "hub")
    name, *parts = address.split(":")
    if not name or len(parts) > 2:
        raise UsageError.for_value("malformed address of a data set", "source", f"hub:{address}", "hub:NAME[:CONFIG][:SPLIT]")
    datasets.disable_progress_bars()
    try:
        config, split = _config_and_split(datasets, name, parts)
        rows = datasets.load_dataset(name, config, split=split, streaming=True)
        # The first row is where a wrong address shows.
        first = list(itertools.islice(rows, 1))
    except (FileNotFoundError, ValueError) as error:  # DatasetNotFoundError is a FileNotFoundError
        raise UsageError(f"hub:{address}: {_first_line(error)}") from error
    except OSError as error:
        raise MachineError(
            f"hub:{address} cannot be read: {_first_line(error)}\n  hint:    a local folder can be given as NAME"
        ) from error
    origin = Origin(Path(name).name, name, rows.info.license or _stated_license(name))
    for number, row in enumerate(_readable(itertools.chain(first, itertools.islice(rows, 1, None)), address)):
        yield draft_from(row, number, f"hub:{address}, row {number}", origin)


def _readable(rows: Iterable[dict[str, Any]], address: str) -> Iterator[dict[str, Any]]:
    """Yield the rows; whatever the libraries below raise about a broken file becomes one error that names the row."""
    iterator = iter(rows)
    for number in itertools.count():
        try:
            row = next(iterator)
        except StopIteration:
            return
        except Exception as error:
            raise MachineError(f"hub:{address}, row {number}: cannot be read: {_first_line(error)}") from error
        yield row


def _config_and_split(datasets: Any, name: str, parts: list[str]) -> tuple[str | None, str]:
    if len(parts) == 2:
        return parts[0] or None, parts[1] or _DEFAULT_SPLIT
    if parts and parts[0] not in datasets.get_dataset_config_names(name):
        return None, parts[0]
    return (parts[0] if parts else None), _DEFAULT_SPLIT


def _stated_license(name: str) -> str:
    """Return the licence that the data set's card states; "" if it states none."""
    card: Any = require("huggingface_hub", "hub").DatasetCard
    try:
        stated = card.load(Path(name) / "README.md" if Path(name).is_dir() else name).data.to_dict().get("license")
    except (OSError, ValueError):
        return ""
    return ", ".join(stated) if isinstance(stated, list) else stated or ""


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
