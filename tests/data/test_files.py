"""Appended files survive a kill at any byte; bad input is named with file and line."""

import errno
import json
import os

import pytest

from reflectioncoder.data.files import JsonlAppender, claim, read_jsonl, write_atomic, write_jsonl
from reflectioncoder.errors import MachineError, UsageError

ROWS = [{"n": 1, "text": "first"}, {"n": 2, "text": "zwei\nZeilen ü"}, {"n": 3, "text": ""}]


def test_a_file_cut_at_any_byte_is_repaired_and_completed(tmp_path):
    path = tmp_path / "rows.jsonl"
    write_jsonl(path, ROWS)
    whole = path.read_bytes()
    for size in range(len(whole) + 1):
        path.write_bytes(whole[:size])
        kept = [row for _, row in read_jsonl(path, tolerate_torn_tail=True)]
        assert kept == ROWS[: len(kept)]
        with JsonlAppender(path) as appender:
            for row in ROWS[len(kept) :]:
                appender.append(row)
        assert path.read_bytes() == whole


def test_rows_are_on_disk_before_the_appender_is_closed(tmp_path):
    path = tmp_path / "rows.jsonl"
    appender = JsonlAppender(path)
    appender.append(ROWS[0])
    assert [row for _, row in read_jsonl(path)] == ROWS[:1]
    appender.close()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_one_clear_error():
    with JsonlAppender("/dev/full") as appender, pytest.raises(MachineError, match="disk is full") as error:
        appender.append(ROWS[0])
    assert error.value.exit_code == 3


def test_an_atomic_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "result.json"
    write_atomic(path, "old")

    def full(fd):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(MachineError, match="disk is full"):
        write_atomic(path, "new and longer")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["result.json"]


@pytest.mark.parametrize(
    ("content", "line", "what"),
    [
        ('{"a": 1}\n\n{"a": 2}\n', 2, "empty line"),
        ('{"a": 1}\n{"a": \n', 2, "not JSON"),
        ('{"a": 1}\n[1]\n', 2, "expected a JSON object"),
        ('{"a": 1}\n\xff\n', 2, "not JSON"),
    ],
)
def test_malformed_lines_are_named_with_file_and_line(tmp_path, content, line, what):
    path = tmp_path / "bad.jsonl"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(UsageError, match=what) as error:
        list(read_jsonl(path))
    assert f"{path}:{line}:" in str(error.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"nothing\.jsonl"):
        list(read_jsonl(tmp_path / "nothing.jsonl"))


def test_a_lone_surrogate_is_written_as_an_escape_and_read_back(tmp_path):
    rows = [{"text": "a\ud800b"}, {"text": "ü"}]
    path = tmp_path / "rows.jsonl"
    with JsonlAppender(path) as appender:
        for row in rows:
            appender.append(row)
    assert [row for _, row in read_jsonl(path)] == rows


def test_a_folder_is_claimed_once_and_foreign_ones_are_left_alone(tmp_path):
    assert claim(tmp_path / "a", "key")
    assert claim(tmp_path / "a", "key")
    assert not claim(tmp_path / "a", "other")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "somebody's file").touch()
    assert not claim(tmp_path / "b", "key")


def test_rows_keep_non_ascii_text(tmp_path):
    path = write_jsonl(tmp_path / "rows.jsonl", ROWS)
    assert "ü".encode() in path.read_bytes()
    assert [json.loads(line) for line in path.read_text().splitlines()] == ROWS
