"""Finds the code blocks of a Markdown text: CommonMark's fences and indented blocks, also in list items and block quotes.

The parser is markdown-it-py with block rules only. Two deviations serve code that contains fences, in docstrings for instance: a
fence that would end a block too early is skipped, and a closing fence must not be indented deeper than its opening one. HTML is not
a block of its own, so a fence right below a tag counts.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from markdown_it import MarkdownIt
from markdown_it.token import Token

_PARSER = MarkdownIt("commonmark")
_PARSER.core.ruler.enableOnly(["normalize", "block"])
_PARSER.block.ruler.enableOnly(["code", "fence", "blockquote", "list", "hr", "paragraph"])

_FENCE_LINE = re.compile(r"^[ \t>]*(?P<fence>`{3,}|~{3,})(?P<info>.*)$")
_MARKS = str.maketrans("`~", "\ufdd0\ufdd1")  # replace the marks of a skipped fence; no text contains these characters
_UNMARK = str.maketrans("\ufdd0\ufdd1", "`~")
_MAX_PASSED_OVER = 24  # skipped fences per block; each costs one pass over the text
_MAX_TRIED = 8  # blocks per text that may end too early
_MAX_REREAD_CHARS = 2_000_000  # over all passes of one text


@dataclass(frozen=True)
class CodeBlock:
    """A block of code.

    Attributes:
        content: the code without fences and without the indentation or quote marks of its container.
        word: the language in the info string, in lower case; empty if there is none.
        closed: whether there is a closing fence.
        first_line, end_line: the block's lines in the text, fences included, from 0; `end_line` is exclusive.
    """

    content: str
    word: str
    kind: Literal["fence", "indented"]
    closed: bool
    first_line: int
    end_line: int


def normalized(text: str) -> str:
    """Return the text with LF as its only line ending and without a byte order mark."""
    return text.replace("\r\n", "\n").replace("\r", "\n").lstrip("\ufeff")


def info_word(info: str) -> str:
    """Return the language in an info string.

    That is the name in `python3.11`, `{.python .numberLines}`, `python title="a.py"` or `{code-cell} python`, and the extension of a
    file name.
    """
    words = re.findall(r"[\w+#./-]+", info.lower())
    if len(words) > 1 and words[0] in ("code-cell", "code-block", "code", "sourcecode"):
        words = words[1:]
    word = words[0].lstrip(".") if words else ""
    ending = re.fullmatch(r"[\w./-]*[\w-]\.(py|js|mjs|ts|cpp|cc|rs|go|rb|php|sh|java|lua)", word)
    return ending[1] if ending else word


def code_blocks(text: str, is_whole: Callable[[str, str], bool | None]) -> list[CodeBlock]:
    """Return the code blocks of a text in order.

    Args:
        text: as `normalized` returns it.
        is_whole: tells whether a block with this content and info word can be a whole program; None if unknown.
    """
    lines = text.split("\n")
    tokens = _fences_and_indented(lines)
    number, max_tried = 0, min(_MAX_TRIED, _MAX_REREAD_CHARS // (_MAX_PASSED_OVER * max(1, len(text))))
    while number < len(tokens) and max_tried:
        if _may_end_too_early(tokens[number], lines, is_whole):
            max_tried -= 1
            lines, tokens = _extended(lines, tokens, number, is_whole)
        number += 1
    return [block for token in tokens for block in _blocks(token, is_whole)]


def _fences_and_indented(lines: list[str]) -> list[Token]:
    return [token for token in _PARSER.parse("\n".join(lines) + "\n") if token.type in ("fence", "code_block")]


def _may_end_too_early(token: Token, lines: list[str], is_whole: Callable[[str, str], bool | None]) -> bool:
    if token.type != "fence" or not _is_closed(token):
        return False
    whole = is_whole(_content(token), info_word(token.info))
    start, end = _lines_of(token)
    return _indent(lines[end - 1]) > _indent(lines[start]) if whole is None else not whole


def _extended(
    lines: list[str], tokens: list[Token], number: int, is_whole: Callable[[str, str], bool | None]
) -> tuple[list[str], list[Token]]:
    """Return the parse in which block `number` is a whole program, or closes at a fence not indented deeper than its opening one.

    If there is none, return the lines and tokens unchanged.
    """
    start, _ = _lines_of(tokens[number])
    tried, found = list(lines), tokens
    for _ in range(_MAX_PASSED_OVER):
        closing = _lines_of(found[number])[1] - 1
        tried[closing] = tried[closing].translate(_MARKS)
        found = _fences_and_indented(tried)
        token = found[number]
        whole = is_whole(_content(token), info_word(token.info))
        if whole is None and _is_closed(token) and not _opens_another(_content(token)):
            whole = _indent(tried[_lines_of(token)[1] - 1]) <= _indent(tried[start])
        if whole:
            return tried, found
        if not _is_closed(token):
            break
    return lines, tokens


def _opens_another(content: str) -> bool:
    """Tell whether the content has a fence with an info string at the left margin: then the block has ended before it."""
    return any((match := _FENCE_LINE.match(line)) and match["info"].strip() and not line[:1].isspace() for line in content.split("\n"))


def _indent(line: str) -> int:
    bare = line.translate(_UNMARK).lstrip(" \t>*+-0123456789.)")
    return len(line.expandtabs(4)) - len(bare.expandtabs(4))


def _lines_of(token: Token) -> tuple[int, int]:
    assert token.map is not None
    return token.map[0], token.map[1]


def _is_closed(token: Token) -> bool:
    start, end = _lines_of(token)
    return token.content.count("\n") < end - start - 1


def _content(token: Token) -> str:
    return token.content.translate(_UNMARK)


def _is_nested(token: Token, is_whole: Callable[[str, str], bool | None]) -> bool:
    """Tell whether a fence contains text with fences, and not a program."""
    word = info_word(token.info)
    return word in ("markdown", "md", "") and _opens_another(_content(token)) and not is_whole(_content(token), "")


def _blocks(token: Token, is_whole: Callable[[str, str], bool | None]) -> list[CodeBlock]:
    start, end = _lines_of(token)
    if token.type == "fence" and not _is_nested(token, is_whole):
        return [CodeBlock(_content(token), info_word(token.info), "fence", _is_closed(token), start, end)]
    if not any(_FENCE_LINE.match(line) for line in token.content.split("\n")):
        return [CodeBlock(_content(token), "", "indented", True, start, end)]
    # Markdown within Markdown: inside a fence, or indented by four blanks or more.
    start += token.type == "fence"
    inner = code_blocks(_content(token).rstrip("\n"), is_whole)
    return [
        CodeBlock(block.content, block.word, block.kind, block.closed, start + block.first_line, min(end, start + block.end_line))
        for block in inner
    ]
