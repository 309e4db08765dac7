"""Declares how a language's programs are built and run. The languages themselves are declared in `languages`.

A program is one source file, compiled once if there is a compiler, and run once. Commands are searched on the PATH of the sandbox's
programs.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from reflectioncoder.sandbox.limits import Limits

PATH = "/usr/bin:/bin"
_MB, _GB = 2**20, 2**30
_UNBOUNDED = 2**45  # address space; only resident memory is limited


def which(name: str) -> str | None:
    return shutil.which(name, path=PATH)


@dataclass(frozen=True, kw_only=True)
class Toolchain:
    """A language's commands and limits for building and running programs.

    `title`: the language's name in messages. `needs`: required commands, of which `ask_version` asks the first for its version;
    `files`: other required files; `install`: how to get both. `source`: name of the program's file. `build`: the compiler's command
    line, whose `outputs` are carried over to the run; empty if nothing is compiled.

    `env`: {work} stands for the program's own directory. `beside`: further files in that directory, name → content.

    `warm`: a shell command that, once per version and in an empty directory, prepares data that makes building fast; {warm} in `build`
    and `env` stands for that directory.

    `reserves`: the runtime reserves far more address space than it uses. `reads_proc`: the runtime reads /proc/self/maps.
    """

    title: str
    needs: tuple[str, ...]
    install: str
    source: str
    run: tuple[str, ...]
    build: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    ask_version: tuple[str, ...] = ("--version",)
    files: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    beside: Mapping[str, str] = field(default_factory=dict)
    warm: str = ""
    build_s: float = 15.0
    run_s: float = 15.0
    memory_bytes: int = _GB
    reserves: bool = False
    reads_proc: bool = False

    @property
    def lowest_tier(self) -> int:
        """Return the lowest isolation tier in which programs work at all; below it, /proc is the machine's."""
        return 2 if self.reads_proc else 0

    @property
    def limits(self) -> Limits:
        """Limits for running a program (compiling has `build_limits`)."""
        return self._limits(self.run_s, self.memory_bytes)

    @property
    def build_limits(self) -> Limits:
        return self._limits(self.build_s, 2 * _GB)

    def _limits(self, seconds: float, memory_bytes: int) -> Limits:
        return Limits(
            wall_s=seconds,
            cpu_s=2 * seconds,  # summed over threads
            memory_bytes=memory_bytes,
            file_bytes=64 * _MB,
            disk_bytes=256 * _MB,
            processes=128,
            open_files=512,
            address_space_bytes=_UNBOUNDED if self.reserves else None,
        )

    def missing(self) -> str | None:
        """Name the missing parts of the toolchain; None if it is complete."""
        absent = [name for name in self.needs if which(name) is None]
        absent += [file for file in self.files if not Path(file).exists()]
        return ", ".join(absent) or None

    def version(self) -> str | None:
        """Return the version that the first command reports; None if the toolchain is incomplete."""
        command = which(self.needs[0])
        return None if command is None or self.missing() else _told_version(command, self.ask_version)

    def command(self, argv: tuple[str, ...]) -> list[str]:
        """Return `argv` with the absolute path of its command."""
        place = argv[0] if argv[0].startswith(("/", "./")) else which(argv[0])
        return [place or f"/usr/bin/{argv[0]}", *argv[1:]]


@cache
def _told_version(command: str, arguments: tuple[str, ...]) -> str:
    told = subprocess.run([command, *arguments], capture_output=True, text=True, timeout=60, check=False)
    found = re.search(r"\d+(\.\d+)+", told.stdout + told.stderr)
    return found[0] if found else "unknown version"
