"""Every row is rendered, with --tokenizer by its chat template, and checked: the text of each block
must occur exactly once.

docs/exports.md describes the formats. Samples of several runs become one data set. With --gguf the models
of runs or folders are written instead, for llama.cpp.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from reflectioncoder.choices import FAILED_ATTEMPTS, FAILED_ATTEMPTS_HELP, GGUF_DTYPES, GGUF_DTYPES_HELP
from reflectioncoder.commands import Outcome, described


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from reflectioncoder.publish.formats import FORMATS

    parser.add_argument(
        "data",
        nargs="+",
        type=Path,
        metavar="RUN_OR_DATA",
        help="folders made by run, build or improve, or files of samples (JSON Lines); with --gguf runs or model folders",
    )
    parser.add_argument("--output", required=True, type=Path, metavar="DIR", help="folder to write the data sets and their card to")
    names = ", ".join(FORMATS)
    parser.add_argument(
        "--format",
        nargs="+",
        choices=list(FORMATS),
        metavar="F",
        help=f"formats to write: {names} (default: all)",
    )
    parser.add_argument(
        "--tokenizer", metavar="M", help="folder or hub id of a tokenizer, whose chat template renders the rows for the check"
    )
    parser.add_argument(
        "--failed-attempts",
        choices=FAILED_ATTEMPTS,
        help=described("whether the code of attempts that fail is trained by the rows' readers", FAILED_ATTEMPTS_HELP, "train"),
    )
    parser.add_argument("--gguf", choices=GGUF_DTYPES, help=described("write models as GGUF files", GGUF_DTYPES_HELP, "no models"))
    parser.add_argument(
        "--verify",
        action="store_true",
        help="read every file again with the package `datasets` and compare; with --gguf compare llama.cpp's answers with the model's",
    )


def run(args: argparse.Namespace) -> Outcome:
    return _export_models(args) if args.gguf else _export_data(args)


def _export_models(args: argparse.Namespace) -> Outcome:
    from reflectioncoder.errors import UsageError
    from reflectioncoder.generate.gguf_check import verify_gguf
    from reflectioncoder.models.gguf_export import find_model, write_gguf

    for name in ("format", "tokenizer", "limit", "failed_attempts"):
        if getattr(args, name) is not None:
            raise UsageError(f"--{name.replace('_', '-')} is for data sets, --gguf writes models")
    folders = {f"{path.resolve().name}-{args.gguf}.gguf": find_model(path) for path in args.data}
    if len(folders) < len(args.data):
        raise UsageError("two models of the same name cannot be written into one folder")
    lines: list[str] = []
    value: dict[str, Any] = {}
    for name, folder in folders.items():
        path = write_gguf(folder, args.output / name, args.gguf)
        found = verify_gguf(folder, path, args.gguf) if args.verify else None
        lines += [f"{name}: {path.stat().st_size / 1e6:.0f} MB", *(f"  {line}" for line in (found.lines if found else ()))]
        value[name] = {"model": str(folder), "num_bytes": path.stat().st_size, "verified": found.to_json() if found else None}
    return Outcome(value, lines, [args.output / name for name in folders])


def _export_data(args: argparse.Namespace) -> Outcome:
    from reflectioncoder.data.files import write_atomic
    from reflectioncoder.publish.card import card
    from reflectioncoder.publish.export import CARD_NAME, export, find_sources, verify
    from reflectioncoder.publish.formats import FORMATS

    sources = [source for path in args.data for source in find_sources(path)]
    formats, failed = args.format or list(FORMATS), args.failed_attempts or "train"
    exported = export(sources, args.output, formats, _tokenizer(args.tokenizer), args.limit, failed)
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
