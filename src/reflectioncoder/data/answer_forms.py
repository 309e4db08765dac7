"""Reads answers other than the definition of a function: an assertion about one, or a script that reads its standard input.

`read_form` picks the reader for a request's form; `data.answers` reads answers that must define a name.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from reflectioncoder.data.answer_reasons import Reason
from reflectioncoder.data.answers import ReadAnswer, read_answer
from reflectioncoder.data.completion_requests import Request
from reflectioncoder.data.markdown import CodeBlock, code_blocks, normalized
from reflectioncoder.data.python_source import parse
from reflectioncoder.data.thoughts import after_thoughts

_TAGGED = re.compile(r"\[ANSWER\](.*?)(?:\[/ANSWER\]|\Z)", re.DOTALL | re.IGNORECASE)
_UNTIL_TAG = re.compile(r"\A(.*?)\[/ANSWER\]", re.DOTALL | re.IGNORECASE)
_ASSERTION_LINE = re.compile(r"^[ \t>*-]*`?(assert\b.*?)`?[ \t]*$", re.MULTILINE)
_PYTHON_WORD = re.compile(r"(?:i?python|py)(?:-?\d[\d.]*)?|pypy3?")


def read_form(request: Request, text: str, *, prefill: str = "", truncated: bool = False) -> ReadAnswer:
    """Read the part of an answer that the request asks for.

    Args:
        text: the model's text after `prefill`.
        prefill: the beginning of the answer, which was given to the model.
        truncated: the answer reached its length limit.
    """
    if request.form == "assertion":
        return read_assertion(text, prefill)
    if request.form == "script":
        return read_script(text, prefill)
    return read_answer(text, request.entry_point, preamble=request.preamble, prefill=prefill, truncated=truncated)


def read_assertion(text: str, prefill: str = "") -> ReadAnswer:
    """Read the assertion, or the bare expression, in an answer.

    It is in `[ANSWER]` tags, in a code block, or on a line of its own.
    """
    answer, reason = _after_thoughts(text)
    if not answer:
        return ReadAnswer("", reason)
    whole = (prefill if normalized(text).startswith(answer) else "") + answer
    for how, part in _parts(whole):
        if (statement := _last_statement(part)) is not None:
            return ReadAnswer(f"{statement}\n", how, answer=answer)
    lines = _ASSERTION_LINE.findall(whole)
    return ReadAnswer(f"{lines[-1].strip()}\n", "invalid", answer=answer) if lines else ReadAnswer("", "no_code", answer=answer)


def read_script(text: str, prefill: str = "") -> ReadAnswer:
    """Read the last Python block in an answer, whatever it defines; blocks that parse come first, then closed ones."""
    answer, reason = _after_thoughts(text)
    if not answer:
        return ReadAnswer("", reason)
    whole = (prefill if normalized(text).startswith(answer) else "") + answer
    filled = [block for block in _fences(whole) if block.content.strip()]
    blocks = [block for block in filled if _PYTHON_WORD.fullmatch(block.word)] or [block for block in filled if not block.word]
    if not blocks:
        bare = parse(answer)
        is_program = bare is not None and bool(bare.body)
        return ReadAnswer(f"{answer.strip()}\n", "bare", answer=answer) if is_program else ReadAnswer("", "no_code", answer=answer)
    chosen = max(enumerate(blocks), key=lambda one: (parse(one[1].content) is not None, one[1].closed, one[0]))[1]
    how: Reason = "invalid" if parse(chosen.content) is None else "fenced" if chosen.closed else "open_fence"
    return ReadAnswer(chosen.content.strip("\n") + "\n", how, answer=answer)


def _after_thoughts(text: str) -> tuple[str, Reason]:
    text = normalized(text)
    if not text.strip():
        return "", "empty"
    answer = after_thoughts(text, lambda _: [])
    return ("", "unfinished_thought") if answer is None else (answer, "no_code")


def _fences(text: str) -> list[CodeBlock]:
    return [block for block in code_blocks(text, lambda _content, _word: None) if block.kind == "fence"]


def _parts(text: str) -> Iterator[tuple[Reason, str]]:
    """Yield the parts of an answer that may be the requested one, the most explicit first."""
    tagged = [match[1] for match in _TAGGED.finditer(text)] or [match[1] for match in _UNTIL_TAG.finditer(text)]
    for part in reversed(tagged):
        blocks = _fences(part)
        for block in reversed(blocks):
            yield "fenced", block.content
        yield "fenced", part.strip().strip("`")
    for block in reversed(_fences(text)):
        yield ("fenced" if block.closed else "open_fence"), block.content
    for line in reversed(_ASSERTION_LINE.findall(text)):
        yield "bare", line
    yield "bare", text.strip().strip("`")


def _last_statement(code: str) -> str | None:
    """Return the source of the last assertion in code, else of its last expression; None if there is neither or it is not Python."""
    tree = parse(code.strip())
    if tree is None:
        return None
    assertions = [node for node in tree.body if isinstance(node, ast.Assert)]
    # A lone name is a word of prose, not a value.
    expressions = [node for node in tree.body if isinstance(node, ast.Expr) and not isinstance(node.value, ast.Name)]
    chosen = (assertions or expressions)[-1:]
    return ast.get_source_segment(code.strip(), chosen[0]) if chosen else None
