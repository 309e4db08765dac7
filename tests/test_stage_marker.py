"""A marker knows the files of its stage by content, and reads no more of them than it must."""

import json
import os

import pytest

from reflectioncoder import stage_marker
from reflectioncoder.stage_marker import Marker


@pytest.fixture
def run(tmp_path):
    (tmp_path / "model" / "sub").mkdir(parents=True)
    for name in ("a.json", "model/weights", "model/sub/tokens"):
        (tmp_path / name).write_text(name)
    return tmp_path


def marked(run) -> Marker:
    Marker.of("key", 1.5, {"loss": 0.1}, run, [run / "a.json", run / "model"]).write(run / "marker.json")
    marker = Marker.read(run / "marker.json")
    assert marker is not None
    return marker


def test_a_marker_is_read_as_it_was_written(run):
    marker = marked(run)
    assert (marker.key, marker.duration_s, marker.result) == ("key", 1.5, {"loss": 0.1})
    assert set(marker.outputs) == {"a.json", "model/weights", "model/sub/tokens"}
    assert marker.changed(run) == []


def test_files_of_the_same_size_and_time_are_not_read(run, monkeypatch):
    marker = marked(run)
    monkeypatch.setattr(stage_marker, "sha256_file", None)
    assert marker.changed(run) == []


@pytest.mark.parametrize("name", ["a.json", "model/weights", "model/sub/tokens"])
def test_changed_and_missing_files_are_found(run, name):
    marker = marked(run)
    content = (run / name).read_bytes()
    (run / name).write_bytes(content.swapcase())  # as many bytes
    os.utime(run / name, ns=(1, 1))
    assert marker.changed(run) == [run / name]
    (run / name).write_bytes(content)
    assert marker.changed(run) == []
    (run / name).write_bytes(content + b"\n")
    assert marker.changed(run) == [run / name]
    (run / name).unlink()
    assert marker.changed(run) == [run / name]


@pytest.mark.parametrize("damage", ["", "[]", "{}", "{", '{"key": "key", "duration_s": 1, "result": null, "outputs": {}}'])
def test_a_damaged_marker_is_none(run, damage):
    marked(run)
    (run / "marker.json").write_text(damage)
    assert Marker.read(run / "marker.json") is None


@pytest.mark.parametrize("change", [{"duration_s": 2}, {"result": {"loss": 0.2}}, {"key": "x"}, {"outputs": {"a.json": [1, 2]}}])
def test_a_marker_that_somebody_edited_is_none(run, change):
    marked(run)
    content = json.loads((run / "marker.json").read_text())
    (run / "marker.json").write_text(json.dumps({**content, **change}))
    assert Marker.read(run / "marker.json") is None
