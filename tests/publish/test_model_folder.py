"""The model of a finished run becomes a folder for the hub, which its readers load anew."""

import json
import shutil

import pytest
from safetensors.torch import load_file, save_file

from reflectioncoder.cli import main
from reflectioncoder.config.loading import load_recipe
from reflectioncoder.data.files import read_json, sha256_file, write_jsonl
from reflectioncoder.data.problems import bundled_problems
from reflectioncoder.errors import CheckFailedError
from reflectioncoder.pipeline import Run
from reflectioncoder.publish import model_check
from reflectioncoder.publish.model_card import stated_license
from tests.conftest import make_model, make_tokenizer
from tests.publish.exported import front_matter

pytestmark = pytest.mark.long
RECIPE = """
name: small
model: {{name: {folder}/base, rendering: token, device: cpu}}
build: {{problems: [{folder}/problems.jsonl], samples_per_problem: 2, max_operator_share: 0.5}}
train: {{epochs: 1, global_batch_size: 4, learning_rate: 1e-2, lora: {{rank: 4}}}}
generate: {{batch_size: 4, max_new_tokens: 4}}
evaluate: {{benchmarks: ["bundled/unseen:3"]}}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run that has trained a LoRA and added tokens; the base model states its licence."""
    folder = tmp_path_factory.mktemp("world")
    tokenizer = make_tokenizer()
    make_model("llama", len(tokenizer), dtype="float32").save_pretrained(folder / "base")
    tokenizer.save_pretrained(folder / "base")
    (folder / "base" / "README.md").write_text("---\nlicense: MIT\n---\n# Base\n")
    write_jsonl(folder / "problems.jsonl", [problem.to_json() for problem in bundled_problems("train")[:2]])
    (folder / "small.yaml").write_text(RECIPE.format(folder=folder))
    assert main(["run", str(folder / "small.yaml"), "--runs-dir", str(folder / "runs"), "-q"]) == 0
    return folder / "runs" / "small"


@pytest.fixture
def without_llama_cpp(monkeypatch):
    found = model_check.importlib.util.find_spec
    monkeypatch.setattr(model_check.importlib.util, "find_spec", lambda name: None if name == "xllamacpp" else found(name))


def exported(run, output, *options):
    return main(["export", str(run), "--model", "--output", str(output), *options])


def test_the_folder_holds_weights_adapter_and_results_and_says_what_was_checked(run, tmp_path, without_llama_cpp, capsys):
    out = tmp_path / "out"
    assert exported(run, out) == 0
    told = capsys.readouterr()
    for name in ("config.json", "generation_config.json", "chat_template.jinja", "tokenizer.json", "adapter/adapter_config.json"):
        assert (out / name).is_file(), name
    assert sha256_file(out / "model.safetensors") == sha256_file(run / "model" / "model.safetensors")
    card = (out / "README.md").read_text()
    checks = read_json(out / "verification.json")["checks"]
    assert [check["reader"].split()[0] for check in checks] == ["transformers", "PEFT", "llama.cpp"]
    assert [check["is_done"] for check in checks] == [True, True, False]
    for check in checks:
        assert check["completion"] in told.out
        assert check["completion"] in card
    assert "the same as above" in checks[1]["completion"]
    results = read_json(run / "eval/bundled/unseen/trained/results.json")
    (model_index,) = front_matter(out)["model-index"]
    written = model_index["results"][0]["metrics"][0]
    assert len(model_index["results"][0]["metrics"]) == 1
    (main_metric,) = [metric for metric in results["metrics"] if metric["name"] == "pass@1" and metric["subset"] is None]
    assert (written["type"], written["value"]) == ("pass@1", main_metric["value"])
    assert written["args"]["num_tasks"] == 3
    assert "| `bundled/unseen` | 3 | " in card
    assert f"[{100 * main_metric['ci_low']:.1f}, {100 * main_metric['ci_high']:.1f}]" in card
    assert front_matter(out)["license"] == "mit"
    build = read_json(run / "build" / "build.json")
    assert f"| candidates | {build['num_candidates']} |" in card
    assert "No model wrote the built samples" in card
    assert f"base.resize_token_embeddings({read_json(out / 'config.json')['vocab_size']})" in card


def test_nothing_in_the_folder_names_a_folder_of_this_machine(run, tmp_path, without_llama_cpp):
    out = tmp_path / "out"
    assert exported(run, out, "--no-verify") == 0
    assert read_json(out / "adapter" / "adapter_config.json")["base_model_name_or_path"] == "base"
    for file in out.rglob("*"):
        if file.is_file():
            assert str(run.parent.parent).encode() not in file.read_bytes(), file.name
    assert "were not loaded anew" in (out / "README.md").read_text()


def test_a_folder_is_not_written_over_and_an_edited_card_stays(run, tmp_path, capsys):
    out = tmp_path / "out"
    assert exported(run, out, "--no-verify") == 0
    (out / "README.md").write_text("my words\n")
    assert exported(run, out, "--no-verify") == 0
    assert (out / "README.md").read_text() == "my words\n"
    assert exported(run, out, "--no-verify", "--license", "mit") == 2
    assert "other options" in capsys.readouterr().err
    (out / "config.json").write_text("{}")
    assert exported(run, out, "--no-verify") == 2
    assert "config.json is not as it was exported" in capsys.readouterr().err
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    assert exported(run, tmp_path / "mine") == 2
    assert [file.name for file in (tmp_path / "mine").iterdir()] == ["letter.txt"]


def test_a_run_that_is_not_finished_is_refused(run, tmp_path, capsys):
    broken = tmp_path / "small"
    shutil.copytree(run, broken)
    (broken / "stages" / "eval-bundled-unseen-trained.json").unlink()
    assert exported(broken, tmp_path / "out") == 2
    assert "its stage eval-bundled/unseen-trained is not done" in capsys.readouterr().err
    (broken / "model" / "config.json").write_text("{}")
    assert exported(broken, tmp_path / "out") == 2
    assert "was changed since the stage train wrote it" in capsys.readouterr().err
    assert exported(tmp_path, tmp_path / "out") == 2
    assert main(["export", str(run), str(run), "--model", "--output", str(tmp_path / "out")]) == 2
    assert not (tmp_path / "out").exists()


def test_a_run_whose_data_was_built_anew_is_not_published_with_it(run, tmp_path, capsys):
    again = tmp_path / "small"
    shutil.copytree(run, again)
    with open(again / "build" / "reflections.jsonl", "a") as file:
        file.write((again / "build" / "reflections.jsonl").read_text().splitlines()[0] + "\n")
    assert exported(again, tmp_path / "out") == 2
    assert "reflections.jsonl is missing or was changed since the stage build wrote it" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_run_that_was_begun_again_with_other_settings_is_not_published_under_them(run, tmp_path, capsys):
    begun = tmp_path / "small"
    shutil.copytree(run, begun)
    recipe = load_recipe(run.parent.parent / "small.yaml", ["train.learning_rate=1e-3"])
    with Run(recipe, tmp_path).prepared():
        pass  # and then it was interrupted
    assert exported(begun, tmp_path / "out") == 2
    assert "its stage run is not done" in capsys.readouterr().err


def test_what_came_to_lie_beside_the_weights_is_not_published(run, tmp_path, capsys):
    other = tmp_path / "small"
    shutil.copytree(run, other)
    (other / "model" / ".env").write_text("TOKEN=hunter2")
    assert exported(other, tmp_path / "out", "--no-verify") == 2
    assert f"the training did not write {other / 'model' / '.env'}\n" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_adapter_that_is_not_that_of_the_weights_is_found(run, tmp_path, without_llama_cpp, capsys):
    broken = tmp_path / "small"
    shutil.copytree(run, broken)
    (adapter,) = (broken / "train").glob("checkpoint-*/adapter_model.safetensors")
    save_file({name: tensor * 8 + 0.5 for name, tensor in load_file(adapter).items()}, adapter)
    assert exported(broken, tmp_path / "out") == 1
    assert "the adapter on" in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ["small"]  # nothing half done is left


def test_weights_that_are_missing_are_found(run, tmp_path, without_llama_cpp):
    folder = tmp_path / "model"
    shutil.copytree(run / "model", folder)
    weights = load_file(folder / "model.safetensors")
    weights.pop("model.layers.0.mlp.up_proj.weight")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckFailedError, match="does not find the weights"):
        model_check.check_model_folder(folder, None, None)


def test_the_licence_of_a_card_is_that_of_its_front_matter():
    assert stated_license("---\nlicense: Apache-2.0\n---\ntext") == "apache-2.0"
    for text in ("", "# license: mit", "---\nlicense: [a, b]\n---", "---\n: : :\n---", "---\n- 1\n---"):
        assert stated_license(text) is None


def test_llama_cpp_reads_the_folder(run, tmp_path, capsys):
    pytest.importorskip("xllamacpp", reason="the package xllamacpp is not installed")
    assert exported(run, tmp_path / "out", "--gguf", "q8_0", "--json") == 0
    checks = json.loads(capsys.readouterr().out)["checks"]
    assert all(check["is_done"] for check in checks)
    assert "q8_0: " in checks[2]["found"]
    assert (tmp_path / "out" / "small-q8_0.gguf").is_file()
