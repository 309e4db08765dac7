"""Every row is rendered, with --tokenizer by its chat template, and checked: the text of each block
must occur exactly once.

docs/building.md describes the formats. Samples of several runs become one data set.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from reflectioncoder.commands import Outcome


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from reflectioncoder.publish.formats import FORMATS

    parser.add_argument(
        "data",
        nargs="+",
        type=Path,
        metavar="RUN_OR_DATA",
        help="folders made by run, build or improve, or files of samples (JSON Lines)",
    )
    parser.add_argument("--output", required=True, type=Path, metavar="DIR", help="folder to write the data sets and their card to")
    names = ", ".join(FORMATS)
    parser.add_argument(
        "--format",
        nargs="+",
        choices=list(FORMATS),
        default=list(FORMATS),
        metavar="F",
        help=f"formats to write: {names} (default: all)",
    )
    parser.add_argument(
        "--tokenizer", metavar="M", help="folder or hub id of a tokenizer, whose chat template renders the rows for the check"
    )
    parser.add_argument("--verify", action="store_true", help="read every file again with the package `datasets` and compare")


def run(args: argparse.Namespace) -> Outcome:
    from reflectioncoder.data.files import write_atomic
    from reflectioncoder.publish.card import card
    from reflectioncoder.publish.export import CARD_NAME, export, find_sources, verify

    sources = [source for path in args.data for source in find_sources(path)]
    exported = export(sources, args.output, args.format, _tokenizer(args.tokenizer), args.limit)
    written = [name for name, counts in exported.formats.items() if counts.num_rows]
    write_atomic(args.output / CARD_NAME, card(exported))
    lines = [f"{exported.num_samples} samples"]
    for name, counts in exported.formats.items():
        lines.append(f"  {name}: {counts.num_rows} rows" + ("" if counts.num_rows else ", no file"))
        lines += [f"    the tokenizer's chat template cannot show it: {counts.unsupported}"] if counts.unsupported else []
        lines += [f"    {count} samples without a row: {reason}" for reason, count in counts.skipped.items()]
    if args.verify:
        verify(args.output, written)
        lines.append("read again with datasets: the same")
    value: dict[str, Any] = {
        "num_samples": exported.num_samples,
        "formats": {
            name: {"num_rows": c.num_rows, "skipped": dict(c.skipped), "unsupported": c.unsupported}
            for name, c in exported.formats.items()
        },
        "verified": args.verify,
    }
    return Outcome(value, lines, [args.output / name for name in (*(f"{name}.jsonl" for name in written), CARD_NAME)])


def _tokenizer(name: str | None) -> Any:
    from reflectioncoder.config.declarations import ModelConfig
    from reflectioncoder.models.load import load_tokenizer
    from reflectioncoder.models.sources import resolve_model

    if name is None:
        return None
    return load_tokenizer(Path(name) if Path(name).is_dir() else resolve_model(ModelConfig(name)).path)
