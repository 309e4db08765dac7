"""A dialogue in the format that its server accepts: alternating turns, one growing assistant turn, or plain text."""

from __future__ import annotations

from typing import Any

from reflectioncoder.config.building import EndpointConfig
from reflectioncoder.generate.body import continuation_message

_STOP = ["\n```\n\n", "```output"]
"""The end of a code block (no empty line follows an opening fence): the model would continue with an invented output."""
_STOP_OF_A_BLOCK = ["\n```"]


class Conversation:
    """Holds the dialogue so far; `payload` is the request for its continuation.

    Feedback is a user turn; with `config.assistant_prefix` or the completions API it is part of the one assistant turn, as in samples.

    Args:
        fence: opening fence of the answer, which is only a program; a completions prompt already ends with it (`opening`).
    """

    def __init__(self, config: EndpointConfig, request: str, *, fence: str = ""):
        self._config = config
        self._grows = config.api == "completion" or config.assistant_prefix != "none"
        self._messages = [{"role": "user", "content": request}]
        self._said = ""  # text of the unfinished assistant turn
        self.opening = fence if config.api == "completion" else ""

    @property
    def payload(self) -> dict[str, Any]:
        """Return `messages` or `prompt`, `stop`, and the parameters that make the server continue the assistant turn."""
        if self._config.api == "completion":
            texts = [*(message["content"] for message in self._messages), self._said + self.opening]
            return {"prompt": "\n\n".join(texts), "stop": _STOP_OF_A_BLOCK if self.opening else _STOP}
        if not self._said:
            return {"messages": [*self._messages], "stop": _STOP}
        last, extras = continuation_message(self._said, self._config.assistant_prefix)
        return {"messages": [*self._messages, last], "stop": _STOP, **extras}

    def continuation(self, text: str) -> str:
        """Return the text that the model added: some servers (recent llama.cpp) return the whole message, prefix included."""
        return self.opening + (text.removeprefix(self._said) if self._said and self._config.api == "chat" else text)

    def attempted(self, text: str, code: str) -> None:
        """Append the model's attempt."""
        attempt = f"{text}\n\n```python\n{code}\n```".strip()
        if self._grows:
            self._said += attempt
        else:
            self._messages.append({"role": "assistant", "content": attempt})

    def failed(self, output: str, feedback: str) -> None:
        """Append the interpreter's output; where feedback is a user turn, `feedback` is its content."""
        if self._grows:
            self._said += f"\n\n```output\n{output}\n```\n\n"
        else:
            self._messages.append({"role": "user", "content": feedback})

    def passed(self, output: str, request: str) -> None:
        """Append the output of the passing attempt and the next request."""
        if self._grows:
            self._messages.append({"role": "assistant", "content": f"{self._said}\n\n```output\n{output}\n```"})
            self._said = ""
        self._messages.append({"role": "user", "content": request})
