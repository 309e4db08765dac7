"""A local server that speaks the part of the Hugging Face Hub's protocol that its own clients need to read and to upload models and
data sets.

It keeps commits, branches and tags, answers with the hub's headers and error codes, serves ranges, takes files in commits and as large
files, notes every request, and cuts a connection in the middle of a file when it is told to.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

_API = re.compile(
    r"/api/(?P<kind>datasets|models)/(?P<name>[^/]+/[^/]+)(?:/(?P<what>revision|tree|paths-info)/(?P<revision>[^/]+)(?P<rest>/.*)?)?"
)
_UPLOAD = re.compile(r"/api/(?P<kind>datasets|models)/(?P<name>[^/]+/[^/]+)/(?P<what>preupload|commit)/(?P<revision>[^/]+)")
_LARGE = re.compile(r"/(?:datasets/)?[^/]+/[^/]+\.git/info/lfs/objects/batch")
_LARGE_FILES = (".safetensors", ".gguf")
_RESOLVE = re.compile(r"/(?P<kind>datasets/)?(?P<name>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)")


@dataclass
class Repository:
    """A model or data set: its files by commit, and which commit a branch or tag names."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    gated: bool = False
    private: bool = False


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    range: str | None
    authorization: str | None


class HubServer:
    """The hub, at `url`.

    `requests` are those that came; `cuts[PATH] = N` cuts the next download of a file after N bytes. The token `writer` may make
    repositories and commits in the namespaces `owners`; any other token is not known.
    """

    writer: str | None = None
    owners: tuple[str, ...] = ("o",)

    def __init__(self) -> None:
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.requests: list[Request] = []
        self.cuts: dict[str, int] = {}
        self.large: dict[str, bytes] = {}
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

    def files(self, kind: str, name: str) -> dict[str, bytes]:
        """Return the files of a repository's main branch."""
        repository = self.repositories[kind, name]
        return repository.commits[repository.refs["main"]]

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

    def do_PUT(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _answer(self) -> None:
        hub = self.server_hub
        content = self._content()
        path = urlsplit(self.path).path
        hub.requests.append(Request(self.command, unquote(path), self.headers.get("Range"), self.headers.get("Authorization")))
        if (write := self._writing(path)) is not None:
            return self._write(write, path, content)
        body = content.decode()
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

    def _content(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _writing(self, path: str) -> Callable[[str, bytes], None] | None:
        """Return what carries a request out that changes something."""
        if path == "/api/repos/create":
            return self._create
        if path == "/api/validate-yaml":
            return lambda _, __: self._json({"errors": [], "warnings": []})
        if path.startswith("/large/") and self.command == "PUT":
            return self._take_large
        if _LARGE.fullmatch(path):
            return self._ask_for_large
        return self._upload if _UPLOAD.fullmatch(path) else None

    def _write(self, carry_out: Callable[[str, bytes], None], path: str, content: bytes) -> None:
        is_known = self.headers.get("Authorization") == f"Bearer {self.server_hub.writer}"
        if not is_known and not path.startswith("/large/"):  # their addresses are secrets themselves
            return self._error(401, "InvalidToken")
        return carry_out(path, content)

    def _create(self, path: str, content: bytes) -> None:
        asked, hub = json.loads(content), self.server_hub
        kind = f"{asked.get('type', 'model')}s"
        name = f"{asked.get('organization') or hub.owners[0]}/{asked['name']}"
        if name.partition("/")[0] not in hub.owners:
            return self._error(403, "Forbidden")
        is_new = (kind, name) not in hub.repositories
        if is_new:
            hub.add(kind, name, {".gitattributes": ""})
            hub.repositories[kind, name].private = asked.get("private", asked.get("visibility") == "private")
        url = f"{hub.url}/{'datasets/' if kind == 'datasets' else ''}{name}"
        return self._json({"url": url}, 200 if is_new else 409)

    def _upload(self, path: str, content: bytes) -> None:
        found = _UPLOAD.fullmatch(path)
        assert found is not None
        hub = self.server_hub
        repository = hub.repositories.get((found["kind"], found["name"]))
        if repository is None:
            return self._error(404, "RepoNotFound")
        if found["what"] == "preupload":
            modes = [
                {"path": f["path"], "uploadMode": "lfs" if f["path"].endswith(_LARGE_FILES) else "regular", "shouldIgnore": False}
                for f in json.loads(content)["files"]
            ]
            return self._json({"files": modes})
        files = dict(hub.files(found["kind"], found["name"]))
        for line in map(json.loads, content.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = hub.large[value["oid"]]
        commit = hub.add(found["kind"], found["name"], dict(files))
        return self._json({"success": True, "commitOid": commit, "commitUrl": f"{hub.url}/{found['name']}/commit/{commit}"})

    def _ask_for_large(self, path: str, content: bytes) -> None:
        hub = self.server_hub
        objects = [
            {**asked, "actions": {"upload": {"href": f"{hub.url}/large/{asked['oid']}"}}} for asked in json.loads(content)["objects"]
        ]
        return self._json({"transfer": "basic", "objects": objects})

    def _take_large(self, path: str, content: bytes) -> None:
        self.server_hub.large[hashlib.sha256(content).hexdigest()] = content
        return self._json({})

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

    def _json(self, value: Any, status: int = 200) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
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
