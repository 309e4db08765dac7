"""Imports the installed packages that programs may use, and no others, in the same way at every tier.

With Landlock alone, a program can read these packages but not list the folder of all installed ones, where the interpreter would look
for them; and the server, which preloads some of them, could read all packages.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterable
from functools import partial
from importlib.machinery import FileFinder, ModuleSpec, PathFinder


class ShownPackages:
    """A finder for `sys.meta_path`. `paths`: package folders and module files."""

    def __init__(self, paths: Iterable[str]):
        self._places = {os.path.basename(path).removesuffix(".py"): path for path in paths}

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        place = self._places.get(name) if path is None else None
        if place is None:
            return None
        if place.endswith(".py"):
            return importlib.util.spec_from_file_location(name, place)
        if not os.path.exists(f"{place}/__init__.py"):  # a namespace package, such as mpl_toolkits
            spec = ModuleSpec(name, None, is_package=True)
            spec.submodule_search_locations = [place]
            return spec
        return importlib.util.spec_from_file_location(name, f"{place}/__init__.py", submodule_search_locations=[place])


def keep_listings() -> None:
    """Let the interpreter's finders keep their known names for a folder that can no longer be listed.

    A finder lists its folder again when something in it changes. With Landlock alone, programs can read the standard library but not
    list its folder, which holds other folders too: all modules not yet loaded would then disappear.
    """
    PathFinder.find_spec("a module that is not there")  # every finder lists its folder
    for finder in sys.path_importer_cache.values():
        if isinstance(finder, FileFinder):
            finder._fill_cache = partial(_list_again, finder.path, finder._fill_cache)  # type: ignore[attr-defined]


def _list_again(folder: str, fill: Callable[[], None]) -> None:
    with contextlib.suppress(OSError):
        os.listdir(folder)
        fill()
