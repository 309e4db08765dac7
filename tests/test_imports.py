"""The package's imports form no circle, those inside of functions included."""

import sys
from graphlib import CycleError, TopologicalSorter

import grimp
import pytest


def check_no_circle(package: str) -> None:
    """Raise CycleError with the modules of an import circle. Imports for type checkers only do not count: they never run."""
    graph = grimp.build_graph(package, exclude_type_checking_imports=True, cache_dir=None)
    TopologicalSorter({module: graph.find_modules_directly_imported_by(module) for module in graph.modules}).prepare()


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of three modules in a row: `circled.top` imports `circled.middle`, which imports `circled.bottom`."""
    folder = tmp_path / "circled"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "top.py").write_text("import circled.middle\n")
    (folder / "middle.py").write_text("from circled import bottom\n")
    (folder / "bottom.py").touch()
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    return folder


def test_no_modules_import_each_other_in_a_circle():
    check_no_circle("reflectioncoder")


def test_control_a_circle_through_a_function_is_found(package):
    check_no_circle("circled")
    (package / "bottom.py").write_text("def late():\n    from circled.top import middle\n    return middle\n")
    with pytest.raises(CycleError) as found:
        check_no_circle("circled")
    assert set(found.value.args[1]) == {"circled.top", "circled.middle", "circled.bottom"}


def test_control_imports_for_type_checkers_do_not_count(package):
    (package / "bottom.py").write_text("from typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    from circled.top import middle\n")
    check_no_circle("circled")
