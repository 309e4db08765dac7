"""What runs a model: transformers in this process, or a server: a hosted one, or llama.cpp or vLLM started for it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal, get_args

from reflectioncoder.config import EndpointConfig, ModelConfig
from reflectioncoder.data.files import content_hash, sha256_file
from reflectioncoder.generate.base import Backend
from reflectioncoder.generate.embedded import embedded_server, vllm_server
from reflectioncoder.generate.served_backend import ServedBackend
from reflectioncoder.model_source import model_hash, resolve_gguf, resolve_model

BackendName = Literal["transformers", "openai", "local", "vllm"]
BACKENDS: tuple[BackendName, ...] = get_args(BackendName)
_CHARS_A_TOKEN = 2  # at least, of programs and English: a server is started with room for the longest request
_TEMPLATE_TOKENS = 128


@dataclass(frozen=True)
class AskedModel:
    """A model that is not loaded yet.

    Attributes:
        key: what its completions depend on, besides requests and sampling.
        path: its folder on this machine, where it has one.
        open: gives the backend for requests and answers of so many characters and tokens at most.
    """

    key: str
    path: Path | None
    open: Callable[[int, int], AbstractContextManager[Backend]]


def asked_model(config: ModelConfig, backend: BackendName, endpoint: EndpointConfig) -> AskedModel:
    """
    Args:
        config: the model's name: a folder or hub id; openai: its name there; local: a GGUF file, or one that comes in packages.
        endpoint: openai: the server; local, vllm: how many requests at a time.

    Raises:
        UsageError, MachineError: there is no such model.
    """
    if backend == "transformers":
        path = resolve_model(config).path
        return AskedModel(model_hash(path), path, lambda _chars, _tokens: _transformers(config, path))
    endpoint = replace(endpoint, model=config.name)
    if backend == "openai":
        key = content_hash(backend, endpoint.model, endpoint.revision, endpoint.api, endpoint.assistant_prefix)
        return AskedModel(key, None, lambda _chars, _tokens: ServedBackend(endpoint, "openai"))
    if backend == "local":
        gguf = resolve_gguf(config.name)
        own = replace(endpoint, assistant_prefix="llama.cpp", api_key_env="")
        return AskedModel(
            content_hash(backend, sha256_file(gguf)), None, partial(_started, partial(embedded_server, gguf), own, backend)
        )
    path = Path(config.name) if Path(config.name).is_dir() else None
    own = replace(endpoint, assistant_prefix="vllm", api_key_env="")
    key = content_hash(backend, model_hash(path) if path else config.name)
    return AskedModel(key, path, partial(_started, partial(vllm_server, config.name), own, backend))


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
    with (
        serve(endpoint.max_in_flight, context_tokens) as url,
        ServedBackend(replace(endpoint, base_url=url), name, own=True) as backend,
    ):
        yield backend
