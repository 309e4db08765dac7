"""The whole pipeline on a tiny random model: killed again and again, it ends with the files of an uninterrupted run."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from reflectioncoder.build.log import BuildLog
from reflectioncoder.cli import main
from reflectioncoder.data.files import read_json
from reflectioncoder.recipe_files import load_recipe
from tests.conftest import make_model, make_tokenizer

RECIPE = """
name: {name}
seed: 5
model: {{name: {model}, rendering: {rendering}, device: cpu}}
build: {{problems: [{problems}], samples_per_problem: 2, max_operator_share: 0.5}}
train:
  epochs: 1
  generation_from_problems: true
  global_batch_size: 4
  learning_rate: 1e-3
  save_steps: 1
generate: {{batch_size: 4, max_new_tokens: 12}}
evaluate: {{benchmarks: ["bundled/seen:6", "bundled/unseen:4"]}}
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A folder with a model and a few problems."""
    from reflectioncoder.data.files import write_jsonl
    from reflectioncoder.data.problems import bundled_problems

    folder = tmp_path_factory.mktemp("world")
    tokenizer = make_tokenizer()
    make_model("llama", len(tokenizer), dtype="float32").save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    write_jsonl(folder / "problems.jsonl", [p.to_json() for p in bundled_problems("train")[:8]])
    return folder


def write_recipe(folder, name, rendering="chat"):
    path = folder / f"{name}.yaml"
    path.write_text(RECIPE.format(name=name, model=folder / "model", problems=folder / "problems.jsonl", rendering=rendering))
    return path


@pytest.fixture(scope="module")
def whole(world):
    recipe = write_recipe(world, "whole")
    assert main(["run", str(recipe), "--runs-dir", str(world / "runs"), "-q"]) == 0
    return world / "runs" / "whole"


def test_a_run_leaves_the_documented_files(whole):
    for name in (
        "config.yaml", "env.json", "build/reflections.jsonl", "build/rejected.jsonl", "build/build.json", "train/train.json",
        "model/model.safetensors", "model/chat_template.jinja", "model/generation_config.json", "model/README.md",
        "eval/bundled/seen/base/results.json", "eval/bundled/unseen/trained/samples.jsonl", "report.html", "logs/run.log",
    ):  # fmt: skip
        assert (whole / name).is_file(), name
    assert load_recipe(whole / "config.yaml").recipe.seed == 5
    results = read_json(whole / "eval/bundled/seen/trained/results.json")
    assert {"schema_version", "status", "benchmark", "model", "sampling", "sandbox", "env", "metrics", "counts"} <= set(results)
    assert sum(results["counts"].values()) == 6


def test_a_second_run_does_nothing_again(whole, world, capsys):
    before = {
        p: p.stat().st_mtime_ns
        for p in whole.rglob("*")
        if p.is_file() and p.name not in ("config.yaml", "env.json", "report.html", "run.log")
    }
    assert main(["run", str(world / "whole.yaml"), "--runs-dir", str(world / "runs")]) == 0
    after = {p: p.stat().st_mtime_ns for p in before}
    assert after == before
    assert "done before" in capsys.readouterr().err


def test_a_changed_setting_redoes_only_what_depends_on_it(whole, world, tmp_path, capsys):
    import shutil

    shutil.copytree(whole, tmp_path / "whole")
    argv = ["run", str(world / "whole.yaml"), "--runs-dir", str(tmp_path), "--set", "train.learning_rate=2e-3"]
    assert main(argv) == 0
    log = capsys.readouterr().err
    assert "build: done before" in log
    assert "eval-bundled/seen-base: done before" in log
    assert "settings have changed" in log
    first, second = (read_json(d / "whole/train/train.json")["history"] for d in (world / "runs", tmp_path))
    assert first[-1]["loss"] != second[-1]["loss"]
    # Back and forth: earlier checkpoints never stand in the way and are never continued.
    for rate, expected in (("1e-3", first), ("2e-3", second)):
        assert main([*argv[:-1], f"train.learning_rate={rate}", "-q"]) == 0
        assert read_json(tmp_path / "whole/train/train.json")["history"][-1]["loss"] == expected[-1]["loss"]


def test_a_deleted_output_is_made_again(whole, world, tmp_path):
    import shutil

    shutil.copytree(whole, tmp_path / "whole")
    shutil.rmtree(tmp_path / "whole" / "model")
    (tmp_path / "whole" / "build" / "reflections.jsonl").unlink()
    assert main(["run", str(world / "whole.yaml"), "--runs-dir", str(tmp_path), "-q"]) == 0
    for name in ("model/model.safetensors", "build/reflections.jsonl"):
        assert (tmp_path / "whole" / name).read_bytes() == (whole / name).read_bytes()


def test_completions_of_another_model_or_of_other_settings_are_never_mixed(world, tmp_path, capsys):
    base = ["generate", str(world / "model"), "--benchmark", "bundled/seen:2", "--output", str(tmp_path / "o"), "--max-new-tokens", "8"]
    assert main(base) == 0
    assert main(base) == 0
    assert main([*base, "--seed", "1"]) == 2
    assert "another --output" in capsys.readouterr().err


@pytest.mark.timeout(600)
def test_a_run_killed_at_many_points_ends_with_the_same_results(whole, world):
    recipe = write_recipe(world, "killed")
    command = [sys.executable, "-m", "reflectioncoder", "run", str(recipe), "--runs-dir", str(world / "runs")]
    other = world / "runs" / "killed"
    signs = [
        "build/log.sqlite", "build/build.json", "eval/bundled/seen/base/completions.jsonl", "train/preview.json",
        "train/checkpoint-2/trainer_state.json", "train/checkpoint-4", "model", "eval/bundled/unseen/trained/completions.jsonl",
    ]  # fmt: skip
    killed = 0
    for sign in signs:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and not (other / sign).exists():
            time.sleep(0.002)
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            killed += 1
        process.wait()
    assert killed >= 5
    subprocess.run(command, check=True, capture_output=True)
    assert (other / "build/reflections.jsonl").read_bytes() == (whole / "build/reflections.jsonl").read_bytes()
    assert (other / "model/model.safetensors").read_bytes() == (whole / "model/model.safetensors").read_bytes()
    for part in ("seen", "unseen"):
        for which in ("base", "trained"):
            rows = [
                sorted((r["task_id"], r["solution"], r["status"]) for r in map(json.loads, path.read_text().splitlines()))
                for path in ((run / "eval/bundled" / part / which / "samples.jsonl") for run in (whole, other))
            ]
            assert rows[0] == rows[1]


def test_the_token_rendering_runs_through_too(world):
    recipe = write_recipe(world, "token", rendering="token")
    assert main(["run", str(recipe), "--runs-dir", str(world / "runs"), "-q"]) == 0
    assert read_json(world / "runs/token/model/reflectioncoder.json")["rendering"] == "token"


def test_a_full_disk_while_building_is_one_message_and_loses_nothing(world, tmp_path):
    """A file-size limit on the process stands in for a disk that fills up while rows are appended."""
    recipe = write_recipe(world, "full")
    script = (
        "import resource, signal, sys\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "from reflectioncoder.cli import main\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))\n"
        f"sys.exit(main(['build', {str(recipe)!r}, '--runs-dir', {str(tmp_path)!r}]))"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert result.returncode == 3
    assert "cannot write" in result.stderr
    assert "Traceback" not in result.stderr
    with BuildLog(tmp_path / "full/build/log.sqlite") as log:
        saved = log.entries("execution")
    assert saved
    assert main(["build", str(recipe), "--runs-dir", str(tmp_path), "-q"]) == 0
    with BuildLog(tmp_path / "full/build/log.sqlite") as log:
        assert log.entries("execution")[: len(saved)] == saved


def test_ctrl_c_prints_the_command_that_continues(world):
    recipe = write_recipe(world, "interrupted")
    command = [sys.executable, "-m", "reflectioncoder", "run", str(recipe), "--runs-dir", str(world / "runs")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not (world / "runs/interrupted/build/log.sqlite").exists():
        time.sleep(0.002)
    process.send_signal(signal.SIGINT)
    _, log = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"to continue: reflectioncoder run {recipe}" in log
