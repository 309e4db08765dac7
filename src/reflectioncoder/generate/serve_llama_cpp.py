"""The program that serves a GGUF file on the CPU with llama.cpp (package xllamacpp), OpenAI-compatible.

    python -m reflectioncoder.generate.serve_llama_cpp GGUF PARALLEL CONTEXT_TOKENS

It prints its URL once it answers, and ends when its standard input closes (see `embedded`).
"""

from __future__ import annotations

import os
import sys
from typing import Any

from reflectioncoder.errors import require


def serve(gguf: str, parallel: int, context_tokens: int) -> None:
    xllamacpp: Any = require("xllamacpp", "local")
    params = xllamacpp.CommonParams()
    params.model.path = gguf
    params.n_parallel = parallel
    params.n_ctx = context_tokens * parallel
    params.port = 0
    params.cont_batching = True
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = len(os.sched_getaffinity(0))
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)  # noqa: T201 (the parent reads this line)
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
