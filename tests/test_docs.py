"""Documentation that can be checked is checked."""

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from reflectioncoder.cli import COMMANDS, _parse

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("page", ["recipes", "api", "benchmarks"])
def test_a_page_that_make_docs_writes_is_what_it_writes(page):
    spec = importlib.util.spec_from_file_location(f"make_{page}_page", ROOT / "docs" / f"make_{page}_page.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (ROOT / "docs" / f"{page}.md").read_text() == module.page()


def documented_commands():
    for page in PAGES:
        for line in re.sub(r"\s*\\\n\s*", " ", page.read_text()).splitlines():
            match = re.match(r"\s*(?:\$ )?reflectioncoder ([a-z]+ .*?)(?:\s{2,}.*|\s+#.*)?$", line)
            if match and match[1].split()[0] in COMMANDS:
                yield pytest.param(match[1].split(), id=f"{page.name}: {match[1]}")


@pytest.mark.parametrize("argv", documented_commands())
def test_every_documented_command_parses(argv):
    _parse(argv)


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
@pytest.mark.parametrize("page", sorted((ROOT / "docs" / "adding").glob("*.md")), ids=lambda page: page.stem)
def test_the_change_that_a_page_shows_can_be_made(page):
    change = re.search(r"^```diff\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)
    assert change is not None
    done = subprocess.run(["git", "apply", "--check", "-"], input=change[1], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_links_in_the_pages_lead_to_files():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name}: {target}"
