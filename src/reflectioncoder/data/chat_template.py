"""Applies a tokenizer's own chat template as servers do; every failure of a template becomes a named error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from reflectioncoder.data.encoding import mark_for
from reflectioncoder.errors import UsageError

ChatMessage = dict[str, str]


class ChatTemplate:
    """The chat template of a tokenizer.

    Args:
        tokenizer: a `transformers` tokenizer.
        hint: an alternative to name in errors.

    Raises:
        UsageError: there is no template, or several and none named "default".
    """

    def __init__(self, tokenizer: Any, hint: str = ""):
        self._tokenizer = tokenizer
        self._hint = f"\n  hint:    {hint}" if hint else ""
        template = tokenizer.chat_template
        if not template:
            raise self.error("the tokenizer has no chat template")
        if isinstance(template, dict) and "default" not in template:
            raise self.error(f"the tokenizer has several chat templates ({', '.join(map(str, template))}) and no default one")

    def __call__(self, messages: Sequence[ChatMessage], *, ask: bool = False) -> str:
        """Return the dialogue as text; `ask`: add the generation prompt that a server inserts.

        Raises:
            UsageError: the template cannot be parsed, refuses these messages, or fails.
        """
        try:
            text = self._tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=ask)
        except Exception as error:
            roles = ", ".join(message["role"] for message in messages)
            reason = str(error).strip().split("\n")[0][:300]
            raise self.error(f"the chat template fails for a dialogue of {roles}: {type(error).__name__}: {reason}") from error
        if not isinstance(text, str):
            raise self.error(f"the chat template returns {type(text).__name__} instead of text")
        return text

    def around(self, messages: Sequence[ChatMessage], *, ask: bool = False) -> tuple[str, str]:
        """Return the text before and after the content of the last message; a mark stands in for the content.

        Raises:
            UsageError: the template drops the content, or repeats it.
        """
        mark = mark_for(*(message["content"] for message in messages))
        text = self([*messages[:-1], {**messages[-1], "content": mark}], ask=ask)
        before, *behind = text.split(mark)
        if len(behind) != 1:
            raise self.error(f"the chat template shows the content of a {messages[-1]['role']} message {len(behind)} times")
        return before, behind[0]

    def error(self, text: str) -> UsageError:
        return UsageError(text + self._hint)
