"""Decides which files of this machine programs may read: the interpreter, system libraries and some packages; never benchmark data.

`share` adds directories, `keep_secret` permanently removes some. Expected values and benchmark data are always secret, wherever their
folders lie.
"""

from __future__ import annotations

import contextlib
import os
import site
import sys
import sysconfig
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from reflectioncoder.errors import UsageError
from reflectioncoder.paths import cache_dir

# Packages that programs may import if installed. Others stay hidden: some contain benchmark data and solutions.
PROGRAM_PACKAGES = (
    "numpy", "pandas", "scipy", "sympy", "mpmath", "networkx", "sklearn", "joblib", "cloudpickle", "threadpoolctl", "dateutil",
    "pytz", "tzdata", "six", "sortedcontainers", "regex", "more_itertools", "narwhals", "matplotlib", "mpl_toolkits", "contourpy",
    "cycler", "fontTools", "kiwisolver", "packaging", "pyparsing", "PIL", "seaborn", "statsmodels", "patsy", "cv2", "openpyxl",
    "et_xmlfile", "requests", "urllib3", "idna", "certifi", "charset_normalizer", "bs4", "soupsieve", "typing_extensions", "lxml",
    "faker", "psutil",
)  # fmt: skip
# Library folders of wheels that are not named after the package.
_LIBRARIES = (
    *("pillow.libs", "scikit_learn.libs", "opencv_python_headless.libs", "opencv_python.libs"),
    *("opencv_contrib_python_headless.libs", "opencv_contrib_python.libs"),
)
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc/ld.so.cache", "/etc/localtime", "/etc/alternatives")
_RUNTIMES = (
    "etc/java-*-openjdk",
    "etc/mono",
    "etc/R",
    "etc/php",
    "etc/perl",
    "etc/racket",
    "etc/ldc2.conf",
)  # settings that these runtimes need to start


@dataclass(frozen=True)
class ReadablePaths:
    """The files that programs may use. `bind`: readable paths; `hide`: directories in them that are not readable; `show`: exceptions
    from `hide`.

    `packages`: the importable part of `show`.
    """

    bind: tuple[str, ...]
    hide: tuple[str, ...]
    show: tuple[str, ...]
    packages: tuple[str, ...]


def share(directory: Path) -> None:
    """Let programs of servers started from now on read a directory."""
    global _shared
    _shared |= {directory.resolve()}


def keep_secret(folder: Path) -> None:
    """Never let programs of servers started from now on read a folder, which holds expected answers."""
    global _secret
    _secret |= {folder}


_shared: frozenset[Path] = frozenset()
_secret: frozenset[Path] = frozenset()


def secret_folders() -> frozenset[Path]:
    """Return the folders given to `keep_secret`, the one in `$REFLECTIONCODER_DATA`, and the cache."""
    data = os.environ.get("REFLECTIONCODER_DATA")
    return frozenset(folder.absolute() for folder in (*_secret, cache_dir(), *([Path(data)] if data else [])))


def readable_paths() -> ReadablePaths:
    """Return the paths for this interpreter: system libraries, the standard library, some installed packages, and shared directories.

    Raises:
        UsageError: a secret folder holds files that every program needs.
    """
    return _readable_paths(_shared, secret_folders())


@cache
def _readable_paths(shared: frozenset[Path], secret: frozenset[Path]) -> ReadablePaths:
    base = Path(sys.base_prefix)
    standard = {Path(sysconfig.get_path("stdlib")).resolve()}
    libraries = {path.resolve() for path in (*base.glob("lib*/libpython*"), *base.glob("lib*/lib*.so*")) if path.is_file()}
    interpreter = {Path(base_interpreter()), Path(base_interpreter()).resolve()}
    runtimes = [path for pattern in _RUNTIMES for path in sorted(Path("/").glob(pattern))]
    wanted = [*map(Path, _SYSTEM), *runtimes, *standard, *sorted(libraries), *interpreter]
    bind: list[Path] = []
    for path in wanted:
        covered = any(path.is_relative_to(other) for other in bind)
        if path.exists() and not covered:
            bind.append(path)
    hidden = _hidden_folders(secret, bind, {*standard, *interpreter, *libraries})
    covered = {path for path in shared if is_below(path, (*hidden, *bind))}  # shown again inside a hidden folder
    bind += sorted(shared - covered)
    packages = {Path(sysconfig.get_path(name)) for name in ("purelib", "platlib")}
    installed = packages | {Path(path) for path in site.getsitepackages()} | set(_site_directories(standard))
    installed |= {
        directory for pattern in ("lib/python3*", "local/lib/python3*") for directory in _site_directories(Path("/usr").glob(pattern))
    }
    ours = Path(__file__).resolve().parents[1]  # the bundled problems include their solutions
    # Many containers keep the user's own sources and data in /usr/src.
    hide = {path.resolve() for path in installed if path.is_dir()} | {ours, Path("/usr/src"), *hidden}
    importable = [
        str(path)
        for directory in sorted(packages)
        for name in (*(f"{name}{end}" for name in PROGRAM_PACKAGES for end in ("", ".py", ".libs")), *_LIBRARIES)
        if (path := directory.resolve() / name).exists()
    ]
    show = (*importable, *sorted(map(str, covered)))
    return ReadablePaths(tuple(map(str, bind)), tuple(sorted(map(str, hide))), show, tuple(importable))


def _hidden_folders(secret: Iterable[Path], bind: list[Path], needed: set[Path]) -> set[Path]:
    """Return the secret folders that programs would see because they lie within bound paths."""
    with contextlib.suppress(OSError):  # a missing folder cannot be hidden, and would be visible once created
        cache_dir().mkdir(parents=True, exist_ok=True)
    hidden = {folder for path in secret if is_below(folder := Path(os.path.realpath(path)), bind)}
    needed |= {path.resolve() for path in map(Path, ("/usr/bin", "/usr/lib", "/usr/lib64")) if path.exists()}
    for folder in hidden:
        if inside := next((path for path in sorted(needed) if path.is_relative_to(folder)), None):
            raise UsageError.for_value(
                "programs must not read this folder of benchmark data or of the cache, but it holds what they need",
                "--data-dir, REFLECTIONCODER_DATA or REFLECTIONCODER_CACHE",
                f"{folder}, with {inside} in it",
                "a folder of its own",
            )
    return hidden


def is_below(path: Path | str, places: Iterable[Path | str]) -> bool:
    return any(Path(path).is_relative_to(place) for place in places)


def _site_directories(directories: Any) -> list[Path]:
    return [directory / name for directory in directories for name in ("site-packages", "dist-packages")]


def base_interpreter() -> str:
    """Return the path of the interpreter itself, not of a virtual environment's link to it."""
    return getattr(sys, "_base_executable", None) or sys.executable


def expand(paths: ReadablePaths) -> list[str]:
    """Return the same set of files as a list of paths without anything hidden below them."""
    hidden = [Path(path) for path in paths.hide]

    def parts(path: Path) -> list[str]:
        if path in hidden:
            return []
        if not any(other.is_relative_to(path) for other in hidden):
            return [str(path)]
        return [part for entry in sorted(path.iterdir()) if not entry.is_symlink() for part in parts(entry)]

    found = [part for path in paths.bind for part in parts(Path(path).resolve() if Path(path).is_symlink() else Path(path))]
    return sorted({*found, *paths.show})
