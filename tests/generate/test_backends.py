"""How the models of a run are asked: each folder as it was trained, whatever runs it."""

import json
import shutil

import pytest

from reflectioncoder.config.building import EndpointConfig
from reflectioncoder.config.declarations import GenerateConfig, ModelConfig
from reflectioncoder.data.completion_requests import python_request
from reflectioncoder.data.files import write_jsonl
from reflectioncoder.errors import MachineError, UsageError
from reflectioncoder.generate.backends import asked_folder, asked_model, opened_once, usable_backend
from reflectioncoder.generate.base import longest, read_completions
from reflectioncoder.models.load import load_tokenizer
from reflectioncoder.models.tokens import make_requests
from tests.conftest import CHATML, make_model, make_tokenizer
from tests.generate.gguf_models import write_folder

CONFIG = ModelConfig("m", device="cpu")


def folder(path, template):
    tokenizer = make_tokenizer(template=template)
    make_model("llama", len(tokenizer), dtype="float32").save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def asked_by_server(path, parallel=7):
    """Return the endpoint, and what encodes requests."""
    _, endpoint, _, encode = asked_folder(CONFIG, path, "vllm", parallel).open.args  # type: ignore[attr-defined]
    return endpoint, encode


@pytest.mark.parametrize("template", [CHATML, None])
def test_a_server_is_sent_the_tokens_that_transformers_would_get(tmp_path, template):
    path = folder(tmp_path / "base", template)
    endpoint, encode = asked_by_server(path)
    assert (endpoint.api, endpoint.model, endpoint.max_in_flight) == ("completion", str(path), 7)
    requests = make_requests(path, load_tokenizer(path))
    text = "Write f, not <|im_end|>."
    assert encode(text, "```python\n") == requests.render_request(text, "```python\n")
    assert requests.name == ("plain" if template is None else "chat")


def test_completions_of_each_backend_and_dtype_have_keys_of_their_own(model_dir):
    double = ModelConfig("m", device="cpu", dtype="float64")
    asked = [asked_folder(config, model_dir, backend, 1) for config in (CONFIG, double) for backend in ("transformers", "vllm")]
    assert len({model.key for model in asked}) == 4
    assert [model.in_batches for model in asked] == [True, False] * 2


def test_nothing_is_downloaded_for_vllm_where_it_is_not_installed(monkeypatch):
    monkeypatch.setattr("reflectioncoder.generate.embedded.has_vllm", lambda: False)
    monkeypatch.setattr("reflectioncoder.generate.backends.resolve_model", lambda config: pytest.fail("it was looked for"))
    with pytest.raises(MachineError, match="vllm is not installed"):
        asked_model(ModelConfig("owner/name"), "vllm", EndpointConfig())


def test_vllm_is_replaced_where_it_is_not_installed_or_there_is_no_gpu(monkeypatch):
    monkeypatch.setattr("reflectioncoder.generate.backends.has_vllm", lambda: False)
    assert usable_backend("vllm", "auto") == ("transformers", "vLLM is not installed")
    monkeypatch.setattr("reflectioncoder.generate.backends.has_vllm", lambda: True)
    backend, reason = usable_backend("vllm", "cpu")
    assert backend == "transformers"
    assert "model.device is cpu" in str(reason)
    assert usable_backend("transformers", "cpu") == ("transformers", None)


def test_a_folder_that_cannot_be_written_as_gguf_is_refused_before_any_work(model_dir, tmp_path):
    folder = shutil.copytree(model_dir, tmp_path / "other")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "architectures": ["GPT2LMHeadModel"], "model_type": "gpt2"}))
    with pytest.raises(UsageError, match="GGUF"):
        asked_folder(CONFIG, folder, "local", 1)


def test_a_backend_is_opened_when_it_is_first_needed_and_once():
    import contextlib

    events = []

    @contextlib.contextmanager
    def opening():
        events.append("opened")
        yield "backend"
        events.append("closed")

    with opened_once(opening) as backend:  # type: ignore[arg-type]
        assert events == []
        assert [backend(), backend()] == ["backend", "backend"]
    assert events == ["opened", "closed"]
    with opened_once(opening):  # type: ignore[arg-type]
        pass
    assert events == ["opened", "closed"]


@pytest.mark.parametrize("rendering", ["chat", "token"])
def test_llama_cpp_answers_as_transformers_do(tmp_path, rendering):
    """The requests go as tokens, so that both are asked the same, special tokens that an instruction spells included."""
    pytest.importorskip("xllamacpp", reason="llama.cpp is not installed")
    path = write_folder(tmp_path / "model", rendering=rendering)
    config = GenerateConfig(batch_size=2, max_new_tokens=24)
    said = [f"Write f of {number}, not <|im_end|> and <|endofblock|>." for number in range(6)]
    requests = [python_request(f"t/{number}", 0, "def f(): ...", "f", text) for number, text in enumerate(said)]
    answers = {}
    for backend in ("transformers", "local"):
        with asked_folder(CONFIG, path, backend, 2).open(longest(requests), config.max_new_tokens) as opened:
            completed = opened.complete(requests, set(), config, 1)
            answers[backend] = {request.task_id: answer.text for request, answer in completed}
    same = [answers["local"][task] == answers["transformers"][task] for task in answers["local"]]
    assert sum(same) >= 5, answers  # one may be a tie of random weights in 16 bits


@pytest.mark.parametrize("text", ["def f(x): return x", "返回列表中所有偶数的和", "Größe 😀"])
def test_the_longest_request_leaves_room_for_a_token_a_byte_of_other_scripts(text):
    room = longest([python_request("t/1", 0, "", "f", text)]) // 2
    assert room >= len(text) // 2
    assert room >= sum(len(character.encode()) for character in text if not character.isascii())


@pytest.mark.parametrize(
    ("name", "value"), [("num_tokens", None), ("num_tokens", "7"), ("sample", [0]), ("finish_reason", {}), ("extraction", None)]
)
def test_completions_that_somebody_changed_are_an_error(name, value, tmp_path):
    row = {"task_id": "a", "sample": 0, "finish_reason": "stop", "extraction": "block", "num_tokens": 7}
    write_jsonl(tmp_path / "completions.jsonl", [row])
    assert read_completions(tmp_path / "completions.jsonl") == [row]
    changed = {**row, name: value}
    write_jsonl(tmp_path / "completions.jsonl", [{name: value for name, value in changed.items() if value is not None}])
    with pytest.raises(UsageError, match="is not as reflectioncoder wrote it"):
        read_completions(tmp_path / "completions.jsonl")
