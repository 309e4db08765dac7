"""A folder is one process's; a file system without locks keeps nobody from working."""

import errno
import fcntl
import subprocess
import sys
import threading
import time

import pytest

from reflectioncoder.builder.log import LOG_NAME, BuildLog
from reflectioncoder.data.file_lock import OccupiedError, alone_in, in_turn, lock_alone
from reflectioncoder.data.files import claim
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


def test_a_folder_is_kept_to_one_command_and_given_back_and_still_counts_as_free(tmp_path):
    with (
        alone_in(tmp_path / "out"),
        pytest.raises(MachineError, match=r"^another command is at work in .*out$"),
        alone_in(tmp_path / "out"),
    ):
        pass
    with alone_in(tmp_path / "out"):
        assert claim(tmp_path / "out", "key")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["settings.json"]


def test_work_in_turn_waits_for_the_one_that_is_at_it_and_says_so_once(tmp_path, capsys):
    order, is_inside = [], threading.Event()

    def first():
        with in_turn(tmp_path, "work.lock", "the work"):
            is_inside.set()
            time.sleep(1.2)  # more than two looks
            order.append("first")

    thread = threading.Thread(target=first)
    thread.start()
    assert is_inside.wait(60)
    with reporting(Reporter()), in_turn(tmp_path, "work.lock", "the work"):
        order.append("second")
    thread.join()
    assert order == ["first", "second"]
    assert capsys.readouterr().err.count("the work: another process is at it") == 1
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_work_in_turn_is_its_own_and_is_not_waited_for(tmp_path):
    with pytest.raises(OccupiedError, match="of the work"), in_turn(tmp_path, "work.lock", "the work"):
        raise OccupiedError("of the work")


def test_of_many_processes_one_at_a_time_is_in_a_folder(tmp_path):
    """Also in the moment in which one leaves, and removes the file that others have opened."""
    program = (
        "import sys, time\nfrom pathlib import Path\nfrom reflectioncoder.data.file_lock import alone_in\n"
        "from reflectioncoder.errors import MachineError\n"
        "folder, inside, entered = Path(sys.argv[1]), Path(sys.argv[1] + '.inside'), 0\n"
        "while entered < 200:\n"
        "    try:\n"
        "        with alone_in(folder):\n"
        "            inside.open('x').close()\n"  # fails if another one is inside
        "            inside.unlink()\n"
        "            entered += 1\n"
        "    except MachineError:\n"
        "        time.sleep(0.0001)\n"
    )
    running = [subprocess.Popen([sys.executable, "-c", program, str(tmp_path / "out")]) for _ in range(3)]
    assert [process.wait(120) for process in running] == [0, 0, 0]


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
