"""Data sets and models by name: the hub's real clients against a local server that speaks its protocol."""

import io
import json
import os
import subprocess
import sys

import pytest

from reflectioncoder.builder.lengths import token_counter
from reflectioncoder.config.building import BuildConfig
from reflectioncoder.config.declarations import ModelConfig, Recipe
from reflectioncoder.data.hub import HubAddress, first_lines, parse_hub_address
from reflectioncoder.data.training_sets import find_training_set
from reflectioncoder.errors import MachineError, UnreachableError, UsageError
from reflectioncoder.models import sources
from reflectioncoder.models.sources import ModelSource, resolve_model
from tests.conftest import reflection_sample
from tests.hub_server import HubServer

datasets = pytest.importorskip("datasets", reason="the package datasets is not installed")
CHUNK_BYTES = 1024
TOKEN = "hf_aVerySecretToken"
CARD = "---\nlicense: apache-2.0\n---\n# Rows\n"
CONFIGS = (
    "---\nconfigs:\n- config_name: code\n  data_files:\n"
    "  - {split: train, path: code/train.jsonl}\n  - {split: test, path: code/test.jsonl}\n"
    "- config_name: test\n  data_files: other.jsonl\n---\n"
)


def rows(count, mark=""):
    return "".join(json.dumps({"query": f"q{mark}{number}", "answer": "a" * 400}) + "\n" for number in range(count))


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub with its clients pointed to it and to empty caches."""
    from huggingface_hub import constants

    server = HubServer()
    home = tmp_path / "home"
    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.url + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(home / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", CHUNK_BYTES)  # what has come of a chunk is lost with its connection
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets.config, "HF_ENDPOINT", server.url)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", home / "datasets")
    monkeypatch.setattr(datasets.config, "DOWNLOADED_DATASETS_PATH", home / "datasets" / "downloads")
    for name, value in {"HF_TOKEN": TOKEN, "HF_ENDPOINT": server.url, "HF_HOME": home, "REFLECTIONCODER_CACHE": home / "own"}.items():
        monkeypatch.setenv(name, str(value))
    yield server
    server.close()


def found(spec):
    return find_training_set(spec, "generation")


def questions(spec):
    return [sample.messages[0].text for sample in found(spec).samples()]


def refused(spec, kind: type[Exception] = UsageError):
    with pytest.raises(kind) as raised:
        list(found(spec).samples())
    assert TOKEN not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("hub:o/n", HubAddress("o/n")),
        ("o/n:c", HubAddress("o/n", ("c",))),
        ("hub:o/n:c:s@refs/pr/1", HubAddress("o/n", ("c", "s"), "refs/pr/1")),
        ("hub:o/n@v1", HubAddress("o/n", (), "v1")),
        ("/a@b/n:train", HubAddress("/a@b/n", ("train",))),
    ],
)
def test_addresses_are_parsed(text, address):
    assert parse_hub_address(text) == address
    assert parse_hub_address(str(address)) == address


@pytest.mark.parametrize("text", ["hub:", "hub:o/n@", "hub:a:b:c:d", "hub::train", "hub:@v1"])
def test_malformed_addresses_are_errors_that_show_the_form(text):
    with pytest.raises(UsageError, match=r"(?s)malformed address.*@REVISION"):
        parse_hub_address(text)


def test_a_data_set_is_found_by_name_and_its_commit_is_known(hub):
    commit = hub.add("datasets", "o/n", {"README.md": CARD, "data/train.jsonl": rows(30)})
    assert questions("hub:o/n") == [f"q{number}" for number in range(30)]
    whole = found("hub:o/n")
    assert (whole.revision, whole.form) == (commit, "CodeFeedback")
    assert [p.samples() and len(list(p.samples())) for p in whole.parts(1)] == [30]
    assert all(request.authorization in (None, f"Bearer {TOKEN}") for request in hub.requests)


def test_a_configuration_goes_before_a_split_of_the_same_name(hub):
    files = {"code/train.jsonl": rows(3), "code/test.jsonl": rows(2, "t"), "other.jsonl": rows(1, "o")}
    hub.add("datasets", "o/n", {"README.md": CONFIGS, **files})
    assert questions("hub:o/n:code") == ["q0", "q1", "q2"]
    assert questions("hub:o/n:code:test") == ["qt0", "qt1"]
    assert questions("hub:o/n:test") == ["qo0"]
    assert len({found(spec).identity for spec in ("hub:o/n:code", "hub:o/n:code:test", "hub:o/n:test")}) == 3
    assert "['code', 'test']" in refused("hub:o/n")
    assert "allowed: code, test" in refused("hub:o/n:nothing:train")
    assert "allowed: train, test" in refused("hub:o/n:code:nothing")


def test_a_split_is_named_alone_where_there_is_one_configuration(hub):
    hub.add("datasets", "o/n", {"README.md": CARD, "train.jsonl": rows(2), "test.jsonl": rows(1, "t")})
    assert questions("hub:o/n:test") == ["qt0"]
    assert "allowed: train, test, default" in refused("hub:o/n:nothing")


def test_a_revision_is_a_branch_a_tag_or_a_commit_and_stays_when_the_branch_moves(hub):
    first = hub.add("datasets", "o/n", {"README.md": CARD, "train.jsonl": rows(1)})
    tagged = hub.add("datasets", "o/n", {"README.md": CARD, "train.jsonl": rows(2)}, ref="v2")
    assert questions("hub:o/n@v2") == ["q0", "q1"]
    assert found("hub:o/n@v2").revision == tagged
    assert found("hub:o/n").revision == first
    latest = hub.add("datasets", "o/n", {"README.md": CARD, "train.jsonl": rows(3)})
    assert (found("hub:o/n").revision, len(questions("hub:o/n"))) == (latest, 3)
    assert questions(f"hub:o/n@{first}") == ["q0"]
    assert found(f"hub:o/n@{first}").identity != found("hub:o/n").identity


def test_a_table_of_reflection_samples_is_read_as_published(hub):
    import pyarrow
    import pyarrow.parquet

    from tests.conftest import reflection_sample

    samples = [reflection_sample(number).to_json() for number in range(5)]
    file = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([{"messages": row["messages"]} for row in samples]), file)
    hub.add("datasets", "o/n", {"README.md": CARD, "data/train-00000-of-00001.parquet": file.getvalue()})
    assert [s.messages for s in found("hub:o/n").samples()] == [reflection_sample(number).messages for number in range(5)]
    assert {s.type for s in found("hub:o/n").samples()} == {"reflection"}


def test_what_is_not_there_or_not_allowed_is_one_clear_error(hub):
    assert "no such data set" in refused("hub:o/none")
    hub.add("datasets", "o/gated", {"README.md": CARD, "train.jsonl": rows(1)}, gated=True)
    assert "gated" in (message := refused("hub:o/gated"))
    assert "huggingface.co/datasets/o/gated" in message
    hub.add("datasets", "o/n", {"README.md": CARD, "train.jsonl": rows(1)})
    assert "no such revision" in (message := refused("hub:o/n@v9"))
    assert "'v9'" in message
    hub.add("datasets", "o/empty", {"README.md": CARD})
    assert "doesn't contain any data files" in refused("hub:o/empty")
    hub.add("datasets", "o/columns", {"README.md": CARD, "train.jsonl": '{"text": "x", "label": 1}\n'})
    assert "hub:o/columns, row 0: rows of an unknown form\n  columns: text, label" in refused("hub:o/columns")
    hub.add("datasets", "o/damaged", {"README.md": CARD, "train.parquet": b"PAR1 nonsense PAR1"})
    assert "hub:o/damaged" in refused("hub:o/damaged")
    hub.add("datasets", "o/blank", {"README.md": CARD, "train.jsonl": rows(2) + '{"query": "q", "answer": ""}\n'})
    assert "hub:o/blank, row 2: answer" in refused("hub:o/blank")


def test_a_local_folder_is_not_taken_for_a_data_set_of_the_hub(hub, tmp_path, monkeypatch):
    (tmp_path / "o" / "n").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert "local folder" in refused("hub:o/n")


def test_a_download_that_is_cut_goes_on_where_it_was_cut(hub):
    data = rows(3000)
    hub.add("datasets", "o/n", {"README.md": CARD, "train.jsonl": data})
    hub.cuts["train.jsonl"] = 700 * CHUNK_BYTES + 7
    assert len(questions("hub:o/n")) == 3000
    assert [request.range for request in hub.downloads("train.jsonl")] == [None, f"bytes={700 * CHUNK_BYTES}-"]


def test_what_was_downloaded_is_found_without_the_hub(hub):
    commit = hub.add("datasets", "o/n", {"README.md": CARD, "train.jsonl": rows(4)})
    hub.add("datasets", "o/n", {"README.md": CARD, "train.jsonl": rows(5)}, ref="v2")
    first, tagged = found("hub:o/n"), found("hub:o/n@v2")
    hub.close()
    assert found("hub:o/n") == first
    assert found("hub:o/n@v2") == tagged
    assert found(f"hub:o/n@{commit}").identity == first.identity
    message = refused("hub:o/other", MachineError)
    assert "cannot be reached" in message
    assert refused("hub:o/n@v3", MachineError)


def test_the_token_is_in_no_message_that_a_library_writes(hub):
    assert first_lines(ValueError(f"Illegal header value b'Bearer {TOKEN}'\nmore")) == "Illegal header value b'Bearer (token)'"


SECOND_START = """
from reflectioncoder.data.training_sets import find_training_set
whole = find_training_set("hub:o/n", "generation")
print(whole.revision, sum(1 for part in whole.parts(2) for _ in part.samples()))
"""


@pytest.mark.long
@pytest.mark.parametrize("offline", ["0", "1"])
def test_another_process_finds_it_without_the_hub(hub, offline):
    commit = hub.add("datasets", "o/n", {"README.md": CARD, "train.jsonl": rows(6)})
    environment = {**os.environ, "HF_HUB_OFFLINE": "0"}

    def start(**more):
        command = [sys.executable, "-c", SECOND_START]
        return subprocess.run(command, env={**environment, **more}, capture_output=True, text=True, timeout=120)

    assert start().stdout.split() == [commit, "6"]
    hub.close()
    again = start(HF_HUB_OFFLINE=offline)
    assert again.stdout.split() == [commit, "6"], again.stderr
    assert TOKEN not in again.stderr


def test_the_problems_command_takes_a_revision_too(hub):
    from reflectioncoder.builder.sources import read_source
    from reflectioncoder.builder.sources.draft import Draft

    answer = "```python\nx = sorted([2])\n```"
    old, new = (json.dumps({"query": query, "answer": answer}) + "\n" for query in ("Old.", "New."))
    hub.add("datasets", "o/n", {"README.md": CARD, "train.jsonl": old}, ref="v1")
    hub.add("datasets", "o/n", {"README.md": CARD, "train.jsonl": new})
    drafts = [*read_source("hub:o/n@v1"), *read_source("hub:o/n")]
    problems = [draft.problem for draft in drafts if isinstance(draft, Draft)]
    assert [(problem.instruction, problem.license) for problem in problems] == [("Old.", "apache-2.0"), ("New.", "apache-2.0")]
    with pytest.raises(UsageError, match="no such revision"):
        list(read_source("hub:o/n@v9"))


@pytest.fixture
def model_files(model_dir):
    return {path.name: path.read_bytes() for path in model_dir.iterdir() if path.is_file()}


def test_a_model_is_downloaded_by_name_resumed_after_a_cut_and_found_without_the_hub(hub, model_files):
    from transformers import AutoModelForCausalLM

    commit = hub.add("models", "o/llama", model_files)
    hub.cuts["model.safetensors"] = 70 * CHUNK_BYTES
    source = resolve_model(ModelConfig("o/llama"))
    assert (source.origin, source.path.name) == ("hub", commit)
    assert [request.range for request in hub.downloads("model.safetensors")] == [None, f"bytes={70 * CHUNK_BYTES}-"]
    assert (source.path / "model.safetensors").read_bytes() == model_files["model.safetensors"]
    assert AutoModelForCausalLM.from_pretrained(source.path).config.model_type == "llama"
    hub.close()
    assert resolve_model(ModelConfig("o/llama")) == source
    assert resolve_model(ModelConfig("o/llama", revision=commit)) == source


def test_a_build_counts_with_the_tokenizer_of_a_model_of_the_hub_and_downloads_nothing_else(hub, model_files, monkeypatch):
    def counts(name):
        build = BuildConfig(max_tokens=100, tokenizer=name)
        count = token_counter(Recipe("r", ModelConfig("none"), build=build))
        assert count is not None
        return count(reflection_sample(1))

    hub.add("models", "o/llama", model_files)
    hub.add("models", "o/slow", {"config.json": "{}"})
    assert counts("o/llama") > 0
    assert [path for path in model_files if hub.downloads(path)] == ["tokenizer.json"]
    with pytest.raises(UsageError, match=r"o/slow has no tokenizer.json on the hub"):
        counts("o/slow")
    hub.close()
    assert counts("o/llama") > 0
    monkeypatch.setattr("time.sleep", lambda seconds: pytest.fail(f"it waited {seconds} s for a hub that is not there"))
    with pytest.raises(UsageError, match="the hub cannot be reached"):
        counts("o/other")


@pytest.mark.parametrize(
    ("error", "is_replaced"),
    [(UnreachableError("no network"), True), (MachineError("the disk is full"), False), (MachineError("a package is missing"), False)],
)
def test_a_package_takes_the_place_of_the_hub_alone(error, is_replaced, monkeypatch, tmp_path):
    name = next(iter(sources.PACKAGED_MODELS))

    def failing(config):
        raise error

    monkeypatch.setattr(sources, "_from_hub", failing)
    monkeypatch.setattr(sources, "from_package", lambda package: tmp_path)
    monkeypatch.setattr(sources, "_packages_in_use", set())
    if is_replaced:
        assert resolve_model(ModelConfig(name)) == ModelSource(tmp_path, "package")
    else:
        with pytest.raises(MachineError, match=str(error)):
            resolve_model(ModelConfig(name))


def test_a_model_that_is_missing_gated_or_of_no_such_revision_is_one_clear_error(hub):
    hub.add("models", "o/gated", {"config.json": "{}"}, gated=True)
    hub.add("models", "o/plain", {"config.json": "{}"})
    hub.add("models", "o/plain", {"config.json": '{"a": 1}'}, ref="v1")
    assert (resolve_model(ModelConfig("o/plain", revision="v1")).path / "config.json").read_text() == '{"a": 1}'
    for name, revision, said in [("o/none", None, "no such model"), ("o/gated", None, "gated"), ("o/plain", "v9", "no such revision")]:
        with pytest.raises(UsageError, match=said) as raised:
            resolve_model(ModelConfig(name, revision=revision))
        assert TOKEN not in str(raised.value)
        assert len(str(raised.value).splitlines()) <= 5
    hub.close()
    with pytest.raises(MachineError, match="the hub cannot be reached"):
        resolve_model(ModelConfig("o/other"))
