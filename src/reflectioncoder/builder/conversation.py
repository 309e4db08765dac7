"""A dialogue in the form that its server takes: turns, one assistant turn that grows, or plain text."""

from __future__ import annotations

from typing import Any

from reflectioncoder.config.building import EndpointConfig
from reflectioncoder.generate.body import continuation_message

_STOP = ["\n```\n\n", "```output"]
"""The end of a code block (an opening fence has no empty line behind it): what follows would be a made-up output."""
_STOP_OF_A_BLOCK = ["\n```"]


class Conversation:
    """Holds what has been said so far; `payload` asks for what comes next.

    Feedback is a user turn. With `config.assistant_prefix` or completions it is a part of the one assistant turn, as the sample has it.

    Args:
        fence: the answer is a program alone, in this fence; to a server of completions it is opened already (`opening`).
    """

    def __init__(self, config: EndpointConfig, request: str, *, fence: str = ""):
        self._config = config
        self._grows = config.api == "completion" or config.assistant_prefix != "none"
        self._messages = [{"role": "user", "content": request}]
        self._said = ""  # of an assistant turn that is not finished
        self.opening = fence if config.api == "completion" else ""

    @property
    def payload(self) -> dict[str, Any]:
        """Return `messages` or `prompt`, `stop`, and what the server has to be told."""
        if self._config.api == "completion":
            texts = [*(message["content"] for message in self._messages), self._said + self.opening]
            return {"prompt": "\n\n".join(texts), "stop": _STOP_OF_A_BLOCK if self.opening else _STOP}
        if not self._said:
            return {"messages": [*self._messages], "stop": _STOP}
        last, extras = continuation_message(self._said, self._config.assistant_prefix)
        return {"messages": [*self._messages, last], "stop": _STOP, **extras}

    def continuation(self, text: str) -> str:
        """Return what the model has added: some servers (llama.cpp of late) answer with the whole message, its beginning included."""
        return self.opening + (text.removeprefix(self._said) if self._said and self._config.api == "chat" else text)

    def attempted(self, text: str, code: str) -> None:
        """Add what the model has written."""
        attempt = f"{text}\n\n```python\n{code}\n```".strip()
        if self._grows:
            self._said += attempt
        else:
            self._messages.append({"role": "assistant", "content": attempt})

    def failed(self, output: str, feedback: str) -> None:
        """Add what the interpreter printed; `feedback` says so to models that are told in a turn of the user's."""
        if self._grows:
            self._said += f"\n\n```output\n{output}\n```\n\n"
        else:
            self._messages.append({"role": "user", "content": feedback})

    def passed(self, output: str, request: str) -> None:
        """Go on to the next request: everything passes."""
        if self._grows:
            self._messages.append({"role": "assistant", "content": f"{self._said}\n\n```output\n{output}\n```"})
            self._said = ""
        self._messages.append({"role": "user", "content": request})
