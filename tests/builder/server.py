"""An OpenAI-compatible chat server of which everything is known beforehand: what it answers, how slowly, and how it fails."""

from __future__ import annotations

import contextlib
import hashlib
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from reflectioncoder.builder.mutation import mutations
from reflectioncoder.data.problems import Problem
from reflectioncoder.data.prompts import answer_program


@dataclass
class Script:
    """`faults`: what happens to the n-th request, by its number: a status, "hang", "garbage", "cut", "reset", or nothing.

    The answer to a request depends on its text alone: a first attempt with a slip, then a right one, then the program. Feedback may
    come as a user turn, in an assistant turn to be continued, or in the text to be completed.
    """

    problems: list[Problem]
    latency_s: float = 0.0
    faults: dict[int, int | str] = field(default_factory=dict)
    most_at_once: int = 1000
    retry_after: str = "0.05"
    num_requests: int = 0
    answered: Counter[str] = field(default_factory=Counter)
    at_once: int = 0
    peak: int = 0
    busy_s: float = 0.0  # all answers together, from the request's arrival on
    lock: threading.Lock = field(default_factory=threading.Lock)

    def fault(self, payload: dict) -> int | str | None:
        """What happens to a request for what it says."""

    def finish_reason(self) -> str | None:
        return "stop"

    def reply(self, payload: dict) -> str:
        messages = payload.get("messages") or [{"role": "user", "content": payload["prompt"]}]
        first = messages[0]["content"]
        problem = next(p for p in self.problems if p.prompt.strip() in first)
        program = answer_program(problem)
        tests = "\n".join(problem.tests)
        last = messages[-1]["content"]
        if "\nAll tests pass" in f"\n{last}":
            return f"```python\n{program}```"
        if "The interpreter prints" in last or "```output\n" in last:
            return f"The slip was easy to see.\n\n```python\n{program}\n{tests}"  # cut off by the stop text
        slips = mutations(program)
        number = int(hashlib.sha256(f"{problem.prompt}{payload.get('seed')}".encode()).hexdigest(), 16)
        return f"I try it.\n\n```python\n{slips[number % len(slips)].code}\n{tests}\n```"


class _Server(ThreadingHTTPServer):
    script: Script


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        assert isinstance(self.server, _Server)
        script = self.server.script
        payload = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with script.lock:
            number = script.num_requests
            script.num_requests += 1
            script.at_once += 1
            script.peak = max(script.peak, script.at_once)
            too_many = script.at_once > script.most_at_once
        began = time.monotonic()
        try:
            self._answer(script, payload, 429 if too_many else script.faults.get(number) or script.fault(payload))
        except OSError:  # the asker is gone
            pass
        finally:
            with script.lock:
                script.at_once -= 1
                script.busy_s += time.monotonic() - began

    def _answer(self, script, payload, fault):
        if fault == "reset":
            self._hang_up()
            return
        if isinstance(fault, int):
            self._send(fault, b"{}", {"Retry-After": script.retry_after} if fault in (429, 503) else {})
            return
        time.sleep(script.latency_s if fault != "hang" else 3.0)
        text = script.reply(payload)
        said = {"message": {"role": "assistant", "content": text}} if self.path.endswith("/chat/completions") else {"text": text}
        body = {
            "choices": [{"index": 0, **said, "finish_reason": script.finish_reason()}],
            "usage": {"prompt_tokens": 100, "completion_tokens": 50},
        }
        data = json.dumps(body).encode()
        if fault == "garbage":
            data = b"<html>busy</html>"
        if fault == "cut":
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[: len(data) // 2])
            self._hang_up()
            return
        with script.lock:
            script.answered[hashlib.sha256(json.dumps(payload).encode()).hexdigest()] += fault is None
        self._send(200, data, {})

    def _send(self, status, data, headers):
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def _hang_up(self):
        self.close_connection = True
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format, *args):
        pass


@contextlib.contextmanager
def serving(script: Script) -> Iterator[str]:
    """Gives the base URL."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    server.script = script
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        server.server_close()
