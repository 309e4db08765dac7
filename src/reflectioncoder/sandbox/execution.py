"""Compiles a toolchain's programs and runs them in the sandbox; builds are cached by content.

The cache directory holds `toolchains/`, the warm-up data of each compiler version and the only part that programs can read, and
`builds/`, one archive per compiled program; beyond `BUILDS_BYTES` the least recently used are removed.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import shutil
import subprocess
import tarfile
import tempfile
import threading
from dataclasses import dataclass, replace
from pathlib import Path

from reflectioncoder.errors import MachineError
from reflectioncoder.paths import cache_dir
from reflectioncoder.sandbox.isolation import Isolation
from reflectioncoder.sandbox.limits import Limits, RunResult
from reflectioncoder.sandbox.process import build_command, run_command
from reflectioncoder.sandbox.readable import share
from reflectioncoder.sandbox.toolchain import Toolchain

BUILDS_BYTES = 2 * 2**30
OUTCOMES_VARIABLE = "REFLECTIONCODER_OUTCOMES"
"""The environment variable that names the file to which a program appends its outcomes."""
_RECORDING = f'export {OUTCOMES_VARIABLE}="$PWD/outcomes"; "$@" > /dev/null 2>&1; exec cat outcomes'
_WARM_UP_S = 300.0
_warming = threading.Lock()


@dataclass(frozen=True)
class Execution:
    """The build of a program (None: nothing to build, or cached) and its run (None: it did not compile)."""

    built: RunResult | None
    ran: RunResult | None

    @property
    def cpu_s(self) -> float:
        return sum(part.cpu_s for part in (self.built, self.ran) if part)

    @property
    def peak_memory_bytes(self) -> int:
        return max(part.peak_memory_bytes for part in (self.built, self.ran) if part)

    @property
    def duration_s(self) -> float:
        return sum(part.duration_s for part in (self.built, self.ran) if part)


def require_toolchain(toolchain: Toolchain) -> None:
    """Refuse a toolchain that is incomplete on this machine.

    Raises:
        MachineError: a part is missing; the message names it and how to install it.
    """
    if missing := toolchain.missing():
        raise MachineError(f"{toolchain.title} cannot be run here: {missing} is missing\n  hint:    {toolchain.install}")


def execute(
    toolchain: Toolchain, program: str, isolation: Isolation, *, run_s: float | None = None, as_terminal: bool = False
) -> Execution:
    """Compile a program, if the toolchain has a compiler, and run it for at most `run_s` seconds.

    With `as_terminal`, stderr is merged into stdout, in the order a terminal would show.

    Raises:
        SandboxUnavailableError: the sandbox failed.
        MachineError: the toolchain is missing, or its warm-up data cannot be made.
    """
    return _execute(toolchain, program, isolation, run_s, through='exec "$@" 2>&1' if as_terminal else "")


def execute_recording(toolchain: Toolchain, program: str, isolation: Isolation, *, run_s: float | None, patience: float) -> Execution:
    """Compile and run a one-off program, whose build is not cached; stdout is the file that `OUTCOMES_VARIABLE` names.

    Its output is discarded, and the result does not show its exit code, only whether it hit a limit. Its time limits, including the
    compiler's, are `patience` times those of `execute`.

    Raises:
        SandboxUnavailableError: the sandbox failed.
        MachineError: the toolchain is missing, or its warm-up data cannot be made.
    """
    return _execute(toolchain, program, isolation, run_s, through=_RECORDING, patience=patience, keep=False)


def _execute(
    toolchain: Toolchain,
    program: str,
    isolation: Isolation,
    run_s: float | None,
    *,
    through: str,
    patience: float = 1.0,
    keep: bool = True,
) -> Execution:
    """Compile and run a program.

    `through`: a shell command that starts it, with its command line as `"$@"`; `keep`: cache the build.
    """
    require_toolchain(toolchain)
    isolation = replace(isolation, readable_proc=toolchain.reads_proc)
    warm = warm_up(toolchain)
    env = {variable: value.replace("{warm}", str(warm)) for variable, value in toolchain.env.items()}
    content = program.encode("utf-8", "replace")
    files, argv, built = {toolchain.source: content}, toolchain.command(toolchain.run), None
    if toolchain.build:
        limits = _stretched(toolchain.build_limits, toolchain.build_s, patience)
        built, archive = _build(toolchain, content, warm, env, limits, isolation, keep=keep)
        if archive is None:
            return Execution(built, None)
        files = _unpacked(archive)
    if through:
        argv = ["/bin/sh", "-c", through, "sh", *argv]
    files |= {name: text.encode() for name, text in toolchain.beside.items()}
    limits = _stretched(toolchain.limits, toolchain.run_s if run_s is None else run_s, patience)
    return Execution(built, run_command(argv, limits, isolation, files=files, env=env))


def _stretched(limits: Limits, seconds: float, patience: float) -> Limits:
    return replace(limits, wall_s=seconds * patience, cpu_s=limits.cpu_s * patience)


def _unpacked(archive: bytes) -> dict[str, bytes]:
    """Return the files of an untrusted archive: regular ones only, none in folders."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as members:
        plain = [member for member in members if member.isfile() and "/" not in member.name]
        return {member.name: file.read() for member in plain if (file := members.extractfile(member))}


def _build(
    toolchain: Toolchain, content: bytes, warm: Path | None, env: dict[str, str], limits: Limits, isolation: Isolation, *, keep: bool
) -> tuple[RunResult | None, bytes | None]:
    """Return (the compiler's result, None if the build was cached; the archive of its outputs, None if it failed)."""
    identity = repr((toolchain.build, toolchain.warm, toolchain.version())).encode()
    key = hashlib.sha256(b"\0".join((identity, content))).hexdigest()
    kept = cache_dir() / "builds" / key[:2] / f"{key}.tar"
    with contextlib.suppress(OSError):
        archive = kept.read_bytes()
        os.utime(kept)
        return None, archive
    argv = toolchain.command(tuple(part.replace("{warm}", str(warm)) for part in toolchain.build))
    ran, archive = build_command(argv, toolchain.outputs, limits, isolation, files={toolchain.source: content}, env=env)
    if archive is not None and keep:
        _keep(kept, archive)
    return ran, archive


def _keep(place: Path, archive: bytes) -> None:
    """Cache a build; failures are silent, since the build can be repeated."""
    with contextlib.suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=place.parent)
        with open(handle, "wb") as file:
            file.write(archive)
        os.replace(temporary, place)


def trim_builds(limit_bytes: int = BUILDS_BYTES) -> None:
    """Remove the least recently used builds until the rest fits."""
    entries = []
    for path in (cache_dir() / "builds").glob("*/*"):
        with contextlib.suppress(OSError):
            entries.append((path.stat().st_mtime, path.stat().st_size, path))
    total = sum(size for _, size, _ in entries)
    for _, size, path in sorted(entries):
        if total <= limit_bytes:
            return
        path.unlink(missing_ok=True)
        total -= size


def warm_up(toolchain: Toolchain) -> Path | None:
    """Return the directory with the toolchain's warm-up data, created if missing; None for a toolchain without any.

    Raises:
        MachineError: the data cannot be made.
    """
    if not toolchain.warm:
        return None
    with _warming:
        identity = hashlib.sha256(repr((toolchain.warm, toolchain.version())).encode()).hexdigest()[:12]
        directory = cache_dir() / "toolchains" / f"{toolchain.needs[0]}-{identity}"
        if not directory.is_dir():
            _make_warm(toolchain, directory)
        share(directory)
        return directory


def _make_warm(toolchain: Toolchain, directory: Path) -> None:
    directory.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
    unfinished.chmod(0o755)
    command = ["/bin/sh", "-c", toolchain.warm]
    made = subprocess.run(command, cwd=unfinished, capture_output=True, text=True, timeout=_WARM_UP_S, check=False)
    try:
        if made.returncode:
            raise MachineError(f"{toolchain.title}: `{toolchain.warm}` failed: {made.stderr.strip()[-500:]}")
        with contextlib.suppress(OSError):  # another process was first
            unfinished.rename(directory)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
