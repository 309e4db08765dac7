"""Defines the contract between a command's shards and `merge`: the files of a shard folder, and when shards belong together.

A shard folder holds `shard.json`, written before any work, which names the work and the shard's part of it. The log, a file specific to
the command, collects finished units, so that a killed shard can resume. `done.json` comes last and records the log's size and hash: a
shard without it, or with another log, is unfinished. Machines share nothing else: anything that starts a command N times (a Slurm
array, a Kubernetes job) can run shards.

Raises (throughout this module):
    UsageError: shards are missing, duplicated, unfinished, damaged, or belong to other work (exit code 2).
    MachineError: shards were made by other versions of Python, this package or the packages that programs import (exit code 3).
"""

from __future__ import annotations

import contextlib
import json
import platform
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reflectioncoder import __version__
from reflectioncoder.config.differences import differing, flattened
from reflectioncoder.data.file_lock import alone_in
from reflectioncoder.data.files import content_hash, read_json, write_json
from reflectioncoder.data.json_text import expected_form
from reflectioncoder.data.temporary import holds_something
from reflectioncoder.errors import MachineError, UsageError
from reflectioncoder.evaluate.versions import package_versions, source_hash
from reflectioncoder.shards import Shard
from reflectioncoder.stage_marker import Marker

MANIFEST = "shard.json"
DONE = "done.json"
_LOCK = "shard.lock"
_MAX_NAMED = 10


def versions() -> dict[str, Any]:
    """Return the versions that must be equal in all shards and on the merging machine."""
    return {
        "reflectioncoder": f"{__version__} ({source_hash('')})",
        "python": platform.python_version(),
        "packages": list(package_versions()),
    }


@dataclass(frozen=True)
class Work:
    """The whole work that shards are parts of. All its shards agree in everything but `paths`.

    Attributes:
        command: the command's name.
        settings: the settings that a unit's result depends on.
        data: hashes of the inputs, by name.
        num_units: the number of units in all shards together; None if unknown until all input is read.
        finishing: options that affect only the merged result.
        paths: where `merge` finds the inputs; may differ between machines.
    """

    command: str
    settings: dict[str, Any]
    data: dict[str, Any]
    num_units: int | None
    finishing: dict[str, Any] = field(default_factory=dict)
    paths: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, Any] = field(default_factory=versions)

    @property
    def of_units(self) -> dict[str, Any]:
        """Return what all unit results in a folder have in common."""
        nested = flattened({"settings": self.settings, "data": self.data})
        found = {"command": self.command, "num_units": self.num_units, **nested}
        return json.loads(json.dumps(found))  # as read back from JSON: lists, not tuples


@dataclass
class ShardFolder:
    """The folder of a shard. `begun_at`: the monotonic time at which this process began."""

    directory: Path
    shard: Shard
    work: Work
    begun_at: float = field(default_factory=time.monotonic)

    @classmethod
    @contextlib.contextmanager
    def begun(cls, directory: Path, shard: Shard, work: Work) -> Iterator[ShardFolder]:
        """Begin or resume a shard in a folder that is free or holds this very shard; the block holds the folder's lock.

        Raises:
            UsageError: the folder holds anything else.
            MachineError: another process holds the lock; the folder is not writable; other versions began the shard.
        """
        if (directory / MANIFEST).exists():
            there = cls.read(directory)
            if there.shard != shard:
                raise UsageError(f"{directory} holds shard {there.shard}, not {shard}\n  hint:    choose another folder")
            _require_equal(there, cls(directory, shard, work), "this command")
        elif holds_something(directory, lock=_LOCK):
            raise UsageError(f"{directory} is not empty, and holds no shard\n  hint:    choose another folder")
        with alone_in(directory, _LOCK, "another process"):
            begun = cls(directory, shard, work)
            begun.write()
            yield begun

    @classmethod
    def read(cls, directory: Path) -> ShardFolder:
        """Read the manifest of a folder.

        Raises:
            UsageError: the manifest is missing or malformed.
        """
        if not (directory / MANIFEST).is_file():
            raise UsageError(f"{directory} holds no shard\n  hint:    a folder that a command with --shard has written: shard-I-of-N")
        with expected_form(directory / MANIFEST):
            content = read_json(directory / MANIFEST)
            if content.pop("digest") != content_hash(content):
                raise UsageError(
                    f"{directory / MANIFEST} was damaged or changed\n  hint:    copy the folder again, or run the shard anew"
                )
            shard = Shard.parse(f"{content['index']}/{content['count']}")
            names = ("command", "settings", "data", "num_units", "finishing", "paths", "versions")
            return cls(directory, shard, Work(**{name: content[name] for name in names}))

    def write(self) -> None:
        """Write the manifest."""
        content = {"schema_version": 1, "index": self.shard.index, "count": self.shard.count, **vars(self.work)}
        write_json(self.directory / MANIFEST, {**content, "digest": content_hash(content)})

    @property
    def _key(self) -> str:
        return content_hash(self.shard.index, self.shard.count, self.work.of_units, self.work.versions)

    def finish(self, outputs: Sequence[Path], result: dict[str, Any]) -> Path:
        """Mark the shard as done; `result` holds facts that are not in its log."""
        marker = Marker.of(self._key, round(time.monotonic() - self.begun_at, 1), result, self.directory, outputs)
        marker.write(self.directory / DONE)
        return self.directory / DONE

    def done(self) -> Marker:
        """Return the marker of a finished shard: facts that are not in its log (`result`), and its duration.

        Raises:
            UsageError: the shard is unfinished, or its log was changed.
        """
        marker = Marker.read(self.directory / DONE)
        if marker is None or marker.key != self._key:
            raise UsageError(
                f"{self.directory}: shard {self.shard} is not finished\n  hint:    run {self.work.command} --shard {self.shard} again: "
                "it goes on where it stopped"
            )
        if changed := marker.changed(self.directory):
            raise UsageError(
                f"{changed[0]} is not what shard {self.shard} has written\n"
                f"  hint:    copy the folder again, or run {self.work.command} --shard {self.shard} again"
            )
        return marker


def read_shards(directories: Sequence[Path]) -> list[ShardFolder]:
    """Read all shards of one work, in order.

    Raises:
        UsageError, MachineError: see the module's docstring; also if this machine has other versions.
    """
    shards = [ShardFolder.read(directory) for directory in directories]
    first = shards[0]
    for other in shards[1:]:
        if other.shard.count != first.shard.count:
            raise UsageError(f"{first.directory} is one of {first.shard.count} shards, {other.directory} one of {other.shard.count}")
        _require_equal(first, other)
    found = Counter(shard.shard.index for shard in shards)
    if doubled := [index for index, times in found.items() if times > 1]:
        where = [str(shard.directory) for shard in shards if shard.shard.index == doubled[0]]
        raise UsageError(f"shard {doubled[0]}/{first.shard.count} is given {len(where)} times: {', '.join(where)}")
    if missing := [index for index in range(1, first.shard.count + 1) if index not in found]:
        named = ", ".join(map(str, missing[:_MAX_NAMED])) + (", …" if len(missing) > _MAX_NAMED else "")
        raise UsageError(f"{len(missing)} of {first.shard.count} shards are missing: {named}\n  hint:    merge takes all of them")
    if first.work.versions != versions():
        raise MachineError(differences("the shards were made by other versions than those here", first.work.versions, versions()))
    for shard in shards:
        shard.done()
    return sorted(shards, key=lambda shard: shard.shard.index)


def _require_equal(first: ShardFolder, other: ShardFolder, name: str = "") -> None:
    """Refuse two shards of different work. `name`: name for `other` in messages; its folder by default."""
    one, two, who = first.work, other.work, f"{first.directory} and {name or other.directory}"
    if one.of_units != two.of_units:
        raise UsageError(differences(f"{who} are not of the same work", one.of_units, two.of_units))
    if one.versions != two.versions:
        raise MachineError(differences(f"{who} are of different versions", one.versions, two.versions))
    if not name and one.finishing != two.finishing:
        raise UsageError(differences(f"{who} were begun with different options", one.finishing, two.finishing))


def differences(what: str, one: dict[str, Any], two: dict[str, Any]) -> str:
    """Return a message that lists the differences between two descriptions, without secrets."""
    return "\n".join([what, *(f"  {name}: {first}, and {second}" for name, first, second in differing(one, two))])
