"""The release check finds what must not be in a release; `make release-check` builds one and works with it."""

import importlib.util
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def check():
    spec = importlib.util.spec_from_file_location("release_check", ROOT / "release" / "check.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("reflectioncoder/table.bin", b"x" * (10**6 + 1)),
        ("reflectioncoder/HumanEvalPlus-v0.1.10.jsonl.gz", b""),
        ("reflectioncoder/data/humaneval-js.jsonl", b""),
        ("reflectioncoder/problems/mine.jsonl", b'{"task_id": "HumanEval/0", "prompt": ""}\n'),
        ("reflectioncoder/problems/mine.jsonl", b'{"name": "HumanEval_0_has_close_elements"}\n'),
    ],
    ids=["large", "EvalPlus", "MultiPL-E", "rows of HumanEval", "rows of MultiPL-E"],
)
def test_large_files_and_benchmark_data_are_found(check, name, content):
    assert len(check.faults(iter([(name, content)]))) == 1


def test_what_the_package_holds_is_in_order(check):
    package = ROOT / "src" / "reflectioncoder"
    files = [file for file in package.rglob("*") if file.is_file() and "__pycache__" not in file.parts]
    assert check.faults((f"reflectioncoder/{file.relative_to(package)}", file.read_bytes()) for file in files) == []
    assert package / "py.typed" in files


def test_the_container_copies_only_what_is_there():
    lines = (ROOT / "Containerfile").read_text().splitlines()
    copied = [name for line in lines if line.startswith("COPY ") for name in line.split()[1:-1]]
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert set(copied) == kept
    assert all((ROOT / name).exists() for name in copied)


def test_the_distributions_hold_what_the_release_check_needs():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "release" in settings["tool"]["hatch"]["build"]["targets"]["sdist"]["only-include"]
    assert "Typing :: Typed" in settings["project"]["classifiers"]


@pytest.mark.slow
def test_a_release_is_built_and_works_in_an_empty_environment():
    done = subprocess.run([sys.executable, ROOT / "release" / "check.py"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
