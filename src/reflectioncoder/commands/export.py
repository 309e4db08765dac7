"""Every row is rendered, with --tokenizer by its chat template, and checked: the text of each block
must occur exactly once.

docs/exports.md describes the formats. Samples of several runs become one data set. With --model the
trained model of a finished run is written instead, as a folder that is ready for the hub; with --gguf alone
the models of runs or folders, for llama.cpp.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
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
        help="folders made by run, build or improve, or files of samples (JSON Lines); with --model the folder of one finished run; "
        "with --gguf alone runs or model folders",
    )
    parser.add_argument("--output", required=True, type=Path, metavar="DIR", help="folder to write to")
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
        "--model",
        action="store_true",
        help="write the trained model: merged weights, adapter, chat template, results and a card, checked by loading it anew with "
        "transformers, PEFT and llama.cpp",
    )
    parser.add_argument(
        "--license", metavar="ID", help="with --model: licence of the model as the hub writes it (default: the base model's)"
    )
    parser.add_argument(
        "--base-model",
        metavar="ID",
        help="with --model: name of the base model on the hub, where the recipe names a folder (default: the folder's own name)",
    )
    parser.add_argument(
        "--failed-attempts",
        choices=FAILED_ATTEMPTS,
        help=described("whether the code of attempts that fail is trained by the rows' readers", FAILED_ATTEMPTS_HELP, "train"),
    )
    parser.add_argument("--gguf", choices=GGUF_DTYPES, help=described("write models as GGUF files", GGUF_DTYPES_HELP, "no models"))
    parser.add_argument(
        "--verify",
        action=argparse.BooleanOptionalAction,
        help="read every file again with the package `datasets` and compare; with --gguf compare llama.cpp's answers with the model's; "
        "--model does it unless --no-verify is given",
    )
    parser.add_argument(
        "--push", metavar="REPO", help="upload the folder to this repository of the Hugging Face Hub; needs a token that may write"
    )
    parser.add_argument("--public", action="store_true", help="a repository that --push makes is public (default: private)")


def run(args: argparse.Namespace) -> Outcome:
    from reflectioncoder.errors import UsageError
    from reflectioncoder.publish.push import require_upload

    for name in ("license", "base_model"):
        if getattr(args, name) is not None and not args.model:
            raise UsageError(f"--{name.replace('_', '-')} is for --model")
    if args.public and not args.push:
        raise UsageError("--public is for --push")
    if args.push is not None:
        if args.gguf and not args.model:
            raise UsageError("--push is for data sets and for --model, which may be given together with --gguf")
        require_upload(args.push)
    if args.model:
        return _pushed(args, _export_model_folder(args))
    return _export_models(args) if args.gguf else _pushed(args, _export_data(args))


def _pushed(args: argparse.Namespace, outcome: Outcome) -> Outcome:
    from reflectioncoder.publish.push import push

    if args.push is None:
        return outcome
    address = push(args.output, args.push, "model" if args.model else "data set", is_public=args.public)
    return replace(outcome, value={**outcome.value, "pushed": address}, lines=[*outcome.lines, f"uploaded to {address}"])


def _refuse_options_of_data(args: argparse.Namespace, option: str) -> None:
    from reflectioncoder.errors import UsageError

    for name in ("format", "tokenizer", "limit", "failed_attempts"):
        if getattr(args, name) is not None:
            raise UsageError(f"--{name.replace('_', '-')} is for data sets, {option} writes models")


def _export_model_folder(args: argparse.Namespace) -> Outcome:
    from reflectioncoder.errors import UsageError
    from reflectioncoder.publish.finished_run import read_finished_run
    from reflectioncoder.publish.model_card import verification_lines
    from reflectioncoder.publish.model_folder import make_model_folder

    _refuse_options_of_data(args, "--model")
    if len(args.data) > 1:
        raise UsageError(f"--model takes one run, got {len(args.data)}")
    is_checked = args.verify is not False
    run = read_finished_run(args.data[0], args.base_model)
    made = make_model_folder(run, args.output, args.gguf, license=args.license, is_checked=is_checked)
    lines = verification_lines(made.checks) if made.checks else ["not checked (--no-verify)"]
    value = {
        "was_there": made.was_there,
        "files": {str(file.relative_to(made.path)): file.stat().st_size for file in made.files},
        "checks": [check.to_json() for check in made.checks],
    }
    return Outcome(value, lines, [made.path])


def _export_models(args: argparse.Namespace) -> Outcome:
    from reflectioncoder.errors import UsageError
    from reflectioncoder.generate.gguf_check import verify_gguf
    from reflectioncoder.models.gguf_export import find_model, write_gguf

    _refuse_options_of_data(args, "--gguf")
    folders = {f"{os.path.basename(os.path.realpath(path))}-{args.gguf}.gguf": find_model(path) for path in args.data}
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
        "verified": bool(args.verify),
    }
    return Outcome(value, lines, [args.output / name for name in (*(f"{name}.jsonl" for name in written), CARD_NAME)])


def _tokenizer(name: str | None) -> Any:
    from reflectioncoder.config.declarations import ModelConfig
    from reflectioncoder.models.load import load_tokenizer
    from reflectioncoder.models.sources import resolve_model

    if name is None:
        return None
    return load_tokenizer(Path(name) if Path(name).is_dir() else resolve_model(ModelConfig(name)).path)
