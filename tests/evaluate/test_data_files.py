"""Benchmark files: of several the published one, downloads that are cut, caches that cannot be written."""

import contextlib
import hashlib
import json
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from reflectioncoder.contamination.records import _rows
from reflectioncoder.data import files
from reflectioncoder.errors import MachineError
from reflectioncoder.evaluate import data_files
from reflectioncoder.evaluate.data_files import DataFile
from reflectioncoder.progress import Reporter, reporting

CONTENT = json.dumps({"task_id": "t/1"}).encode() + b"\n"
FILE = DataFile("Bench-v*.jsonl", "v0.1.10", hashlib.sha256(CONTENT).hexdigest(), "", 1, "http://127.0.0.1:9/")


@pytest.fixture
def world(tmp_path, monkeypatch):
    monkeypatch.setenv("REFLECTIONCODER_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("REFLECTIONCODER_DATA", raising=False)
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def test_of_several_versions_the_published_one_is_read(world):
    for version in ("v0.1.9", "v0.1.11", "v0.1.10"):
        (world / f"Bench-{version}.jsonl").write_bytes(CONTENT if version == "v0.1.10" else b"{}\n")
    found = FILE.find(str(world))
    assert found is not None
    assert found == world / "Bench-v0.1.10.jsonl"
    assert FILE.read(found) == [{"task_id": "t/1"}]


def test_another_file_in_the_first_place_is_not_passed_over_in_silence(world, monkeypatch, tmp_path):
    (world / "Bench-v0.1.9.jsonl").write_bytes(b"{}\n")
    (tmp_path / "second").mkdir()
    (tmp_path / "second" / "Bench-v0.1.10.jsonl").write_bytes(CONTENT)
    monkeypatch.setenv("REFLECTIONCODER_DATA", str(tmp_path / "second"))
    found = FILE.find(str(world))
    assert found is not None
    assert found == world / "Bench-v0.1.9.jsonl"
    with pytest.raises(MachineError, match="is not the published file"):
        FILE.read(found)


def test_a_file_that_is_not_the_published_one_is_named_where_nothing_is_compared_with_it(world, capsys):
    (world / "Bench-v0.1.9.jsonl").write_bytes(b"{}\n")
    with reporting(Reporter()):
        assert _rows(FILE, str(world)) == []
    assert "Bench-v0.1.9.jsonl is not the published file; its tasks will not be recognised" in capsys.readouterr().err


@contextlib.contextmanager
def serving_half(content):
    """Announce all of a content and close the connection in its middle."""

    class Half(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2])

        def log_message(self, format, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Half)
    thread = threading.Thread(target=server.handle_request, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/Bench.jsonl"
    finally:
        thread.join(10)
        server.server_close()


def test_a_download_that_is_cut_is_one_error_and_leaves_nothing(world, monkeypatch):
    monkeypatch.setattr(data_files, "is_offline", lambda: False)
    with serving_half(CONTENT * 100) as url, pytest.raises(MachineError, match="cannot be downloaded: IncompleteRead"):
        replace(FILE, url=url).obtain(str(world))
    assert FILE.find(str(world)) is None


@pytest.mark.parametrize("error", [MachineError("the disk is full"), PermissionError(13, "denied")])
def test_a_cache_that_cannot_be_written_costs_time_alone(monkeypatch, tmp_path, error):
    def refusing(path, content):
        raise error

    monkeypatch.setattr(files, "write_atomic", refusing)
    files.remember_json(tmp_path / "a.json", {"a": 1})
    files.remember(tmp_path / "a.bin", b"1")
