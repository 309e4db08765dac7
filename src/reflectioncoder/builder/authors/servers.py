"""Serves the model of an author: with a remote server, or with one started here that ends with the build."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace

from reflectioncoder.config.building import EndpointConfig
from reflectioncoder.errors import UsageError
from reflectioncoder.generate.embedded import embedded_server, vllm_server
from reflectioncoder.generate.endpoint import check_endpoint
from reflectioncoder.models.packaged import EMBEDDED_MODELS, resolve_gguf


@dataclass(frozen=True)
class Server:
    """A way of serving a model.

    Attributes:
        is_own: the server is started for this build with a fixed number of concurrent requests; for a remote server the client adapts
            their number.
        check: validates the endpoint's settings without network access; raises UsageError or MachineError.
        serve: (settings, tokens of the longest dialogue) → a context manager that serves the model and yields the settings to use.
    """

    is_own: bool
    check: Callable[[EndpointConfig], object]
    serve: Callable[[EndpointConfig, int], AbstractContextManager[EndpointConfig]]

    @property
    def unused_options(self) -> frozenset[str]:
        """Return the options that have no effect with this server."""
        return frozenset(("endpoint.base_url", "endpoint.api_key_env")) if self.is_own else frozenset()


@contextmanager
def _serve_elsewhere(settings: EndpointConfig, context_tokens: int) -> Iterator[EndpointConfig]:
    yield settings


@contextmanager
def _serve_gguf(settings: EndpointConfig, context_tokens: int) -> Iterator[EndpointConfig]:
    with embedded_server(resolve_gguf(settings.model), settings.max_in_flight, context_tokens) as url:
        yield replace(settings, base_url=url, api_key_env="")


@contextmanager
def _serve_vllm(settings: EndpointConfig, context_tokens: int) -> Iterator[EndpointConfig]:
    with vllm_server(settings.model, settings.max_in_flight, context_tokens) as url:
        yield replace(settings, base_url=url, api_key_env="")


def _check_gguf(settings: EndpointConfig) -> None:
    if settings.model not in EMBEDDED_MODELS:
        resolve_gguf(settings.model)


def _check_vllm(settings: EndpointConfig) -> None:
    if not settings.model:
        raise UsageError("the endpoint's model is empty: which model is to be served?\n  hint:    build.endpoint.model")


ELSEWHERE = Server(is_own=False, check=check_endpoint, serve=_serve_elsewhere)
LLAMA_CPP = Server(is_own=True, check=_check_gguf, serve=_serve_gguf)
VLLM = Server(is_own=True, check=_check_vllm, serve=_serve_vllm)
SERVERS = {"openai": ELSEWHERE, "local": LLAMA_CPP, "vllm": VLLM}
"""Servers by the name of the author or critic in a recipe."""
