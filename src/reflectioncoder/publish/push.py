"""Uploads an exported folder to the Hugging Face Hub with the hub's own client. Messages never show the token."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from reflectioncoder.data.hub import HubKind, first_lines
from reflectioncoder.errors import MachineError, UsageError, require
from reflectioncoder.paths import is_offline

_TOKEN = "set HF_TOKEN to one that may write, or: hf auth login"
_FORM = "NAME or OWNER/NAME: letters, digits, '-', '_' and '.'"


def require_upload(repository: str) -> None:
    """Check before any work that an upload is possible.

    Raises:
        UsageError: not the name of a repository.
        MachineError: downloads and uploads are off, there is no token, or the client is not installed.
    """
    hub: Any = require("huggingface_hub", "hub")
    errors: Any = require("huggingface_hub.errors", "hub")
    try:
        require("huggingface_hub.utils", "hub").validate_repo_id(repository)
    except errors.HFValidationError:
        raise UsageError.for_value("not the name of a repository", "--push", repository, _FORM) from None
    if is_offline():
        raise MachineError("--push needs the hub, and this command is offline\n  hint:    leave out --offline, unset HF_HUB_OFFLINE")
    if not hub.get_token():
        raise MachineError(f"--push needs a token of the hub\n  hint:    {_TOKEN}")


def push(folder: Path, repository: str, kind: HubKind, *, is_public: bool = False) -> str:
    """Upload a folder as one repository, which is created if missing; return its URL.

    Existing files are kept or replaced one by one; nothing is deleted. An existing repository keeps its visibility.

    Raises:
        UsageError: the hub rejects the name or the content.
        MachineError: the hub rejects the token, cannot be reached, or fails.
    """
    hub: Any = require("huggingface_hub", "hub")
    errors: Any = require("huggingface_hub.errors", "hub")
    require("huggingface_hub.utils", "hub").disable_progress_bars()
    what: dict[str, Any] = {"repo_id": repository, "repo_type": "dataset" if kind == "data set" else "model"}
    try:
        api = hub.HfApi()
        made = api.create_repo(**{**what, "private": not is_public, "exist_ok": True})
        what["repo_id"] = made.repo_id
        api.upload_folder(**what, folder_path=folder, commit_message="Exported by ReflectionCoder")
    except errors.HfHubHTTPError as error:
        raise _refused(error, folder, repository) from None
    except (AttributeError, NameError):  # bugs in this program
        raise
    except Exception as error:  # noqa: BLE001 (several libraries raise for failed connections and name resolution)
        raise MachineError(
            f"{repository}: the upload did not succeed: {type(error).__name__}: {first_lines(error)}\n  hint:    {_again(folder)}"
        ) from None
    return str(made)


def _refused(error: Any, folder: Path, repository: str) -> UsageError | MachineError:
    status = error.response.status_code if error.response is not None else 0
    if status == 401:
        return MachineError(f"{repository}: the hub does not accept the token\n  hint:    {_TOKEN}")
    if status in (403, 404):
        hint = "name a repository of your own, or take a token that may write"
        return MachineError(f"{repository}: the token may not write there\n  hint:    {hint}")
    if status in (400, 409, 413, 422):
        return UsageError(f"{repository}: the hub refuses the upload: {first_lines(error, 3)}")
    return MachineError(f"{repository}: the hub answers with an error: {first_lines(error)}\n  hint:    {_again(folder)}")


def _again(folder: Path) -> str:
    return f"{folder} is complete: run the same command again"
