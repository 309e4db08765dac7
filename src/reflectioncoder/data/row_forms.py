"""Converts rows of instruction data sets to samples. The first row determines the form of a set; all others must have it too.

Only this package's own form has typed blocks; the others are plain dialogues of one or more rounds, all of whose answers are trained.
A leading system message becomes the beginning of the first request. Of the other columns only `id` and `task_id` are kept.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from reflectioncoder.choices import TextNormalization
from reflectioncoder.data.json_text import parse_json
from reflectioncoder.data.samples import Block, Message, Sample, assistant, check_rounds, parse_sample, user
from reflectioncoder.errors import UsageError

Row = dict[str, Any]
Turn = tuple[str, Any]  # role, content

QUESTION_AND_ANSWER = {
    "CodeFeedback": ("query", "answer"),
    "OSS-Instruct": ("problem", "solution"),
    "Alpaca": ("instruction", "output"),
    "Evol-Instruct": ("instruction", "response"),
}
ROLE_NAMES = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "model": "assistant", "system": "system"}
_TEXT = "a text that is not empty"
_HALF_PAIR = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class RowForm:
    """The form of a set's rows. `columns`: required columns; a row may have more. `convert` takes a row and its location."""

    name: str
    columns: tuple[str, ...]
    convert: Callable[[Row, str], Sample]
    description: str = ""

    def sample(self, row: Row, where: str, normalization: TextNormalization = "none") -> Sample:
        """Return the row as a sample.

        Raises:
            UsageError: the row has another form, or one of its texts is missing or empty.
        """
        if not row.keys() >= set(self.columns):
            raise UsageError.for_value(
                f"a row without the columns of its data set's form ({self.name})", where, list(row), self._wanted
            )
        sample = self.convert(row, where)
        _require_characters(sample, where)
        return sample if normalization == "none" else normalized(sample, _NORMALIZERS[normalization])

    @property
    def _wanted(self) -> str:
        return ", ".join(self.columns) + (f" ({self.description})" if self.description else "")


def form_of(row: Row, where: str) -> RowForm:
    """Return the form of a row.

    Raises:
        UsageError: the columns match no known form.
    """
    for form in FORMS:
        if row.keys() >= set(form.columns) and (form is not _BLOCKS or _has_blocks(row, where)):
            return form
    known = "\n".join(f"    {form.name}: {form._wanted}" for form in FORMS)
    raise UsageError(f"{where}: rows of an unknown form\n  columns: {', '.join(map(str, row)) or 'none'}\n  known:\n{known}")


def _require_characters(sample: Sample, where: str) -> None:
    """Refuse unpaired surrogates, which JSON can express: no tokenizer accepts them."""
    for text in (sample.id or "", *(block.content for message in sample.messages for block in message.content)):
        if not text.isascii() and (found := _HALF_PAIR.search(text)):
            half = f"\\u{ord(found[0]):04x}"
            raise UsageError.for_value("half of a surrogate pair, which is no character", where, half, "whole characters")


def normalized(sample: Sample, normalize: Callable[[str], str]) -> Sample:
    """Return the sample with `normalize` applied to the content of every block."""
    messages = [Message(m.role, tuple([Block(b.type, normalize(b.content), b.language) for b in m.content])) for m in sample.messages]
    return Sample(tuple(messages), sample.type, sample.extra)


def normalized_text(text: str) -> str:
    """Replace HTML entities with their characters, CRLF with LF and tabs with four spaces."""
    return html.unescape(text).replace("\r\n", "\n").replace("\t", "    ")


_NORMALIZERS: dict[TextNormalization, Callable[[str], str]] = {"reflectioncoder": normalized_text}


def _dialogue(turns: Iterable[Turn], row: Row, where: str) -> Sample:
    """Make a one-off sample from turns of a role (user, assistant, or system at the beginning) and a text."""
    turns = [(ROLE_NAMES.get(role, role) if isinstance(role, str) else role, content) for role, content in turns]
    before = ""
    if turns and turns[0][0] == "system":
        before = f"{_text(turns.pop(0)[1], f'{where}: the system message')}\n\n"
    check_rounds([role for role, _ in turns], "generation", where)
    messages = []
    for number, (role, content) in enumerate(turns):
        text = _text(content, where, number, role)
        messages.append(user(before + text if number == 0 else text) if role == "user" else assistant(Block("text", text)))
    return Sample(tuple(messages), "generation", _kept(row))


def _kept(row: Row) -> Row:
    """Return the other columns that a sample keeps: its id, and the benchmark task that it may be."""
    extra: Row = {}
    if isinstance(row.get("id"), str | int) and not isinstance(row["id"], bool):
        extra["id"] = row["id"]
    if isinstance(row.get("task_id"), str | int):
        extra["metadata"] = {"task_id": str(row["task_id"])}
    return extra


def _text(value: Any, where: str, number: int | None = None, role: str = "") -> str:
    if isinstance(value, str) and value and not value.isspace():
        return value
    place = where if number is None else f"{where}: message {number + 1} ({role})"
    what = "an empty text" if isinstance(value, str) else "a text is missing"
    raise UsageError.for_value(what, place, value, _TEXT)


def _list(value: Any, where: str) -> list[Any]:
    """Return a list of messages, which may be JSON in a string."""
    found = parse_json(value, f"{where}, a string,") if isinstance(value, str) else value
    if not isinstance(found, list) or not found or not all(isinstance(turn, dict) for turn in found):
        raise UsageError.for_value("no list of messages", where, found, "a list of objects, or one as JSON in a string")
    return found


def _has_blocks(row: Row, where: str) -> bool:
    """Tell whether `messages` contain blocks and not plain texts; if it is not a list, either form explains the error."""
    messages = row["messages"]
    if isinstance(messages, str):
        messages = parse_json(messages, f"{where}: messages, a string,")
    first = messages[0] if isinstance(messages, list) and messages else None
    return not (isinstance(first, dict) and isinstance(first.get("content"), str | None))


def _from_blocks(row: Row, where: str) -> Sample:
    sample = parse_sample(row, where)
    answers = (block for message in sample.messages[1::2] for block in message.content if block.type != "execution")
    if not any(block.content and not block.content.isspace() for block in answers):
        raise UsageError.for_value("nothing to train on", f"{where}: messages", "answers without text and code", _TEXT)
    return sample


def _from_chat(row: Row, where: str) -> Sample:
    return _dialogue(((m.get("role"), m.get("content")) for m in _list(row["messages"], f"{where}: messages")), row, where)


def _from_sharegpt(row: Row, where: str) -> Sample:
    turns = _list(row["conversations"], f"{where}: conversations")
    return _dialogue(((t.get("from", t.get("role")), t.get("value", t.get("content"))) for t in turns), row, where)


def _from_prompt_and_completion(row: Row, where: str) -> Sample:
    prompt, completion = row["prompt"], row["completion"]
    if isinstance(prompt, list):
        turns = _list(prompt, f"{where}: prompt") + _list(completion, f"{where}: completion")
        return _dialogue(((m.get("role"), m.get("content")) for m in turns), row, where)
    return _one_round(row, where, "prompt", "completion")


def _one_round(row: Row, where: str, question: str, answer: str) -> Sample:
    asked, answered = _text(row[question], f"{where}: {question}"), _text(row[answer], f"{where}: {answer}")
    return Sample((user(asked), assistant(Block("text", answered))), "generation", _kept(row))


def _question_and_answer(question: str, answer: str) -> Callable[[Row, str], Sample]:
    def convert(row: Row, where: str) -> Sample:
        given = row.get("input")
        if question != "instruction" or given is None or (isinstance(given, str) and not given.strip()):
            return _one_round(row, where, question, answer)
        asked = f"{_text(row[question], f'{where}: {question}')}\n\n{_text(given, f'{where}: input')}"
        return _one_round({**row, question: asked}, where, question, answer)

    return convert


_BLOCKS = RowForm("reflection samples", ("messages",), _from_blocks, "role, and content: blocks with type and content")
FORMS = (
    _BLOCKS,
    RowForm("chat", ("messages",), _from_chat, "role, and content: a text"),
    RowForm("ShareGPT", ("conversations",), _from_sharegpt, "from, value"),
    RowForm("prompt and completion", ("prompt", "completion"), _from_prompt_and_completion, "texts, or lists of messages"),
    *(RowForm(name, columns, _question_and_answer(*columns)) for name, columns in QUESTION_AND_ANSWER.items()),
)
FORM_BY_NAME = {form.name: form for form in FORMS}
