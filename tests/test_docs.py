"""Documentation that can be checked is checked."""

import importlib.util
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import reflectioncoder
from reflectioncoder.cli import COMMANDS, _parse
from tests.documented import DOCS, PAGES, ROOT, anchors, links

SITE = tomllib.loads((ROOT / "zensical.toml").read_text())["project"]
SCRIPTS = sorted(path.stem for path in DOCS.glob("make_*.py"))


def script(name):
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_pages_that_make_docs_writes_are_what_it_writes():
    names = [name.removeprefix("make_").removesuffix("_page") for name in SCRIPTS if name.endswith("_page")]
    assert len(names) == 6
    for name in names:
        assert (DOCS / f"{name}.md").read_text() == script(f"make_{name}_page").page(), name


def test_pictures_that_make_docs_writes_are_what_it_writes():
    pictures = script("make_pictures").PICTURES
    assert {path.name for path in (DOCS / "pictures").iterdir()} == set(pictures)
    for name, picture in pictures.items():
        assert (DOCS / "pictures" / name).read_text() == picture(), name


def test_make_docs_carries_out_every_script():
    rule = (ROOT / "Makefile").read_text().partition("\ndocs:")[2]
    for name in SCRIPTS:
        assert name in rule or re.search(rf"\b{name.removeprefix('make_').removesuffix('_page')}\b", rule), name


def documented_commands():
    for page in PAGES:
        for line in re.sub(r"\s*\\\n\s*", " ", page.read_text()).splitlines():
            match = re.match(r"\s*(?:\$ )?reflectioncoder ([a-z]+ .*?)(?:\s{2,}.*|\s+[>|#].*)?$", line)
            if match and match[1].split()[0] in COMMANDS and not match[1].endswith("[options]"):  # as the page of commands has them
                yield pytest.param(shlex.split(match[1]), id=f"{page.name}: {match[1]}")


@pytest.mark.parametrize("argv", documented_commands())
def test_every_documented_command_parses(argv):
    _parse(argv)


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
@pytest.mark.parametrize("page", sorted((DOCS / "adding").glob("*.md")), ids=lambda page: page.stem)
def test_the_change_that_a_page_shows_can_be_made(page):
    change = re.search(r"^```diff\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)
    assert change is not None
    done = subprocess.run(["git", "apply", "--check", "-"], input=change[1], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_links_lead_to_pages_and_to_headings():
    known = {page: anchors(page) for page in PAGES}
    checked = 0
    for page in PAGES:
        for target in links(page):
            path, _, anchor = target.partition("#")
            place = (page.parent / path).resolve() if path else page
            if "://" not in target:
                assert place.exists(), f"{page.name}: {target}"
                assert not anchor or anchor in known[place], f"{page.name}: {target}"
                assert DOCS not in page.parents or DOCS in place.parents, f"{page.name}: {target} leads out of the site"
                checked += 1
    assert checked > 200


def pages_in(navigation):
    for entry in navigation:
        for value in entry.values():
            yield from [value] if isinstance(value, str) else pages_in(value)


def test_every_page_has_one_place_in_the_navigation():
    named = list(pages_in(SITE["nav"]))
    assert sorted(named) == sorted(str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md"))


def test_messages_that_are_explained_are_those_of_the_program():
    sources = [path.read_text() for path in Path(reflectioncoder.__file__).parent.rglob("*.py")]
    messages = re.findall(r"^### `(.+)`$", (DOCS / "troubleshooting.md").read_text(), re.MULTILINE)
    assert len(messages) > 50
    for message in messages:
        parts = [part.strip() for part in message.split("…")]
        assert any(all(part in source for part in parts) for source in sources), message


@pytest.mark.skipif(importlib.util.find_spec("zensical") is None, reason="zensical is not installed")
def test_the_site_is_built_without_a_warning(tmp_path):
    shutil.copytree(DOCS, tmp_path / "docs")
    shutil.copy(ROOT / "zensical.toml", tmp_path)
    command = [sys.executable, "-m", "zensical", "build", "--strict"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert all((tmp_path / "site" / page).with_suffix(".html").is_file() for page in pages_in(SITE["nav"]))
