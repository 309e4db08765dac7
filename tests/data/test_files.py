"""Appended files survive a kill at any byte; bad input is named with file and line."""

import errno
import json
import os
import sqlite3

import pytest

from reflectioncoder.data.files import (
    JsonlAppender,
    JsonlWriter,
    claim,
    explain_full_disk,
    read_json,
    read_jsonl,
    write_atomic,
    write_json,
    write_jsonl,
)  # fmt: skip
from reflectioncoder.errors import CheckFailedError, MachineError, UsageError


def write_rows(path):
    with JsonlWriter(path) as written:
        written.write({"a": 1})


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


@pytest.mark.parametrize("write", [lambda path: write_atomic(path, "text"), lambda path: write_rows(path)])
@pytest.mark.parametrize("through_link", [False, True])
def test_no_file_takes_the_place_of_a_device_or_a_pipe(write, through_link, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    if through_link:
        (tmp_path / "link").symlink_to(pipe)
    with pytest.raises(UsageError, match="not a regular file"):
        write(tmp_path / "link" if through_link else pipe)
    assert pipe.is_fifo()
    assert len(list(tmp_path.iterdir())) == 1 + through_link


@pytest.mark.parametrize("write", [lambda path: write_atomic(path, "text"), lambda path: write_rows(path)])
def test_a_link_stays_and_what_it_leads_to_is_written(write, tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "file").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "there" / "file")
    write(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "there" / "file").read_text() in ("text", '{"a": 1}\n')
    assert len(list((tmp_path / "there").iterdir())) == 1


def test_an_output_that_is_discarded_leaves_the_old_file(tmp_path):
    (tmp_path / "rows").write_text("old")
    with JsonlWriter(tmp_path / "rows") as written:
        written.write({"a": 1})
        written.discard()
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("rows", "old")]


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


BAD_JSON = {
    "Latin-1": ('{"a": "ä"}'.encode("latin-1"), "not UTF-8"),
    "UTF-16": ('{"a": 1}'.encode("utf-16"), "UTF-16"),
    "UTF-16 without a mark": ('{"a": 1}'.encode("utf-16-be"), "UTF-16"),
    "NaN": (b'{"a": NaN}', "NaN is no JSON"),
    "minus infinity": (b'{"a": [-Infinity]}', "-Infinity is no JSON"),
    "a number of 5,000 digits": (b'{"a": ' + b"9" * 5000 + b"}", "4300 digits"),
    "lists, 5,000 deep": (b'{"a": ' + b"[" * 5000 + b"]" * 5000 + b"}", "nested too deeply"),
    "lists, 500 deep": (b'{"a": ' + b"[" * 500 + b"]" * 500 + b"}", "nested too deeply"),
    "objects, 200 deep": (b'{"a": ' * 200 + b"1" + b"}" * 200, "nested too deeply"),
    "open brackets": (b"[" * 100_000, "nested too deeply|not JSON"),
    "single quotes": (b"{'a': 1}", "not JSON"),
    "two values": (b"{} {}", "not JSON"),
    "nothing but a mark": (b"\xef\xbb\xbf", "not JSON|empty"),
}


@pytest.mark.parametrize("name", BAD_JSON)
def test_bad_json_is_one_error_with_its_line_in_every_reader(tmp_path, name):
    content, message = BAD_JSON[name]
    rows, whole = tmp_path / "rows.jsonl", tmp_path / "whole.json"
    rows.write_bytes(b"" if name.startswith("UTF-16") else b'{"a": 0}\n')
    line = 1 if name.startswith("UTF-16") else 2
    with open(rows, "ab") as file:
        file.write(content + b"\n")
    with pytest.raises(UsageError, match=message) as error:
        list(read_jsonl(rows))
    assert f"{rows}:{line}" in str(error.value)
    whole.write_bytes(content)
    with pytest.raises(UsageError, match=message) as error:
        read_json(whole)
    assert str(whole) in str(error.value)
    assert len(str(error.value)) < 500


def test_the_line_of_an_error_in_a_json_file_is_named(tmp_path):
    path = tmp_path / "whole.json"
    for content in (b'{\n"a": 1,\n"b": }\n', '{\n"a": 1,\n"b": "ä"}\n'.encode("latin-1")):
        path.write_bytes(content)
        with pytest.raises(UsageError, match=rf"{path}:3: not JSON"):
            read_json(path)


def test_a_byte_order_mark_is_read_over(tmp_path):
    rows, whole = tmp_path / "rows.jsonl", tmp_path / "whole.json"
    rows.write_bytes(b'\xef\xbb\xbf{"a": "\xc3\xa4"}\n{"a": 2}\n')
    whole.write_bytes(b"\xef\xbb\xbf[1]\n")
    assert [row["a"] for _, row in read_jsonl(rows)] == ["ä", 2]
    assert read_json(whole) == [1]


def test_lists_of_many_short_lists_are_no_deep_lists(tmp_path):
    write_json(tmp_path / "a.json", [[[]]] * 1000)
    assert len(read_json(tmp_path / "a.json")) == 1000


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_library_that_meets_a_full_disk_is_explained(tmp_path, number):
    import safetensors

    failures = (
        OSError(number, "no"),
        safetensors.SafetensorError(f"Error while serializing: I/O error: No space left on device (os error {number})"),
        sqlite3.OperationalError("database or disk is full"),
    )
    for failure in failures:
        with pytest.raises(MachineError, match="the disk is full"), explain_full_disk(tmp_path / "not" / "there"):
            raise failure
    with pytest.raises(MachineError, match="the disk is full"), explain_full_disk(tmp_path):
        raise RuntimeError("could not save") from OSError(number, "no")


@pytest.mark.parametrize(
    "failure",
    [
        FileNotFoundError(errno.ENOENT, "No such file or directory", "x"),
        ConnectionError("api.wandb.ai: connection refused"),
        PermissionError(errno.EACCES, "Permission denied", "x"),
        OSError(errno.EIO, "Input/output error"),
        OSError("a message of its own"),
        RuntimeError("CUDA error"),
        RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed"),  # but there is room
        ValueError("x"),
        CheckFailedError("the gradient is not finite"),
        KeyboardInterrupt(),
    ],
    ids=repr,
)
def test_other_failures_keep_their_meaning(tmp_path, failure):
    with pytest.raises(type(failure)) as error, explain_full_disk(tmp_path):
        raise failure
    assert error.value is failure


def test_a_place_that_cannot_be_written_says_why(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(MachineError, match=r"Not a directory|File exists") as error:
        write_atomic(tmp_path / "file" / "x.json", "")
    assert "full" not in str(error.value)
    assert "None" not in str(error.value)


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


@pytest.mark.parametrize("number", ["1e999", "-1e999", "1" + "0" * 400 + ".0"])
def test_a_number_beyond_all_floats_is_no_json(number, tmp_path):
    (tmp_path / "x.json").write_text(f'{{"a": [{number}]}}')
    with pytest.raises(UsageError, match="too large a number"):
        read_json(tmp_path / "x.json")


def test_a_text_with_a_lone_surrogate_is_written_with_an_escape(tmp_path):
    assert write_atomic(tmp_path / "x.md", "a\ud800é").read_bytes() == b"a\\ud800\xc3\xa9"
