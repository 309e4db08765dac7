"""What a newcomer meets first: the bare command, `doctor`, completion in the shell, extras that are missing."""

import importlib.metadata
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

from reflectioncoder import extras
from reflectioncoder.cli import COMMANDS, main

ROOT = Path(__file__).resolve().parents[2]


def test_the_bare_command_says_what_to_do_next(capsys):
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 2
    shown = capsys.readouterr()
    assert not shown.out
    assert "reflectioncoder doctor" in shown.err
    assert all(line.split()[1] in (*COMMANDS, "--help") for line in shown.err.splitlines() if line.startswith("  reflectioncoder "))


@pytest.fixture(scope="module")
def completion(tmp_path_factory):
    path = tmp_path_factory.mktemp("completion") / "reflectioncoder.bash"
    argv = [sys.executable, "-m", "reflectioncoder", "--print-completion", "bash"]
    path.write_text(subprocess.run(argv, capture_output=True, text=True, check=True).stdout)
    return path


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (["sc"], {"score"}),
        (["re"], {"recipes", "report"}),
        (["score", "--benchm"], {"--benchmark"}),
        (["evaluate", "--backend", ""], {"transformers", "openai", "local", "vllm"}),
        (["train", "--runs"], {"--runs-dir"}),
    ],
)
def test_bash_completes_commands_options_and_values(completion, typed, offered):
    words = " ".join(f"'{word}'" for word in ["reflectioncoder", *typed])
    script = (
        f"source {completion}\nCOMP_WORDS=({words})\nCOMP_CWORD={len(typed)}\n"
        "function=$(complete -p reflectioncoder | sed 's/.*-F \\([^ ]*\\).*/\\1/')\n$function\nprintf '%s\\n' \"${COMPREPLY[@]}\""
    )
    told = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert set(told.stdout.split()) == offered, told.stderr


def test_another_shell_is_a_usage_error(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--print-completion", "fish"])
    assert ended.value.code == 2
    assert "'bash', 'zsh', 'tcsh'" in capsys.readouterr().err


def test_every_extra_has_a_purpose():
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(extras.PURPOSES) == set(declared) - {"demo", "dev"}


def test_an_extra_that_is_missing_or_too_old_says_so(monkeypatch):
    real = importlib.metadata.version

    def version(name):
        if name == "peft":
            raise importlib.metadata.PackageNotFoundError(name)
        return "0.0.1" if name == "gguf" else real(name)

    monkeypatch.setattr(extras.metadata, "version", version)
    train = extras.extra("train")
    assert train.versions["peft"] is None
    assert train.problem == "peft is not installed; gguf 0.0.1 is installed, >=0.17 is needed"
    assert train.install == "pip install 'reflectioncoder[train]'"


@pytest.mark.parametrize(
    ("num_missing", "said"),
    [
        (1, "a is not installed"),
        (2, "a and b are not installed"),
        (3, "a, b and c are not installed"),
        (4, "2 of its 6 packages are installed"),
        (5, "1 of its 6 packages is installed"),
        (6, "none of its 6 packages is installed"),
    ],
)
def test_missing_packages_are_named_as_long_as_they_are_few(num_missing, said, monkeypatch):
    def version(name):
        if name in "abcdef"[:num_missing]:
            raise importlib.metadata.PackageNotFoundError(name)
        return "1"

    monkeypatch.setattr(extras, "_requirements", lambda _: [(name, SpecifierSet()) for name in "abcdef"])
    monkeypatch.setattr(extras.metadata, "version", version)
    assert extras.extra("train").problem == said


def test_doctor_ends_with_a_verdict(capsys, monkeypatch):
    monkeypatch.setattr(extras.metadata, "version", lambda name: (_ for _ in ()).throw(importlib.metadata.PackageNotFoundError(name)))
    assert main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2:] == ["It cannot train yet.", "Next: pip install 'reflectioncoder[demo]', then: reflectioncoder run demo"]
    assert sum(line.startswith("  --  train ") and "none of its 9 packages is installed" in line for line in lines) == 1
    titles = [line for line in lines[1:-3] if line and not line.startswith("  ")]
    assert len(titles) == 5
    assert all(line[:6] in ("  ok  ", "  --  ") for line in lines[1:-3] if line and line not in titles)


@pytest.mark.parametrize("name", ["nobody/has-it-0", "./no-such-folder"])
def test_a_model_that_cannot_be_looked_at_leaves_the_rest_of_the_diagnosis(name, capsys, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert main(["doctor", "--model", name]) == 1
    out = capsys.readouterr().out
    assert f"{name}: CANNOT be trained: " in out
    assert "Next: " in out.splitlines()[-1]


def test_doctor_s_verdict_is_in_the_json_too(capsys):
    assert main(["doctor", "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert value["verdict"][-2].startswith("It can train on ")
    assert value["verdict"][-1] == "Next: reflectioncoder run demo"
    assert value["extras"]["train"]["problem"] is None
