"""Names the versions that a verdict depends on: of this package's judge, of Python, of the packages that programs may import."""

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
"""The distributions that a package may come from, where they are not called as it is."""
_NAMED = re.compile(r"\b(?:" + "|".join(PROGRAM_PACKAGES) + r")\b")


@cache
def judge_version() -> tuple[str, ...]:
    """Return our version, a hash of the sources that verdicts come from (they change between versions too) and Python's version."""
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
    """List the versions of the packages that a program may use; none if it names no package."""
    return package_versions() if _NAMED.search(source) else ()
