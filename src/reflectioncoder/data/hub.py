"""Finds data sets of the Hugging Face Hub by address, `NAME[:CONFIG][:SPLIT][@REVISION]`, with the hub's own clients.

A data set is downloaded once, at one commit, and found again without a network. Each error is one message without credentials.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from reflectioncoder.data.files import content_hash, read_json, remember_json
from reflectioncoder.data.json_text import expected_form
from reflectioncoder.errors import MachineError, ReflectionCoderError, UnreachableError, UsageError, require
from reflectioncoder.paths import cache_dir
from reflectioncoder.progress import say

HUB_PREFIX = "hub:"
HUB_FORM = "hub:NAME[:CONFIG][:SPLIT][@REVISION]"
_DEFAULT_SPLIT = "train"

HubKind = Literal["data set", "model"]


@dataclass(frozen=True)
class HubAddress:
    """The address of a data set. `parts`: configuration and split, or one of them; `revision`: a branch, tag or commit."""

    name: str
    parts: tuple[str, ...] = ()
    revision: str | None = None

    def __str__(self) -> str:
        return HUB_PREFIX + ":".join((self.name, *self.parts)) + (f"@{self.revision}" if self.revision else "")


@dataclass(frozen=True)
class HubData:
    """A split of a data set on this machine: its Arrow files, in order, and the commit that they were made from."""

    files: tuple[Path, ...]
    config: str
    split: str
    commit: str


def parse_hub_address(text: str) -> HubAddress:
    """Parse `NAME[:CONFIG][:SPLIT][@REVISION]`, with or without a leading `hub:`. The name of a local folder may contain an @.

    Raises:
        UsageError: the text has another form.
    """
    text = text.removeprefix(HUB_PREFIX)
    rest, at, revision = text.rpartition("@")
    if not at or ":" in revision or Path(text).exists():
        rest, at, revision = text, "", ""
    name, *parts = rest.split(":")
    if not name or len(parts) > 2 or (at and not revision):
        raise UsageError.for_value("malformed address of a data set", "source", HUB_PREFIX + text, HUB_FORM)
    return HubAddress(name, tuple(parts), revision or None)


def find_hub_data(address: HubAddress) -> HubData:
    """Return a split of a data set, downloaded if it is not cached.

    Raises:
        UsageError: no such data set, revision, configuration or split; a gated data set; the name of a local folder.
        MachineError: the hub cannot be reached and the data set is not cached; a package is missing.
    """
    if Path(address.name).exists():
        raise UsageError.for_value("this is a local folder", "source", str(address), HUB_FORM, f"name it without hub: {address.name}")
    with hub_errors(str(address), address.name, address.revision):
        commit = commit_of(address)
        note = cache_dir() / "hub" / f"{content_hash(address.name, address.parts, commit)}.json"
        found = _noted(note, commit)
        if found is None:
            say(f"data: {address} at {commit[:12]} is being downloaded")
            found = _prepared(address, commit)
            remember_json(note, {"config": found.config, "split": found.split, "files": [str(file) for file in found.files]})
    return found


def commit_of(address: HubAddress) -> str:
    """Return the commit of an address's revision; without a network, the one last used."""
    card = ["README.md", ".gitattributes"]  # `datasets` selects the other files
    return _snapshot("data set", address.name, card, address.revision).name


def file_of_repository(kind: HubKind, name: str, file: str, revision: str | None, **options: Any) -> Path | None:
    """Return one file of a repository, downloaded if it is not cached; None if the repository has no such file.

    It is asked for as a snapshot of one file: for a file by itself the hub's client tries five times, half a minute, before it says
    that the hub cannot be reached.
    """
    path = _snapshot(kind, name, [file], revision, **options) / file
    return path if path.is_file() else None


def _snapshot(kind: HubKind, name: str, files: list[str], revision: str | None, **options: Any) -> Path:
    hub: Any = require("huggingface_hub", "train")
    require("huggingface_hub.utils", "train").disable_progress_bars()
    repo_type = "model" if kind == "model" else "dataset"
    return Path(hub.snapshot_download(name, repo_type=repo_type, revision=revision, allow_patterns=files, **options))


def _noted(note: Path, commit: str) -> HubData | None:
    """Return the data set prepared earlier, if all its files still exist."""
    if not note.is_file():
        return None
    with contextlib.suppress(UsageError), expected_form(note):  # a damaged note is rewritten
        value = read_json(note)
        files = tuple(map(Path, value["files"]))
        return HubData(files, value["config"], value["split"], commit) if all(file.is_file() for file in files) else None
    return None


def _prepared(address: HubAddress, commit: str) -> HubData:
    """Download and convert a data set with `datasets`, into that library's cache."""
    datasets = quiet_datasets("train")
    config, split = config_and_split(datasets, address, commit)
    builder = datasets.load_dataset_builder(address.name, config, revision=commit)
    if builder.hash != commit:  # `datasets` uses the newest cached commit if it cannot reach the hub
        raise MachineError(f"{address}: the hub is not reached, and the commit {commit} is not in the cache")
    splits = [str(name) for name in builder.config.data_files or builder.info.splits or ()]
    if split not in splits:
        allowed = splits if len(address.parts) != 1 else [*splits, *datasets.get_dataset_config_names(address.name, revision=commit)]
        raise UsageError.for_value("no such split or configuration", str(address), split, allowed)
    builder.download_and_prepare()
    files = tuple(Path(file["filename"]) for file in builder.as_dataset(split).cache_files)
    return HubData(files, builder.config.name, split, commit)


def config_and_split(datasets: Any, address: HubAddress, revision: str | None) -> tuple[str | None, str]:
    """Return (configuration or None for the default, split). A single part is a configuration if one of that name exists.

    Raises:
        UsageError: no such configuration.
    """
    if not address.parts:
        return None, _DEFAULT_SPLIT
    configs = datasets.get_dataset_config_names(address.name, revision=revision)
    first, *others = address.parts
    if not others and first not in configs:
        return None, first or _DEFAULT_SPLIT
    if first and first not in configs:
        raise UsageError.for_value("no such configuration", str(address), first, configs)
    return first or None, "".join(others) or _DEFAULT_SPLIT


def quiet_datasets(extra: str) -> Any:
    """Import `datasets` without its progress bars and error logs; errors are reported here."""
    datasets = require("datasets", extra)
    datasets.disable_progress_bars()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)
    return datasets


@contextlib.contextmanager
def hub_errors(where: str, name: str, revision: str | None, kind: HubKind = "data set") -> Iterator[None]:
    """Turn the exceptions of the hub's clients into one message that begins with `where`.

    Raises:
        UsageError: the repository or revision does not exist, or is gated.
        UnreachableError: the hub does not answer, or with an error of its own.
        MachineError: everything else, such as a full disk.
    """
    try:
        yield
    except (ReflectionCoderError, AttributeError, NameError):  # the last two are bugs
        raise
    except Exception as error:  # noqa: BLE001 (several libraries, many exception types)
        raise _explained(error, where, name, revision, kind) from None


def _explained(error: Exception, where: str, name: str, revision: str | None, kind: HubKind) -> ReflectionCoderError:
    errors: Any = require("huggingface_hub.errors", "train")
    chain = list(_chain(error))

    def caused_by(*kinds: type[BaseException]) -> bool:
        return any(isinstance(each, kinds) for each in chain)

    if caused_by(errors.GatedRepoError):
        page = f"https://huggingface.co/{'datasets/' if kind == 'data set' else ''}{name}"
        return UsageError(f"{where}: this {kind} is gated\n  hint:    ask for access on its page, {page}, then set HF_TOKEN")
    if caused_by(errors.RevisionNotFoundError):
        return UsageError.for_value("no such revision", where, revision, f"a branch, a tag or a commit of the {kind}")
    if caused_by(errors.RepositoryNotFoundError, errors.HFValidationError):
        return UsageError(f"{where}: no such {kind} on the hub, or a private one\n  hint:    a private one needs HF_TOKEN")
    if caused_by(errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled, ConnectionError):
        return UnreachableError(
            f"{where}: the hub cannot be reached, and the {kind} is not in its cache\n  hint:    name a local folder instead"
        )
    if caused_by(errors.HfHubHTTPError):
        return UnreachableError(f"{where}: the hub answers with an error: {first_lines(error)}\n  hint:    run it again later")
    if isinstance(error, FileNotFoundError | ValueError):  # no data files, an unreadable card, several configurations
        return UsageError(f"{where}: {first_lines(error, 2)}")  # the second line lists the configurations
    cause = error.__cause__ or error  # the cause of a DatasetGenerationError
    return MachineError(f"{where} cannot be read: {first_lines(cause)}\n  hint:    run it again: what was downloaded is kept")


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and its causes."""
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def first_lines(error: BaseException, count: int = 1) -> str:
    """Return the first lines of an error's message as one line, without the token that requests carry."""
    text = " ".join((str(error).strip() or type(error).__name__).splitlines()[:count])
    for token in (
        os.environ.get("HF_TOKEN"),
        os.environ.get("HUGGING_FACE_HUB_TOKEN"),
        require("huggingface_hub", "train").get_token(),
    ):
        if token and token.strip():
            text = text.replace(token.strip(), "(token)")
    return text
