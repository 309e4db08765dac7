"""Knows what each extra of this package is for, and says whether the packages that it brings are installed; imports none of them."""

from __future__ import annotations

import importlib.metadata as metadata
from dataclasses import dataclass
from functools import cache

# What a user can do with an extra; those that only bring others together are not here.
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


@dataclass(frozen=True)
class Extra:
    """An extra, the versions of its packages (None: not installed), and why it cannot be used, in words; None if it can."""

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
    """Return one extra; versions below the bounds that this package declares are a problem."""
    versions: dict[str, str | None] = {}
    problems = []
    for package, bounds in _requirements(name):
        try:
            versions[package] = version = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = None
            problems.append(f"{package} is not installed")
            continue
        if not bounds.contains(version, prereleases=True):
            problems.append(f"{package} {version} is installed, {bounds} is needed")
    return Extra(name, versions, "; ".join(problems) or None)


@cache
def _requirements(extra_name: str):
    """Return (package, allowed versions) of an extra, as the installed package declares them."""
    from packaging.requirements import Requirement

    found = []
    for line in metadata.requires("reflectioncoder") or ():
        requirement = Requirement(line)
        marker = requirement.marker
        if marker and not marker.evaluate({"extra": ""}) and marker.evaluate({"extra": extra_name}):
            found.append((requirement.name, requirement.specifier))
    return found
