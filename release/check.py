"""Checks a release: builds wheel and sdist, looks into them, installs the wheel into an empty environment and works with it there.

    python release/check.py [--keep DIR]

Run by `make release-check`. Needs a package index; nothing outside a temporary folder is written.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
TOOLS = ("build>=1.2", "twine>=6.1")
MAX_FILE_BYTES = 10**6
MAX_INSTALLED_BYTES = 160 * 10**6  # numpy is most of it
# Names of files that benchmarks are published as, and rows of them; none of it is ours to pass on.
_BENCHMARK_NAMES = re.compile(
    r"(HumanEval|Mbpp|humaneval-|mbpp|cruxeval|LeetCodeDataset|test\d*\.jsonl)[^/]*\.(jsonl|json|gz|parquet|zst)$", re.IGNORECASE
)
_BENCHMARK_ROW = re.compile(rb'"(task_id|question_id|name)": ?"(HumanEval|Mbpp|MBPP|HumanEval_\d+|leetcode)[/_"]')
_SAMPLES = """
import json, sys
from reflectioncoder.data.problems import bundled_problems
with open(sys.argv[1], "w") as file:
    for problem in bundled_problems("test_unseen")[:3]:
        file.write(json.dumps({"task_id": problem.task_id, "solution": problem.reference}) + "\\n")
"""


def main() -> None:
    parser = argparse.ArgumentParser(description="Check a release.")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="copy wheel and sdist to this folder at the end")
    keep = parser.parse_args().keep
    with tempfile.TemporaryDirectory(prefix="release-") as scratch:
        folder = Path(scratch)
        tools = _environment(folder / "tools", *TOOLS)
        _run(tools, "-m", "build", "--outdir", str(folder / "dist"), str(ROOT))  # the wheel is built from the sdist
        (wheel,), (sdist,) = ((list((folder / "dist").glob(pattern))) for pattern in ("*.whl", "*.tar.gz"))
        _run(tools, "-m", "twine", "check", "--strict", str(wheel), str(sdist))
        _check_files(wheel)
        _check_files(sdist)
        empty = _environment(folder / "empty", str(wheel))
        _check_size(folder / "empty")
        _work_without_torch(empty, folder / "work")
        if keep is not None:
            keep.mkdir(parents=True, exist_ok=True)
            for file in (wheel, sdist):
                (keep / file.name).write_bytes(file.read_bytes())
    print("the release is in order")


def _environment(folder: Path, *requirements: str) -> Path:
    """Make an environment with these packages only, and return its interpreter."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    _run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements)
    return python


def _run(python: Path, *arguments: str, cwd: Path | None = None) -> str:
    """Run the interpreter, apart from this machine's packages and settings; return what it prints."""
    outside = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "REFLECTIONCODER", "VIRTUAL_ENV"))}
    done = subprocess.run([python, *arguments], cwd=cwd, env=outside, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"failed: {' '.join(arguments)}\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return done.stdout


def contents(archive: Path) -> Iterator[tuple[str, bytes]]:
    """Yield (name, content) of each file of a wheel or sdist."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            yield from ((name, wheel.read(name)) for name in wheel.namelist())
        return
    with tarfile.open(archive) as sdist:
        for member in sdist:
            if (file := sdist.extractfile(member)) is not None:
                yield member.name, file.read()


def faults(files: Iterator[tuple[str, bytes]]) -> list[str]:
    """Say which files are too large, and which are or hold data of benchmarks."""
    found = []
    for name, content in files:
        if len(content) > MAX_FILE_BYTES:
            found.append(f"{name} has {len(content):,} bytes, allowed: {MAX_FILE_BYTES:,}")
        is_data = name.endswith((".jsonl", ".json", ".gz", ".parquet")) and "/tests/" not in name
        if is_data and (_BENCHMARK_NAMES.search(name.rpartition("/")[2]) or _BENCHMARK_ROW.search(content)):
            found.append(f"{name} looks like the data of a benchmark")
    return found


def _check_files(archive: Path) -> None:
    if found := faults(contents(archive)):
        sys.exit(f"{archive.name}:\n  " + "\n  ".join(found))
    names = [name for name, _ in contents(archive)]
    for wanted in (
        "reflectioncoder/py.typed",
        "reflectioncoder/recipes/demo.yaml",
        "reflectioncoder/publish/assets/model_card.md.jinja",
    ):
        if not any(name.endswith(wanted) for name in names):
            sys.exit(f"{archive.name} lacks {wanted}")
    print(f"{archive.name}: {len(names)} files, {archive.stat().st_size / 1e6:.1f} MB")


def _check_size(environment: Path) -> None:
    """Measure what the package and its dependencies take on the disk, pip aside."""
    (site,) = environment.glob("lib/python*/site-packages")
    sizes = {
        entry.name: sum(file.stat().st_size for file in ([entry] if entry.is_file() else entry.rglob("*")) if file.is_file())
        for entry in site.iterdir()
        if not entry.name.startswith(("pip", "setuptools", "_distutils", "distutils"))
    }
    total = sum(sizes.values())
    largest = ", ".join(f"{name} {sizes[name] / 1e6:.0f}" for name in sorted(sizes, key=lambda name: -sizes[name])[:6])
    print(f"installed without torch: {total / 1e6:.0f} MB ({largest})")
    if total > MAX_INSTALLED_BYTES:
        sys.exit(f"installed are {total / 1e6:.0f} MB, allowed: {MAX_INSTALLED_BYTES / 1e6:.0f} MB")


def _work_without_torch(python: Path, folder: Path) -> None:
    """Run the commands that need no extra: help, doctor, recipes, a build, a scoring."""
    folder.mkdir()
    if _run(python, "-c", "import importlib.util as i; print(i.find_spec('torch'))").strip() != "None":
        sys.exit("torch is in the empty environment")
    command = ("-m", "reflectioncoder")
    for arguments in (["--help"], ["doctor"], ["recipes"]):
        _run(python, *command, *arguments, cwd=folder)
    built = json.loads(_run(python, *command, "build", "demo", "--limit", "3", "--set", "build.min_samples=1", "--json", cwd=folder))
    _run(python, "-c", _SAMPLES, "samples.jsonl", cwd=folder)
    score = ["score", "samples.jsonl", "--benchmark", "bundled/unseen:3", "--output", "out"]
    _run(python, *command, *score, cwd=folder)
    (metric, *_) = json.loads((folder / "out" / "results.json").read_text())["metrics"]
    if metric["value"] != 1.0:
        sys.exit(f"reference solutions score {metric['value']}, expected: 1.0")
    print(f"help, doctor, recipes, build ({built['num_accepted']} samples) and score work without torch")


if __name__ == "__main__":
    main()
