"""Names the versions that a verdict depends on: of this package's judge, of Python, of the packages that programs may import."""

from __future__ import annotations

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
    "sklearn": "scikit-learn",
    "dateutil": "python-dateutil",
    "PIL": "pillow",
    "cv2": "opencv-python-headless",
    "bs4": "beautifulsoup4",
}
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
        try:
            found.append(f"{name}=={importlib.metadata.version(_DISTRIBUTIONS.get(name, name))}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return tuple(found)


def versions_for(source: str) -> tuple[str, ...]:
    """List the versions of the packages that a program may use; none if it names no package."""
    return package_versions() if _NAMED.search(source) else ()
