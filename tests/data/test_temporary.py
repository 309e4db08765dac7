"""Temporary names are unique, writers that are alive keep theirs, and what was abandoned is removed and counts for nothing."""

import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from reflectioncoder.data import temporary
from reflectioncoder.data.files import JsonlWriter, claim, claim_for_answers, write_atomic
from reflectioncoder.data.temporary import holds_something, is_temporary, remove_abandoned, temporary_beside
from reflectioncoder.errors import UsageError

ENDED = """
import sys
from pathlib import Path
from reflectioncoder.data.temporary import temporary_beside
temporary_beside(Path(sys.argv[1])).touch()
"""


def left_by_an_ended_process(path):
    subprocess.run([sys.executable, "-c", ENDED, str(path)], check=True)


@pytest.mark.parametrize("name", ["a.json", ".hidden", "a", "a.b.tmp", "ü" * 120, "x" * 255])
def test_a_name_is_beside_its_path_unique_and_recognised(tmp_path, name):
    made = {temporary_beside(tmp_path / name) for _ in range(100)}
    assert len(made) == 100
    assert {path.parent for path in made} == {tmp_path}
    assert all(is_temporary(path.name) for path in made)
    next(iter(made)).touch()  # the file system takes it
    assert not is_temporary(name)


@pytest.mark.parametrize("name", ["", ".", ".tmp", "a.tmp", ".a.17.tmp", ".a.12345678-1-12345678.json", "a.12345678-1-12345678.tmp"])
def test_other_names_are_not_temporary(name):
    assert not is_temporary(name)


def test_what_ended_processes_left_is_removed_and_what_others_write_stays(tmp_path, monkeypatch):
    left_by_an_ended_process(tmp_path / "a.json")
    left_by_an_ended_process(tmp_path / "a.json.b")
    own, others = temporary_beside(tmp_path / "a.json"), tmp_path / ".a.json.12345678-1-12345678.tmp"
    for path in (own, others, tmp_path / ".a.json.user.tmp"):
        path.touch()
    remove_abandoned(tmp_path / "a.json")
    left = {path.name for path in tmp_path.iterdir()}
    assert {own.name, others.name, ".a.json.user.tmp"} < left
    assert len(left) == 4  # that of a.json.b is another path's
    os.utime(others, (0, 0))
    remove_abandoned(tmp_path / "a.json")
    assert not others.exists()


def test_machines_with_equal_process_numbers_do_not_meet(tmp_path, monkeypatch):
    here = temporary_beside(tmp_path / "a").name.split(".")[2].split("-")[0]
    monkeypatch.setattr(socket, "gethostname", lambda: "another")
    temporary._machine.cache_clear()
    try:
        assert temporary_beside(tmp_path / "a").name.split(".")[2].split("-")[0] != here
    finally:
        monkeypatch.undo()
        temporary._machine.cache_clear()


def test_threads_replace_one_file_at_the_same_time(tmp_path):
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda number: write_atomic(tmp_path / "a", str(number)), range(400)))
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_writer_leaves_the_files_of_another_alone(tmp_path):
    with JsonlWriter(tmp_path / "a.jsonl") as first:
        with JsonlWriter(tmp_path / "a.jsonl") as second:
            second.write({"who": 2})
        first.write({"who": 1})
    assert (tmp_path / "a.jsonl").read_text() == '{"who": 1}\n'


def test_a_folder_with_nothing_but_unfinished_files_is_free(tmp_path):
    left_by_an_ended_process(tmp_path / "settings.json")
    (tmp_path / ".lock").touch()
    assert not holds_something(tmp_path, lock=".lock")
    assert claim(tmp_path, "mine")
    assert holds_something(tmp_path, lock=".lock")


@pytest.mark.parametrize("name", ["completions.jsonl", "samples.jsonl"])
def test_a_folder_is_taken_over_until_it_has_an_answer_or_a_verdict(tmp_path, name):
    claim_for_answers(tmp_path, "one")
    (tmp_path / name).touch()
    claim_for_answers(tmp_path, "two")
    assert claim(tmp_path, "two")
    (tmp_path / name).write_text("{}\n")
    claim_for_answers(tmp_path, "two")
    with pytest.raises(UsageError, match=f"{name} is of another model or of other settings"):
        claim_for_answers(tmp_path, "three")
    assert claim(tmp_path, "two")
