"""A local server that speaks the part of the Hugging Face Hub's protocol that its own clients need to read models and data sets.

It keeps commits, branches and tags, answers with the hub's headers and error codes, serves ranges, notes every request, and cuts a
connection in the middle of a file when it is told to.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import socket
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

_API = re.compile(
    r"/api/(?P<kind>datasets|models)/(?P<name>[^/]+/[^/]+)(?:/(?P<what>revision|tree|paths-info)/(?P<revision>[^/]+)(?P<rest>/.*)?)?"
)
_RESOLVE = re.compile(r"/(?P<kind>datasets/)?(?P<name>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)")


@dataclass
class Repository:
    """A model or data set: its files by commit, and which commit a branch or tag names."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    gated: bool = False


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    range: str | None
    authorization: str | None


class HubServer:
    """The hub, at `url`. `requests` are those that came; `cuts[PATH] = N` cuts the next download of a file after N bytes."""

    def __init__(self) -> None:
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.requests: list[Request] = []
        self.cuts: dict[str, int] = {}
        self.connections: list[socket.socket] = []
        hub = self

        class Handler(_Handler):
            server_hub = hub

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def add(self, kind: str, name: str, files: dict[str, bytes | str], *, ref: str = "main", gated: bool = False) -> str:
        """Commit all files of a repository (kind: "models" or "datasets") to a branch or tag; return the commit."""
        content = {path: data.encode() if isinstance(data, str) else data for path, data in files.items()}
        digest = hashlib.sha1(name.encode())
        for path, data in sorted(content.items()):
            digest.update(path.encode() + b"\0" + data)
        repository = self.repositories.setdefault((kind, name), Repository(gated=gated))
        repository.commits[digest.hexdigest()] = content
        repository.refs[ref] = digest.hexdigest()
        return digest.hexdigest()

    def downloads(self, path: str) -> list[Request]:
        """Return the requests for the content of a file."""
        return [request for request in self.requests if request.method == "GET" and request.path.endswith(f"/{path}")]

    def close(self) -> None:
        """Stop listening, and hang up on clients that keep their connections."""
        self._server.shutdown()
        self._server.server_close()
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_hub: HubServer

    def setup(self) -> None:
        super().setup()
        self.server_hub.connections.append(self.connection)

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _answer(self) -> None:
        hub = self.server_hub
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        path = urlsplit(self.path).path
        hub.requests.append(Request(self.command, unquote(path), self.headers.get("Range"), self.headers.get("Authorization")))
        api, resolve = _API.fullmatch(path), _RESOLVE.fullmatch(path)
        found = api or resolve
        if found is None:
            return self._error(404, "EntryNotFound")
        kind = api["kind"] if api else "datasets" if found["kind"] else "models"
        repository = hub.repositories.get((kind, found["name"]))
        if repository is None:
            return self._error(404, "RepoNotFound")
        revision = unquote(found["revision"] or "main")
        commit = repository.refs.get(revision, revision)
        if commit not in repository.commits:
            return self._error(404, "RevisionNotFound")
        asks_for_info = bool(api) and api["what"] in (None, "revision")
        if repository.gated and not asks_for_info:  # what is known of a gated repository everybody may see
            return self._error(403 if self.headers.get("Authorization") else 401, "GatedRepo")
        files = repository.commits[commit]
        if resolve:
            return self._file(unquote(resolve["path"]), files, commit)
        assert api is not None
        if asks_for_info:
            names = [{"rfilename": name} for name in sorted(files)]
            return self._json({"id": found["name"], "sha": commit, "siblings": names, "private": False, "gated": repository.gated})
        if api["what"] == "paths-info":
            fields = json.loads(body) if body.startswith("{") else parse_qs(body)
            return self._json(_entries(files, {name.strip("/") for name in fields["paths"]}))
        return self._tree(files, unquote(api["rest"] or "").strip("/"))

    def _tree(self, files: dict[str, bytes], folder: str) -> None:
        recursive = parse_qs(urlsplit(self.path).query).get("recursive", ["false"])[0].lower() == "true"
        inside = {name for name in (*files, *_folders(files)) if name.startswith(f"{folder}/" if folder else "")}
        if folder and not inside:
            return self._error(404, "EntryNotFound")
        depth = folder.count("/") + 1 if folder else 0
        return self._json(_entries(files, {name for name in inside if recursive or name.count("/") == depth}))

    def _file(self, name: str, files: dict[str, bytes], commit: str) -> None:
        if name not in files:
            return self._error(404, "EntryNotFound", commit)
        data, first = files[name], 0
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        last = len(data) - 1
        if asked:
            first, last = int(asked[1]), min(int(asked[2] or last), last)
        part = data[first : last + 1]
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
        for key, value in {
            "ETag": f'"{_oid(data)}"',
            "X-Repo-Commit": commit,
            "Accept-Ranges": "bytes",
            "Content-Length": str(len(part)),
        }.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        limit = self.server_hub.cuts.pop(name, None)
        self.wfile.write(part[:limit])
        if limit is not None:
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True

    def _json(self, value: Any) -> None:
        data = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _error(self, status: int, code: str, commit: str | None = None) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("X-Error-Message", code)
        if commit:
            self.send_header("X-Repo-Commit", commit)
        self.send_header("Content-Length", "0")
        self.end_headers()


def _oid(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def _folders(files: dict[str, bytes]) -> set[str]:
    return {"/".join(name.split("/")[:depth]) for name in files for depth in range(1, name.count("/") + 1)}


def _entries(files: dict[str, bytes], names: set[str]) -> list[dict[str, Any]]:
    entries = []
    for name in sorted(names & {*files, *_folders(files)}):
        if name in files:
            entries.append({"type": "file", "path": name, "size": len(files[name]), "oid": _oid(files[name])})
        else:
            entries.append({"type": "directory", "path": name, "size": 0, "oid": _oid(name.encode())})
    return entries
