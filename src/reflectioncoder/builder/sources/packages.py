"""Finds the files, version and licence of installed packages without importing them."""

from __future__ import annotations

import importlib.util
import platform
import re
import sys
from importlib import metadata
from pathlib import Path

from reflectioncoder.errors import MachineError, UsageError

_TEST_FOLDERS = frozenset(("test", "tests", "testing"))
_MAX_LICENSE_CHARS = 60  # some packages put the whole licence text in their metadata


def package_root(name: str, install: str) -> Path:
    """Return the folder of an importable package, or the file of a module. `install`: argument of `pip install` for the error message.

    Raises:
        MachineError: the package is not installed.
        UsageError: it has no Python files, as when it is compiled.
    """
    top, *rest = name.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        spec = None
    if spec is None:
        raise MachineError(f"the package {name!r} is needed here and is not installed\n  hint:    pip install {install}")
    origins = [*(spec.submodule_search_locations or ()), *([spec.origin] if spec.origin else [])]
    for origin in origins:
        path = Path(origin).joinpath(*rest)
        for found in (path, path.with_suffix(".py")):
            if found.is_dir() or (found.is_file() and found.suffix == ".py"):
                return found
    raise UsageError(f"{name} has no Python files; it may be compiled")


def import_names(package: str) -> list[str]:
    """Return the import names of a package: its own name, or those provided by the distribution of that name."""
    wanted = _normalized(package)
    brought = [name for name, distributions in metadata.packages_distributions().items() if wanted in map(_normalized, distributions)]
    if package.partition(".")[0].isidentifier() and (package not in brought):
        return [package]
    return sorted(name for name in brought if name.isidentifier() and not name.startswith("_")) or [package]


def _normalized(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


def provenance(import_name: str) -> tuple[str, str]:
    """Return (name and version, licence) of the distribution that provides a package; the licence is "" if its metadata has none."""
    top = import_name.partition(".")[0]
    if top in sys.stdlib_module_names:
        return f"Python {platform.python_version()}", "PSF-2.0"
    distributions = metadata.packages_distributions().get(top, [])
    if not distributions:
        return top, ""
    about = metadata.metadata(distributions[0])
    classifiers = [line.rpartition(" :: ")[2] for line in about.get_all("Classifier") or [] if line.startswith("License ::")]
    stated = [about["License-Expression"] or "", *classifiers, about["License"] or ""]
    licenses = [text.strip() for text in stated if text.strip() and "\n" not in text and len(text) <= _MAX_LICENSE_CHARS]
    return f"{about['Name']} {about['Version']}", licenses[0] if licenses else ""


def modules(name: str, root: Path) -> dict[str, Path]:
    """Map a package's module names to their files, without tests."""
    if root.is_file():
        return {name: root}
    found = {}
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        if not _TEST_FOLDERS & set(parts) and not path.name.startswith(("test_", "conftest")):
            found[".".join([name, *parts]).removesuffix(".__init__")] = path
    return found
