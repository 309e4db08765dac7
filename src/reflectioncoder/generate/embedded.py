"""Serves a model in a child process, OpenAI-compatible: on the CPU with llama.cpp (package xllamacpp), on GPUs with vLLM.

The process runs `serve_llama_cpp` or `serve_vllm` and ends with this one, because it exits when its standard input closes.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from reflectioncoder.errors import MachineError, require

_MAX_END_S = 20.0
# A server started by one of several ranks is not a rank itself; with these variables it would wait for the others.
_OF_A_LAUNCHER = re.compile(
    r"(RANK|(LOCAL|GROUP|ROLE)_RANK|((LOCAL|GROUP|ROLE)_)?WORLD_SIZE|MASTER_(ADDR|PORT)|(TORCHELASTIC|ACCELERATE|FSDP)_.*)"
)


def embedded_server(gguf: Path, parallel: int, context_tokens: int) -> contextlib.AbstractContextManager[str]:
    """Serve a GGUF file and yield the base URL. The server answers `parallel` requests at a time, each of up to `context_tokens`.

    Raises (on entry):
        MachineError: the package is not installed, or the server does not start (the message shows the end of its output).
    """
    require("xllamacpp", "local")
    # Spinning threads would take the CPU from the programs under test.
    env = {"GOMP_SPINCOUNT": "0", "OMP_WAIT_POLICY": "PASSIVE"}
    return _serving("serve_llama_cpp", gguf.name, [str(gguf), str(parallel), str(context_tokens)], env)


def has_vllm() -> bool:
    return importlib.util.find_spec("vllm") is not None


def require_vllm() -> None:
    """Raise MachineError if vLLM is not installed."""
    if not has_vllm():
        raise MachineError(
            "the package vllm is not installed\n  hint:    pip install vllm (a GPU), or ask a server (openai) or a GGUF model (local)"
        )


def vllm_server(model: str, parallel: int, context_tokens: int, *, dtype: str = "auto") -> contextlib.AbstractContextManager[str]:
    """Serve a hub model or folder with vLLM on this machine's GPUs, with continuous batching.

    Args:
        dtype: of weights and arithmetic; "auto" is vLLM's choice, which depends on the stored dtype.
    """
    require_vllm()
    return _serving("serve_vllm", model, [model, str(parallel), str(context_tokens), dtype], {})


@contextlib.contextmanager
def _serving(program: str, name: str, arguments: list[str], env: dict[str, str]) -> Iterator[str]:
    command = [sys.executable, "-m", f"reflectioncoder.generate.{program}", *arguments]
    with tempfile.TemporaryFile() as words:
        outside = {name: value for name, value in os.environ.items() if not _OF_A_LAUNCHER.fullmatch(name)}
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=words, env={**outside, **env}, start_new_session=True
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
            process.stdin.close()  # tells the server to end, with its own children
            try:
                process.wait(_MAX_END_S)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
