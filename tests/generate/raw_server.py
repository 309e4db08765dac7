"""A server that answers every request with what a function makes of it, byte by byte."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

USAGE = {"prompt_tokens": 10, "completion_tokens": 5}


@dataclass
class Asked:
    number: int
    path: str
    headers: dict[str, str]
    payload: dict[str, Any]
    handler: BaseHTTPRequestHandler


@dataclass
class RawServer:
    """`respond(asked)` gives (status, headers, body), or None where it has written the answer itself."""

    respond: Callable[[Asked], tuple[int, dict[str, str], bytes] | None]
    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


class _Server(ThreadingHTTPServer):
    raw: RawServer


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        assert isinstance(self.server, _Server)
        raw = self.server.raw
        payload = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with raw.lock:
            asked = Asked(len(raw.asked), self.path, {k.lower(): v for k, v in self.headers.items()}, payload, self)
            raw.asked.append(asked)
        with contextlib.suppress(OSError):  # the asker may be gone
            if (answer := raw.respond(asked)) is None:
                self.close_connection = True
                return
            status, headers, body = answer
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, format, *args):
        pass


@contextlib.contextmanager
def answering(respond: Callable[[Asked], tuple[int, dict[str, str], bytes] | None]) -> Iterator[RawServer]:
    server = _Server(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    server.raw = raw = RawServer(respond, f"http://127.0.0.1:{server.server_address[1]}/v1")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield raw
    finally:
        server.shutdown()
        server.server_close()


def completion(content: Any = "x = 1", reason: Any = "stop", usage: Any = None, **message: Any) -> tuple[int, dict[str, str], bytes]:
    """A chat completion."""
    choice = {"index": 0, "message": {"role": "assistant", "content": content, **message}, "finish_reason": reason}
    return said({"choices": [choice], "usage": USAGE if usage is None else usage})


def said(body: Any, status: int = 200) -> tuple[int, dict[str, str], bytes]:
    return status, {"Content-Type": "application/json"}, body if isinstance(body, bytes) else json.dumps(body).encode()
