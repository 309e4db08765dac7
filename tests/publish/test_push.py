"""Exported folders are uploaded by the hub's own client, here to a local server that speaks its protocol."""

import pytest

from reflectioncoder.cli import main
from reflectioncoder.data.files import write_jsonl
from reflectioncoder.errors import MachineError, UsageError
from reflectioncoder.publish.push import push, require_upload
from tests.conftest import generation_sample
from tests.hub_server import HubServer

hub_client = pytest.importorskip("huggingface_hub", reason="the package huggingface_hub is not installed")
TOKEN = "hf_aVerySecretToken"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub on which the token may write, with its client pointed to it."""
    from huggingface_hub import constants

    server = HubServer()
    server.writer = TOKEN
    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # the server takes large files by the older protocol
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "home" / "token"))
    for name, value in {"HF_TOKEN": TOKEN, "HF_HUB_OFFLINE": "0", "HF_ENDPOINT": server.url}.items():
        monkeypatch.setenv(name, value)
    yield server
    server.close()


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "folder"
    (path / "adapter").mkdir(parents=True)
    for name in ("README.md", "model.safetensors", "adapter/adapter_model.safetensors"):
        (path / name).write_bytes(f"content of {name}".encode())
    return path


@pytest.mark.parametrize("is_public", [False, True])
def test_a_folder_is_uploaded_as_it_is(hub, folder, is_public):
    assert push(folder, "o/n", "model", is_public=is_public) == f"{hub.url}/o/n"
    uploaded = hub.files("models", "o/n")
    assert {name: uploaded[name] for name in uploaded if name != ".gitattributes"} == {
        str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()
    }
    assert hub.repositories["models", "o/n"].private is not is_public


def test_uploading_again_keeps_what_else_is_there_and_who_sees_it(hub, folder):
    push(folder, "o/n", "model", is_public=True)
    (folder / "model.safetensors").rename(folder / "other.safetensors")
    push(folder, "o/n", "model")
    assert {"model.safetensors", "other.safetensors", "README.md"} <= hub.files("models", "o/n").keys()
    assert not hub.repositories["models", "o/n"].private


def test_a_data_set_is_exported_and_uploaded_by_one_command(hub, tmp_path, capsys):
    write_jsonl(tmp_path / "rows.jsonl", [generation_sample(1).to_json()])
    arguments = ["export", str(tmp_path / "rows.jsonl"), "--output", str(tmp_path / "out"), "--format", "chat", "--push", "o/n"]
    assert main(arguments) == 0
    assert f"uploaded to {hub.url}/datasets/o/n" in capsys.readouterr().out
    assert hub.files("datasets", "o/n")["chat.jsonl"] == (tmp_path / "out" / "chat.jsonl").read_bytes()


@pytest.mark.parametrize(
    ("writer", "repository", "said"),
    [("hf_another", "o/n", "does not accept the token"), (TOKEN, "somebody/n", "the token may not write there")],
)
def test_a_refused_token_is_not_shown(hub, folder, writer, repository, said):
    hub.writer = writer
    with pytest.raises(MachineError, match=said) as raised:
        push(folder, repository, "model")
    assert TOKEN not in str(raised.value)


def test_a_hub_that_cannot_be_reached_is_one_error(hub, folder, monkeypatch):
    from huggingface_hub import constants

    hub.close()
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(MachineError, match="run the same command again") as raised:
        push(folder, "o/n", "model")
    assert TOKEN not in str(raised.value)


def test_what_keeps_an_upload_from_being_tried_is_said_before_any_work(hub, tmp_path, monkeypatch, capsys):
    with pytest.raises(UsageError, match="not the name of a repository"):
        require_upload("a/b/c")
    assert main(["export", "no/run", "--model", "--output", str(tmp_path / "out"), "--push", "o/n", "--offline"]) == 3
    assert "this command is offline" in capsys.readouterr().err
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.delenv("HF_TOKEN")
    assert main(["export", "no/run", "--model", "--output", str(tmp_path / "out"), "--push", "o/n"]) == 3
    assert "needs a token" in capsys.readouterr().err
    assert not hub.requests
