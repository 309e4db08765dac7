"""The chat rendering: dialogues in the base model's own chat template (method, section 2), and plain requests to base models."""

from __future__ import annotations

import re
from typing import Any

from reflectioncoder.data.render import Renderer
from reflectioncoder.data.samples import Block, Message
from reflectioncoder.errors import UsageError


class ChatRenderer(Renderer):
    """The base model's own chat template, taken apart once with placeholders.

    Raises:
        UsageError: no chat template; one that changes earlier messages when a later one is added; one without an
            end-of-turn token.
    """

    name = "chat"
    header_is_trained = False

    def __init__(self, tokenizer: Any):
        super().__init__(tokenizer)
        if not tokenizer.chat_template:
            raise UsageError("the tokenizer has no chat template\n  hint:    use model.rendering: token")
        marks = [f"CONTENT-{n}-OF-MESSAGE" for n in range(4)]
        roles = ("user", "assistant", "user", "assistant")
        messages = [{"role": r, "content": m} for r, m in zip(roles, marks, strict=True)]
        before, headers, closes, previous = [], [], [], ""
        for count in range(1, 5):
            text = tokenizer.apply_chat_template(messages[:count], tokenize=False)
            if not text.startswith(previous) or text.count(marks[count - 1]) != 1:
                raise UsageError(
                    "the chat template rewrites earlier messages when a later one is added; spans cannot be exact\n"
                    "  hint:    use model.rendering: token"
                )
            header, close = text[len(previous) :].split(marks[count - 1])
            headers.append(header)
            closes.append(close)
            before.append(previous)
            previous = text
        # What a server inserts to ask for an answer is what the answer must be trained after.
        asked = tokenizer.apply_chat_template(messages[:1], tokenize=False, add_generation_prompt=True)
        if not asked.startswith(before[1]) or len(asked) == len(before[1]):
            raise UsageError("the chat template has no generation prompt\n  hint:    use model.rendering: token")
        self._assistant_header = self.encode_template(asked[len(before[1]) :])
        self._user_header = self.encode_template(headers[2])
        prefix = headers[0].removesuffix(headers[2]) if headers[0].endswith(headers[2]) else ""
        self._first_user_header = self.encode_template(headers[0][len(prefix) :])
        self._prefix_ids = self.encode_template(prefix)
        self._closes = {
            "user": self._split_close(closes[0], "user"),
            "assistant": self._split_close(closes[1], "assistant"),
        }
        self._stop = [i for i in self._closes["assistant"][0] if i in self.special_ids]

    def _split_close(self, text: str, role: str) -> tuple[list[int], list[int]]:
        ids = self.encode_template(text)
        special = [index for index, token in enumerate(ids) if token in self.special_ids]
        if special:
            return ids[: special[-1] + 1], ids[special[-1] + 1 :]
        if role == "assistant":
            raise UsageError(
                "the chat template ends an assistant message without a special token; generation could not stop\n"
                "  hint:    use model.rendering: token"
            )
        return ids, []

    def _prefix(self) -> list[int]:
        return list(self._prefix_ids)

    def _header(self, message: int, role: str) -> list[int]:
        if role == "assistant":
            return list(self._assistant_header)
        return list(self._first_user_header if message == 0 else self._user_header)

    def _blocks(self, message: Message) -> list[list[int]]:
        rendered = []
        for index, block in enumerate(message.content):
            gap = "\n\n" if index < len(message.content) - 1 else ""
            rendered.append(self.encode_content(chat_block(block) + gap))
        return rendered

    def _close(self, role: str) -> tuple[list[int], list[int]]:
        close, separator = self._closes[role]
        return list(close), list(separator)

    def _eos(self) -> list[int]:
        return []  # the closing token of the last message ends the sample

    def _prefill(self, text: str) -> list[int]:
        return self.encode_content(text)

    @property
    def stop_token_ids(self) -> list[int]:
        eos = self.tokenizer.eos_token_id
        return sorted({*self._stop, *([] if eos is None else [eos])})

    def chat_template(self) -> None:
        return None


def chat_block(block: Block) -> str:
    """A block as text of a chat message. The fence is longer than any fence inside."""
    if block.type == "text":
        return block.content
    inner = max((len(run) for run in re.findall(r"`{3,}", block.content)), default=2)
    fence = "`" * (inner + 1)
    language = block.language if block.type == "code" else "output"
    return f"{fence}{language}\n{block.content.rstrip()}\n{fence}"


class PlainRequests:
    """One-off requests to a base model that knows no dialogue: the instruction as text, then the beginning of the answer."""

    name = "plain"

    def __init__(self, tokenizer: Any):
        self.tokenizer = tokenizer

    def render_request(self, instruction: str, prefill: str = "") -> list[int]:
        """Tokens of instruction and prefill, with BOS where the tokenizer adds one."""
        return self.tokenizer.encode(f"{instruction}\n\n{prefill}")

    @property
    def stop_token_ids(self) -> list[int]:
        eos = self.tokenizer.eos_token_id
        return [] if eos is None else [eos]
