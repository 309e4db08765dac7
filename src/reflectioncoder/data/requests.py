"""Builds one-off requests to models that were not trained here: in their own chat template, or as plain text for base models."""

from __future__ import annotations

from typing import Any

from reflectioncoder.data.chat_template import ChatTemplate
from reflectioncoder.data.encoding import Encoder, mark_for
from reflectioncoder.errors import UsageError


class ChatRequests:
    """Builds requests as a server with the chat template does, but special tokens spelled in an instruction stay text.

    Raises:
        UsageError: the template fails for a user message, or drops its content.
    """

    name = "chat"

    def __init__(self, tokenizer: Any, hint: str = ""):
        self.tokenizer = tokenizer
        self.encoder = Encoder(tokenizer)
        self.template = ChatTemplate(tokenizer, hint)
        mark = mark_for()
        parts = self.template([{"role": "user", "content": mark}], ask=True).split(mark)
        if len(parts) == 1:
            raise self.template.error("the chat template leaves the content of a user message out, or changes it")
        self.request_around = parts[0], parts[-1]

    def render_request(self, instruction: str, prefill: str = "") -> list[int]:
        """Return the tokens of the request, with `prefill` as the beginning of the answer."""
        mark = mark_for(instruction)
        marked = mark.join(self.encoder.cut(instruction))
        asked = self.template([{"role": "user", "content": marked}], ask=True)
        return self.encoder.marked(asked, mark, at_beginning=True) + self.answer(prefill)

    def answer(self, text: str) -> list[int]:
        """Return the tokens of a text at the start of the answer."""
        context = self.request_around[1]
        return self.encoder.content(text, "" if text[:1].isspace() else context)  # some special tokens strip blanks after them

    @property
    def stop_token_ids(self) -> list[int]:
        """Return the tokens with which the template ends an answer (if it supports answers), and EOS."""
        eos = self.tokenizer.eos_token_id
        return sorted({*self._closing(), *([] if eos is None else [eos])})

    def _closing(self) -> list[int]:
        try:
            _, behind = self.template.around([{"role": "user", "content": "-"}, {"role": "assistant", "content": ""}])
        except UsageError:
            return []
        return [i for i in self.encoder.following(behind) if i in self.encoder.special_ids]


class PlainRequests:
    """Builds one-off requests to a base model without dialogues: the instruction as text, then the beginning of the answer."""

    name = "plain"

    def __init__(self, tokenizer: Any):
        self.tokenizer = tokenizer
        self.encoder = Encoder(tokenizer)
        self._prefix = _put_before(tokenizer)

    def render_request(self, instruction: str, prefill: str = "") -> list[int]:
        """Return the tokens of instruction and prefill, with BOS if the tokenizer adds one, but never with EOS."""
        return [*self._prefix, *self.encoder.plain(f"{instruction}\n\n{prefill}")]

    @property
    def stop_token_ids(self) -> list[int]:
        eos = self.tokenizer.eos_token_id
        return [] if eos is None else [eos]


def _put_before(tokenizer: Any) -> list[int]:
    """Return the tokens that the tokenizer adds before every text."""
    whole, bare = tokenizer.encode("a"), tokenizer.encode("a", add_special_tokens=False)
    starts = range(len(whole) - len(bare) + 1)
    return next((whole[:start] for start in starts if whole[start : start + len(bare)] == bare), [])
