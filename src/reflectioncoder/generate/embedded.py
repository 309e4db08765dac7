"""A model served on this machine, OpenAI-compatible, in a process of its own: on the CPU by llama.cpp (the package xllamacpp), on GPUs
by vLLM.

The process ends with this one: it waits for the end of its standard input.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from reflectioncoder.errors import MachineError, require

_MAX_END_S = 20.0


def embedded_server(gguf: Path, parallel: int, context_tokens: int) -> contextlib.AbstractContextManager[str]:
    """Gives the base URL of a server that answers `parallel` requests at a time, each of `context_tokens` at most.

    Raises (on entry):
        MachineError: the package is not installed, or the server does not start; its last words are shown.
    """
    require("xllamacpp", "local")
    # Threads that wait by spinning would keep the programs that the answers hold from running.
    env = {"GOMP_SPINCOUNT": "0", "OMP_WAIT_POLICY": "PASSIVE"}
    return _serving("llama.cpp", gguf.name, [str(gguf), str(parallel), str(context_tokens)], env)


def vllm_server(model: str, parallel: int, context_tokens: int) -> contextlib.AbstractContextManager[str]:
    """The same of a hub model or folder, by vLLM on this machine's GPUs: batches are put together anew after every token."""
    if importlib.util.find_spec("vllm") is None:
        raise MachineError(
            "the package vllm is not installed\n  hint:    pip install vllm (a GPU), or ask a server (openai) or a GGUF model (local)"
        )
    return _serving("vllm", model, [model, str(parallel), str(context_tokens)], {})


@contextlib.contextmanager
def _serving(kind: str, name: str, arguments: list[str], env: dict[str, str]) -> Iterator[str]:
    command = [sys.executable, "-m", "reflectioncoder.generate.embedded", kind, *arguments]
    with tempfile.TemporaryFile() as words:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=words, env={**os.environ, **env}, start_new_session=True
        )
        try:
            assert process.stdout is not None
            url = next((line.decode().strip() for line in process.stdout if line.startswith(b"http://")), None)
            if url is None:
                process.wait()
                words.seek(0)
                raise MachineError(f"{name} cannot be served:\n{words.read()[-800:].decode('utf-8', 'replace')}")
            yield f"{url}/v1"
        finally:
            assert process.stdin is not None
            process.stdin.close()  # it ends with its own children
            try:
                process.wait(_MAX_END_S)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _serve_llama_cpp(gguf: str, parallel: int, context_tokens: int) -> None:
    xllamacpp: Any = require("xllamacpp", "local")
    params = xllamacpp.CommonParams()
    params.model.path = gguf
    params.n_parallel = parallel
    params.n_ctx = context_tokens * parallel
    params.port = 0
    params.cont_batching = True
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = len(os.sched_getaffinity(0))
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)  # noqa: T201 (what the parent waits for)
    sys.stdin.buffer.read()
    os._exit(0)


def _serve_vllm(model: str, parallel: int, context_tokens: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", model, "--host", "127.0.0.1", "--port", str(port)]
    limits = ["--max-num-seqs", str(parallel), "--max-model-len", str(context_tokens), "--enable-prefix-caching"]
    limits += ["--generation-config", "vllm"]  # the model's own sampling is not what was asked for
    # What it says goes where our errors go; its workers are in its process group and end with it, which is ours: it ends with us.
    process = subprocess.Popen([*server, *limits], stdin=subprocess.DEVNULL, stdout=sys.stderr)
    url = f"http://127.0.0.1:{port}"
    threading.Thread(target=_announce, args=(url, process), daemon=True).start()
    try:
        sys.stdin.buffer.read()
    finally:
        os.killpg(0, signal.SIGKILL)


def _announce(url: str, process: subprocess.Popen[bytes]) -> None:
    """Say the URL when the server answers; end with it if it ends before."""
    while process.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=5):
                print(url, flush=True)  # noqa: T201 (what the parent waits for)
                return
        except OSError:
            time.sleep(0.5)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    _SERVERS = {"llama.cpp": _serve_llama_cpp, "vllm": _serve_vllm}
    _SERVERS[sys.argv[1]](sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
