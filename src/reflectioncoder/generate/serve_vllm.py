"""The program that serves a hub model or folder on this machine's GPUs with vLLM, OpenAI-compatible.

    python -m reflectioncoder.generate.serve_vllm MODEL PARALLEL CONTEXT_TOKENS DTYPE

It prints its URL once it answers, and ends with its whole process group when its standard input closes (see `embedded`).
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request


def serve(model: str, parallel: int, context_tokens: int, dtype: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", model, "--host", "127.0.0.1", "--port", str(port)]
    limits = ["--max-num-seqs", str(parallel), "--max-model-len", str(context_tokens), "--enable-prefix-caching"]
    limits += ["--dtype", dtype, "--generation-config", "vllm"]  # ignores the model's sampling defaults
    # vLLM's output goes to standard error; its workers share this process group and end with it.
    process = subprocess.Popen([*server, *limits], stdin=subprocess.DEVNULL, stdout=sys.stderr)
    url = f"http://127.0.0.1:{port}"
    threading.Thread(target=_announce, args=(url, process), daemon=True).start()
    try:
        sys.stdin.buffer.read()
    finally:
        os.killpg(0, signal.SIGKILL)


def _announce(url: str, process: subprocess.Popen[bytes]) -> None:
    """Print the URL when the server answers; end the process group if the server ends first."""
    while process.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=5):
                print(url, flush=True)  # noqa: T201 (the parent reads this line)
                return
        except OSError:
            time.sleep(0.5)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
