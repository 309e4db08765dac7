"""Generates with an OpenAI-compatible server: many requests in parallel, each on its own."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence, Set
from contextvars import copy_context
from queue import Empty, SimpleQueue
from typing import Any

from reflectioncoder.config.building import EndpointConfig
from reflectioncoder.config.declarations import GenerateConfig
from reflectioncoder.data.completion_requests import Request
from reflectioncoder.data.prompts import CLOSING_FENCE
from reflectioncoder.errors import MachineError, UsageError
from reflectioncoder.generate.base import RawCompletion
from reflectioncoder.generate.body import continuation_message, request_body
from reflectioncoder.generate.endpoint import MAX_POSTPONED, Endpoint, NotTakenError, RefusedError, UnansweredError
from reflectioncoder.generate.limiter import EndpointError
from reflectioncoder.generate.reply import REFUSED
from reflectioncoder.server_address import ServerAddress
from reflectioncoder.terminal import in_line

_MAX_NAMED = 5


Encode = Callable[[str, str], list[int]]
"""Returns the tokens of a request, given the instruction and the prefill."""


class ServedBackend(contextlib.AbstractContextManager["ServedBackend"]):
    """A server as a backend. With `api: completion` or an assistant prefix, answers begin with the request's `prefill`.

    Otherwise the model is asked in one user turn and writes the fence itself.

    Args:
        name: the kind of server, for the results.
        own: the server runs here, refuses nothing and takes `config.max_in_flight` parallel requests; elsewhere the number adapts.
        extras: parameters added to every request.
        encode: with `api: completion`, send these tokens instead of the instruction's text.

    Raises:
        MachineError: the variable with the key is not set.
    """

    def __init__(
        self,
        config: EndpointConfig,
        name: str,
        *,
        own: bool = False,
        extras: Mapping[str, Any] | None = None,
        encode: Encode | None = None,
    ):
        self._config = config
        self._name = name
        self._own = own
        self._extras = dict(extras or {})
        self._encode = encode
        self._endpoint = Endpoint(config, trust_env=not own, adapts=not own)
        self._prefills = config.api == "completion" or config.assistant_prefix != "none"

    def __exit__(self, *exc: object) -> None:
        self._endpoint.stop()  # after an interrupt threads may still be waiting
        self._endpoint.close()

    def describe(self) -> dict[str, Any]:
        config = self._config
        return {
            "path": config.model,
            "rendering": "tokens" if self._encode else "plain" if config.api == "completion" else "chat",
            "backend": self._name,
            "assistant_prefix": config.assistant_prefix,
            **({} if self._own else {"base_url": ServerAddress.parse(config.base_url).shown}),
            **({"extra_body": config.extra_body} if config.extra_body else {}),
            **({"omit": list(config.omit)} if config.omit else {}),
        }

    def complete(
        self, requests: Sequence[Request], done: Set[tuple[str, int]], config: GenerateConfig, seed: int
    ) -> Generator[tuple[Request, RawCompletion]]:
        """Send the requests that are not done and yield their completions as they arrive.

        Raises:
            EndpointError: the server does not answer, or not all requests; requests in flight are finished and yielded first.
            UsageError: the server refuses all requests, or answers must begin with the prompt and the server does not support that.
        """
        missing = [request for request in requests if request.key not in done]
        if not self._prefills and any(request.begins_with_prompt for request in missing):
            raise UsageError(
                "answers in other languages than Python have to begin with the prompt\n"
                "  hint:    --assistant-prefix tells the server to continue the prompt; for base models use --api completion"
            )
        questions: SimpleQueue[Request | None] = SimpleQueue()
        answers: SimpleQueue[tuple[Request, RawCompletion | Exception]] = SimpleQueue()

        def work() -> None:
            while (request := questions.get()) is not None:
                try:
                    answers.put((request, self._ask(request, config, seed)))
                except Exception as error:  # noqa: BLE001 (raised where the answers are read)
                    answers.put((request, error))

        num_threads = min(len(missing), self._config.max_in_flight)
        for _ in range(num_threads):  # daemons: an interrupt does not wait for requests in flight
            threading.Thread(target=copy_context().run, args=(work,), daemon=True).start()
        for request in missing:
            questions.put(request)
        try:
            yield from self._gather(questions, answers, len(missing))
        finally:
            for _ in range(num_threads):
                questions.put(None)

    def _gather(
        self,
        questions: SimpleQueue[Request | None],
        answers: SimpleQueue[tuple[Request, RawCompletion | Exception]],
        num_expected: int,
    ) -> Generator[tuple[Request, RawCompletion]]:
        failure: Exception | None = None
        unanswered: list[tuple[Request, Exception]] = []  # does not stop the other requests
        held: list[Request] = []  # refused before the first answer, this request or all; sent once more
        refused: list[Request] = []  # each gets a row if the server goes on to answer others
        num_answered = 0
        while num_expected:
            request, answer = answers.get()
            num_expected -= 1
            if isinstance(answer, RawCompletion):
                yield request, answer
                num_answered += 1
                yield from _refusals(refused)
            elif isinstance(answer, RefusedError):
                refused.append(request)
            elif isinstance(answer, UnansweredError) and (num_answered or len(unanswered) < MAX_POSTPONED):
                unanswered.append((request, answer))
            elif isinstance(answer, NotTakenError) and failure is None and len(held) < MAX_POSTPONED and (num_answered or num_expected):
                held.append(request)
            else:
                failure = failure or answer
                num_expected -= self._give_up(questions)
            if num_answered and failure is None:
                for again in held:
                    questions.put(again)
                num_expected += len(held)
                held = []
        if failure:
            raise failure
        yield from _refusals(refused)
        if unanswered:
            raise _without_answer(unanswered, num_answered)

    def _give_up(self, questions: SimpleQueue[Request | None]) -> int:
        """Drop the queued requests and return their number; those that wait for a permit fail."""
        num_dropped = 0
        with contextlib.suppress(Empty):
            while True:
                questions.get_nowait()
                num_dropped += 1
        self._endpoint.stop()
        return num_dropped

    def _ask(self, request: Request, config: GenerateConfig, seed: int) -> RawCompletion:
        own_seed = hashlib.sha256(f"{seed}/{request.task_id}/{request.sample}".encode()).digest()
        payload = request_body(
            self._config,
            {
                "model": self._config.model,
                **self._prompt(request),
                "max_tokens": config.max_new_tokens,
                "temperature": config.temperature,
                **({"top_p": config.top_p} if config.temperature > 0 else {}),
                "seed": int.from_bytes(own_seed[:4], "big") >> 1,
                **self._extras,
            },
        )
        try:
            reply = self._endpoint.ask(payload)
        except RefusedError as error:
            if self._own:
                raise MachineError(f"{self._config.model} does not take the request for {in_line(request.task_id)}: {error}") from error
            raise
        if reply.finish_reason == REFUSED or not self._prefills:
            return RawCompletion(reply.text, reply.finish_reason, reply.output_tokens, prefilled=self._prefills)
        text = reply.text.removeprefix(request.prefill)  # llama.cpp returns the whole message
        # Servers strip the stop text, so it is added; it does no harm where the model ended without it.
        text += CLOSING_FENCE if reply.finish_reason == "stop" else ""
        return RawCompletion(text, reply.finish_reason, reply.output_tokens)

    def _prompt(self, request: Request) -> dict[str, Any]:
        if self._config.api == "completion":
            text = f"{request.instruction}\n\n{request.prefill}"
            prompt = self._encode(request.instruction, request.prefill) if self._encode else text
            return {"prompt": prompt, "stop": [CLOSING_FENCE]}
        asked = {"role": "user", "content": request.instruction}
        if not self._prefills:
            return {"messages": [asked]}
        begun, extras = continuation_message(request.prefill, self._config.assistant_prefix)
        return {"messages": [asked, begun], "stop": [CLOSING_FENCE], **extras}


def _refusals(refused: list[Request]) -> Iterator[tuple[Request, RawCompletion]]:
    """Yield a refused completion for each request in the list, and empty it."""
    while refused:
        yield refused.pop(0), RawCompletion("", REFUSED, 0)


def _without_answer(unanswered: list[tuple[Request, Exception]], num_answered: int) -> EndpointError:
    names = [f"{in_line(request.task_id)} (sample {request.sample})" for request, _ in unanswered[:_MAX_NAMED]]
    others = f" and {len(unanswered) - _MAX_NAMED} more" if len(unanswered) > _MAX_NAMED else ""
    return EndpointError(
        f"{len(unanswered)} requests got no answer, {num_answered} others did: {', '.join(names)}{others}\n  {unanswered[0][1]}"
    )
