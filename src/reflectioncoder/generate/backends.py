"""Opens model backends: transformers in this process, or a server hosted elsewhere or started here (llama.cpp, vLLM)."""

from __future__ import annotations

import contextlib
import importlib.metadata as metadata
import platform
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from reflectioncoder import choices
from reflectioncoder.config.building import EndpointConfig
from reflectioncoder.config.declarations import ModelConfig
from reflectioncoder.data.files import content_hash
from reflectioncoder.errors import require
from reflectioncoder.generate.base import Backend
from reflectioncoder.generate.embedded import embedded_server, has_vllm, require_vllm, vllm_server
from reflectioncoder.generate.served_backend import Encode, ServedBackend
from reflectioncoder.models.digests import file_digest, model_hash
from reflectioncoder.models.gguf_export import check_gguf, gguf_of
from reflectioncoder.models.load import load_tokenizer, pick_device, weight_dtype
from reflectioncoder.models.packaged import resolve_gguf
from reflectioncoder.models.sources import resolve_model
from reflectioncoder.models.tokens import make_requests
from reflectioncoder.server_address import ServerAddress

_CHARS_A_TOKEN = 2  # lower bound for code and English, so that a server is started with room for the longest request
_TEMPLATE_TOKENS = 512  # includes a model's default system prompt
_MAX_WAIT_S = 24 * 3600.0  # for a server started here: all requests are sent at once, and it ends with this process
_GGUF_DTYPE = "f16"  # gives the answers of the float32 model, except for ties
_PLAIN_SAMPLING: dict[str, dict[str, Any]] = {
    "local": {"top_k": 0, "min_p": 0.0, "repeat_penalty": 1.0},  # turns off llama.cpp's own defaults
    "vllm": {},  # started without the model's sampling defaults
}
_PACKAGES: dict[choices.RunBackend, tuple[str, ...]] = {
    "transformers": ("torch", "transformers", "tokenizers"),
    "local": ("xllamacpp", "gguf"),
    "vllm": ("vllm", "torch", "transformers"),
}


@dataclass(frozen=True)
class AskedModel:
    """A model that was found but is not loaded yet.

    Attributes:
        key: a hash of everything that completions depend on besides requests and sampling.
        path: its folder on this machine, if it has one.
        in_batches: requests are completed in batches, and completions depend on the batch size.
        takes_temperature: the temperature is sent to it; else even at 0 its answers are drawn at random, and depend on the seed.
        open: opens the backend, given the longest request in characters and the longest answer in tokens.
    """

    key: str
    path: Path | None
    in_batches: bool
    open: Callable[[int, int], AbstractContextManager[Backend]]
    takes_temperature: bool = True


def asked_model(config: ModelConfig, backend: choices.Backend, endpoint: EndpointConfig) -> AskedModel:
    """Find the model to ask.

    Args:
        config: the model's name: a folder or hub id, with a revision; openai: the server's name for it; local: a GGUF file or a
            packaged GGUF model.
        endpoint: openai: the server; local, vllm: the API (chat or completion) and the number of parallel requests.

    Raises:
        UsageError, MachineError: the model does not exist.
    """
    if backend == "transformers":
        return _in_this_process(config, resolve_model(config).path)
    endpoint = replace(endpoint, model=config.name)
    if backend == "openai":
        # Requests of the default shape keep the keys that they had before other shapes existed.
        shape = [endpoint.extra_body, list(endpoint.omit)] if endpoint.extra_body or endpoint.omit else []
        identity = ServerAddress.parse(endpoint.base_url).identity
        key = content_hash(backend, config.name, identity, endpoint.revision, endpoint.api, endpoint.assistant_prefix, *shape)
        takes_temperature = "temperature" not in endpoint.omit
        return AskedModel(key, None, False, lambda _chars, _tokens: ServedBackend(endpoint, backend), takes_temperature)
    if backend == "local":
        gguf = resolve_gguf(config.name)
        return _served_here(backend, file_digest(gguf), None, partial(embedded_server, gguf), endpoint)
    if not Path(config.name).is_dir():
        require_vllm()  # before gigabytes are downloaded for it
    path = resolve_model(config).path  # downloaded here, so that the key is that of the weights and the revision is the recipe's
    endpoint = replace(endpoint, model=str(path))  # the server's name for the model
    return _served_here(backend, model_hash(path), path, partial(vllm_server, str(path)), endpoint)


def asked_folder(config: ModelConfig, path: Path, backend: choices.RunBackend, parallel: int) -> AskedModel:
    """Return the model in a folder, asked with exactly the tokens that it was trained on; in plain text if it has no chat template.

    Args:
        config: dtype and device, for transformers.
        parallel: number of parallel requests, for a server.

    Raises:
        UsageError: the tokenizer or chat template cannot be used, or the model cannot be written as GGUF.
    """
    if backend == "transformers":
        return _in_this_process(config, path)
    encode = make_requests(path, load_tokenizer(path)).render_request
    endpoint = EndpointConfig(model=path.name, api="completion", max_in_flight=parallel)
    if backend == "local":
        check_gguf(path)
        key = content_hash(model_hash(path), _GGUF_DTYPE)
        return _served_here(backend, key, path, partial(_gguf_server, path), endpoint, encode)
    dtype = weight_dtype(config, on_gpu=True)  # the same for base and trained model, whatever their stored dtype
    endpoint = replace(endpoint, model=str(path))  # the server's name for the model
    serve = partial(vllm_server, str(path), dtype=dtype)
    return _served_here(backend, content_hash(model_hash(path), dtype), path, serve, endpoint, encode)


def usable_backend(wanted: choices.RunBackend, device: str) -> tuple[choices.RunBackend, str | None]:
    """Return the backend that can run models here, and why it is not the wanted one (None if it is).

    Args:
        device: the setting `model.device`.
    """
    if wanted != "vllm":
        return wanted, None
    if not has_vllm():
        return "transformers", "vLLM is not installed"
    if not pick_device(device).startswith("cuda"):
        return "transformers", "vLLM needs a GPU, and model.device is cpu" if device == "cpu" else "vLLM needs a GPU, and there is none"
    return wanted, None


def check_backend(backend: choices.RunBackend) -> None:
    """Check before any work that a backend can serve the models of a run.

    Raises:
        MachineError: the llama.cpp package is not installed.
    """
    if backend == "local":
        require("xllamacpp", "local")


def model_versions(backend: choices.RunBackend, config: ModelConfig) -> list[str | None]:
    """Return what completions depend on besides model, requests and sampling: device, machine type and package versions."""
    device = pick_device(config.device).partition(":")[0] if backend == "transformers" else backend
    return [device, platform.machine(), *map(_version, _PACKAGES[backend])]


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


@contextlib.contextmanager
def opened_once(open_backend: Callable[[], AbstractContextManager[Backend]]) -> Iterator[Callable[[], Backend]]:
    """Yield a function that opens the backend at its first call; the end of the block closes it."""
    with contextlib.ExitStack() as stack:
        yield cache(lambda: stack.enter_context(open_backend()))


def _in_this_process(config: ModelConfig, path: Path) -> AskedModel:
    # Weights in the default dtype keep the key that they had before dtypes were part of it.
    key = model_hash(path) if config.dtype in ("auto", "mixed") else content_hash(model_hash(path), config.dtype)
    return AskedModel(key, path, True, lambda _chars, _tokens: _transformers(config, path))


def _served_here(
    backend: choices.Backend,
    weights: str,
    path: Path | None,
    serve: Callable[[int, int], AbstractContextManager[str]],
    endpoint: EndpointConfig,
    encode: Encode | None = None,
) -> AskedModel:
    prefix = "llama.cpp" if backend == "local" else "vllm"
    own = replace(endpoint, assistant_prefix=prefix, api_key_env="", timeout_s=_MAX_WAIT_S)
    return AskedModel(content_hash(backend, weights, own.api), path, False, partial(_started, serve, own, backend, encode))


@contextlib.contextmanager
def _gguf_server(folder: Path, parallel: int, context_tokens: int) -> Iterator[str]:
    with gguf_of(folder, _GGUF_DTYPE) as gguf, embedded_server(gguf, parallel, context_tokens) as url:
        yield url


@contextlib.contextmanager
def _transformers(config: ModelConfig, path: Path) -> Iterator[Backend]:
    from reflectioncoder.generate.transformers_backend import TransformersBackend

    with contextlib.closing(TransformersBackend(config, path)) as backend:
        yield backend


@contextlib.contextmanager
def _started(
    serve: Callable[[int, int], AbstractContextManager[str]],
    endpoint: EndpointConfig,
    name: str,
    encode: Encode | None,
    longest_request: int,
    longest_answer: int,
) -> Iterator[Backend]:
    context_tokens = longest_request // _CHARS_A_TOKEN + longest_answer + _TEMPLATE_TOKENS
    extras: Mapping[str, Any] = _PLAIN_SAMPLING[name]
    with (
        serve(endpoint.max_in_flight, context_tokens) as url,
        ServedBackend(replace(endpoint, base_url=url), name, own=True, extras=extras, encode=encode) as backend,
    ):
        yield backend
