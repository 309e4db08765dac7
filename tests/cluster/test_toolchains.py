"""Nodes that run programs of other languages than Python have the same toolchains."""

import pytest

from reflectioncoder.cli import main
from reflectioncoder.cluster import building, crew
from reflectioncoder.cluster.node import NodeFacts
from reflectioncoder.data.files import write_jsonl
from reflectioncoder.errors import CannotError
from reflectioncoder.sandbox.limits import Limits
from reflectioncoder.sandbox.toolchain import Toolchain
from tests.cluster.nodes import Cluster
from tests.conftest import reflection_sample

FACTS = NodeFacts("one", 1, "none", 0, 1.0, {})


@pytest.fixture
def version(monkeypatch):
    """The version that each toolchain tells; None: it is missing."""
    told = ["18.1"]
    monkeypatch.setattr(Toolchain, "version", lambda toolchain: told[0])
    monkeypatch.setattr(Toolchain, "missing", lambda toolchain: None if told[0] else "node")
    return told


def test_versions_of_the_languages_that_are_used_are_told_and_a_missing_one_is_named(version):
    assert building.toolchains_of(["py", "js", "js"]) == {"toolchain of js": "18.1"}
    assert building.same_of_build(None, ["cpp"])["toolchain of cpp"] == "18.1"
    version[0] = None
    assert building.toolchains_of(["py"]) == {}
    with pytest.raises(CannotError, match="node is missing; "):
        building.Replaying(Limits(), frozenset(["js"])).open(FACTS, 1)
    with pytest.raises(CannotError, match="node is missing; "):
        building.BuildRuns(None, frozenset(["js"])).open(FACTS, 1)


def test_a_check_with_other_toolchains_on_a_node_is_refused(version, tmp_path, monkeypatch, capsys):
    sample = reflection_sample(0).to_json()
    sample["metadata"] = {**sample.get("metadata", {}), "language": "js"}
    write_jsonl(tmp_path / "samples.jsonl", [sample])
    opened = building.Replaying.open

    def open_duty(duty, facts, workers):
        version[0] = "20.0" if facts.host == "two" else "18.1"
        return opened(duty, facts, workers)

    monkeypatch.setattr(building.Replaying, "open", open_duty)
    monkeypatch.setattr(crew, "connected", Cluster().connected)
    assert main(["check", str(tmp_path / "samples.jsonl"), "--output", str(tmp_path / "out"), "-q", "--ray"]) == 3
    error = capsys.readouterr().err
    assert "has something else than this machine" in error
    assert "toolchain of js" in error
    assert "20.0" in error
