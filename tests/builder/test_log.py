"""A build's log: damaged in any way it is an error; never is something asked and paid again in silence, nor other data written."""

import json
import os
import random
import shutil
import sqlite3

import pytest

from reflectioncoder.builder.log import BuildLog
from reflectioncoder.builder.pipeline import build_reflections
from reflectioncoder.errors import MachineError, ReflectionCoderError, UsageError
from reflectioncoder.generate.reply import Reply
from tests.builder.scripted_recipe import PROBLEMS, make_recipe
from tests.builder.server import Script, serving

FILES = ("reflections.jsonl", "rejected.jsonl")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A build of a model that can be replayed, and its recipe, whose server answers nothing any more."""
    directory = tmp_path_factory.mktemp("built")
    with serving(Script(PROBLEMS)) as url:
        build_reflections(make_recipe(url), directory, limit=3)
    return directory, make_recipe("http://127.0.0.1:9/v1")


@pytest.fixture
def copied(built, tmp_path):
    directory, recipe = built
    shutil.copytree(directory, tmp_path / "b")
    return tmp_path / "b", recipe


def replayed(directory, recipe):
    """Whether the build comes to the same files without asking anything."""
    before = [(directory / name).read_bytes() for name in FILES]
    for name in FILES:
        (directory / name).unlink()
    summary = build_reflections(recipe, directory, limit=3)
    return summary["num_requests"] == 0 and [(directory / name).read_bytes() for name in FILES] == before


def error_of(directory, recipe):
    """The error that a replay ends with; None if it comes to the same files."""
    try:
        assert replayed(directory, recipe)
    except ReflectionCoderError as error:
        return error
    return None


def damage(directory, change):
    log = directory / "log.sqlite"
    log.write_bytes(change(log.read_bytes()))


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data[:-1],
        lambda data: data + b"\0",
        lambda data: data[: len(data) // 2],
        lambda data: data[:100],
        lambda data: data[: 4096 * (len(data) // 8192)],
        lambda data: b"garbage" * 1000,
        lambda data: b"\0" * len(data),
        lambda data: data[:4096] + bytes(4096) + data[8192:],
        lambda data: b"",
    ],
    ids=["cut by one", "longer by one", "half", "a hundred bytes", "whole pages", "garbage", "zeros", "a page of zeros", "empty"],
)
def test_a_damaged_log_is_an_error_or_does_no_harm(change, copied):
    directory, recipe = copied
    damage(directory, change)
    if error := error_of(directory, recipe):
        assert isinstance(error, UsageError)
        assert "log.sqlite" in str(error)
        assert "hint:" in str(error)


@pytest.mark.parametrize("seed", range(60))
def test_flipped_bytes_are_an_error_or_do_no_harm(seed, copied):
    directory, recipe = copied
    rng = random.Random(seed)

    def flip(data):
        data = bytearray(data)
        for _ in range(rng.choice((1, 1, 3, 20))):
            place = rng.randrange(100) if seed % 4 == 0 else rng.randrange(len(data))
            data[place] ^= 1 << rng.randrange(8)
        return bytes(data)

    damage(directory, flip)
    if error := error_of(directory, recipe):
        assert error.exit_code in (2, 3)
        assert "log.sqlite" in str(error)


@pytest.mark.parametrize("column", ["key", "kind", "request", "response", "checksum"])
def test_an_entry_that_was_changed_is_noticed(column, copied):
    directory, recipe = copied
    connection = sqlite3.connect(directory / "log.sqlite")
    text = connection.execute(f"SELECT {column} FROM entries WHERE kind = 'request'").fetchone()[0]
    changed = text[:-2] + chr(ord(text[-2]) ^ 1) + text[-1]
    connection.execute(f"UPDATE entries SET {column} = ? WHERE {column} = ?", (changed, text))
    connection.commit()
    connection.close()
    with pytest.raises(UsageError, match=r"is damaged.*\n.*hint:.*intact copy"):
        build_reflections(recipe, directory, limit=3)


@pytest.mark.parametrize("gone", [["log.sqlite"], ["log.sqlite", "log.lock"]])
@pytest.mark.parametrize("is_empty", [True, False])
def test_a_log_that_is_gone_is_said_beside_finished_data(gone, is_empty, copied):
    """Also where an older version has made the data, which noted nothing in log.lock."""
    directory, recipe = copied
    for name in gone:
        (directory / name).unlink()
        if is_empty:
            (directory / name).touch()
    with pytest.raises(UsageError, match=r"has lost answers.*\n.*hint:.*put the log back"):
        build_reflections(recipe, directory, limit=3)
    for name in ("log.lock", "build.json", "log.sqlite"):  # the way out
        (directory / name).unlink(missing_ok=True)
    with serving(Script(PROBLEMS)) as url:
        assert build_reflections(make_recipe(url), directory, limit=3)["num_requests"] > 0


def test_a_log_that_is_gone_before_the_data_was_finished_is_said_too(copied):
    directory, recipe = copied
    for name in (*FILES, "build.json", "log.sqlite"):
        (directory / name).unlink()
    with pytest.raises(UsageError, match="has lost answers: it holds 0, and held"):
        build_reflections(recipe, directory, limit=3)


def test_answers_that_vanish_one_by_one_are_missed(copied):
    directory, recipe = copied
    connection = sqlite3.connect(directory / "log.sqlite")
    connection.execute("DELETE FROM entries WHERE rowid = (SELECT max(rowid) FROM entries WHERE kind = 'request')")
    connection.commit()
    connection.close()
    with pytest.raises(UsageError, match="has lost answers"):
        build_reflections(recipe, directory, limit=3)


OLD_SCHEMA = """
CREATE TABLE entries (key TEXT PRIMARY KEY, kind TEXT NOT NULL, request TEXT NOT NULL, response TEXT NOT NULL);
CREATE TABLE settings (only INTEGER PRIMARY KEY CHECK (only = 1), value TEXT NOT NULL);
"""


def as_of_before(directory, change=lambda rows: rows):
    """The log as versions before checksums have written it."""
    connection = sqlite3.connect(directory / "log.sqlite")
    rows = connection.execute("SELECT key, kind, request, response FROM entries ORDER BY rowid").fetchall()
    settings = connection.execute("SELECT only, value FROM settings").fetchall()
    connection.close()
    for name in ("log.sqlite", "log.lock"):
        (directory / name).unlink()
    (directory / "log.lock").touch()
    old = sqlite3.connect(directory / "log.sqlite")
    old.executescript(OLD_SCHEMA)
    old.executemany("INSERT INTO entries VALUES (?, ?, ?, ?)", change(rows))
    old.executemany("INSERT INTO settings VALUES (?, ?)", settings)
    old.commit()
    old.close()


def test_a_log_of_before_is_read_and_gets_checksums(copied):
    directory, recipe = copied
    as_of_before(directory)
    assert replayed(directory, recipe)
    assert replayed(directory, recipe)
    connection = sqlite3.connect(directory / "log.sqlite")
    assert connection.execute("SELECT count(*) FROM entries WHERE checksum IS NULL").fetchone() == (0,)
    connection.close()


@pytest.mark.parametrize("column", [0, 2, 3])
def test_damage_to_a_log_of_before_is_noticed_where_it_can_be(column, copied):
    directory, recipe = copied

    def tear(rows):
        row = list(rows[-1])
        row[column] = row[column][:-1]
        return [*rows[:-1], tuple(row)]

    as_of_before(directory, tear)
    with pytest.raises(UsageError, match="is damaged"):
        build_reflections(recipe, directory, limit=3)


def test_a_log_of_before_with_lone_surrogates_and_negative_counts_is_read(copied):
    directory, _ = copied

    def spoil(rows):
        spoiled = []
        for key, kind, request, response in rows:
            if kind == "request":
                reply = json.loads(response)
                reply = {**reply, "text": reply["text"].replace("I try it.", "I \ud800try\0 it."), "input_tokens": -26_000_000}
                response = json.dumps(reply)
            spoiled.append((key, kind, request, response))
        return spoiled

    as_of_before(directory, spoil)
    with serving(Script(PROBLEMS)) as url:  # what follows a text that is cleaned is asked anew
        summary = build_reflections(make_recipe(url), directory, limit=3)
    assert summary["input_tokens"] >= 0
    text = (directory / "reflections.jsonl").read_text()
    assert "I \ufffdtry\ufffd it." in text


@pytest.mark.parametrize("what", ["\ud800", "a\udfff\0b", "\0"])
def test_odd_characters_of_a_server_do_not_kill_a_folder(what, tmp_path):
    class Odd(Script):
        def reply(self, payload):
            return super().reply(payload).replace("I try it.", f"I try{what} it.")

    with serving(Odd(PROBLEMS)) as url:
        first = build_reflections(make_recipe(url), tmp_path, limit=3)
        assert first["num_accepted"] >= 1
        assert "\ufffd" in (tmp_path / "reflections.jsonl").read_text()
        before = (tmp_path / "reflections.jsonl").read_bytes()
        assert build_reflections(make_recipe(url), tmp_path, limit=3)["num_requests"] == 0
    assert (tmp_path / "reflections.jsonl").read_bytes() == before


# --- what was under way -------------------------------------------------------------------------------------------------


def test_a_request_that_was_under_way_at_a_kill_counts_as_paid(tmp_path):
    if not (child := os.fork()):
        log = BuildLog(tmp_path / "log.sqlite")
        accounts = [log.account({"payload": number}) for number in range(4)]
        for account in accounts:
            account.sent(100, 1000)
        accounts[0].answered(Reply("x", "stop", 7, 5))
        accounts[1].failed(100, 20)
        accounts[2].failed(0, 0)
        os._exit(0)
    os.waitpid(child, 0)
    for _ in range(2):  # counted once
        with BuildLog(tmp_path / "log.sqlite") as log:
            assert log.used("request") == (7, 5)
            assert log.used("lost") == (200, 1020)
            assert log.used() == (207, 1025)
            assert log.holds_answers


@pytest.mark.parametrize(
    "change", [lambda data: b"", lambda data: data[: len(data) // 2], lambda data: data[:-1], lambda data: b"\0" * len(data)]
)
def test_answers_that_a_killed_build_has_left_beside_the_log_are_missed(change, tmp_path):
    if not (child := os.fork()):
        log = BuildLog(tmp_path / "log.sqlite")
        for number in range(50):
            log.account({"payload": number}).answered(Reply("x" * 100, "stop", 7, 5))
        os._exit(0)
    os.waitpid(child, 0)
    wal = tmp_path / "log.sqlite-wal"
    whole = wal.read_bytes()
    wal.write_bytes(change(whole))
    with pytest.raises(UsageError, match="has lost answers: it holds"):
        BuildLog(tmp_path / "log.sqlite")


def test_a_log_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(MachineError, match="cannot write"):
        BuildLog(tmp_path / "file" / "log.sqlite")


@pytest.mark.parametrize("tokens", ["'many'", "x'00'", "-5", "9223372036854775807", "1.5"])
@pytest.mark.parametrize("column", ["input_tokens", "output_tokens"])
def test_a_request_under_way_that_was_changed_is_damage(column, tokens, tmp_path):
    path = tmp_path / "log.sqlite"
    if not (child := os.fork()):
        BuildLog(path).begin({"a": 1}, 10, 10)
        os._exit(0)
    os.waitpid(child, 0)
    with sqlite3.connect(path) as connection:
        connection.execute(f"UPDATE under_way SET {column} = {tokens}")
    connection.close()
    with pytest.raises(UsageError, match="is damaged"):
        BuildLog(path)
