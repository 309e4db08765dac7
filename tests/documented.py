"""Reads the pages: headings, links, and code blocks that a comment in front of them marks.

`<!-- test -->` runs the block with bash in the quick tests, `<!-- test: long -->` in the long ones, `<!-- test: always -->` in both,
because long blocks need what it makes. `<!-- file: NAME -->` writes the block to a file. `<!-- output -->` holds lines that the block
before it prints, in this order; `…` stands for whatever differs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [*(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")), *sorted(DOCS.rglob("*.md"))]
QUICK, LONG = ("test", "test: always"), ("test: long", "test: always")
_MARK = r"<!-- (test|test: always|test: long|output|file: [\w./-]+) -->"
_MARKED = re.compile(rf"^{_MARK}\n(`{{3,}})\w*\n(.*?)^\2$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A block and what the comment in front of it says."""

    mark: str
    text: str


def marked_blocks(page: Path) -> list[Block]:
    """Return the marked blocks of a page.

    Raises:
        ValueError: a mark that is misspelt, or that stands in front of something else than a block.
    """
    text = page.read_text(encoding="utf-8")
    found = [Block(match[1], match[3]) for match in _MARKED.finditer(text)]
    marks = re.findall(r"^<!-- (?:test|output|file)\b.*$", text, re.MULTILINE)
    if len(found) != len(marks):
        raise ValueError(f"{page.name}: {len(marks)} marks, {len(found)} of them in front of a block")
    return found


def links(page: Path) -> list[str]:
    """Return the targets of the links and pictures of a page."""
    inline = [child for token in _tokens(page) for child in token.children or ()]
    return [str(token.attrs.get("href") or token.attrs.get("src")) for token in inline if token.type in ("link_open", "image")]


def anchors(page: Path) -> set[str]:
    """Return the anchors of the headings that both the forge and the site make; those with a number behind them are left out."""
    found: set[str] = set()
    for before, token in pairwise(_tokens(page)):
        if before.type == "heading_open":
            words = "".join(child.content for child in token.children or () if child.type in ("text", "code_inline"))
            plain = re.sub(r"[^\w\s-]", "", words).strip().lower()
            found |= {re.sub(r"\s", "-", plain)} & {re.sub(r"[-\s]+", "-", plain)}
    return found


def _tokens(page: Path) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse(page.read_text(encoding="utf-8"))
