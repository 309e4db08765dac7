import os
import time

from reflectioncoder.sandbox.cgroup import _remove_leftovers


def test_groups_that_killed_processes_have_left_are_removed(tmp_path):
    old = time.time() - 3600
    for name in ("reflectioncoder-old", "reflectioncoder-in-use/x", "reflectioncoder-new", "another"):
        (tmp_path / name).mkdir(parents=True)
    for path in tmp_path.iterdir():
        os.utime(path, (time.time(), time.time()) if path.name.endswith("new") else (old, old))
    _remove_leftovers(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"reflectioncoder-in-use", "reflectioncoder-new", "another"}
