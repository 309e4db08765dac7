"""The lowest versions that are tested are those that pyproject.toml allows."""

import pytest

from tests import floors


def test_the_constraints_are_the_lower_bounds_of_pyproject():
    assert floors.FILE.read_text() == floors.floors(), "run: python tests/floors.py"


def test_a_requirement_without_a_lower_bound_is_refused(tmp_path, monkeypatch):
    project = (floors.ROOT / "pyproject.toml").read_text()
    (tmp_path / "pyproject.toml").write_text(project.replace('"gguf>=', '"gguf<'))
    monkeypatch.setattr(floors, "ROOT", tmp_path)
    with pytest.raises(ValueError, match="gguf"):
        floors.floors()
