"""The whole pipeline on a tiny random model: killed again and again, it ends with the files of an uninterrupted run."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
import yaml

from reflectioncoder.builder.log import BuildLog
from reflectioncoder.cli import main
from reflectioncoder.config.declarations import ModelConfig, Recipe, TrainConfig
from reflectioncoder.config.loading import load_recipe
from reflectioncoder.data.file_lock import alone_in
from reflectioncoder.data.files import read_json, read_jsonl
from reflectioncoder.progress import format_duration
from reflectioncoder.run_plan import expected_seconds, plan_lines, planned_stages
from reflectioncoder.stage_marker import WHOLE_RUN, Marker
from tests.conftest import make_model, make_tokenizer
from tests.tiers import part

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
        if p.is_file() and p.name not in ("config.yaml", "env.json", "report.html", "run.log", f"{WHOLE_RUN}.json")
    }
    assert main(["run", str(world / "whole.yaml"), "--runs-dir", str(world / "runs")]) == 0
    after = {p: p.stat().st_mtime_ns for p in before}
    assert after == before
    captured = capsys.readouterr()
    assert "done before" in captured.err
    answers = read_json(whole / "eval/bundled/seen/base/results.json")["answers"]
    known = read_json(whole / "stages/eval-bundled-seen-base.json")["duration_s"]
    line = f"base: 6 tasks, 6 answers, {answers['num_without_program']} without a program, {format_duration(known)}, "
    assert f"{line}one task is 17 points" in captured.out


def test_a_run_says_at_the_end_which_tasks_changed(whole, world, capsys):
    assert main(["run", str(world / "whole.yaml"), "--runs-dir", str(world / "runs")]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("bundled/seen:6 ")]
    solved = [
        {row["task_id"] for _, row in read_jsonl(whole / f"eval/bundled/seen/{which}/samples.jsonl") if row["base_status"] == "passed"}
        for which in ("base", "trained")
    ]
    assert f", {len(solved[1] - solved[0])} gained, {len(solved[0] - solved[1])} lost, p = " in line


def test_a_run_says_at_the_end_what_is_known_from_elsewhere(whole, world, tmp_path, capsys):
    shutil.copytree(whole, tmp_path / "whole")
    argv = ["run", str(world / "whole.yaml"), "--runs-dir", str(tmp_path), "--set"]
    assert main([*argv, "evaluate.known={the paper: {humanevl+: 75}}"]) == 2
    assert "did you mean 'humaneval+'?" in capsys.readouterr().err
    known = "evaluate.known={plain answers alone: {'bundled/seen:6': 33.3, bundled/seen: 1}, the paper: {humaneval: 75}}"
    assert main([*argv, known]) == 0
    captured = capsys.readouterr()
    for whose, spec in (("plain answers alone", "bundled/seen"), ("the paper", "humaneval")):
        assert f"evaluate.known: {whose}: not shown for {spec}, which this run does not evaluate\n" in captured.err
    assert captured.out.count("from elsewhere") == 1
    assert "\n  plain answers alone: 33.3 %, from elsewhere, as the recipe says\n" in captured.out
    assert "eval-bundled/seen-trained: done before" in captured.err
    assert "plain answers alone · from elsewhere" in (tmp_path / "whole" / "report.html").read_text()


def test_the_plan_scales_what_earlier_runs_took(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "earlier")
    took = {"build": 80.0, "train": 30.0, "eval-bundled-seen-base": 60.0, "eval-bundled-seen-trained": 12.0}
    for stage in (tmp_path / "earlier" / "stages").glob("*.json"):
        marker = Marker.read(stage)
        assert marker is not None
        dataclasses.replace(marker, duration_s=took.get(stage.stem, 0.2)).write(stage)
    text = yaml.safe_load((whole / "config.yaml").read_text())
    text["evaluate"]["benchmarks"] = ["bundled/seen:3", "bundled/unseen:4"]
    recipe = tmp_path / "new.yaml"
    recipe.write_text(yaml.safe_dump({**text, "name": "new"}))
    lines = dict(line.split(maxsplit=1) for line in plan_lines(load_recipe(recipe).recipe, tmp_path / "new") if line.startswith("  "))
    assert lines["build"].split() == ["8", "problems", "(problems.jsonl)", "about", "1m20s"]
    assert lines["eval-bundled/seen-base"].split() == ["3", "tasks", "about", "30s"]
    assert lines["eval-bundled/seen-trained"].split() == ["3", "tasks", "about", "6s"]
    assert lines["eval-bundled/unseen-base"].endswith("time not known yet")  # a copied evaluation took no time
    assert lines["train"].endswith("time not known yet")  # no budget: the tokens are known after the build
    text["train"]["max_tokens"] = 2 * read_json(tmp_path / "earlier/stages/train.json")["result"]["num_tokens"]
    recipe.write_text(yaml.safe_dump({**text, "name": "new"}))
    lines = plan_lines(load_recipe(recipe).recipe, tmp_path / "new")
    assert [line for line in lines if line.startswith("  train ") and line.endswith("about 1m00s")]
    assert "2m56s and what is not known yet" in lines[-1]
    again = plan_lines(load_recipe(whole / "config.yaml").recipe, whole)
    assert sum(line.endswith("done before, unless something changed") for line in again) == 6


@pytest.mark.parametrize("result", [None, [], 3, {}, "much"])
def test_an_earlier_stage_whose_result_has_another_form_tells_no_time(result, tmp_path):
    (tmp_path / "earlier" / "stages").mkdir(parents=True)
    (tmp_path / "earlier" / "config.yaml").write_text("model: {name: m}")
    Marker("key", 60.0, result, {}).write(tmp_path / "earlier" / "stages" / "self_samples.json")
    recipe = Recipe("new", ModelConfig("m"), train=TrainConfig(self_samples=2, generation_from_problems=True))
    (stage,) = [stage for stage in planned_stages(recipe, 4, []) if stage.name == "self_samples"]
    assert expected_seconds(stage, tmp_path / "new", "m") is None


@pytest.mark.long
def test_a_changed_setting_redoes_only_what_depends_on_it(whole, world, tmp_path, capsys):
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
    shutil.copytree(whole, tmp_path / "whole")
    shutil.rmtree(tmp_path / "whole" / "model")
    (tmp_path / "whole" / "build" / "reflections.jsonl").unlink()
    assert main(["run", str(world / "whole.yaml"), "--runs-dir", str(tmp_path), "-q"]) == 0
    for name in ("model/model.safetensors", "build/reflections.jsonl"):
        assert (tmp_path / "whole" / name).read_bytes() == (whole / name).read_bytes()


def truncated(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def one_byte_changed(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def last_row_gone(path):
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))


def gone(path):
    path.unlink()


def verdicts_forged(path):
    path.write_text(path.read_text().replace('"status": "failed"', '"status": "passed"').replace("compile_error", "passed"))


@pytest.mark.parametrize(
    ("file", "change", "stage"),
    [
        ("build/reflections.jsonl", last_row_gone, "build"),
        ("build/reflections.jsonl", truncated, "build"),
        ("build/rejected.jsonl", gone, "build"),
        ("build/build.json", one_byte_changed, "build"),
        ("model/model.safetensors", one_byte_changed, "train"),
        ("model/tokenizer.json", truncated, "train"),
        ("train/train.json", gone, "train"),
        ("eval/bundled/seen/base/completions.jsonl", last_row_gone, "eval-bundled/seen-base"),
        ("eval/bundled/seen/base/samples.jsonl", verdicts_forged, "eval-bundled/seen-base"),
        ("eval/bundled/unseen/trained/results.json", one_byte_changed, "eval-bundled/unseen-trained"),
        ("stages/build.json", truncated, "build"),
        ("stages/train.json", one_byte_changed, "train"),
    ],
)
def test_a_changed_output_is_made_again_as_it_was(whole, world, tmp_path, capsys, file, change, stage):
    shutil.copytree(whole, tmp_path / "whole")
    change(tmp_path / "whole" / file)
    assert main(["run", str(world / "whole.yaml"), "--runs-dir", str(tmp_path)]) == 0
    said = capsys.readouterr().err
    assert f"{stage}: done before" not in said
    for other in ("build/reflections.jsonl", "build/rejected.jsonl", "model/model.safetensors", "model/tokenizer.json"):
        assert (tmp_path / "whole" / other).read_bytes() == (whole / other).read_bytes()
    for which in ("seen/base", "seen/trained", "unseen/base", "unseen/trained"):
        counts = [read_json(run / "eval/bundled" / which / "results.json")["counts"] for run in (whole, tmp_path / "whole")]
        assert counts[0] == counts[1]


def test_a_build_of_a_few_problems_is_not_taken_for_the_whole(whole, world, tmp_path, capsys):
    shutil.copytree(whole, tmp_path / "whole")
    argv = [str(world / "whole.yaml"), "--runs-dir", str(tmp_path)]
    assert main(["build", *argv, "--limit", "1", "-q"]) == 0
    few = (tmp_path / "whole/build/reflections.jsonl").read_bytes()
    assert few != (whole / "build/reflections.jsonl").read_bytes()
    capsys.readouterr()
    assert main(["run", *argv]) == 0
    said = capsys.readouterr().err
    assert "build: done again" in said
    assert "train: done before" in said  # on the same samples as before
    assert (tmp_path / "whole/build/reflections.jsonl").read_bytes() == (whole / "build/reflections.jsonl").read_bytes()
    assert (tmp_path / "whole/build/reflections.jsonl-before-1").read_bytes() == few  # nobody's work is lost


def test_files_that_were_copied_or_touched_are_still_the_same(whole, world, tmp_path, capsys):
    shutil.copytree(whole, tmp_path / "whole", copy_function=shutil.copyfile)
    for folder in ("build", "model"):
        for file in (tmp_path / "whole" / folder).iterdir():
            os.utime(file)
    capsys.readouterr()
    assert main(["run", str(world / "whole.yaml"), "--runs-dir", str(tmp_path)]) == 0
    said = capsys.readouterr().err
    stages = [path.stem for path in (whole / "stages").iterdir() if path.stem != WHOLE_RUN]
    assert said.count(": done before (") == len(stages)
    assert "done again" not in said


def test_settings_that_change_no_weight_train_nothing_again(whole, world, tmp_path, capsys):
    shutil.copytree(whole, tmp_path / "whole")
    argv = ["run", str(world / "whole.yaml"), "--runs-dir", str(tmp_path)]
    assert main([*argv, "--set", "train.save_steps=7", "--set", "train.dataloader_workers=1"]) == 0
    said = capsys.readouterr().err
    assert "train: done before" in said
    assert "eval-bundled/seen-trained: done before" in said


def test_what_is_said_of_a_model_goes_when_another_takes_its_place(whole, world, tmp_path, capsys):
    """Else numbers of the old model would stand beside the new one, where a run is interrupted or measures less than before."""
    shutil.copytree(whole, tmp_path / "whole")
    argv = ["run", str(world / "whole.yaml"), "--runs-dir", str(tmp_path), "--set", "evaluate.measures=[reference_loss]"]
    assert main([*argv, "--set", "train.learning_rate=3e-3"]) == 0
    assert "train: continuing" not in capsys.readouterr().err
    evaluated = tmp_path / "whole/eval/bundled/seen"
    assert [file.name for file in (evaluated / "trained").iterdir()] == ["reference_loss.jsonl"]
    assert (evaluated / "base/results.json").is_file()


def test_completions_of_another_model_or_of_other_settings_are_never_mixed(world, tmp_path, capsys):
    base = ["generate", str(world / "model"), "--benchmark", "bundled/seen:2", "--output", str(tmp_path / "o"), "--max-new-tokens", "8"]
    completions = tmp_path / "o" / "completions.jsonl"
    assert main([*base, "--seed", "1"]) == 0
    first = completions.read_bytes()
    assert main([*base, "--seed", "2"]) == 0  # they are done: greedy answers are the same
    completions.unlink()
    assert main([*base, "--seed", "2"]) == 0
    assert completions.read_bytes() == first
    assert main([*base, "--temperature", "0.5"]) == 2
    (tmp_path / "o/completions.jsonl").unlink()
    base += ["--temperature", "0.5"]
    assert main(base) == 0
    assert main(base) == 0
    assert main([*base, "--seed", "1"]) == 2
    assert "another --output" in capsys.readouterr().err
    (tmp_path / "o/completions.jsonl").unlink()
    assert main([*base, "--seed", "1"]) == 0  # nothing of the first is left
    assert main(base) == 2
    with alone_in(tmp_path / "o"):
        capsys.readouterr()
        assert main([*base, "--seed", "1"]) == 3
        assert "another command is at work in" in capsys.readouterr().err
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    elsewhere = [str(tmp_path / "mine") if part == str(tmp_path / "o") else part for part in base]
    assert main(elsewhere) == main(elsewhere) == 0
    assert (tmp_path / "mine" / "letter.txt").read_text() == "dear"


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_run_killed_at_many_points_ends_with_the_same_results(whole, world):
    recipe = write_recipe(world, "killed")
    command = [sys.executable, "-m", "reflectioncoder", "run", str(recipe), "--runs-dir", str(world / "killed-runs")]
    other = world / "killed-runs" / "killed"
    signs = [
        "build/log.sqlite", "eval/bundled/seen/base/completions.jsonl", "train/checkpoint-2/trainer_state.json", "model",
        "eval/bundled/unseen/trained/completions.jsonl",
    ]  # fmt: skip
    signs, killed = part(signs, 2), 0
    for sign in signs:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and not (other / sign).exists():
            time.sleep(0.002)
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            killed += 1
        process.wait()
    assert killed >= len(signs) - 1
    subprocess.run(command, check=True, capture_output=True)
    assert (other / "build/reflections.jsonl").read_bytes() == (whole / "build/reflections.jsonl").read_bytes()
    assert (other / "model/model.safetensors").read_bytes() == (whole / "model/model.safetensors").read_bytes()
    for name in ("seen", "unseen"):
        for which in ("base", "trained"):
            rows = [
                sorted((r["task_id"], r["solution"], r["status"]) for r in map(json.loads, path.read_text().splitlines()))
                for path in ((run / "eval/bundled" / name / which / "samples.jsonl") for run in (whole, other))
            ]
            assert rows[0] == rows[1]


@pytest.mark.long
def test_the_token_rendering_runs_through_too(world):
    recipe = write_recipe(world, "token", rendering="token")
    assert main(["run", str(recipe), "--runs-dir", str(world / "runs"), "-q"]) == 0
    assert read_json(world / "runs/token/model/reflectioncoder.json")["rendering"] == "token"


@pytest.mark.long
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
