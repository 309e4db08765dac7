"""Defines the reflection sample (method, section 1), a dialogue of typed blocks, and its JSON Lines form.

On disk: `{"messages": [{"role", "content": [{"type", "content"}]}], "type": "reflection" | "generation"}`, the schema of the
published ReflectionSeq data sets; `messages` may arrive as a JSON-encoded string, and `type` may be missing. Further top-level
keys (`id`, `metadata`) are kept as they are, so that reading and writing a published row gives the same bytes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from reflectioncoder.data.files import read_jsonl
from reflectioncoder.data.json_text import parse_json
from reflectioncoder.errors import UsageError
from reflectioncoder.languages import CODE_LANGUAGES, PYTHON
from reflectioncoder.languages.language import Language
from reflectioncoder.terminal import in_line

Role = Literal["user", "assistant"]
BlockType = Literal["text", "code", "execution"]
SampleType = Literal["reflection", "generation"]

ROLES: tuple[Role, ...] = get_args(Role)
BLOCK_TYPES: tuple[BlockType, ...] = get_args(BlockType)
BLOCK_TYPES_HELP: dict[BlockType, str] = {
    "execution": "the interpreter's output",
    "text": "the explanations between the programs",
    "code": "the programs with their tests",
}
SAMPLE_TYPES: tuple[SampleType, ...] = get_args(SampleType)


@dataclass(frozen=True)
class Block:
    """A part of a message: text, a program, or a program's output.

    Attributes:
        type: `"text"`, `"code"` or `"execution"`; the model sees executions but is never trained on them.
        content: the text without fences.
        language: of code, as in fences; it is not written with the block but taken from the sample's metadata.

    Example:
        >>> from reflectioncoder import Block
        >>> Block("code", "print(1)").language
        'python'
    """

    type: BlockType
    content: str
    language: str = PYTHON.fence


@dataclass(frozen=True)
class Message:
    """One turn of a dialogue.

    Attributes:
        role: `"user"` or `"assistant"`.
        content: its blocks, in order.

    Example:
        >>> from reflectioncoder import Block, Message
        >>> Message("user", (Block("text", "Write f."),)).text
        'Write f.'
    """

    role: Role
    content: tuple[Block, ...]

    @property
    def text(self) -> str:
        """Return the contents of all blocks, joined: for a one-block message, what a plain chat user would see."""
        return "\n\n".join(block.content for block in self.content)


@dataclass(frozen=True)
class Sample:
    """One training sample: a dialogue of typed blocks.

    Attributes:
        messages: a one-off sample has rounds of `user, assistant`, usually one; a reflection sample has `user, assistant` with the
            reflection sequence, then `user, assistant` with the request and its one-off answer.
        type: `"reflection"` or `"generation"` (one-off).
        extra: the row's other top-level keys (`id`, `metadata`, ...), unchanged.

    Example:
        >>> from reflectioncoder import Block, Message, Sample
        >>> asked = Message("user", (Block("text", "Write f."),))
        >>> answered = Message("assistant", (Block("text", "def f(): return 1"),))
        >>> Sample((asked, answered), "generation", {"id": "f-1"}).to_json()["type"]
        'generation'
    """

    messages: tuple[Message, ...]
    type: SampleType = "reflection"
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str | None:
        found = self.extra.get("id")
        return None if found is None else str(found)

    @property
    def metadata(self) -> dict[str, Any]:
        """Return the recorded origin of the sample; {} if there is none. Exported samples store it as JSON in a string.

        Raises:
            UsageError: it is neither an object nor one as JSON in a string.
        """
        found = self.extra.get("metadata") or {}
        if isinstance(found, str):
            with contextlib.suppress(UsageError):
                found = parse_json(found, "metadata")
        if not isinstance(found, dict):
            raise UsageError(
                f"sample {in_line(self.id or '(no id)')}: metadata must be an object, or one as JSON in a string, got {found!r:.60}"
            )
        return found

    def to_json(self) -> dict[str, Any]:
        """Return the row of a JSON Lines file, in the schema of the published ReflectionSeq data sets."""
        messages = [{"role": m.role, "content": [{"type": b.type, "content": b.content} for b in m.content]} for m in self.messages]
        return {"messages": messages, "type": self.type, **self.extra}


def user(text: str) -> Message:
    return Message("user", (Block("text", text),))


def assistant(*blocks: Block) -> Message:
    return Message("assistant", blocks)


def _parse_message(value: Any, where: str, language: str) -> Message:
    if not isinstance(value, dict):
        raise UsageError(f"{where}: expected an object with role and content, got {type(value).__name__}")
    if value.get("role") not in ROLES:
        raise UsageError.for_value("unknown role", f"{where}.role", value.get("role"), ROLES)
    content = value.get("content")
    if not isinstance(content, list) or not content:
        raise UsageError(f"{where}.content: expected a non-empty list of blocks, got {content!r:.80}")
    blocks: list[Block] = []
    for block in content:
        text = block.get("content") if isinstance(block, dict) else None
        if not isinstance(text, str):
            place = f"{where}.content[{len(blocks)}]"
            raise UsageError(f"{place}: expected an object with type and content (a string), got {block!r:.80}")
        if block.get("type") not in BLOCK_TYPES:
            place = f"{where}.content[{len(blocks)}].type"
            raise UsageError.for_value("unknown block type", place, block.get("type"), BLOCK_TYPES)
        blocks.append(Block(block["type"], text, language))
    return Message(value["role"], tuple(blocks))


def parse_sample(row: dict[str, Any], where: str = "sample") -> Sample:
    """Check and convert one row. Without a `type`, a row with four messages is a reflection sample, as in published data.

    Raises:
        UsageError: the row is malformed; the error names `where`, the field, the value and what is allowed.
    """
    messages = row.get("messages")
    if isinstance(messages, str):
        messages = parse_json(messages, f"{where}: messages, a string,")
    if not isinstance(messages, list) or not messages:
        raise UsageError(f"{where}: messages must be a non-empty list, got {messages!r:.80}")
    kind: SampleType = row.get("type") or ("reflection" if len(messages) == 4 else "generation")
    if kind not in SAMPLE_TYPES:
        raise UsageError.for_value("unknown sample type", f"{where}: type", kind, SAMPLE_TYPES)
    extra = {key: value for key, value in row.items() if key not in ("messages", "type")}
    if not isinstance(extra.get("id"), str | int | None) or isinstance(extra.get("id"), bool):
        raise UsageError.for_value("this cannot be the id of a sample", f"{where}: id", extra["id"], "text or a whole number")
    language = _language_of(extra)
    parsed = tuple(_parse_message(m, f"{where}: messages[{i}]", language) for i, m in enumerate(messages))
    check_rounds([message.role for message in parsed], kind, where)
    return Sample(parsed, kind, extra)


def check_rounds(roles: list[str], kind: SampleType, where: str) -> None:
    """Check that messages are rounds of user and assistant: two for a reflection sample, any number for a one-off sample.

    Raises:
        UsageError: they are not.
    """
    rounds = 2 if kind == "reflection" else max(1, len(roles) // 2)
    if roles != ["user", "assistant"] * rounds:
        wanted = "2 rounds" if kind == "reflection" else "1 round or more"
        raise UsageError.for_value(
            f"a {kind} sample has {wanted} of user and assistant", where, roles, f"{['user', 'assistant'] * rounds}"
        )


def _language_of(extra: dict[str, Any]) -> str:
    """Return the language of the sample's fences: `language` in its metadata, which may contain anything in foreign files."""
    metadata = extra.get("metadata")
    with contextlib.suppress(UsageError):
        metadata = parse_json(metadata, "metadata") if isinstance(metadata, str) else metadata
    name = metadata.get("language") if isinstance(metadata, dict) else None
    return CODE_LANGUAGES[name].fence if isinstance(name, str) and name in CODE_LANGUAGES else PYTHON.fence


def language_of(sample: Sample) -> Language:
    """Return the language of a sample's programs.

    Raises:
        UsageError: its metadata names an unknown language.
    """
    name = sample.metadata.get("language", PYTHON.name)
    if not isinstance(name, str) or name not in CODE_LANGUAGES:
        raise UsageError.for_value(
            "unknown language", f"sample {in_line(sample.id or '(no id)')}: metadata.language", name, CODE_LANGUAGES
        )
    return CODE_LANGUAGES[name]


def operators_of(sample: Sample) -> list[str]:
    """Return the mistakes (mutation operators) that a sample corrects, according to its metadata."""
    found = sample.metadata.get("operators", [])
    return [str(name) for name in found] if isinstance(found, list) else []


def read_samples(path: str | Path) -> Iterator[Sample]:
    """Stream the samples of a JSON Lines file, one in memory at a time.

    Raises:
        UsageError: the file is missing, or a row is malformed (the error names file, line and field).

    Example:
        >>> import json
        >>> from reflectioncoder import read_samples
        >>> def message(role, text):
        ...     return {"role": role, "content": [{"type": "text", "content": text}]}
        >>> row = {"messages": [message("user", "Write f."), message("assistant", "def f(): ...")], "type": "generation"}
        >>> with open("samples.jsonl", "w") as file:
        ...     _ = file.write(json.dumps(row) + "\\n")
        >>> [sample.messages[0].text for sample in read_samples("samples.jsonl")]
        ['Write f.']
    """
    for number, row in read_jsonl(path):
        yield parse_sample(row, f"{path}:{number}")
