"""Programs import the packages that they are shown, whether these have an `__init__.py` or not."""

import sys
from importlib.util import module_from_spec

from reflectioncoder.sandbox.runtime.packages import ShownPackages


def test_packages_without_an_init_are_found(tmp_path, monkeypatch):
    (tmp_path / "spread" / "below").mkdir(parents=True)
    (tmp_path / "spread" / "below" / "__init__.py").write_text("VALUE = 1\n")
    (tmp_path / "whole").mkdir()
    (tmp_path / "whole" / "__init__.py").write_text("VALUE = 2\n")
    (tmp_path / "single.py").write_text("VALUE = 3\n")
    finder = ShownPackages(map(str, (tmp_path / "spread", tmp_path / "whole", tmp_path / "single.py")))
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, finder])
    assert [_value(finder, name) for name in ("whole", "single")] == [2, 3]
    from spread.below import VALUE  # pyright: ignore[reportMissingImports]

    assert VALUE == 1
    assert finder.find_spec("hidden") is None


def _value(finder, name):
    spec = finder.find_spec(name)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.VALUE
