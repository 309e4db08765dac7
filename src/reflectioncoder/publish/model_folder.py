"""Makes a finished run's model folder, ready for a hub: merged weights, adapter, GGUF and card, checked with its readers.

The folder appears once it is complete and checked, and is never overwritten: a repeated call only compares it with its inputs, and
keeps it as it is, including a card that the user may have edited.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from reflectioncoder import __version__
from reflectioncoder.choices import GgufDtype
from reflectioncoder.data.files import content_hash, explain_full_disk, read_json, sha256_file, write_atomic, write_json
from reflectioncoder.data.hub import file_of_repository, first_lines
from reflectioncoder.data.json_text import expected_form
from reflectioncoder.data.temporary import remove_abandoned, temporary_beside
from reflectioncoder.errors import UsageError
from reflectioncoder.models.digests import model_hash
from reflectioncoder.models.gguf_export import check_gguf, write_gguf
from reflectioncoder.progress import say
from reflectioncoder.publish.export import CARD_NAME
from reflectioncoder.publish.finished_run import FinishedRun
from reflectioncoder.publish.model_card import model_card, stated_license
from reflectioncoder.publish.model_check import ADAPTER, Checked, check_model_folder, more_rows

RECORD = "verification.json"
_MARKER = "reflectioncoder.json"
_ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")


@dataclass(frozen=True)
class ModelFolder:
    """A finished folder, its readers' findings (empty: not checked), and whether it existed before."""

    path: Path
    checks: tuple[Checked, ...]
    was_there: bool = False

    @property
    def files(self) -> list[Path]:
        return sorted(file for file in self.path.rglob("*") if file.is_file())


def make_model_folder(
    run: FinishedRun, output: Path, gguf: GgufDtype | None = None, *, license: str | None = None, is_checked: bool = True
) -> ModelFolder:
    """Write the folder, or return the one of an earlier call with the same run and arguments.

    Args:
        gguf: type of the GGUF file; None: no such file.
        license: the model's licence as the hub writes it; None: the one in the base model's card.
        is_checked: load the folder with transformers, PEFT and llama.cpp, and let each answer once.

    Raises:
        UsageError: `output` holds something else; the model cannot be written as GGUF.
        CheckFailedError: a reader finds an error; nothing is left behind.
        MachineError: the disk is full, or a package is missing.
    """
    results = [evaluation.trained["metrics"] for evaluation in run.evaluations]
    key = content_hash(__version__, model_hash(run.model), run.base_name, results, gguf, license, is_checked)
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        return _made_before(output, key)
    if gguf is not None:
        check_gguf(run.model)
    output.parent.mkdir(parents=True, exist_ok=True)
    remove_abandoned(output)
    scratch = temporary_beside(output)
    try:
        with explain_full_disk(output.parent):
            checks = _write(run, scratch, gguf, license, is_checked=is_checked)
            files = {str(file.relative_to(scratch)): sha256_file(file) for file in ModelFolder(scratch, ()).files}
            write_json(scratch / RECORD, {"key": key, "checks": [check.to_json() for check in checks], "files": files})
            if output.exists():
                output.rmdir()
            os.replace(scratch, output)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return ModelFolder(output, tuple(checks))


def _write(run: FinishedRun, folder: Path, gguf: GgufDtype | None, license: str | None, *, is_checked: bool) -> list[Checked]:
    folder.mkdir()
    for file in run.model_files:
        if file.name != CARD_NAME:
            copy = folder / file.relative_to(run.model)
            copy.parent.mkdir(exist_ok=True, parents=True)
            shutil.copyfile(file, copy)
    write_json(folder / _MARKER, {**read_json(folder / _MARKER), "base_model": run.base_name})
    base = Path(run.env["model"]["path"])
    if run.adapter is not None:
        _copy_adapter(run, run.adapter, folder / ADAPTER)
    elif run.recipe.train.lora is not None:
        say("the LoRA by itself is not in the folder: the last checkpoint of the training is not there any more")
    written = None if gguf is None else (write_gguf(folder, folder / f"{run.name}-{gguf}.gguf", gguf), gguf)
    num_rows = more_rows(folder, base) if run.adapter is not None and (base / "config.json").is_file() else None
    trained_on = replace(run.recipe.model, name=str(base)) if base.is_dir() else run.recipe.model
    checks = check_model_folder(folder, trained_on if run.adapter else None, written) if is_checked else []
    name = written[0].name if written else None
    write_atomic(folder / CARD_NAME, model_card(run, license or _license_of(run, base), name, checks, num_rows=num_rows))
    return checks


def _copy_adapter(run: FinishedRun, checkpoint: Path, folder: Path) -> None:
    """Copy the LoRA of a checkpoint, with the base model's public name in place of a local folder."""
    folder.mkdir()
    for name in _ADAPTER_FILES:
        shutil.copyfile(checkpoint / name, folder / name)
    named = {"base_model_name_or_path": run.base_name, "revision": run.recipe.model.revision}
    settings = {**read_json(folder / _ADAPTER_FILES[0]), **named}
    write_json(folder / _ADAPTER_FILES[0], settings)


def _license_of(run: FinishedRun, base: Path) -> str | None:
    """Return the licence in the base model's card, from its folder or the hub; None if it is unavailable."""
    card = base / CARD_NAME
    if not card.is_file() and run.env["model"]["origin"] == "hub":
        try:
            card = file_of_repository("model", run.recipe.model.name, CARD_NAME, run.recipe.model.revision) or card
        except Exception as error:  # noqa: BLE001 (offline, no card, gated: the licence stays unknown)
            say(f"the licence of {run.base_name} is not known: {first_lines(error)}")
    return stated_license(card.read_text(encoding="utf-8", errors="replace")) if card.is_file() else None


def _made_before(output: Path, key: str) -> ModelFolder:
    """Return a folder from an earlier call, if it is unchanged.

    Raises:
        UsageError: it is something else, or was made from another run or with other arguments.
    """
    hint = "\n  hint:    name a new folder; none is written over"
    if not output.is_dir() or not (output / RECORD).is_file():
        raise UsageError(f"{output} is there already, and is no folder of an exported model{hint}")
    with expected_form(output / RECORD):
        known: dict[str, Any] = read_json(output / RECORD)
        checks = tuple(Checked(**check) for check in known["checks"])
        files: dict[str, str] = known["files"]
        if known["key"] != key:
            raise UsageError(f"{output} holds the model of another run, or one that was exported with other options{hint}")
    found = {str(file.relative_to(output)) for file in ModelFolder(output, ()).files}
    changed = sorted((found ^ files.keys()) - {RECORD}) + [
        name for name in sorted(found & files.keys()) if name != CARD_NAME and sha256_file(output / name) != files[name]
    ]
    if changed:
        raise UsageError(f"{output / changed[0]} is not as it was exported{hint}")
    say(f"{output} was exported before; it stays as it is")
    return ModelFolder(output, checks, was_there=True)
