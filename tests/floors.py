"""Writes tests/floors.txt: constraints for pip with the lowest versions that pyproject.toml allows of what users install.

    python tests/floors.py        after a change of pyproject.toml; `make test-floors` then tests them

torch is left out: which builds of it there are depends on the machine. So are tools of development and what no test can run.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FILE = ROOT / "tests" / "floors.txt"
EXTRAS = ("train", "qlora", "hub", "humaneval", "javascript")
_LEFT_OUT = ("torch",)


def floors() -> str:
    """Return the text of the file.

    Raises:
        ValueError: a requirement has another form than `name>=version`, or two extras disagree.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lowest: dict[str, str] = {}
    for requirement in [*project["dependencies"], *(line for extra in EXTRAS for line in project["optional-dependencies"][extra])]:
        match = re.fullmatch(r"([\w-]+)>=([\d.]+)", requirement)
        if match is None or lowest.setdefault(match[1], match[2]) != match[2]:
            raise ValueError(f"pyproject.toml: {requirement!r} has no lower bound, or another one elsewhere")
    return "".join(f"{name}=={version}\n" for name, version in sorted(lowest.items()) if name not in _LEFT_OUT)


if __name__ == "__main__":
    FILE.write_text(floors())
