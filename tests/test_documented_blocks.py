"""Command blocks of the pages that are marked as tested do what the pages say, each page in a folder of its own."""

import os
import re
import shutil
import subprocess
import sys

import pytest

from tests.documented import DOCS, LONG, QUICK, Block, marked_blocks
from tests.tiers import MAX_SMALL

BLOCKS = {str(page.relative_to(DOCS)): blocks for page in sorted(DOCS.rglob("*.md")) if (blocks := marked_blocks(page))}
MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"


def carry_out(blocks, folder):
    """Write the files, run the commands and compare what they print; the first block that does not do what it should ends it."""
    (folder / "bin").mkdir()
    command = folder / "bin" / "reflectioncoder"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m reflectioncoder "$@"\n')
    command.chmod(0o755)
    environment = {**os.environ, "PATH": f"{folder / 'bin'}:{os.environ['PATH']}"}
    printed = ""
    for block in blocks:
        if block.mark.startswith("test"):
            ran = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", block.text],
                cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=280, check=False,
            )  # fmt: skip
            printed = ran.stdout
            assert ran.returncode == 0, f"{block.text}\n{printed}"
        elif block.mark == "output":
            pattern = re.escape(block.text).replace("…", ".*").replace("\\\n", "\n")
            assert re.search(rf"^{pattern}", printed, re.MULTILINE | re.DOTALL), f"{block.text}\nis not in\n{printed}"
        else:
            (folder / block.mark.removeprefix("file: ")).write_text(block.text, encoding="utf-8")


def chosen(page, marks):
    """Return the blocks of a page with these marks, all files, and what the chosen blocks print."""
    kept, follows = [], False
    for block in BLOCKS[page]:
        follows = block.mark in marks or (follows and block.mark == "output")
        if follows or block.mark.startswith("file"):
            kept.append(block)
    return kept


def pages_with(mark):
    return [page for page, blocks in BLOCKS.items() if any(block.mark == mark for block in blocks)]


@pytest.mark.parametrize("page", pages_with(QUICK[0]))
def test_the_commands_of_a_page_do_what_it_says(page, tmp_path):
    carry_out(chosen(page, QUICK), tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("page", pages_with(LONG[0]))
def test_the_long_commands_of_a_page_do_what_it_says(page, tmp_path, model_dir):
    """A tiny random model stands under the name of the real one, as a folder, which comes before the hub."""
    shutil.copytree(model_dir, tmp_path / MODEL)
    carry_out(chosen(page, LONG), tmp_path)


def test_the_quick_tier_runs_every_page():
    assert 3 <= len(pages_with(QUICK[0])) <= MAX_SMALL


def test_a_block_that_fails_or_prints_something_else_is_noticed(tmp_path):
    good = [Block("file: a.txt", "x\ny 3\nz\n"), Block("test", "cat a.txt\n"), Block("output", "x\ny …\nz\n")]
    for number, bad in enumerate((Block("test", "false | true\n"), Block("output", "x\nz\n"))):
        folder = tmp_path / str(number)
        folder.mkdir()
        with pytest.raises(AssertionError):
            carry_out([*good, bad], folder)


def test_a_misspelt_mark_is_noticed(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("<!-- test -->\n\nwords\n\n<!-- test: later -->\n```bash\ntrue\n```\n")
    with pytest.raises(ValueError, match="2 marks, 0 of them"):
        marked_blocks(page)
