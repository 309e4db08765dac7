"""Renders dialogues in the base model's own chat template (method, section 2).

Text that a server would send is encoded as a server encodes it: a user message together with the template's text around it, up to
the start of the answer. Answers are written by the model, so their tokens start after the header, block by block.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from reflectioncoder.data.encoding import common_prefix, mark_for
from reflectioncoder.data.render import Piece, Renderer
from reflectioncoder.data.requests import ChatRequests
from reflectioncoder.data.samples import Block, Message, Sample
from reflectioncoder.errors import UsageError

_HINT = "use model.rendering: token"


@dataclass(frozen=True)
class _Turn:
    """The template's tokens around the content of a user message, and the positions where its first two parts end.

    before: end of the previous answer, separator (for the first message: the beginning of the dialogue), header.
    behind: end of the message, separator, header of the answer.
    """

    before: list[int]
    before_ends: tuple[int, int]
    behind: list[int]
    behind_ends: tuple[int, int]

    def split(self, ids: Sequence[int]) -> Iterator[list[int]]:
        """Yield the seven parts of a turn: three of `before`, content, three of `behind`. Merged tokens are content."""
        start = common_prefix(self.before, ids)
        end = len(ids) - common_prefix(self.behind[::-1], ids[start:][::-1])
        first_behind = len(ids) - len(self.behind)
        cuts = [
            *(min(place, start) for place in self.before_ends),
            start,
            end,
            *(max(first_behind + place, end) for place in self.behind_ends),
        ]
        for left, right in zip([0, *cuts], [*cuts, len(ids)], strict=True):
            yield list(ids[left:right])


class ChatRenderer(Renderer):
    """The base model's own chat template, split into its parts once with placeholder messages.

    Raises:
        UsageError: the chat template is missing or fails, changes earlier messages when a later one is added, or lacks an
            end-of-turn token or a generation prompt.
    """

    name = "chat"
    header_is_trained = False

    def __init__(self, tokenizer: Any):
        super().__init__(tokenizer)
        self._requests = ChatRequests(tokenizer, _HINT)
        headers, closes = self._take_apart()
        # The generation prompt that a server inserts must be the context that the answer is trained after.
        behind = self._requests.request_around[1]
        if not behind.startswith(closes[0]) or behind == closes[0]:
            raise self._error("the chat template has no generation prompt")
        prefix = headers[0].removesuffix(headers[2]) if headers[0].endswith(headers[2]) else ""
        encoder = self.encoder
        behind_ids, close_ids = encoder.following(behind), encoder.following(closes[0])
        end_of_close = common_prefix(close_ids, behind_ids)
        end_of_message = min(self._end_of_message(close_ids) or end_of_close, end_of_close)
        before_ids = encoder.template(headers[0])
        end_of_prefix = common_prefix(encoder.template(prefix), before_ids)
        self._first = _Turn(before_ids, (end_of_prefix, end_of_prefix), behind_ids, (end_of_message, end_of_close))
        answer_close = encoder.following(closes[1])
        self._closing = answer_close[: self._end_of_message(answer_close)]
        if not self._closing:
            raise self._error("the chat template ends an assistant message without a special token; generation could not stop")
        later_ids = encoder.following(closes[1] + headers[2])
        later_ends = len(self._closing), common_prefix(answer_close, later_ids)
        self._later = _Turn(later_ids, later_ends, behind_ids, (end_of_message, end_of_close))

    def _take_apart(self) -> tuple[list[str], list[str]]:
        """Return the template's text before and after the contents of four messages."""
        marks = [f"CONTENT-{n}-OF-MESSAGE" for n in range(4)]
        roles = ("user", "assistant", "user", "assistant")
        messages = [{"role": r, "content": m} for r, m in zip(roles, marks, strict=True)]
        headers, closes, previous = [], [], ""
        for count, mark in enumerate(marks, start=1):
            text = self._requests.template(messages[:count])
            if not text.startswith(previous) or text[len(previous) :].count(mark) != 1:
                raise self._error("the chat template rewrites earlier messages when a later one is added; spans cannot be exact")
            header, close = text[len(previous) :].split(mark)
            headers.append(header)
            closes.append(close)
            previous = text
        return headers, closes

    def _error(self, text: str) -> UsageError:
        return self._requests.template.error(text)

    def _end_of_message(self, close_ids: Sequence[int]) -> int:
        """Return the position after the last special token; 0 if there is none."""
        return max((index + 1 for index, token in enumerate(close_ids) if token in self.encoder.special_ids), default=0)

    def _pieces(self, sample: Sample) -> Iterator[Piece]:
        for number in range(0, len(sample.messages), 2):
            yield from self._turn(number, sample.messages[number])
            answer = sample.messages[number + 1].content
            for index, block in enumerate(answer):
                text = chat_block(block) + ("\n\n" if index < len(answer) - 1 else "")
                yield Piece(block.type, self.encoder.content(text) if index else self._requests.answer(text), number + 1, index)
        yield Piece("close", self._closing, len(sample.messages) - 1)

    def _turn(self, number: int, message: Message) -> Iterator[Piece]:
        """Yield the end of the answer before a user message, the message, and the header of the answer after it."""
        text = "\n\n".join(map(chat_block, message.content))
        parts = self._later.split(self._later_request(text)) if number else self._first.split(self.render_request(text))
        if number:
            yield Piece("close", next(parts), number - 1)
            yield Piece("separator", next(parts), number - 1)
        else:
            yield Piece("prefix", next(parts) + next(parts))
        yield Piece("header", next(parts), number)
        yield Piece(message.content[0].type, next(parts), number, 0)
        yield Piece("close", next(parts), number)
        yield Piece("separator", next(parts), number)
        yield Piece("header", next(parts), number + 1)

    def _later_request(self, instruction: str) -> list[int]:
        """Return the tokens of a request, starting at the end of the answer before it, as a server encodes it."""
        cut = mark_for(instruction)
        marked = cut.join(self.encoder.cut(instruction))
        answer = mark_for(marked)
        dialogue = [("user", "-"), ("assistant", answer), ("user", marked)]
        asked = self._requests.template([{"role": role, "content": content} for role, content in dialogue], ask=True)
        behind = asked.partition(answer)[2]
        if not behind:
            raise self._error("the chat template leaves the answer out that comes before a request")
        return self.encoder.marked(behind, cut, at_beginning=False)

    def render_request(self, instruction: str, prefill: str = "") -> list[int]:
        return self._requests.render_request(instruction, prefill)

    @property
    def stop_token_ids(self) -> list[int]:
        return self._requests.stop_token_ids

    def chat_template(self) -> None:
        return None


def chat_block(block: Block) -> str:
    """Return a block as text of a chat message. Its fence is longer than any fence inside."""
    if block.type == "text":
        return block.content
    inner = max((len(run) for run in re.findall(r"`{3,}", block.content)), default=2)
    fence = "`" * (inner + 1)
    language = block.language if block.type == "code" else "output"
    return f"{fence}{language}\n{block.content.rstrip()}\n{fence}"
