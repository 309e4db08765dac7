"""Opens what runs a model: transformers in this process, or a server, which is hosted elsewhere or started here (llama.cpp, vLLM)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from reflectioncoder import choices
from reflectioncoder.config.declarations import EndpointConfig, ModelConfig
from reflectioncoder.data.files import content_hash, sha256_file
from reflectioncoder.generate.base import Backend
from reflectioncoder.generate.embedded import embedded_server, vllm_server
from reflectioncoder.generate.served_backend import ServedBackend
from reflectioncoder.models.packaged import resolve_gguf
from reflectioncoder.models.sources import model_hash, resolve_model
from reflectioncoder.server_address import ServerAddress

_CHARS_A_TOKEN = 2  # at least, of programs and English: a server is started with room for the longest request
_TEMPLATE_TOKENS = 512  # a model's own system prompt is among them
_MAX_WAIT_S = 24 * 3600.0  # for a server of our own: all requests are asked at once, and it ends with us
_PLAIN_SAMPLING: dict[str, dict[str, Any]] = {
    "local": {"top_k": 0, "min_p": 0.0, "repeat_penalty": 1.0},  # llama.cpp has defaults of its own
    "vllm": {},  # started without the model's own
}


@dataclass(frozen=True)
class AskedModel:
    """A model that was found and is not loaded yet.

    Attributes:
        key: what its completions depend on, besides requests and sampling.
        path: its folder on this machine, where it has one.
        in_batches: requests are completed in batches, whose size the completions depend on.
        open: gives the backend for requests and answers of so many characters and tokens at most.
    """

    key: str
    path: Path | None
    in_batches: bool
    open: Callable[[int, int], AbstractContextManager[Backend]]


def asked_model(config: ModelConfig, backend: choices.Backend, endpoint: EndpointConfig) -> AskedModel:
    """Find the model to ask.

    Args:
        config: the model's name: a folder or hub id; openai: its name there; local: a GGUF file, or one that comes in packages.
        endpoint: openai: the server; local, vllm: chat or completion, and how many requests at a time.

    Raises:
        UsageError, MachineError: there is no such model.
    """
    if backend == "transformers":
        path = resolve_model(config).path
        return AskedModel(model_hash(path), path, True, lambda _chars, _tokens: _transformers(config, path))
    endpoint = replace(endpoint, model=config.name)
    if backend == "openai":
        # Requests of the default shape have the keys that they had before there were others.
        shape = [endpoint.extra_body, list(endpoint.omit)] if endpoint.extra_body or endpoint.omit else []
        identity = ServerAddress.parse(endpoint.base_url).identity
        key = content_hash(backend, config.name, identity, endpoint.revision, endpoint.api, endpoint.assistant_prefix, *shape)
        return AskedModel(key, None, False, lambda _chars, _tokens: ServedBackend(endpoint, backend))
    if backend == "local":
        gguf, path = resolve_gguf(config.name), None
        weights, serve, prefix = sha256_file(gguf), partial(embedded_server, gguf), "llama.cpp"
    else:
        path = Path(config.name) if Path(config.name).is_dir() else None
        weights, serve, prefix = model_hash(path) if path else config.name, partial(vllm_server, config.name), "vllm"
    own = replace(endpoint, assistant_prefix=prefix, api_key_env="", timeout_s=_MAX_WAIT_S)
    return AskedModel(content_hash(backend, weights, own.api), path, False, partial(_started, serve, own, backend))


@contextlib.contextmanager
def _transformers(config: ModelConfig, path: Path) -> Iterator[Backend]:
    from reflectioncoder.generate.transformers_backend import TransformersBackend

    yield TransformersBackend(config, path)


@contextlib.contextmanager
def _started(
    serve: Callable[[int, int], AbstractContextManager[str]],
    endpoint: EndpointConfig,
    name: str,
    longest_request: int,
    longest_answer: int,
) -> Iterator[Backend]:
    context_tokens = longest_request // _CHARS_A_TOKEN + longest_answer + _TEMPLATE_TOKENS
    extras: Mapping[str, Any] = _PLAIN_SAMPLING[name]
    with (
        serve(endpoint.max_in_flight, context_tokens) as url,
        ServedBackend(replace(endpoint, base_url=url), name, own=True, extras=extras) as backend,
    ):
        yield backend
