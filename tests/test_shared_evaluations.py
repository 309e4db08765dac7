"""Runs of one folder share evaluations, and load each model once, for what is left to evaluate."""

import gc
import json
import re
import shutil
import weakref

import pytest

from reflectioncoder import pipeline
from reflectioncoder.cli import main
from reflectioncoder.config.loading import load_recipe
from reflectioncoder.data.files import read_json, write_jsonl
from reflectioncoder.data.problems import bundled_problems
from reflectioncoder.generate.transformers_backend import TransformersBackend
from reflectioncoder.pipeline import Run
from reflectioncoder.shared_evaluations import SharedEvaluations
from reflectioncoder.stage_marker import BASE
from tests.conftest import make_model, make_tokenizer

RECIPE = """
name: first
seed: 5
model: {{name: {folder}/base, device: cpu}}
build: {{problems: [{folder}/problems.jsonl], samples_per_problem: 1, max_operator_share: 0.5, min_samples: 1}}
train: {{max_tokens: 3000, global_batch_size: 2, learning_rate: 1e-3, warmup_ratio: 0}}
generate: {{batch_size: 4, max_new_tokens: 6}}
evaluate: {{benchmarks: ["bundled/seen:2", "bundled/unseen:2"]}}
"""
FILES = ("completions.jsonl", "samples.jsonl", "results.json")


class Loads:
    """Counts the models that are loaded, and knows which of them are still in memory."""

    def __init__(self, monkeypatch):
        import reflectioncoder.train.run as training

        self.names, self.at_training = [], None
        models, loaded, train_model = [], TransformersBackend.__init__, training.train_model

        def load(backend, config, path):
            loaded(backend, config, path)
            self.names.append(path.name)
            models.append(weakref.ref(backend.model))

        def train(*args, **kwargs):
            gc.collect()
            self.at_training = sum(model() is not None for model in models)
            return train_model(*args, **kwargs)

        monkeypatch.setattr(TransformersBackend, "__init__", load)
        monkeypatch.setattr(training, "train_model", train)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A folder with a recipe and its run, `first`; `loads` of that run."""
    folder = tmp_path_factory.mktemp("world")
    tokenizer = make_tokenizer()
    make_model("llama", len(tokenizer), dtype="float32").save_pretrained(folder / "base")
    tokenizer.save_pretrained(folder / "base")
    write_jsonl(folder / "problems.jsonl", [p.to_json() for p in bundled_problems("train")[:4]])
    (folder / "recipe.yaml").write_text(RECIPE.format(folder=folder))
    with pytest.MonkeyPatch.context() as patch:
        folder_loads = Loads(patch)
        assert run(folder) == 0
    return folder, folder_loads


def run(folder, *settings, runs="runs"):
    options = [part for setting in settings for part in ("--set", setting)]
    return main(["run", str(folder / "recipe.yaml"), "--runs-dir", str(folder / runs), *options])


def files_of(folder, name, which="base", runs="runs"):
    place = folder / runs / name / "eval/bundled"
    return {f"{split}/{file}": (place / split / which / file).read_bytes() for split in ("seen", "unseen") for file in FILES}


def test_each_model_is_loaded_once_and_is_gone_before_the_training(world):
    _, loads = world
    assert loads.names == ["base", "model"]  # for two benchmarks each
    assert loads.at_training == 0


def test_nothing_is_loaded_if_all_evaluations_are_done(world, monkeypatch):
    folder, _ = world
    loads = Loads(monkeypatch)
    assert run(folder) == 0
    assert loads.names == []


def test_a_run_with_other_training_copies_the_evaluation_of_its_base_model(world, monkeypatch, capsys):
    folder, _ = world
    loads = Loads(monkeypatch)
    assert run(folder, "name=second", "train.learning_rate=2e-3") == 0
    assert loads.names == ["model"]  # the trained one
    said = capsys.readouterr().err
    assert said.count("-base: copied from") == 2
    assert "-trained: copied from" not in said
    assert files_of(folder, "first") == files_of(folder, "second")
    assert read_json(folder / "runs/second/stages/eval-bundled-seen-base.json")["result"]["status"] == "done"


@pytest.mark.parametrize(
    "setting",
    [
        "generate.max_new_tokens=7",
        "generate.batch_size=3",
        "model.dtype=float64",
        "evaluate.confidence=0.9",
        "sandbox.cpu_s=4",
    ],
)
def test_an_evaluation_of_another_kind_is_never_copied(world, setting, monkeypatch):
    folder, _ = world
    recipe = load_recipe(folder / "recipe.yaml", ["evaluate.benchmarks=['bundled/seen:2']", f"name=other-{setting.split('=')[0]}"])
    loads = Loads(monkeypatch)
    Run(recipe, folder / "runs").evaluate(BASE)
    assert loads.names == []
    other = load_recipe(
        folder / "recipe.yaml", ["evaluate.benchmarks=['bundled/seen:2']", f"name=other-{setting.split('=')[0]}", setting]
    )
    Run(other, folder / "runs").evaluate(BASE)
    assert loads.names == ["base"]


def test_only_answers_that_are_drawn_depend_on_the_seed(world, monkeypatch):
    folder, _ = world

    def base_is_loaded(name, *settings):
        loads = Loads(monkeypatch)
        settings = ["evaluate.benchmarks=['bundled/seen:2']", f"name={name}", *settings]
        Run(load_recipe(folder / "recipe.yaml", settings), folder / "runs").evaluate(BASE)
        return loads.names == ["base"]

    assert not base_is_loaded("other-seed", "seed=6")
    assert base_is_loaded("drawn", "generate.temperature=0.5")
    assert not base_is_loaded("drawn-again", "generate.temperature=0.5")
    assert base_is_loaded("drawn-with-other-seed", "generate.temperature=0.5", "seed=6")


def test_a_run_finds_once_which_tasks_can_be_judged(world, monkeypatch):
    folder, _ = world
    recipe = load_recipe(folder / "recipe.yaml", ["name=judged-once"])
    judged, found = pipeline.judged_benchmarks, []
    monkeypatch.setattr(pipeline, "judged_benchmarks", lambda *args: found.append(judged(*args)) or found[-1])
    run = Run(recipe, folder / "runs")
    assert run._benchmarks(run.source.path) is run._benchmarks(run.source.path) is found[0]
    assert len(found) == 1


def test_a_base_model_that_was_changed_is_evaluated_again(world, monkeypatch, tmp_path):
    folder, _ = world
    shutil.copytree(folder / "base", tmp_path / "base")  # with the times of its files: still the same model
    loads = Loads(monkeypatch)
    for touched in (False, True):
        if touched:
            make_model("llama", len(make_tokenizer()), dtype="float32", seed=1).save_pretrained(tmp_path / "base")
        recipe = load_recipe(folder / "recipe.yaml", [f"model.name={tmp_path / 'base'}", f"name=moved-{touched}"])
        Run(recipe, folder / "runs").evaluate(BASE)
        assert loads.names == ["base"] * touched


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def forged(path):
    path.write_text(path.read_text().replace('"failed"', '"passed"').replace("compile_error", "passed"))


def of_another(path):
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "key": "0" * 16}))


def a_list(path):
    path.write_text("[]")


@pytest.mark.parametrize("change", [cut, forged, of_another, a_list])
def test_a_kept_evaluation_that_was_changed_is_not_used(tmp_path, change):
    shared = SharedEvaluations(tmp_path)
    (tmp_path / "a.jsonl").write_text('{"status": "failed", "text": "é\\ud800"}\n')
    shared.keep("k" * 16, [tmp_path / "a.jsonl"], {"counts": {"failed": 1}})
    assert shared.copy("k" * 16, tmp_path / "copy") == {"counts": {"failed": 1}}
    assert (tmp_path / "copy/a.jsonl").read_bytes() == (tmp_path / "a.jsonl").read_bytes()
    change(shared.file("k" * 16))
    assert shared.copy("k" * 16, tmp_path / "again") is None
    assert not (tmp_path / "again").exists()


def test_an_evaluation_with_programs_that_could_not_be_run_is_not_kept(tmp_path):
    shared = SharedEvaluations(tmp_path)
    shared.keep("k" * 16, [], {"counts": {"failed": 200, "sandbox_error": 1}})
    assert shared.copy("k" * 16, tmp_path / "copy") is None


def test_without_vllm_transformers_is_used_which_is_said_once_and_is_the_same_evaluation(world, monkeypatch, capsys):
    folder, _ = world
    loads = Loads(monkeypatch)
    monkeypatch.setattr("reflectioncoder.generate.backends.has_vllm", lambda: False)
    assert run(folder, "generate.backend=vllm") == 0
    said = capsys.readouterr().err
    assert said.count("vLLM is not installed: transformers is used in place of vllm") == 1
    assert loads.names == []
    assert "eval-bundled/seen-trained: done before" in said


@pytest.mark.parametrize(("setting", "message"), [("generate.backend=openai", "transformers, local, vllm")])
def test_a_backend_that_cannot_run_the_trained_model_is_refused_before_any_work(world, capsys, setting, message):
    folder, _ = world
    assert run(folder, setting, runs="none") in (2, 3)
    assert re.search(message, capsys.readouterr().err)
    assert not (folder / "none").exists()
