"""A folder is one process's; a file system without locks keeps nobody from working."""

import errno
import fcntl

import pytest

from reflectioncoder.builder.log import LOG_NAME, BuildLog
from reflectioncoder.data.file_lock import lock_alone
from reflectioncoder.errors import MachineError
from reflectioncoder.progress import Reporter, reporting
from reflectioncoder.shard_folders import ShardFolder, Work
from reflectioncoder.shards import Shard


def failing(monkeypatch, number):
    def flock(*_):
        raise OSError(number, "of the file system")

    monkeypatch.setattr(fcntl, "flock", flock)


def test_a_second_holder_is_refused(tmp_path):
    with open(tmp_path / "lock", "w") as first, open(tmp_path / "lock", "w") as second:
        lock_alone(first.fileno(), tmp_path / "lock")
        with pytest.raises(MachineError, match=r"^another build is at work in"):
            lock_alone(second.fileno(), tmp_path / "lock", "another build")
    with open(tmp_path / "lock", "w") as third:
        lock_alone(third.fileno(), tmp_path / "lock")


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP])
def test_a_shard_is_built_where_the_file_system_has_no_locks_and_that_is_said_once(number, tmp_path, monkeypatch, capsys):
    failing(monkeypatch, number)
    shard = ShardFolder.begun(tmp_path / "s", Shard(1, 2), Work("build", {}, {}, 1))
    with reporting(Reporter()), shard, BuildLog(tmp_path / "s" / LOG_NAME):
        pass
    assert capsys.readouterr().err.count(f"the file system of {tmp_path / 's'} has no locks") == 1


def test_a_failing_file_system_is_not_taken_for_another_process(tmp_path, monkeypatch):
    failing(monkeypatch, errno.EIO)
    with pytest.raises(MachineError, match=r"cannot write .*lock: of the file system"):
        BuildLog(tmp_path / LOG_NAME)
    shard = ShardFolder.begun(tmp_path / "s", Shard(1, 2), Work("build", {}, {}, 1))
    with pytest.raises(MachineError, match=r"cannot write .*lock: of the file system"), shard:
        pass
