"""Folders of ours in the temporary directory: none is left behind, and none is taken from a living process."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from reflectioncoder.sandbox import box
from reflectioncoder.sandbox.box import Box
from reflectioncoder.sandbox.detect import probe
from reflectioncoder.sandbox.forkserver import SERVERS, ForkServer
from reflectioncoder.sandbox.isolation import BUBBLEWRAP, ISOLATIONS
from reflectioncoder.sandbox.limits import SandboxUnavailableError

HOLD = """
import os, sys
{body}
print("ready", flush=True)
sys.stdin.read()
"""
SERVE = """
from reflectioncoder.sandbox.isolation import ISOLATIONS
from reflectioncoder.sandbox.limits import Limits
from reflectioncoder.sandbox.process import run_python
source = "import os; os.makedirs('a/b'); os.mkdir('closed', 0); open('x', 'w').write('x')"
result = run_python(source, Limits(), ISOLATIONS[{name!r}])
assert result.status == "ok", result
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    place = tmp_path / "temporary"
    place.mkdir()
    place.chmod(0o777)
    monkeypatch.setenv("TMPDIR", str(place))
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    box._remove_leftovers_once.cache_clear()
    return place


def start(body):
    process = subprocess.Popen([sys.executable, "-c", HOLD.format(body=body)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


def kill(process):
    process.send_signal(signal.SIGKILL)
    process.communicate()


@pytest.mark.parametrize("name", ["cgroup", "namespaces", "landlock", "rlimits"])
def test_what_a_killed_judge_leaves_is_removed_by_the_next(name, folder):
    if reason := probe(ISOLATIONS[name]):
        pytest.skip(reason)
    SERVERS.close()  # of the probe
    kill(start(SERVE.format(name=name)))
    left = set(folder.iterdir())
    assert left, "nothing was left: the test shows nothing"
    living = start(SERVE.format(name=name))
    assert not left & set(folder.iterdir())
    living.communicate()
    assert list(folder.iterdir()) == []


def test_a_living_process_keeps_its_folders(folder):
    living = start("from reflectioncoder.sandbox.box import Box\nbox = Box(); open(box.path / 'mine', 'w').close()")
    mine = set(folder.rglob("*"))
    own = Box()
    assert mine <= set(folder.rglob("*"))
    own.remove()
    kill(living)
    box._remove_leftovers_once.cache_clear()
    Box().remove()
    assert list(folder.iterdir()) == []


def test_folders_of_others_are_let_be(folder, tmp_path):
    """What is not ours by its name, no folder, a link to a folder elsewhere, or somebody else's."""
    (folder / "another").mkdir()
    (folder / "reflectioncoder-file").write_text("x")
    (tmp_path / "elsewhere" / "kept").mkdir(parents=True)
    (folder / "reflectioncoder-link").symlink_to(tmp_path / "elsewhere")
    (folder / "reflectioncoder-theirs").mkdir()
    if os.getuid() == 0:
        os.chown(folder / "reflectioncoder-theirs", 12345, 12345)
    else:
        (folder / "reflectioncoder-theirs").rmdir()
    before = set(folder.iterdir())
    Box().remove()
    assert set(folder.iterdir()) == before
    assert (tmp_path / "elsewhere" / "kept").is_dir()


def test_many_processes_that_begin_at_once_do_not_take_each_other_s_folders(folder):
    body = "from reflectioncoder.sandbox import box\nkept = []\nfor _ in range(50):\n    box._remove_leftovers_once.cache_clear()\n"
    body += "    kept.append(box.Box())\nassert all(k.path.is_dir() for k in kept)"
    processes = [subprocess.Popen([sys.executable, "-c", f"{body}\n[k.remove() for k in kept]"]) for _ in range(4)]
    assert [process.wait() for process in processes] == [0, 0, 0, 0]
    assert list(folder.iterdir()) == []


def test_a_wrapper_that_is_missing_leaves_nothing(folder, monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(SandboxUnavailableError, match="not installed"):
        ForkServer(BUBBLEWRAP)
    assert list(folder.iterdir()) == []
    assert probe(BUBBLEWRAP)
    assert list(folder.iterdir()) == []


def test_a_server_that_cannot_start_leaves_nothing(folder, monkeypatch):
    monkeypatch.setattr("reflectioncoder.sandbox.forkserver.base_interpreter", lambda: "/nonexistent/python")
    with pytest.raises(SandboxUnavailableError):
        ForkServer(ISOLATIONS["rlimits"])
    assert list(folder.iterdir()) == []


def test_a_folder_is_removed_with_all_that_is_in_it(folder):
    own = Box()
    deep = own.path
    for _ in range(30):
        deep = deep / "d"
        deep.mkdir()
    (own.path / "sealed").mkdir(0)
    Path(own.path / "link").symlink_to("/")
    own.remove()
    own.remove()
    assert list(folder.iterdir()) == []
