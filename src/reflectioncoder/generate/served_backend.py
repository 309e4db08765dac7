"""Generation by an OpenAI-compatible server: many requests at a time, each for itself."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Generator, Sequence, Set
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

from reflectioncoder.config import EndpointConfig, GenerateConfig
from reflectioncoder.data.prompts import CLOSING_FENCE, OPENING_FENCE
from reflectioncoder.errors import MachineError, UsageError
from reflectioncoder.generate.base import RawCompletion, Request
from reflectioncoder.generate.endpoint import Endpoint, RefusedError, going_on


class ServedBackend(contextlib.AbstractContextManager["ServedBackend"]):
    """Answers begin with the request's `prefill` where the server can be told so (`api: completion`, or an assistant prefix); else the
    model is asked in one user turn and writes the fence itself.

    Args:
        name: of the kind of server, for the results.
        own: the server is on this machine and takes `config.max_in_flight` requests at a time; else that is found out.

    Raises:
        MachineError: the variable with the key is not set.
    """

    def __init__(self, config: EndpointConfig, name: str, *, own: bool = False):
        self._config = config
        self._name = name
        self._endpoint = Endpoint(config, trust_env=not own, adapts=not own)
        self._prefills = config.api == "completion" or config.assistant_prefix != "none"

    def __exit__(self, *exc: object) -> None:
        self._endpoint.close()

    def describe(self) -> dict[str, Any]:
        config = self._config
        rendering = "plain" if config.api == "completion" else "chat"
        return {"path": config.model, "rendering": rendering, "backend": self._name, "assistant_prefix": config.assistant_prefix}

    def complete(
        self, requests: Sequence[Request], done: Set[tuple[str, int]], config: GenerateConfig, seed: int
    ) -> Generator[tuple[Request, RawCompletion]]:
        """
        Raises:
            EndpointError: the server does not answer.
            UsageError: the answers have to begin with the prompt, and the server cannot be told so.
        """
        missing = [request for request in requests if request.key not in done]
        if not self._prefills and any(request.prefill != OPENING_FENCE for request in missing):
            raise UsageError(
                "answers in other languages than Python begin with the prompt\n"
                "  hint:    --assistant-prefix says how the server is told to go on with it; --api completion for base models"
            )
        pool = ThreadPoolExecutor(self._config.max_in_flight)
        failure: MachineError | UsageError | None = None
        try:
            asked = {pool.submit(self._ask, order, request, config, seed): request for order, request in enumerate(missing)}
            for future in as_completed(asked):
                request = asked.pop(future)
                try:
                    completion = future.result()
                except (MachineError, UsageError) as error:  # what is under way is still answered, and kept
                    failure = failure or error
                    self._endpoint.stop()
                else:
                    yield request, completion
        except BaseException:
            self._endpoint.stop()
            raise
        finally:
            pool.shutdown(cancel_futures=True)
        if failure:
            raise failure

    def _ask(self, order: int, request: Request, config: GenerateConfig, seed: int) -> RawCompletion:
        own_seed = hashlib.sha256(f"{seed}/{request.task_id}/{request.sample}".encode()).digest()
        payload = {
            "model": self._config.model,
            **self._prompt(request),
            "max_tokens": config.max_new_tokens,
            "temperature": config.temperature,
            **({"top_p": config.top_p} if config.temperature > 0 else {}),
            "seed": int.from_bytes(own_seed[:4], "big") >> 1,
        }
        try:
            reply = self._endpoint.ask(payload, order)
        except RefusedError:
            return RawCompletion("", "refused", 0)
        if not self._prefills:
            return RawCompletion(reply.text, reply.finish_reason, reply.output_tokens, prefilled=False)
        text = reply.text.removeprefix(request.prefill)  # llama.cpp answers with the whole message
        # The stop text is not in the answer; where the model has ended without it, it does no harm.
        text += CLOSING_FENCE if reply.finish_reason == "stop" else ""
        return RawCompletion(text, reply.finish_reason, reply.output_tokens)

    def _prompt(self, request: Request) -> dict[str, Any]:
        if self._config.api == "completion":
            return {"prompt": f"{request.instruction}\n\n{request.prefill}", "stop": [CLOSING_FENCE]}
        asked = {"role": "user", "content": request.instruction}
        if not self._prefills:
            return {"messages": [asked]}
        begun, extras = going_on(request.prefill, self._config.assistant_prefix)
        return {"messages": [asked, begun], "stop": [CLOSING_FENCE], **extras}
