"""Says what each of this package's extras is for and whether its packages are installed, without importing them."""

from __future__ import annotations

import importlib.metadata as metadata
from dataclasses import dataclass
from functools import cache

# What a user can do with each extra; extras that only combine others are not listed.
PURPOSES = {
    "train": "train and generate on this machine",
    "qlora": "train over base weights in 4 bits",
    "deepspeed": "spread training over processes with ZeRO",
    "local": "serve GGUF models on the CPU",
    "hub": "read problems and data from the Hugging Face Hub",
    "javascript": "make slips in JavaScript programs",
    "ray": "run programs on the nodes of a cluster",
    "bigcodebench": "run programs of BigCodeBench-Hard",
    "humaneval": "have HumanEval's tasks without a download",
}

_MAX_NAMED = 3


@dataclass(frozen=True)
class Extra:
    """An extra: the versions of its packages (None: not installed), and `problem`, the reason it cannot be used (None: it can)."""

    name: str
    versions: dict[str, str | None]
    problem: str | None

    @property
    def purpose(self) -> str:
        return PURPOSES[self.name]

    @property
    def install(self) -> str:
        return f"pip install 'reflectioncoder[{self.name}]'"


def extras() -> list[Extra]:
    """Return every extra, in the order of `PURPOSES`."""
    return [extra(name) for name in PURPOSES]


def extra(name: str) -> Extra:
    """Return one extra; a version outside the bounds that this package declares is a problem."""
    versions: dict[str, str | None] = {}
    problems = []
    for package, bounds in _requirements(name):
        try:
            versions[package] = version = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = None
            continue
        if not bounds.contains(version, prereleases=True):
            problems.append(f"{package} {version} is installed, {bounds} is needed")
    if missing := [package for package, version in versions.items() if version is None]:
        problems.insert(0, _not_installed(missing, len(versions)))
    return Extra(name, versions, "; ".join(problems) or None)


def _not_installed(missing: list[str], num_packages: int) -> str:
    """Name the missing packages; more than `_MAX_NAMED` are only counted."""
    if len(missing) == 1:
        return f"{missing[0]} is not installed"
    if len(missing) <= _MAX_NAMED:
        return f"{', '.join(missing[:-1])} and {missing[-1]} are not installed"
    num_there = num_packages - len(missing)
    return f"{num_there or 'none'} of its {num_packages} packages {'are' if num_there > 1 else 'is'} installed"


@cache
def _requirements(extra_name: str):
    """Return an extra's (package, allowed versions) from this package's installed metadata."""
    from packaging.requirements import Requirement

    found = []
    for line in metadata.requires("reflectioncoder") or ():
        requirement = Requirement(line)
        marker = requirement.marker
        if marker and not marker.evaluate({"extra": ""}) and marker.evaluate({"extra": extra_name}):
            found.append((requirement.name, requirement.specifier))
    return found
