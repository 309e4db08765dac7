"""Identifies a model by the content of its files: a copy is the same model, whatever its location and timestamps.

The digests of large files are cached in the user cache, so that weights are hashed once and not before every stage.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from reflectioncoder.data.files import content_hash, read_json, remember_json, sha256_file
from reflectioncoder.errors import MachineError, UsageError
from reflectioncoder.paths import cache_dir

_MIN_REMEMBERED_BYTES = 2**20
# Files beside a model that do not affect its computation: texts for people, and this package's record of its training data.
_WITHOUT_EFFECT_SUFFIXES = frozenset({".md", ".pdf", ".png", ".jpg", ".svg"})
_WITHOUT_EFFECT_NAMES = frozenset(
    {"training_data.json", ".gitattributes", ".gitignore", "license", "license.txt", "notice", "notice.txt"}
)


def model_hash(path: Path) -> str:
    """Return a key of everything that determines a model's outputs: weights, configuration, tokenizer and chat template."""
    files = sorted(file for file in path.iterdir() if file.is_file() and _has_effect(file.name.lower()))
    return content_hash([(file.name, file_digest(file)) for file in files])


def _has_effect(name: str) -> bool:
    return name not in _WITHOUT_EFFECT_NAMES and Path(name).suffix not in _WITHOUT_EFFECT_SUFFIXES


def file_digest(file: Path) -> str:
    """Return the SHA-256 of a file; for a large file it is cached as long as size, times and inode stay the same."""
    status = file.stat()
    if status.st_size < _MIN_REMEMBERED_BYTES:
        return sha256_file(file)
    state = [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
    memory = cache_dir() / "digests" / f"{content_hash(str(file.resolve()))}.json"
    with contextlib.suppress(UsageError, MachineError, OSError, LookupError, TypeError):
        known = read_json(memory)
        if known["state"] == state:
            return str(known["sha256"])
    digest = sha256_file(file)
    remember_json(memory, {"state": state, "sha256": digest})
    return digest
