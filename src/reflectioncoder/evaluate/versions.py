"""Names the versions that a verdict depends on: this package's judge, Python, and the packages that programs may import."""

from __future__ import annotations

import contextlib
import importlib.metadata
import platform
import re
from functools import cache
from pathlib import Path

from reflectioncoder import __version__
from reflectioncoder.data.files import content_hash
from reflectioncoder.sandbox.readable import PROGRAM_PACKAGES

_PACKAGE = Path(__file__).resolve().parents[1]
_DISTRIBUTIONS = {
    "sklearn": ("scikit-learn",),
    "dateutil": ("python-dateutil",),
    "PIL": ("pillow",),
    "cv2": ("opencv-python-headless", "opencv-python", "opencv-contrib-python-headless", "opencv-contrib-python"),
    "bs4": ("beautifulsoup4",),
}
"""The distributions that may provide a package, if their names differ from the package's."""
_NAMED = re.compile(r"\b(?:" + "|".join(PROGRAM_PACKAGES) + r")\b")


@cache
def judge_version() -> tuple[str, ...]:
    """Return this package's version, a hash of the judging sources (which change between versions too), and Python's version."""
    return __version__, source_hash("evaluate", "languages", "sandbox"), platform.python_version()


@cache
def source_hash(*folders: str) -> str:
    """Return a hash of the sources in folders of this package."""
    sources = sorted(path for folder in folders for path in (_PACKAGE / folder).rglob("*.py"))
    return content_hash([(str(path.relative_to(_PACKAGE)), path.read_text(encoding="utf-8")) for path in sources])


@cache
def package_versions() -> tuple[str, ...]:
    """List `name==version` of each installed package that programs may import."""
    found = []
    for name in PROGRAM_PACKAGES:
        for distribution in _DISTRIBUTIONS.get(name, (name,)):
            with contextlib.suppress(importlib.metadata.PackageNotFoundError):
                found.append(f"{name}=={importlib.metadata.version(distribution)}")
    return tuple(found)


def versions_for(source: str) -> tuple[str, ...]:
    """List the versions of the packages that a program may use; empty if it names none of them."""
    return package_versions() if _NAMED.search(source) else ()
