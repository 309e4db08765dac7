"""Notes and progress go where the caller says, in the caller's threads too, and nowhere if the caller says nothing."""

import contextlib
import errno
import time

import pytest

from reflectioncoder.progress import Progress, Reporter, log_of, logging_to, reporting, say
from reflectioncoder.sandbox.pool import map_ordered, map_unordered


def test_the_library_is_silent(capfd):
    say("a note")
    with Progress("label", 1) as progress:
        progress.update(1)
    assert capfd.readouterr() == ("", "")


def test_a_command_shows_notes_and_progress(capfd):
    with reporting(Reporter()):
        say("a note")
        with Progress("label", 2) as progress:
            progress.update(2, "all well")
    shown = capfd.readouterr()
    assert shown.out == ""
    assert shown.err.splitlines()[0] == "a note"
    assert shown.err.splitlines()[1].startswith("label: 2/2  elapsed ")
    assert shown.err.splitlines()[1].endswith("all well")


def test_what_comes_in_one_batch_has_one_line_and_its_estimate_is_of_the_whole_batch(capfd, monkeypatch):
    monkeypatch.setattr("reflectioncoder.progress.PLAIN_INTERVAL_S", 0.2)
    with reporting(Reporter()), Progress("label", 100) as progress:
        time.sleep(0.5)
        for done in range(1, 51):
            progress.update(done)
        time.sleep(0.5)
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("label: 50/100  elapsed ")
    assert line.endswith("eta 1s") or line.endswith("eta 0s")


def test_work_without_news_says_that_it_goes_on(capfd, monkeypatch):
    monkeypatch.setattr("reflectioncoder.progress.PLAIN_INTERVAL_S", 0.05)
    monkeypatch.setattr("reflectioncoder.progress.SILENT_INTERVAL_S", 0.3)
    with reporting(Reporter()), Progress("label", 3):
        time.sleep(1.0)
    lines = capfd.readouterr().err.splitlines()
    assert 1 <= len(lines) <= 3
    assert all(line.startswith("label: 0/3  elapsed ") and line.endswith("eta ?") for line in lines)
    with reporting(Reporter(quiet=True)), Progress("label", 3):
        time.sleep(0.5)
    assert capfd.readouterr().err == ""


def test_a_quiet_command_logs_its_notes(tmp_path, capfd):
    with reporting(Reporter(quiet=True)), logging_to(tmp_path / "run.log"):
        say("a note")
    assert (tmp_path / "run.log").read_text().endswith(" a note\n")
    assert capfd.readouterr() == ("", "")


def test_of_several_processes_the_first_one_speaks(tmp_path, capfd, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    with reporting(Reporter()), logging_to(tmp_path / "run.log"):
        say("a note")
    assert not (tmp_path / "run.log").exists()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("map_jobs", [map_ordered, map_unordered])
def test_jobs_in_threads_speak_as_their_caller_does(map_jobs, capfd):
    said = [f"note {number}" for number in range(200)]
    with reporting(Reporter()):
        list(map_jobs(say, said, workers=4))
    assert sorted(capfd.readouterr().err.splitlines()) == sorted(said)


def test_a_log_within_another_ends_with_its_block(tmp_path):
    with reporting(Reporter(quiet=True)):
        with logging_to(tmp_path / "outer"):
            with logging_to(tmp_path / "inner"):
                say("first")
            say("second")
        say("third")
    assert [(tmp_path / name).read_text().split()[1:] for name in ("inner", "outer")] == [["first"], ["second"]]


@pytest.mark.parametrize("reporter", [None, Reporter(quiet=True)])
def test_an_error_names_the_innermost_log_and_ends_all(tmp_path, reporter):
    with contextlib.nullcontext() if reporter is None else reporting(reporter):
        with pytest.raises(KeyError) as caught, logging_to(tmp_path / "outer"), logging_to(tmp_path / "inner"):
            raise KeyError
        say("a note that belongs to no run")
    assert log_of(caught.value) == tmp_path / "inner"
    assert log_of(KeyError()) is None
    assert list(tmp_path.iterdir()) == []


class GoneTerminal:
    """What stderr is when the connection is lost."""

    def write(self, text):
        raise OSError(errno.EIO, "Input/output error")

    flush = isatty = lambda self: False


def test_work_goes_on_and_its_log_too_when_the_terminal_is_gone(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.stderr", GoneTerminal())
    with reporting(Reporter()), logging_to(tmp_path / "run.log"), Progress("label", 1) as progress:
        say("a note")
        progress.update(1)
    assert [line.partition(" ")[2].partition("  ")[0] for line in (tmp_path / "run.log").read_text().splitlines()] == [
        "a note",
        "label: 1/1",
    ]
