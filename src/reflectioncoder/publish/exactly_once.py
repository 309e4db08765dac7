"""Checks that every exported row holds exactly its sample: each block once, in order, and otherwise only template text.

A row is rendered twice: as it is, and with a placeholder for each block's content. The text between placeholders is the template's; the
row's own text must be the same template text with the contents in between. Contents may appear as JSON (arguments of tool calls) and
without surrounding white space, which templates strip. Blank blocks have no placeholder.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import jinja2

from reflectioncoder.data.files import content_hash
from reflectioncoder.data.render import BLOCK_TOKENS, END_OF_BLOCK, END_OF_MESSAGE, ROLE_TOKENS
from reflectioncoder.data.samples import Message
from reflectioncoder.errors import CheckFailedError, UsageError
from reflectioncoder.publish.formats import Conversation, Format, Row

_BY_THEIR_READERS = ("canonical", "llama-factory")
_HINTS = {"tool": "use --format chat or axolotl, where programs and outputs are text"}


class UnsupportedFormatError(UsageError):
    """The tokenizer's chat template cannot render any row of a format; `reason` says why."""

    def __init__(self, form: Format, reason: str):
        self.reason = reason
        hint = _HINTS.get(form.name, "leave --tokenizer out, or name another format")
        super().__init__(f"the tokenizer's chat template cannot show rows of the format {form.name!r}: {reason}\n  hint:    {hint}")


class RowRenderer:
    """Renders the text of a row with the tokenizer's chat template, or plainly, its parts below each other.

    `canonical` rows use the token rendering and `llama-factory` rows the plain one, since their readers have their own templates.
    """

    def __init__(self, tokenizer: Any = None):
        if tokenizer is not None and not tokenizer.chat_template:
            raise UsageError("the tokenizer has no chat template\n  hint:    leave --tokenizer out, or name one of an instruct model")
        self.tokenizer = tokenizer
        # Tokenizers match every added token in a text. Some add runs of blanks or single characters, which have no special meaning.
        added = {} if tokenizer is None else tokenizer.added_tokens_decoder
        self._marker_ids = frozenset(i for i, token in added.items() if len(token.content) > 1 and token.content.strip())

    def texts(self, form: Format, row: Row) -> list[str]:
        """Return one text per conversation of the row.

        Raises:
            UnsupportedFormatError: the template rejects the conversation.
        """
        if form.name == "canonical":
            return [_token_text(messages) for messages in form.chats(row)]
        if self.tokenizer is None or form.name in _BY_THEIR_READERS:
            return [_plain_text(messages) for messages in form.chats(row)]
        try:
            return [
                self.tokenizer.apply_chat_template(messages, tools=row.get("tools"), tokenize=False) for messages in form.chats(row)
            ]
        except (jinja2.TemplateError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError) as error:
            # Templates raise their own errors, and their expressions fail on unexpected values.
            raise UnsupportedFormatError(form, f"the template says: {error}") from error

    def tokens(self, form: Format, text: str) -> list[int] | None:
        """Return the tokens of a text; None without a tokenizer, and for `canonical`, whose reader splits up token-like text."""
        if self.tokenizer is None or form.name == "canonical":
            return None
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]

    def num_markers(self, tokens: list[int]) -> int:
        """Count the tokens that are special or were added as meaningful words."""
        return sum(token in self._marker_ids for token in tokens)


@dataclass(frozen=True)
class CheckedRow:
    """The outcome of checking a row: the length of its longest conversation in characters and, if known, in tokens."""

    num_chars: int
    num_tokens: int | None
    spells_special_token: bool


def check_row(form: Format, row: Row, conversations: tuple[Conversation, ...], renderer: RowRenderer, name: str) -> CheckedRow:
    """Compare a row with its sample, and its special tokens with those of the template alone.

    The tokenizer would read text spelled like a special token as that token, which could end the turn.

    Raises:
        CheckFailedError: the texts differ; the message has `name`, the block and the position.
        UnsupportedFormatError: the template rejects the row, or omits essential parts of the format.
    """
    marked, marks = _marked(conversations)
    skeletons = renderer.texts(form, {**row, **form.build(marked)})
    texts = renderer.texts(form, row)
    for skeleton, text, conversation in zip(skeletons, texts, conversations, strict=True):
        wanted = [marks[key] for key in _keys(conversation) if key in marks]
        _compare(text, list(_pieces(skeleton, wanted, form)), wanted, f"{form.name}: sample {name}")
    tokens = [found for text in texts if (found := renderer.tokens(form, text)) is not None]
    expected = [found for text in skeletons if (found := renderer.tokens(form, text)) is not None]
    return CheckedRow(
        num_chars=max(map(len, texts)),
        num_tokens=max(map(len, tokens)) if tokens and form.name not in _BY_THEIR_READERS else None,
        spells_special_token=[*map(renderer.num_markers, tokens)] != [*map(renderer.num_markers, expected)],
    )


@dataclass(frozen=True)
class _Mark:
    where: str
    content: str
    placeholder: str


_Key = tuple[int, int]


def _keys(conversation: Conversation) -> Iterator[_Key]:
    """Yield a key for every part of the messages; a message that two conversations share (a pair's request) has equal keys in both."""
    for message in conversation:
        yield from ((id(message), index) for index in range(len(message.content)))


def _marked(conversations: tuple[Conversation, ...]) -> tuple[tuple[Conversation, ...], dict[_Key, _Mark]]:
    """Return the conversations with placeholders that hold as long a run of backticks as the content, since fences depend on it."""
    marks: dict[_Key, _Mark] = {}
    digest = content_hash([block.content for conversation in conversations for message in conversation for block in message.content])
    marked = []
    for conversation in conversations:
        messages: list[Message] = []
        for position, message in enumerate(conversation):
            blocks = []
            for index, block in enumerate(message.content):
                if block.content.strip():
                    key = (id(message), index)
                    fence = max(re.findall(r"`{3,}", block.content), key=len, default="")
                    where = f"message {position}, block {index} ({block.type})"
                    mark = marks.setdefault(key, _Mark(where, block.content, f"BLOCK-{len(marks)}-{digest}{fence}"))
                    block = replace(block, content=mark.placeholder)
                blocks.append(block)
            messages.append(replace(message, content=tuple(blocks)))
        marked.append(tuple(messages))
    return tuple(marked), marks


def _pieces(skeleton: str, marks: list[_Mark], form: Format) -> Iterator[str]:
    """Yield the template's text before, between and after the placeholders."""
    start = 0
    for mark in marks:
        found = skeleton.find(mark.placeholder, start)
        if found < 0 or skeleton.count(mark.placeholder) != 1:
            raise UnsupportedFormatError(form, f"{mark.where} is rendered {skeleton.count(mark.placeholder)} times, or out of order")
        yield skeleton[start:found]
        start = found + len(mark.placeholder)
    yield skeleton[start:]


def _compare(text: str, pieces: list[str], marks: list[_Mark], name: str) -> None:
    if not text.startswith(pieces[0]):
        raise CheckFailedError(f"{name}: the text does not begin as the template does\n  found: {text[:80]!r}")
    position = len(pieces[0])
    for index, mark in enumerate(marks):
        after, is_last = pieces[index + 1], index == len(marks) - 1
        for form_of_content in _forms(mark.content):
            end = position + len(form_of_content) + len(after)
            if text.startswith(form_of_content + after, position) and (not is_last or end == len(text)):
                position = end
                break
        else:
            raise CheckFailedError(
                f"{name}: {mark.where} is not found exactly once\n"
                f"  expected: {mark.content[:80]!r}, then {after[:80]!r}\n"
                f"  found:    {text[position : position + 160]!r}"
            )


def _forms(content: str) -> list[str]:
    """Return the forms in which a template may show a content, longest first."""
    stripped = {content, content.rstrip(), content.lstrip(), content.strip()}
    escaped = {json.dumps(text, ensure_ascii=ascii_only)[1:-1] for text in stripped for ascii_only in (False, True)}
    return sorted(stripped | escaped, key=lambda text: (-len(text), text))


def _token_text(messages: list[dict[str, Any]]) -> str:
    shown = []
    for message in messages:
        blocks = "".join(BLOCK_TOKENS[b["type"]] + b["content"] + END_OF_BLOCK for b in message["content"])
        shown.append(ROLE_TOKENS[message["role"]] + blocks + END_OF_MESSAGE)
    return "".join(shown)


def _plain_text(messages: list[dict[str, Any]]) -> str:
    shown = []
    for message in messages:
        shown += [message.get("role") or message["from"], message.get("content") or message.get("value") or ""]
        shown += [call["function"]["arguments"]["code"] for call in message.get("tool_calls", [])]
    return "\n".join(shown) + "\n"
