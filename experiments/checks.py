"""Stage `tests`: what only a GPU can show, each test of tests/train/test_gpu.py as a unit, in pytest."""

from __future__ import annotations

import ast
import importlib.util
import os
import subprocess
import sys
import xml.etree.ElementTree
from pathlib import Path
from typing import Any

from experiments.runner import Group, Measure, Rows, Settings
from reflectioncoder.errors import MachineError

ROOT = Path(__file__).resolve().parents[1]
FILE = "tests/train/test_gpu.py"
_COUNTS = ("tests", "failures", "errors", "skipped")


def groups(settings: Settings) -> list[Group]:
    tree = ast.parse((ROOT / FILE).read_text())
    names = [node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")]
    return [Group("tests/gpu", tuple(names[:1] if settings.tiny else names), start)]


def start(settings: Settings, directory: Path, group: str, rows: Rows) -> Measure:
    if importlib.util.find_spec("pytest") is None:
        raise MachineError(f"pytest is missing; hint: pip install --target {directory}/wheels pytest")
    folder = directory / "tests"
    folder.mkdir(exist_ok=True)

    def measure(unit: str) -> dict[str, Any]:
        report = folder / f"{unit}.xml"
        # Neither the tests' own configuration nor their fixtures: they need plugins that are not needed here.
        argv = [sys.executable, "-m", "pytest", "--noconftest", "-c", os.devnull, "--rootdir", str(ROOT), "-p", "no:cacheprovider"]
        argv += ["-q", f"--junitxml={report}", f"{ROOT / FILE}::{unit}"]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        with open(folder / f"{unit}.log", "w") as log:
            done = subprocess.run(argv, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT, check=False)
        suite = xml.etree.ElementTree.parse(report).getroot().find("testsuite") if report.is_file() else None
        if suite is None:
            raise RuntimeError(f"pytest ended with exit code {done.returncode}; see {log.name}")
        return {**{count: int(suite.get(count, 0)) for count in _COUNTS}, "exit_code": done.returncode}

    return measure
