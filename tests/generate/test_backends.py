"""How the models of a run are asked: each folder as it was trained, whatever runs it."""

import pytest

from reflectioncoder.config.declarations import ModelConfig
from reflectioncoder.errors import UsageError
from reflectioncoder.generate.backends import asked_folder, opened_once, usable_backend
from tests.conftest import make_model, make_tokenizer

CONFIG = ModelConfig("m", device="cpu")


def folder(path, template):
    tokenizer = make_tokenizer(template=template)
    make_model("llama", len(tokenizer), dtype="float32").save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def asked_by_server(path, parallel=7):
    return asked_folder(CONFIG, path, "vllm", parallel).open.args[1]  # type: ignore[attr-defined]


def test_a_base_model_without_a_chat_template_is_asked_in_plain_text(tmp_path, model_dir):
    assert asked_by_server(folder(tmp_path / "base", None)).api == "completion"
    settings = asked_by_server(model_dir)
    assert (settings.api, settings.model, settings.assistant_prefix, settings.max_in_flight) == ("chat", str(model_dir), "vllm", 7)


def test_completions_of_each_backend_and_dtype_have_keys_of_their_own(model_dir):
    double = ModelConfig("m", device="cpu", dtype="float64")
    asked = [asked_folder(config, model_dir, backend, 1) for config in (CONFIG, double) for backend in ("transformers", "vllm")]
    assert len({model.key for model in asked}) == 4
    assert [model.in_batches for model in asked] == [True, False] * 2


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
    with pytest.raises(UsageError, match="GGUF|architecture"):
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
