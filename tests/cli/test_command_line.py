"""Global options on either side of the command, exit codes, and what may reach a terminal."""

import json
import os
import pty
import re
import select
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest

from reflectioncoder import cli
from reflectioncoder.cli import COMMANDS, LIMIT, SEED, _command_first, main
from reflectioncoder.data.files import write_json, write_jsonl
from reflectioncoder.data.problems import bundled_problems
from reflectioncoder.errors import CheckFailedError
from reflectioncoder.evaluate.references import lines_of
from reflectioncoder.progress import Progress, Reporter, logging_to, reporting, say
from reflectioncoder.server_address import read_key
from tests.conftest import reflection_sample

NASTY = "\x1b]0;title\x07\x1b[31mred\x9b31m\r\x08\x7f\u202eabc\u2028"
UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e]")

# A command line for each command that parses, without global options.
GOOD = {
    "run": ["demo"],
    "recipes": ["list"],
    "problems": ["bundled:train", "--output", "x"],
    "build": ["demo"],
    "check": ["x"],
    "inspect": ["x"],
    "train": ["demo"],
    "improve": ["demo"],
    "ablate": ["demo"],
    "benchmarks": [],
    "generate": ["m", "--benchmark", "bundled/seen", "--output", "x"],
    "score": ["x", "--benchmark", "bundled/seen", "--output", "x"],
    "evaluate": ["m", "--benchmark", "bundled/seen", "--output", "x"],
    "merge": ["a", "--output", "x"],
    "compare": ["a", "b"],
    "report": ["x", "--output", "x"],
    "export": ["x", "--output", "x"],
    "doctor": [],
}


def run(*argv, **env):
    return subprocess.run([sys.executable, "-m", "reflectioncoder", *argv], capture_output=True, check=False, env={**os.environ, **env})


def parsed(*argv):
    return vars(cli._parse(_command_first(argv))[0])


def test_every_command_has_a_command_line_here():
    assert set(GOOD) == set(COMMANDS)
    assert set(SEED) | set(LIMIT) <= set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_global_options_stand_before_or_behind_the_command(command):
    options = ["-q", "--json", "--verbose", "--offline"]
    options += ["--seed", "7"] if command in SEED else []
    options += ["--limit=3"] if command in LIMIT else []
    expected = parsed(command, *GOOD[command], *options)
    assert (expected["quiet"], expected["json"], expected["verbose"]) == (True, True, True)
    assert parsed(*options, command, *GOOD[command]) == expected
    assert parsed(*options[:2], command, *options[2:], *GOOD[command]) == expected


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(("option", "meant_for"), [("--seed", SEED), ("--limit", LIMIT)])
def test_an_option_that_means_nothing_to_a_command_is_refused(command, option, meant_for, capsys):
    for argv in (
        [command, *GOOD[command], option, "3"],
        [option, "3", command, *GOOD[command]],
        [f"{option}=3", command, *GOOD[command]],
    ):
        if command in meant_for:
            assert parsed(*argv)[option.strip("-")] == 3
            continue
        with pytest.raises(SystemExit) as ended:
            main(argv)
        assert ended.value.code == 2
        assert f"{option} means nothing to {command}" in capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_shows_the_options_that_mean_something(command, capsys):
    with pytest.raises(SystemExit):
        main([command, "--help"])
    shown = capsys.readouterr().out
    assert ("--seed" in shown, "--limit" in shown) == (command in SEED, command in LIMIT)


@pytest.mark.parametrize(
    ("command", "option"),
    [
        ("check", "--cell-timeout-s"),
        ("score", "--wall-s"),
        ("generate", "--timeout"),
        ("check", "--workers"),
        ("generate", "--num-samples"),
        ("generate", "--batch-size"),
    ],
)
@pytest.mark.parametrize("value", ["1e308", "1e300", "inf", "nan", "-1", str(2**62), str(2**64)])
def test_numbers_that_no_machine_can_use_are_usage_errors(command, option, value, capsys):
    with pytest.raises(SystemExit) as error:
        parsed(command, *GOOD[command], option, value)
    assert error.value.code == 2
    said = capsys.readouterr().err
    assert option in said
    assert "allowed: a" in said


def test_workers_mean_the_same_everywhere(capsys):
    taking = []
    for command in COMMANDS:
        try:
            args = parsed(command, *GOOD[command], "--workers", "0")
        except SystemExit:
            continue
        taking.append(command)
        assert args["workers"] == 0 == parsed(command, *GOOD[command])["workers"]
        with pytest.raises(SystemExit):
            main([command, "--help"])
        assert "programs run at once; 0 (default): one per core" in " ".join(capsys.readouterr().out.split())
    assert taking == ["problems", "check", "score", "evaluate"]


@pytest.mark.parametrize(
    "argv",
    [["--set", "x=1", "run", "demo"], ["--limit", "run"], ["-q"], ["-x", "run"], ["--seed", "x", "run", "demo"], ["--jsn", "doctor"]],
)
def test_other_options_before_the_command_are_usage_errors(argv):
    with pytest.raises(SystemExit) as ended:
        main(argv)
    assert ended.value.code == 2


@pytest.mark.parametrize("value", ["-1", "1.5", "x", "", "9" * 30, "4294967296", "٣"])
def test_a_seed_is_a_whole_number_that_every_generator_takes(value, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["run", "demo", f"--seed={value}"])
    assert ended.value.code == 2
    assert "allowed: a whole number" in capsys.readouterr().err


# --- exit codes -----------------------------------------------------------------------------------------------------------


def fail(monkeypatch, error):
    def broken(args):
        raise error

    monkeypatch.setattr(cli.importlib, "import_module", lambda name: type("M", (), {"add_arguments": lambda p: None, "run": broken}))


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (KeyError("x"), 70),
        (AssertionError(), 70),
        (RecursionError("too deep"), 70),
        (UnicodeEncodeError("ascii", "ü", 0, 1, "no"), 70),
        (CheckFailedError("differs"), 1),
        (PermissionError(13, "Permission denied", "x"), 3),
        (MemoryError(), 3),
        (type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory. Tried to allocate"), 3),
        (KeyboardInterrupt(), 130),
    ],
    ids=repr,
)
def test_each_kind_of_end_has_its_exit_code(monkeypatch, capsys, error, code):
    fail(monkeypatch, error)
    assert main(["doctor"]) == code
    shown = capsys.readouterr().err
    assert "Traceback" not in shown
    assert shown.strip()


def log_named_in(shown: str) -> str:
    found = re.search(r"details: (.*)", shown)
    assert found is not None
    return found[1]


def test_the_traceback_of_a_fault_lies_in_the_file_that_is_named(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("REFLECTIONCODER_CACHE", str(tmp_path))
    monkeypatch.setenv("MY_API_KEY", "sk-very-secret-1")
    fail(monkeypatch, KeyError(f"a name{NASTY} sk-very-secret-1"))
    assert main(["doctor"]) == 70
    shown = capsys.readouterr().err
    assert not UNSAFE.search(shown)
    assert "fault of reflectioncoder" in shown
    log = log_named_in(shown)
    assert log.startswith(str(tmp_path))
    text = Path(log).read_text()
    assert "Traceback" in text
    assert "KeyError" in text
    assert "sk-very-secret-1" not in text + shown
    assert main(["doctor", "-v"]) == 70
    assert "Traceback" in capsys.readouterr().err


def test_a_fault_of_a_run_is_logged_in_its_folder(monkeypatch, capsys, tmp_path):
    def broken(args):
        with logging_to(tmp_path / "logs" / "run.log"):
            raise KeyError("x")

    monkeypatch.setattr(cli.importlib, "import_module", lambda name: type("M", (), {"add_arguments": lambda p: None, "run": broken}))
    assert main(["doctor"]) == 70
    assert f"details: {tmp_path}/logs/fault-" in capsys.readouterr().err


# --- terminals ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def nasty(tmp_path_factory):
    """Data whose every text tries to control the terminal."""
    folder = tmp_path_factory.mktemp("nasty")
    row = reflection_sample(1).to_json()
    row["id"] = f"id{NASTY}"
    for message in row["messages"]:
        for block in message["content"]:
            block["content"] += f"\n# ünïcode ‖ {NASTY}"
    write_jsonl(folder / "samples.jsonl", [row])
    verdicts = {"sample": 0, "base_status": None, "plus_status": None}
    for side, status in (("a", "passed"), ("b", "failed")):
        write_jsonl(folder / side / "samples.jsonl", [{"task_id": f"t{NASTY}", **verdicts, "status": status}])
        write_json(folder / side / "results.json", {"status": "done", "benchmark": {"name": f"ü{NASTY}"}, "metrics": []})
    write_jsonl(folder / "scored.jsonl", [{"task_id": f"t{NASTY}", "solution": "x"}])
    (folder / f"r{NASTY.replace('/', '')}.yaml").write_text("name: [\n")
    return folder


NASTY_COMMANDS = {
    "check": lambda d: ["check", f"{d}/samples.jsonl"],
    "inspect": lambda d: ["inspect", f"{d}/samples.jsonl"],
    "an id": lambda d: ["inspect", f"{d}/samples.jsonl", "--id", f"no{NASTY}"],
    "compare": lambda d: ["compare", f"{d}/a", f"{d}/b"],
    "score": lambda d: ["score", f"{d}/scored.jsonl", "--benchmark", "bundled/seen", "--output", f"{d}/out"],
    "the name of a recipe": lambda d: ["build", str(next(d.glob("*.yaml")))],
    "an override": lambda d: ["build", "demo", "--set", f"name={NASTY}"],
    "the name of a file": lambda d: ["export", f"{d}/no{NASTY}", "--output", f"{d}/x"],
    "an argument": lambda d: ["doctor", NASTY],
    "a command": lambda d: [NASTY],
}


@pytest.mark.parametrize("command", NASTY_COMMANDS)
def test_no_command_lets_data_control_a_terminal(nasty, command):
    """Standard output and error are a real terminal here."""
    shown = on_a_terminal(NASTY_COMMANDS[command](nasty), NO_COLOR="1", TERM="dumb").replace("\r\n", "\n")
    assert shown.strip()
    assert not UNSAFE.search(shown), repr(shown)


def on_a_terminal(argv, **env):
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "reflectioncoder", *argv]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env={**os.environ, **env})
    os.close(theirs)
    data = b""
    while True:
        ready, _, _ = select.select([ours], [], [], 120)
        try:
            block = os.read(ours, 65536) if ready else b""
        except OSError:  # the other side is closed
            break
        if not block:
            break
        data += block
    process.wait()
    os.close(ours)
    return data.decode("utf-8", "replace")


@pytest.mark.parametrize("env", [{"PYTHONIOENCODING": "ascii"}, {"PYTHONIOENCODING": "latin-1"}, {"LC_ALL": "C", "PYTHONUTF8": "0",
                                 "PYTHONCOERCECLOCALE": "0"}], ids=["ascii", "latin-1", "the C locale"])  # fmt: skip
def test_what_an_encoding_does_not_have_is_replaced(nasty, env):
    for argv in (["inspect", str(nasty / "samples.jsonl")], ["--help"], ["recipes", "keys"], ["build", "--help"], ["doctor", "ü‖"],
                 ["build", "demo", "--set", "name=‖/"], ["compare", str(nasty / "a"), str(nasty / "b")]):  # fmt: skip
        result = run(*argv, **env)
        assert result.returncode in (0, 1, 2)
        assert b"Traceback" not in result.stderr
        assert result.stdout or result.stderr


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_json_is_exact_in_every_encoding(nasty, encoding):
    result = run("inspect", str(nasty / "samples.jsonl"), "--json", PYTHONIOENCODING=encoding)
    text = result.stdout.decode(encoding)
    assert not UNSAFE.search(text.replace("\u2028", "").replace("\u202e", ""))
    value = json.loads(text)["samples"][0]
    assert value["id"] == f"id{NASTY}"
    assert any("‖" in token["text"] for token in value["tokens"])


FORGED = "t\nfile/own: pass@1 100.0 %\t"
SHOWN = "t\\nfile/own: pass@1 100.0 %\\t"


def test_an_id_from_data_begins_no_line_of_its_own(tmp_path, capsys):
    """What names a task or a sample is somebody else's text, and might otherwise say what this program says."""
    verdict = {"task_id": FORGED, "sample": 0, "status": "passed", "base_status": "passed", "plus_status": None}
    results = {"benchmark": {"name": "b", "sha256": "x"}, "metrics": [], "counts": {}}
    for side, status in (("a", "passed"), ("b", "failed")):
        write_json(tmp_path / side / "results.json", results)
        write_jsonl(tmp_path / side / "samples.jsonl", [{**verdict, "status": status, "base_status": status}])
    write_json(tmp_path / "c/results.json", results)
    write_jsonl(tmp_path / "c/samples.jsonl", [verdict, verdict])
    own = {**bundled_problems("train")[0].to_json(), "task_id": FORGED}
    write_jsonl(tmp_path / "own.jsonl", [own, own])
    write_jsonl(tmp_path / "one.jsonl", [own])
    write_jsonl(tmp_path / "none.jsonl", [{"task_id": "another", "solution": ""}])
    sample = reflection_sample(1).to_json()
    write_jsonl(tmp_path / "s.jsonl", [{**sample, "id": FORGED}])
    score = ["score", f"{tmp_path}/none.jsonl", "--output", f"{tmp_path}/out", "--benchmark"]
    for argv, code in (
        (["compare", f"{tmp_path}/a", f"{tmp_path}/b"], 0),
        (["compare", f"{tmp_path}/a", f"{tmp_path}/c"], 2),
        (["inspect", f"{tmp_path}/s.jsonl"], 0),
        ([*score, f"file:{tmp_path}/own.jsonl"], 2),
        ([*score, f"file:{tmp_path}/one.jsonl"], 2),
    ):
        assert main(argv) == code
        printed = "".join(capsys.readouterr())
        assert SHOWN in printed, argv
        assert "\nfile/own" not in printed, argv
    said = {"num_tasks": 2, "num_passed": 1, "failed": {FORGED: "no\nnetwork"}, "not_challenged": [FORGED]}
    assert lines_of({"benchmark": {"name": "b", "references": said}}) == [
        "b: the references of 1 of 2 tasks pass here; left out:",
        f"  {SHOWN}: no\\nnetwork",
        f"b: 1 tasks whose challenge can be seen through: {SHOWN}",
    ]


def test_progress_and_notes_are_escaped_here_and_in_the_log(tmp_path, capsys):
    with reporting(Reporter()), logging_to(tmp_path / "run.log"):
        say(f"model {NASTY}")
        with Progress(f"label{NASTY}", 1) as progress:
            progress.update(1, f"note{NASTY}")
    for text in (capsys.readouterr().err, (tmp_path / "run.log").read_text()):
        assert "note\\x1b]0;title" in text
        assert not UNSAFE.search(text)


def test_a_bar_shows_brackets_of_data_as_they_are():
    script = (
        "from reflectioncoder.progress import Progress, Reporter, reporting\n"
        "with reporting(Reporter()), Progress('mbpp[/red] [bold]x', 2) as p:\n"
        "    p.update(1, '[/nothing] \\x1b[31m')\n    p.update(2, '[x]')\n"
    )
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdin=theirs, stdout=theirs, stderr=theirs, env={**os.environ, "COLUMNS": "150"}
    )
    os.close(theirs)
    data = b""
    try:
        while block := os.read(ours, 65536):
            data += block
    except OSError:
        pass
    assert process.wait() == 0, data
    os.close(ours)
    assert b"mbpp[/red] [bold]x" in data


@pytest.mark.parametrize(("closed", "code"), [(">&-", 0), ("2>&-", 0), (">&- 2>&-", 0)])
def test_a_closed_stream_is_no_fault(closed, code):
    done = subprocess.run(
        ["sh", "-c", f"'{sys.executable}' -m reflectioncoder recipes list {closed}"], capture_output=True, timeout=120
    )
    assert (done.returncode, done.stderr) == (code, b"")


def test_the_exit_code_stays_where_messages_cannot_be_written():
    command = f"'{sys.executable}' -m reflectioncoder check nowhere.jsonl 2>/dev/full"
    assert subprocess.run(["sh", "-c", command], capture_output=True, timeout=120).returncode == 2


@pytest.mark.parametrize("options", [[], ["-v"]], ids=["log", "verbose"])
def test_a_fault_shows_no_credential_of_any_kind(options, monkeypatch, capsys, tmp_path):
    secrets = {
        "SVC_PASSWD": "hunter2/hunter2", "MY_AUTH": "auth&auth9", "GH_PAT": "pat-123456", "AWS_CRED": "cred+12345",
        "ODD": "sk-odd&key+1",
    }  # fmt: skip
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SSH_AUTH_SOCK", "/tmp/agent")
    monkeypatch.setenv("REFLECTIONCODER_CACHE", str(tmp_path))
    assert read_key("ODD") == secrets["ODD"]
    forms = [form for value in secrets.values() for form in (value, repr(value), quote(value, safe=""), json.dumps({"k": value}))]
    fail(monkeypatch, KeyError(f"odd: /tmp/agent http://someone:p4ss@host/v1?token=tok postgres://u:p4ss@h/db {' '.join(forms)}"))
    assert main(["doctor", *options]) == 70
    shown = capsys.readouterr().err
    text = shown + Path(log_named_in(shown)).read_text()
    assert "Traceback" in text
    assert "/tmp/agent" in text
    for value in (*secrets.values(), "p4ss", "token=tok", "hunter2%2F", "sk-odd"):
        assert value not in text


@pytest.mark.parametrize("command", ["problems", "check", "build", "score"])
def test_programs_run_at_tier_0_only_where_it_is_accepted(command, tmp_path):
    write_jsonl(tmp_path / "samples.jsonl", [reflection_sample(0).to_json()])
    write_jsonl(tmp_path / "problems.jsonl", [problem.to_json() for problem in bundled_problems("train")[:1]])
    write_jsonl(tmp_path / "answers.jsonl", [{"task_id": bundled_problems("test_seen")[0].task_id, "solution": "pass"}])
    accepted = ["--floor", "0"]
    argv = {
        "problems": ["problems", str(tmp_path / "problems.jsonl"), "--output", str(tmp_path / "out.jsonl")],
        "check": ["check", str(tmp_path / "samples.jsonl")],
        "score": [
            "score",
            str(tmp_path / "answers.jsonl"),
            "--benchmark",
            "bundled/seen",
            "--partial",
            "--output",
            str(tmp_path / "out"),
        ],
        "build": ["build", "demo", "--runs-dir", str(tmp_path), "--limit", "1", "--set", "build.min_samples=0"],
    }[command]
    if command == "build":
        accepted = ["--set", "sandbox.floor=0"]
    refused = run(*argv, REFLECTIONCODER_ISOLATION="rlimits")
    assert refused.returncode == 3
    assert "tier 1 is demanded" in refused.stderr.decode()
    assert "--floor 0, in a recipe sandbox.floor: 0, accepts it" in refused.stderr.decode()
    done = run(*argv, *accepted, REFLECTIONCODER_ISOLATION="rlimits")
    assert b"is demanded" not in done.stderr
    assert done.returncode in (0, 1), done.stderr  # 1: a sample of the tests prints something else
