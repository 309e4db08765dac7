"""Reads the program in a model's answer: parses Markdown, chooses the program, adds what it needs. All commands use this reader.

The program is the last Python block that parses, defines the requested name at the top level and is not a stub. Imports and helpers
from other blocks are put before it; transcripts, shell commands, outputs and tests are not. An answer without such a block is read
more loosely: code in other places, then the best of what is there. The reason tells how a program was found, or why none was.
"""

from __future__ import annotations

import html
import re
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import IntEnum

from reflectioncoder.data.answer_reasons import DEFINING, Reason
from reflectioncoder.data.bare_programs import bare_program, without_words
from reflectioncoder.data.join_blocks import with_missing_names
from reflectioncoder.data.markdown import CodeBlock, code_blocks, info_word, normalized
from reflectioncoder.data.python_source import bindings, definition, is_stub, is_test_name, parse, with_preamble
from reflectioncoder.data.thoughts import after_thoughts
from reflectioncoder.languages import PYTHON
from reflectioncoder.languages.language import Language

_PYTHON_WORD = re.compile(r"(?:i?python|py)(?:-?\d[\d.]*)?|pypy3?|sage|tool_code")
_NO_LANGUAGE = frozenset(("", "text", "txt", "plain", "plaintext", "code", "none", "program", "solution", "answer", "unknown"))
_NEVER_PROGRAMS = frozenset(
    ("output", "console", "terminal", "bash", "sh", "shell", "zsh", "powershell", "cmd", "bat", "pycon", "python-repl", "repl")
) | frozenset(("doctest", "diff", "patch", "traceback", "pytb", "pytest", "json", "yaml", "toml", "markdown", "md", "html", "latex"))
_LOOSE_FENCE = re.compile(r"(?<![`~])(?P<fence>`{3,}|~{3,})[ \t]*(?P<info>[^\n`]*)\n(?P<code>.*?)(?:(?P=fence)|\Z)", re.DOTALL)
_CODE_SPAN_LINE = re.compile(r"^[ \t]*(`{1,3})(?!`)(?:python[ \t]+|py[ \t]+)?(.+?)\1[ \t]*$", re.MULTILINE)
_HTML_CODE = re.compile(r"<code\b[^>]*>(.*?)</code>", re.DOTALL | re.IGNORECASE)
_ODD_BLANKS = {0xA0: " ", 0x200B: None, 0x2060: None, 0xFEFF: None}
_HEADS = re.compile(r"\A\s*(?:<s>|\[/INST\]|<\|\w+\|>)[ \t]*(?=\S)")
_LABEL_LINE = re.compile(r"\A\s*(?:python|py)\d*[ \t]*\n(?=\s*\S)", re.IGNORECASE)
_OPENED_TWICE = re.compile(r"\A\s*(?:`{3,}|~{3,})[^\n`]*\n")
_MAGIC = re.compile(r"^[ \t]*[!%].*$", re.MULTILINE)


@dataclass(frozen=True)
class ReadAnswer:
    """The result of reading an answer.

    `solution`: the program, empty if there is none. `prose`: the text before it, without other blocks. `answer`: everything after the
    last thought.
    """

    solution: str
    reason: Reason
    prose: str = ""
    answer: str = ""

    @property
    def has_program(self) -> bool:
        return bool(self.solution.strip())


REFUSED_ANSWER = ReadAnswer("", "refused")


class _Rank(IntEnum):
    STATEMENTS = 0
    OTHER_NAME = 1
    STUB = 2
    INVALID = 3
    DEFINES = 4


@dataclass(frozen=True)
class _Candidate:
    code: str
    rank: _Rank
    reason: Reason
    first_line: int

    @property
    def answer(self) -> ReadAnswer:
        reasons: dict[_Rank, Reason] = {_Rank.STUB: "stub", _Rank.INVALID: "invalid", _Rank.DEFINES: self.reason}
        otherwise: Reason = "invalid" if parse(self.code) is None else "other_name"
        return ReadAnswer(self.code.rstrip() + "\n", reasons.get(self.rank, otherwise))


def read_answer(
    text: str,
    entry_point: str = "",
    *,
    language: Language = PYTHON,
    preamble: str = "",
    prefill: str = "",
    defines: Callable[[str, str], bool] | None = None,
    truncated: bool = False,
) -> ReadAnswer:
    """Read the program in an answer.

    Args:
        text: the model's text after `prefill`.
        entry_point: the name that the program must define; empty: any function or class.
        preamble: imports and helpers before the requested function in the prompt; the program may rely on them.
        prefill: the beginning of the answer that was given to the model, an opening fence.
        defines: tells whether code in a language other than Python defines a name.
        truncated: the answer reached its length limit, so a closed Python block is preferred.
    """
    text = normalized(text)
    if not text.strip():
        return ReadAnswer("", "empty")
    answer = after_thoughts(text, lambda part: _programs(part, prefill if part == text else ""))
    if answer is None:
        return ReadAnswer("", "unfinished_thought")
    answer = answer.lstrip("\ufeff")
    begun = prefill if answer and text.startswith(answer) else ""
    answer = _HEADS.sub("", answer)
    if language != PYTHON:
        return replace(_read_other(begun + answer, entry_point, language, defines), answer=answer)
    read = _read_python(begun + answer, entry_point, truncated)
    if begun and (again := _opened_again(begun, answer, entry_point, read)):
        read = again
    solution = with_preamble(read.solution, preamble) if read.has_program else ""
    return replace(read, solution=solution, answer=answer)


def _opened_again(prefill: str, answer: str, entry_point: str, read: ReadAnswer) -> ReadAnswer | None:
    """Read the answer without the prefill if the model has opened its own fence (perhaps after some prose)."""
    first = next(iter(_blocks(prefill + answer)), None)
    if first is None or not first.content.strip() or _repaired(first.content) is not None:
        return None
    alone = _read_python(answer, entry_point)
    reopened = re.search(r"^[ \t]*(?:`{3,}|~{3,})[ \t]*\S", first.content, re.MULTILINE) is not None
    is_better = alone.reason in DEFINING and read.reason not in DEFINING
    is_as_good = alone.has_program and reopened and (alone.reason in DEFINING or read.reason not in DEFINING)
    return alone if is_better or is_as_good else None


# --- Python


def _read_python(text: str, entry_point: str, truncated: bool = False) -> ReadAnswer:
    if (whole := parse(text)) is not None and any(True for _ in bindings(whole.body)):
        return _candidate(without_words(text), "bare", entry_point, 0).answer
    blocks = _blocks(text)
    candidates = [candidate for block in blocks if (candidate := _fenced_candidate(block, entry_point)) is not None]
    chosen = max(candidates, key=lambda one: (one.rank, not truncated or one.reason == "fenced", one.first_line), default=None)
    if chosen is None or chosen.rank < _Rank.DEFINES:
        chosen = _elsewhere(text, blocks, entry_point) or chosen or _broken_definition(text, entry_point)
    if chosen is None:
        return ReadAnswer("", "no_code")
    answer = chosen.answer
    if chosen.rank != _Rank.INVALID:
        others = [(block, code) for block in blocks if _may_be_python(block.word) and (code := _repaired(block.content)) is not None]
        earlier = [code for block, code in others if block.first_line < chosen.first_line]
        later = [code for block, code in others if block.first_line > chosen.first_line]
        answer = replace(answer, solution=with_missing_names(answer.solution, entry_point, earlier, later))
    return replace(answer, prose=_prose(text, blocks, chosen.first_line))


def _blocks(text: str) -> list[CodeBlock]:
    return code_blocks(text, lambda content, word: _repaired(content) is not None if _may_be_python(word) else None)


def _fenced_candidate(block: CodeBlock, entry_point: str) -> _Candidate | None:
    """Return the candidate in a fenced block that may be Python; a block without a language must define something."""
    if block.kind != "fence" or not _may_be_python(block.word) or not block.content.strip() or _is_transcript(block.content):
        return None
    code = _repaired(block.content)
    if code is None and not block.closed and (found := _bare(block.content, entry_point)):  # prose after a fence that was never closed
        code = found[0]
    reason: Reason = "fenced" if block.closed else "open_fence"
    candidate = _candidate(block.content if code is None else code, reason, entry_point, block.first_line)
    is_program = candidate.rank > _Rank.STATEMENTS and (code is not None or entry_point != "")
    return candidate if is_program or _is_python(block) else None


def _elsewhere(text: str, blocks: list[CodeBlock], entry_point: str) -> _Candidate | None:
    """Find a definition of the name outside Python fences: under another label, indented, bare, or in fences that Markdown ignores."""
    for block in reversed(blocks):
        labelled = block.kind == "fence" and not _may_be_python(block.word) and block.word not in _NEVER_PROGRAMS
        code = _repaired(block.content) if labelled or block.kind == "indented" else None
        if code is not None and _rank(code, entry_point) == _Rank.DEFINES:
            return _candidate(code, "fenced" if labelled else "bare", entry_point, block.first_line)
    for match in reversed(list(_LOOSE_FENCE.finditer(text))):
        code = _repaired(match["code"]) if info_word(match["info"]) not in _NEVER_PROGRAMS else None
        if code is not None and _rank(code, entry_point) == _Rank.DEFINES:
            return _candidate(code, "fenced", entry_point, text.count("\n", 0, match.start()))
    lines = text.split("\n")
    for block in blocks:
        if block.kind == "fence":
            lines[block.first_line : block.end_line] = ["`"] * (block.end_line - block.first_line)
    if found := _bare("\n".join(lines), entry_point):
        return _candidate(found[0], "bare", entry_point, found[1])
    for match in _HTML_CODE.finditer(text):
        if _rank(code := html.unescape(match[1]).strip("\n"), entry_point) == _Rank.DEFINES:
            return _candidate(code, "bare", entry_point, text.count("\n", 0, match.start()))
    for match in _CODE_SPAN_LINE.finditer(text):
        if _rank(match[2].strip(), entry_point) == _Rank.DEFINES:
            return _candidate(match[2].strip(), "bare", entry_point, text.count("\n", 0, match.start()))
    return None


def _broken_definition(text: str, entry_point: str) -> _Candidate | None:
    """Return the text from the beginning of a definition of the name to the end; it is not valid Python."""
    match = _definition_pattern(entry_point).search(text) if entry_point else None
    if match is None:
        return None
    first_line = text.count("\n", 0, match.start())
    return _Candidate("\n".join(text.split("\n")[first_line:]).lstrip("\n"), _Rank.INVALID, "bare", first_line)


def _bare(text: str, entry_point: str) -> tuple[str, int] | None:
    return bare_program(text, entry_point, lambda code: _rank(code, entry_point) == _Rank.DEFINES)


def _candidate(code: str, reason: Reason, entry_point: str, first_line: int) -> _Candidate:
    code = re.sub(r"\A(?:[ \t]*\n)+", "", _LABEL_LINE.sub("", code))
    return _Candidate(code, _rank(code, entry_point), reason, first_line)


def _rank(code: str, entry_point: str) -> _Rank:
    tree = parse(code)
    if tree is None:
        return _Rank.INVALID if not entry_point or _definition_pattern(entry_point).search(code) else _Rank.STATEMENTS
    names = list(dict.fromkeys(name for name, _ in bindings(tree.body)))
    if entry_point:
        node = definition(tree, entry_point)
        if node is None:
            return _Rank.OTHER_NAME if names else _Rank.STATEMENTS
        return _Rank.STUB if is_stub(node, code) else _Rank.DEFINES
    nodes = [node for name in names if not is_test_name(name) and (node := definition(tree, name)) is not None]
    defined = [node for node in nodes if hasattr(node, "body") and hasattr(node, "name")]
    if defined:
        return _Rank.STUB if all(is_stub(node, code) for node in defined) else _Rank.DEFINES
    return _Rank.OTHER_NAME if names else _Rank.STATEMENTS


def _definition_pattern(name: str) -> re.Pattern[str]:
    return re.compile(rf"^\s*(?:(?:async\s+)?def|class)\s+{re.escape(name)}\b|^{re.escape(name)}\s*[:=]", re.MULTILINE)


def _is_python(block: CodeBlock) -> bool:
    return block.kind == "fence" and _PYTHON_WORD.fullmatch(block.word) is not None


def _may_be_python(word: str) -> bool:
    return word in _NO_LANGUAGE or _PYTHON_WORD.fullmatch(word) is not None


def _is_transcript(content: str) -> bool:
    return content.lstrip().startswith((">>> ", "In [")) or re.match(r"\s*(?:\$ |pip3? install |python3? -m )", content) is not None


def _repaired(content: str) -> str | None:
    """Return the content in a form that parses: unchanged, or without common indentation, notebook commands or odd blanks."""
    content = content.lstrip("\ufeff")
    for code in (
        content,
        textwrap.dedent(content),
        _MAGIC.sub("", content),
        content.translate(_ODD_BLANKS),
        _OPENED_TWICE.sub("", content),
    ):
        if parse(code) is not None:
            return code
    return None


def _prose(text: str, blocks: list[CodeBlock], before: int) -> str:
    lines = text.split("\n")
    inside = {number for block in blocks if block.kind == "fence" for number in range(block.first_line, block.end_line)}
    return "\n".join(line for number, line in enumerate(lines[:before]) if number not in inside).strip()


def _programs(text: str, prefill: str) -> list[tuple[int, int]]:
    """Return the (start, end) character ranges of Python blocks."""
    whole = prefill + text
    if (tree := parse(text)) is not None and any(True for _ in bindings(tree.body)):
        return [(0, len(text))]
    starts = [0]
    for line in whole.split("\n"):
        starts.append(starts[-1] + len(line) + 1)
    code = [b for b in _blocks(whole) if b.kind == "fence" and _may_be_python(b.word) and _repaired(b.content) is not None]
    return [(starts[b.first_line] - len(prefill), starts[min(b.end_line, len(starts) - 1)] - len(prefill)) for b in code]


# --- other languages


def _read_other(text: str, entry_point: str, language: Language, defines: Callable[[str, str], bool] | None) -> ReadAnswer:
    """Read the last block in the language that defines the name, else the last block in it; unlabelled blocks count too."""
    words = ("", language.name, language.fence, *language.other_fences)
    every = [block for block in code_blocks(text, lambda _content, _word: None) if block.kind == "fence"]
    blocks = [block for block in every if block.word in words and block.content.strip()]
    if not blocks:
        return ReadAnswer("", "no_code")
    defining = [block for block in blocks if entry_point and defines and defines(block.content, entry_point)]
    chosen = (defining or [block for block in blocks if block.word] or blocks)[-1]
    reason: Reason = "other_name" if entry_point and defines and not defining else "fenced" if chosen.closed else "open_fence"
    return ReadAnswer(chosen.content.strip("\n") + "\n", reason, _prose(text, every, chosen.first_line))
