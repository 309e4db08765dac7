"""Imports the installed packages that programs may use, and no others, in the same way at every tier.

Where Landlock is the only means, a program may read these and not the folder with all that are installed, in which the interpreter
would look for them; and the server, which imports some of them first, could read all.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterable
from importlib.machinery import ModuleSpec


class ShownPackages:
    """A finder for `sys.meta_path`. `paths`: folders of packages, and files of modules."""

    def __init__(self, paths: Iterable[str]):
        self._places = {os.path.basename(path).removesuffix(".py"): path for path in paths}

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        place = self._places.get(name) if path is None else None
        if place is None:
            return None
        if place.endswith(".py"):
            return importlib.util.spec_from_file_location(name, place)
        return importlib.util.spec_from_file_location(name, f"{place}/__init__.py", submodule_search_locations=[place])
