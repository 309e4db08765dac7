"""A model served on this machine's CPU, OpenAI-compatible, by llama.cpp (the package xllamacpp), in a process of its own.

The process ends with this one: it waits for the end of its standard input.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from reflectioncoder.errors import MachineError, require


@contextlib.contextmanager
def embedded_server(gguf: Path, parallel: int, context_tokens: int) -> Iterator[str]:
    """Gives the base URL of a server that answers `parallel` requests at a time, each of `context_tokens` at most.

    Raises:
        MachineError: the package is not installed, or the server does not start; its last words are shown.
    """
    require("xllamacpp", "local")
    # Threads that wait by spinning would keep the programs that the answers hold from running.
    env = {**os.environ, "GOMP_SPINCOUNT": "0", "OMP_WAIT_POLICY": "PASSIVE"}
    command = [sys.executable, "-m", "reflectioncoder.build.embedded", str(gguf), str(parallel), str(context_tokens)]
    with tempfile.TemporaryFile() as words:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=words, env=env)
        try:
            assert process.stdout is not None
            url = next((line.decode().strip() for line in process.stdout if line.startswith(b"http://")), None)
            if url is None:
                process.wait()
                words.seek(0)
                raise MachineError(f"{gguf.name} cannot be served:\n{words.read()[-800:].decode('utf-8', 'replace')}")
            yield f"{url}/v1"
        finally:
            process.kill()
            process.wait()


def _serve(gguf: str, parallel: int, context_tokens: int) -> None:
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


if __name__ == "__main__":
    _serve(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
