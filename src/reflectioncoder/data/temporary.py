"""Names the temporary files and folders that whole files are written to before they take their place, and finds abandoned ones.

Machines, containers and threads may write beside the same path at the same time. So a name says who writes (the machine, with its
process namespace, and the process), and ends with a random part.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import socket
import time
import zlib
from functools import cache
from pathlib import Path

_SUFFIX = re.compile(r"\.(?P<machine>[0-9a-f]{8})-(?P<process>\d+)-[0-9a-f]{8}\.tmp")
_LONGEST_NAME = 255  # bytes, on the usual file systems
_ABANDONED_S = 24 * 60 * 60.0  # nothing that is still written stays unchanged for this long


def temporary_beside(path: Path) -> Path:
    """Return a new name in the folder of `path`, for the content that will replace it; nothing is created."""
    suffix = f".{_machine()}-{os.getpid()}-{secrets.token_hex(4)}.tmp"
    return path.with_name("." + _beginning(path.name) + suffix)


def is_temporary(name: str) -> bool:
    """Tell whether a name is one of `temporary_beside`, of any path."""
    return name.startswith(".") and _SUFFIX.fullmatch(name, max(0, name.rfind(".", 0, -len(".tmp")))) is not None


def remove_abandoned(path: Path) -> None:
    """Remove what killed writers of `path` have left: processes of this machine that have ended, and whatever is a day old."""
    beginning = "." + _beginning(path.name)
    with os.scandir(path.parent) as entries:
        found = [entry for entry in entries if entry.name.startswith(beginning)]
    for entry in found:
        named = _SUFFIX.fullmatch(entry.name, len(beginning))
        if named is None or not _is_abandoned(entry, named["machine"], int(named["process"])):
            continue
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):  # gone already, or another user's: it is in nobody's way
                os.unlink(entry.path)


def holds_something(directory: Path, *, lock: str) -> bool:
    """Tell whether a folder has any entry besides its lock and what is being written, or was when its writer was killed."""
    return directory.is_dir() and any(name != lock and not is_temporary(name) for name in os.listdir(directory))


def _is_abandoned(entry: os.DirEntry[str], machine: str, process: int) -> bool:
    if machine == _machine() and not _runs(process):
        return True
    with contextlib.suppress(FileNotFoundError):
        return time.time() - entry.stat(follow_symlinks=False).st_mtime > _ABANDONED_S
    return False


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):  # another user's; a number that no process has
        return True
    return True


@cache
def _machine() -> str:
    """Return 8 hex digits for this machine and process namespace, in which process numbers are unique."""
    namespace = ""
    with contextlib.suppress(OSError):
        namespace = os.readlink("/proc/self/ns/pid")
    return f"{zlib.crc32(f'{socket.gethostname()} {namespace}'.encode()):08x}"


def _beginning(name: str) -> str:
    """Return as much of a name as leaves room for the dot before and the suffix behind it."""
    longest = _LONGEST_NAME - 1 - len(".12345678-1234567890-12345678.tmp")
    return os.fsdecode(os.fsencode(name)[:longest])
