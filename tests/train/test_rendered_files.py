"""Training data in files is rendered once: what comes out is what rendering in memory gives, and nothing damaged is taken."""

import json
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from reflectioncoder.config.declarations import ModelConfig, Recipe, TrainConfig
from reflectioncoder.data.files import write_jsonl
from reflectioncoder.errors import MachineError, UsageError
from reflectioncoder.models.sources import ModelSource
from reflectioncoder.models.tokens import training_tokenizer
from reflectioncoder.train import rendered_files
from reflectioncoder.train.data import Samples, plan_run, preview, rendered_data, training_samples
from reflectioncoder.train.run import train_model
from tests.conftest import generation_sample, reflection_sample

SAMPLES = [*(reflection_sample(n, steps=1 + n % 3) for n in range(40)), *(generation_sample(n) for n in range(20))]
SAMPLES[7] = replace(SAMPLES[7], extra={})  # has no id


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("REFLECTIONCODER_CACHE", str(tmp_path / "cache"))


def recipe_for(model_dir: Path, tmp_path: Path, rendering="chat", samples=SAMPLES, **train) -> Recipe:
    file = write_jsonl(tmp_path / "rows.jsonl", [sample.to_json() for sample in samples])
    config = TrainConfig(**{"reflection_data": (str(file),), "epochs": 1, "global_batch_size": 4, **train})
    return Recipe("r", ModelConfig(str(model_dir), rendering=rendering, device="cpu"), train=config)  # pyright: ignore[reportArgumentType]


def planned(recipe: Recipe, model_dir: Path, samples: Samples):
    tokenizer = training_tokenizer(model_dir, recipe.model.rendering)
    plan, data = plan_run(recipe, model_dir, tokenizer, samples)
    return plan, data, preview(tokenizer, data, recipe.train)


@pytest.mark.parametrize("rendering", ["token", "chat"])
@pytest.mark.parametrize("processes", [1, 2])
def test_files_give_the_plan_that_samples_in_memory_give(model_dir, tmp_path, monkeypatch, rendering, processes):
    monkeypatch.setattr(rendered_files, "_BYTES_A_PART", 2**12)
    monkeypatch.setattr(rendered_files, "_SAMPLES_A_TABLE", 3)
    monkeypatch.setattr(rendered_files, "num_render_processes", lambda num_bytes: processes)
    longest = max(len(s.input_ids) for s in planned(recipe_for(model_dir, tmp_path, rendering), model_dir, SAMPLES)[0].samples)
    recipe = recipe_for(model_dir, tmp_path, rendering, max_length=longest - 1, mask_strategy=("random_token",))
    plan, data, shown = planned(recipe, model_dir, SAMPLES)
    for _ in range(2):  # rendered, then mapped
        other, mapped, other_shown = planned(recipe, model_dir, training_samples(recipe, None))
        assert list(other.samples) == list(plan.samples)
        assert [other.batches(step) for step in range(other.total_steps)] == [plan.batches(step) for step in range(plan.total_steps)]
        assert mapped.report == data.report
        assert list(mapped.names) == list(data.names)
        assert other_shown == shown
    assert len(data.report.too_long) >= 1


def test_a_second_start_reads_no_row_and_no_tokenizer(model_dir, tmp_path, monkeypatch):
    recipe = recipe_for(model_dir, tmp_path)
    first = rendered_data(recipe, model_dir, None, training_samples(recipe, None))
    monkeypatch.setattr(rendered_files, "_write", lambda *_: pytest.fail("rendered again"))
    assert list(rendered_data(recipe, model_dir, None, training_samples(recipe, None)).samples) == list(first.samples)


@pytest.mark.parametrize("change", ["a row", "the rendering", "the tokenizer", "normalization"])
def test_what_tokens_depend_on_renders_anew(model_dir, tmp_path, change):
    model = shutil.copytree(model_dir, tmp_path / "model")
    recipe = recipe_for(model, tmp_path)
    rendered_data(recipe, model, None, training_samples(recipe, None))
    if change == "a row":
        recipe = recipe_for(model, tmp_path, samples=[*SAMPLES, generation_sample(99)])
    elif change == "the rendering":
        recipe = recipe_for(model, tmp_path, rendering="token")
    elif change == "the tokenizer":
        tokenizer = training_tokenizer(model, "chat")
        tokenizer.add_tokens(["assert"])
        tokenizer.save_pretrained(model)
    else:
        recipe = recipe_for(model, tmp_path, text_normalization="reflectioncoder")
    rendered_data(recipe, model, None, training_samples(recipe, None))
    assert len(list((tmp_path / "cache" / "rendered").glob("*/contents.json"))) == 2


def test_a_tokenizer_that_changes_while_the_program_runs_is_taken_as_it_then_is(model_dir, tmp_path):
    model = shutil.copytree(model_dir, tmp_path / "model")
    recipe = recipe_for(model, tmp_path)
    rendered_data(recipe, model, None, training_samples(recipe, None))
    tokenizer = training_tokenizer(model, "chat")
    tokenizer.add_tokens(["return"])
    tokenizer.save_pretrained(model)
    in_files = rendered_data(recipe, model, tokenizer, training_samples(recipe, None)).samples
    assert list(in_files) == list(rendered_data(recipe, model, tokenizer, SAMPLES).samples)


@pytest.mark.parametrize("damage", ["cut off", "emptied", "gone", "other contents", "no contents"])
def test_a_damaged_cache_is_made_anew(model_dir, tmp_path, damage, capsys):
    recipe = recipe_for(model_dir, tmp_path)
    first = list(rendered_data(recipe, model_dir, None, training_samples(recipe, None)).samples)
    [contents] = (tmp_path / "cache" / "rendered").glob("*/contents.json")
    arrow = next(contents.parent.glob("*.arrow"))
    if damage == "cut off":
        arrow.write_bytes(arrow.read_bytes()[:-2000])
    elif damage == "emptied":
        arrow.write_bytes(b"")
    elif damage == "gone":
        arrow.unlink()
    elif damage == "no contents":
        contents.unlink()
    else:
        contents.write_text(json.dumps({"files": [arrow.name]}))
    assert list(rendered_data(recipe, model_dir, None, training_samples(recipe, None)).samples) == first


@pytest.mark.parametrize("processes", [1, 2])
def test_a_malformed_row_is_one_error_and_leaves_nothing(model_dir, tmp_path, monkeypatch, processes):
    monkeypatch.setattr(rendered_files, "_BYTES_A_PART", 2**12)
    monkeypatch.setattr(rendered_files, "num_render_processes", lambda num_bytes: processes)
    recipe = recipe_for(model_dir, tmp_path)
    file = Path(recipe.train.reflection_data[0])
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join([*lines[:50], '{"messages": 3}\n', *lines[50:]]))
    with pytest.raises(UsageError, match=r"rows.jsonl:51"):
        rendered_data(recipe, model_dir, None, training_samples(recipe, None))
    assert [path.suffix for path in (tmp_path / "cache" / "rendered").iterdir()] == [".lock"]


@pytest.mark.long
def test_a_full_disk_is_one_error_and_leaves_nothing(model_dir, tmp_path):
    """A limit on the size of files is what a test can have of a full disk."""
    recipe = recipe_for(model_dir, tmp_path)
    program = f"""
import resource, signal
from pathlib import Path
from tests.train.test_rendered_files import recipe_for, rendered_data, training_samples
from reflectioncoder.train import rendered_files
import datasets, transformers
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
from reflectioncoder.config.declarations import ModelConfig, Recipe, TrainConfig
recipe = Recipe("r", ModelConfig({str(model_dir)!r}), train=TrainConfig(reflection_data=({recipe.train.reflection_data[0]!r},)))
try:
    rendered_data(recipe, Path({str(model_dir)!r}), None, training_samples(recipe, None))
except Exception as error:
    print(type(error).__name__, error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert "MachineError" in done.stdout or "File too large" in done.stdout, done.stdout + done.stderr
    assert not list((tmp_path / "cache" / "rendered").glob("*/contents.json"))


@pytest.mark.long
def test_a_kill_while_rendering_loses_nothing(model_dir, tmp_path):
    many = [reflection_sample(n, steps=3) for n in range(4000)]
    recipe = recipe_for(model_dir, tmp_path, samples=many)
    program = f"""
from pathlib import Path
from reflectioncoder.config.declarations import ModelConfig, Recipe, TrainConfig
from reflectioncoder.train.data import rendered_data, training_samples
recipe = Recipe("r", ModelConfig({str(model_dir)!r}), train=TrainConfig(reflection_data=({recipe.train.reflection_data[0]!r},)))
rendered_data(recipe, Path({str(model_dir)!r}), None, training_samples(recipe, None))
"""
    folder = tmp_path / "cache" / "rendered"
    process = subprocess.Popen([sys.executable, "-c", program])
    while not list(folder.glob(".*/*.arrow")) and not list(folder.glob(".*/tmp*")) and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    samples = rendered_data(recipe, model_dir, None, training_samples(recipe, None)).samples
    assert len(samples) == 4000
    assert [path for path in folder.iterdir() if path.name.startswith(".")] == []


@pytest.mark.long
def test_a_training_from_files_is_that_from_memory(model_dir, tmp_path):
    recipe = recipe_for(model_dir, tmp_path)
    source = ModelSource(model_dir, "local")
    losses = []
    for name, samples in (("files", training_samples(recipe, None)), ("memory", SAMPLES)):
        summary = train_model(recipe, source, samples, tmp_path / name)
        losses.append([entry["loss"] for entry in summary["history"]])
    assert losses[0] == losses[1]
    said = json.loads((tmp_path / "files" / "train" / "train.json").read_text())
    assert [(one["spec"], one["revision"]) for one in said["data"]] == [(recipe.train.reflection_data[0], None)]


def test_no_samples_is_an_error(model_dir, tmp_path):
    recipe = recipe_for(model_dir, tmp_path, samples=[])
    with pytest.raises(UsageError, match="nothing to train on"):
        planned(recipe, model_dir, training_samples(recipe, None))


def test_what_cannot_be_read_back_is_said(model_dir, tmp_path, monkeypatch):
    recipe = recipe_for(model_dir, tmp_path)
    monkeypatch.setattr(rendered_files, "_open", lambda folder: None)
    with pytest.raises(MachineError, match="cannot be read back"):
        rendered_data(recipe, model_dir, None, training_samples(recipe, None))
