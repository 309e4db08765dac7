"""Sends one HTTP request and reads its whole answer within a time limit. No credential reaches a message or another host."""

from __future__ import annotations

import contextlib
import json
import math
import socket
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx2

from reflectioncoder.errors import MachineError, UsageError
from reflectioncoder.generate.reply import excerpt
from reflectioncoder.server_address import Secrets, ServerAddress

_CONNECT_S = 10.0
_MAX_BODY_BYTES = 2**26
_MAX_REDIRECTS = 5
_MIN_KEY_CHARS = 8
_REDIRECTS = frozenset((301, 302, 303, 307, 308))
_NOT_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.ProxyError, httpx2.UnsupportedProtocol)
_TOKENS_A_SECOND = 5000  # more than any server writes for one request


@dataclass(frozen=True)
class Answer:
    """A server's answer. `elapsed_s`: from the request to its last byte."""

    status: int
    body: bytes
    retry_after: str | None
    elapsed_s: float

    @property
    def max_written(self) -> int:
        """Return an upper bound for the number of tokens written in the meantime."""
        return int(_TOKENS_A_SECOND * self.elapsed_s)


class TransferError(Exception):
    """Raised if there is no whole answer.

    Attributes:
        is_there: a server was reached.
        max_written: tokens that it can have written until then; infinite where it has begun to answer.
    """

    def __init__(self, reason: str, *, is_there: bool, max_written: float = 0.0):
        super().__init__(reason)
        self.is_there = is_there
        self.max_written = max_written


class Transfer:
    """Posts JSON to a server.

    Args:
        timeout_s: bounds a request from its first byte to the last one of its answer, however slowly that one trickles.
        trust_env: go through the proxies that the environment names.

    Raises:
        UsageError: two credentials for one header.
        MachineError: the proxy or the certificates that the environment names cannot be used.
    """

    def __init__(self, address: ServerAddress, key: str, timeout_s: float, *, trust_env: bool = True):
        if key and address.user:
            raise UsageError("endpoint.base_url holds a user and endpoint.api_key_env names a key\n  allowed: one of them")
        self._address = address
        self._timeout_s = timeout_s
        proxies = urllib.request.getproxies().values() if trust_env else ()
        self._secrets = Secrets([key, *address.secrets, *(secret for proxy in proxies for secret in _secrets_of(proxy))])
        keys = [value for value in (key, *(address.user or ())[1:]) if len(value) >= _MIN_KEY_CHARS and not value.isalpha()]
        self._keys = Secrets(keys)
        try:
            self._client = httpx2.Client(
                headers={"Authorization": f"Bearer {key}"} if key else {},
                auth=address.user,
                timeout=httpx2.Timeout(timeout_s, connect=min(_CONNECT_S, timeout_s)),
                # A connection for each request: its deadline can end it, and none is found closed when it is used again.
                limits=httpx2.Limits(max_connections=None, max_keepalive_connections=0),
                trust_env=trust_env,
            )
        except (ValueError, ImportError, OSError, httpx2.InvalidURL) as error:
            raise MachineError(
                f"the proxy or the certificates that the environment names cannot be used: {self.scrub(str(error))}\n"
                "  where:   HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, SSL_CERT_FILE, SSL_CERT_DIR"
            ) from None

    def scrub(self, text: str) -> str:
        """Return the text without this server's credentials."""
        return self._secrets.scrub(text)

    def without_keys(self, text: str) -> str:
        """Return a model's text without key and password, which a server can repeat; one that could be a word stays where it is."""
        return self._keys.scrub(text)

    def close(self) -> None:
        self._client.close()

    def post(self, path: str, payload: dict[str, Any]) -> Answer:
        """Post a request and return the server's answer, whatever its status; redirects are followed on the same host.

        Raises:
            TransferError: there is none.
            UsageError: it redirects to another host, or cannot be asked at all.
        """
        url, content = httpx2.URL(self._address.url(path)), json.dumps(payload).encode()
        started = time.monotonic()
        has_begun, deadline = False, _Deadline(self._timeout_s)
        try:
            with deadline:
                for _ in range(_MAX_REDIRECTS + 1):
                    with self._posted(url, content, deadline) as response:
                        if response.status_code not in _REDIRECTS:
                            has_begun = response.status_code == 200
                            body = _read(response)
                            deadline.check()
                            retry_after = response.headers.get("retry-after")
                            return Answer(response.status_code, body, retry_after, time.monotonic() - started)
                        location = response.headers.get("location", "")
                        if not location:
                            words = excerpt(self.scrub(_read(response).decode("utf-8", "replace")))
                            raise UsageError(f"{self._address.shown} redirects (status {response.status_code}) to nowhere: {words}")
                        url = self._redirected(url, location)
            raise UsageError(f"{self._address.shown} redirects in a circle")
        except (httpx2.HTTPError, _TooLongError) as error:
            was_sent = not isinstance(error, _NOT_SENT)
            words = f"{type(error).__name__}: {self.scrub(str(error))}"
            if deadline.has_passed or isinstance(error, httpx2.ReadTimeout):
                words = f"no whole answer within {self._timeout_s:g} s (endpoint.timeout_s)"
            elif isinstance(error, _TooLongError):
                words = f"an answer of more than {_MAX_BODY_BYTES // 2**20} MiB"
            max_written = math.inf if has_begun else was_sent * _TOKENS_A_SECOND * (time.monotonic() - started)
            raise TransferError(words, is_there=was_sent, max_written=max_written) from None
        except UsageError:
            raise
        except (httpx2.InvalidURL, ValueError) as error:
            raise UsageError(f"{self._address.shown} cannot be asked: {self.scrub(str(error))}") from None

    @contextlib.contextmanager
    def _posted(self, url: httpx2.URL, content: bytes, deadline: _Deadline) -> Iterator[httpx2.Response]:
        headers = {"Content-Type": "application/json"}
        with self._client.stream("POST", url, content=content, headers=headers, extensions={"trace": deadline.watch}) as response:
            yield response

    def _redirected(self, url: httpx2.URL, location: str) -> httpx2.URL:
        """Return where a redirection leads.

        Raises:
            UsageError: to another server, which is to see neither the key nor the request.
        """
        target = url.join(location).copy_with(userinfo=b"")
        same = (target.scheme, target.host, target.port) == (url.scheme, url.host, url.port)
        secured = (target.host, url.scheme, target.scheme, url.port, target.port) == (url.host, "http", "https", None, None)
        if not (same or secured):
            shown = self.scrub(urllib.parse.unquote(f"{target.scheme}://{target.netloc.decode('ascii', 'replace')}{target.path}"))
            raise UsageError(
                f"{self._address.shown} redirects to another server, which is not followed\n  got:     {excerpt(shown)}\n"
                "  hint:    endpoint.base_url: the address to which it redirects, if that is the server to be asked"
            )
        return target


class _TooLongError(Exception):
    """Raised if the body has no end."""


class _Deadline(contextlib.AbstractContextManager["_Deadline"]):
    """Shuts the connection down when the time is over: the timeouts of the HTTP library begin anew with every byte."""

    def __init__(self, seconds: float):
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self.has_passed = False
        self._timer = threading.Timer(seconds, self._pass)
        self._timer.daemon = True

    def __enter__(self) -> _Deadline:
        self._timer.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._timer.cancel()

    def watch(self, event: str, info: dict[str, Any]) -> None:
        """Note that the connection is made; the HTTP library calls this with whatever it does."""
        stream = info.get("return_value")
        if event.endswith(("connect_tcp.complete", "start_tls.complete")) and stream is not None:
            with self._lock:
                self._sockets = [stream.get_extra_info("socket")]
            if self.has_passed:
                self._shut_down()

    def check(self) -> None:
        """Check that the time is not over: a body without a length ends where the connection does.

        Raises:
            httpx2.ReadTimeout: it is over.
        """
        if self.has_passed:
            raise httpx2.ReadTimeout("the time is over")

    def _pass(self) -> None:
        self.has_passed = True
        self._shut_down()

    def _shut_down(self) -> None:
        with self._lock:
            for connected in self._sockets:
                with contextlib.suppress(OSError):
                    # Of the plain socket: one with TLS is not to change its state under a thread that reads.
                    socket.socket.shutdown(connected, socket.SHUT_RDWR)


def _read(response: httpx2.Response) -> bytes:
    parts, size = [], 0
    for part in response.iter_bytes():
        parts.append(part)
        size += len(part)
        if size > _MAX_BODY_BYTES:
            raise _TooLongError
    return b"".join(parts)


def _secrets_of(proxy: str) -> tuple[str, ...]:
    try:
        password = urllib.parse.urlsplit(proxy).password
    except ValueError:
        return (proxy,)
    return (password, urllib.parse.unquote(password)) if password else ()
