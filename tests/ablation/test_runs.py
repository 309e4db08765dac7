"""An ablation on a tiny random model: shared builds and evaluations, resuming, shards, and numbers that the runs themselves give."""

import re
import shutil
import subprocess
import sys

import pytest

from reflectioncoder.ablation.design import design_of
from reflectioncoder.ablation.results import finished_cells
from reflectioncoder.cli import main
from reflectioncoder.config.loading import load_recipe
from reflectioncoder.data.files import read_json, read_jsonl, write_jsonl
from reflectioncoder.data.problems import bundled_problems
from tests.conftest import make_model, make_tokenizer

RECIPE = """
name: small
seed: 5
model: {{name: {folder}/model, rendering: chat, device: cpu}}
build: {{problems: [{folder}/problems.jsonl], samples_per_problem: 2, max_operator_share: 0.5}}
train: {{epochs: 1, generation_from_problems: true, global_batch_size: 4, learning_rate: 1e-2}}
generate: {{batch_size: 4, max_new_tokens: 8}}
evaluate: {{benchmarks: ["bundled/seen:5", "bundled/unseen:3"], measures: [pass_rate, reference_loss]}}
ablate:
  arms:
    one-off: {{train.reflection_upsampling: 0}}
    full: {{}}
  seeds: [5, 6]
"""
pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    tokenizer = make_tokenizer()
    make_model("llama", len(tokenizer), dtype="float32").save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    write_jsonl(folder / "problems.jsonl", [p.to_json() for p in bundled_problems("train")[:6]])
    (folder / "r.yaml").write_text(RECIPE.format(folder=folder))
    return folder


def ablate(folder, *more):
    return main(["ablate", str(folder / "r.yaml"), "--runs-dir", str(folder / "runs"), *more])


@pytest.fixture(scope="module")
def done(folder):
    """The ablation, done in two shards."""
    assert ablate(folder, "--shard", "1/2", "-q") == 0
    first = read_json(folder / "runs/small/ablation.json")
    assert ablate(folder, "--shard", "2/2", "-q") == 0
    return folder / "runs" / "small", first


def test_a_shard_leaves_the_results_of_what_is_done(done):
    directory, first = done
    assert (first["num_finished"], first["num_cells"]) == (2, 4)
    assert read_json(directory / "ablation.json")["num_finished"] == 4


def test_shards_that_run_at_the_same_time_build_and_evaluate_the_base_model_once(folder, tmp_path):
    argv = [sys.executable, "-m", "reflectioncoder", "ablate", str(folder / "r.yaml"), "--runs-dir", str(tmp_path)]
    shards = [
        subprocess.Popen([*argv, "--shard", f"{number}/4"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        for number in (1, 2)
    ]
    said = [shard.communicate()[1] for shard in shards]
    assert [shard.returncode for shard in shards] == [0, 0], said
    for work in ("build", "eval-bundled/seen-base", "eval-bundled/unseen-base"):
        assert len(re.findall(rf"^{work}: copied from", "".join(said), re.MULTILINE)) == 1, said
    assert read_json(tmp_path / "small" / "ablation.json")["num_finished"] == 2
    assert [*(tmp_path / "small").glob("build-*"), *(tmp_path / "small" / "cells" / ".evaluations").glob("*.lock")] == []


def test_the_builds_of_a_seed_are_the_same_and_the_control_trains_without_reflections(done):
    directory, _ = done
    for seed in (5, 6):
        builds = [(directory / f"cells/{arm}-seed{seed}/build/reflections.jsonl").read_bytes() for arm in ("one-off", "full")]
        assert builds[0] == builds[1]
    trains = {arm: read_json(directory / f"cells/{arm}-seed5/train/train.json") for arm in ("one-off", "full")}
    assert trains["one-off"]["reflection_visits"] == trains["one-off"]["reflection_tokens"] == 0
    assert 0 < trains["full"]["reflection_tokens"] < trains["full"]["num_tokens"]


def test_differences_are_those_of_the_runs(done):
    directory, _ = done
    summary = read_json(directory / "ablation.json")
    metric = next(m for m in summary["metrics"] if (m["kind"], m["benchmark"]) == ("reference loss", "bundled/seen"))
    by_arm = {row["arm"]: row for row in metric["arms"]}
    for arm in ("one-off", "full"):
        for seed in ("5", "6"):
            rows = [row for _, row in read_jsonl(directory / f"cells/{arm}-seed{seed}/eval/bundled/seen/trained/reference_loss.jsonl")]
            mean = sum(r["loss"] * r["num_tokens"] for r in rows) / sum(r["num_tokens"] for r in rows)
            assert by_arm[arm]["by_seed"][seed] == pytest.approx(mean)
    difference = by_arm["full"]["difference"]
    assert difference["value"] == pytest.approx(by_arm["full"]["mean"] - by_arm["one-off"]["mean"])
    assert difference["ci_low"] <= difference["value"] <= difference["ci_high"]
    assert (difference["num_seeds"], difference["num_tasks"]) == (2, 5)
    pooled = next(m for m in summary["metrics"] if (m["kind"], m["benchmark"]) == ("reference loss", "all benchmarks"))
    assert pooled["arms"][1]["difference"]["num_tasks"] == 8


def test_the_page_shows_arms_differences_and_settings(done):
    directory, _ = done
    page = (directory / "report.html").read_text()
    for text in ("4 of 4 runs", "one-off", "train.reflection_upsampling: 0", "reference loss, all benchmarks", "nats", "<svg"):
        assert text in page, text


def test_a_finished_ablation_does_nothing_again(done, folder, capsys):
    directory, _ = done
    before = {p: p.stat().st_mtime_ns for p in (directory / "cells").rglob("*.json")}
    assert ablate(folder) == 0
    assert "0 of 4 runs to do" in capsys.readouterr().err
    assert {p: p.stat().st_mtime_ns for p in (directory / "cells").rglob("*.json")} == before


def test_the_files_of_the_cells_are_all_that_a_comparison_needs(done, folder, tmp_path, capsys):
    """So they can be kept without the models, and put back where the ablation continues."""
    directory, _ = done
    for path in (directory / "cells").glob("*/cell.json"):
        kept = tmp_path / "small" / path.relative_to(directory)
        kept.parent.mkdir(parents=True)
        kept.write_bytes(path.read_bytes())
    assert main(["ablate", str(folder / "r.yaml"), "--runs-dir", str(tmp_path)]) == 0
    assert "0 of 4 runs to do" in capsys.readouterr().err
    assert read_json(tmp_path / "small/ablation.json") == read_json(directory / "ablation.json")


def test_the_runs_of_other_settings_are_not_counted_as_those_of_a_changed_arm(done, folder):
    directory, _ = done
    changed = design_of(load_recipe(folder / "r.yaml", ["ablate.arms.full={train.kl_weight: 0.5}"]))
    found = finished_cells(changed, directory / "cells")
    assert [cell.cell.name for cell in found] == ["one-off-seed5", "one-off-seed6"]


def test_what_a_changed_run_does_not_measure_is_not_taken_from_before(done, folder, tmp_path):
    """A run that is trained anew with other settings, and measures the loss alone, has no pass rates: not those of the model before."""
    directory, _ = done
    shutil.copytree(directory, tmp_path / "small")
    changed = ["ablate.arms.full={train.learning_rate: 5e-3}", "evaluate.measures=[reference_loss]"]
    argv = ["ablate", str(folder / "r.yaml"), "--runs-dir", str(tmp_path), "-q"]
    assert main([*argv, *(part for setting in changed for part in ("--set", setting))]) == 0
    kinds = {metric["kind"] for metric in read_json(tmp_path / "small/ablation.json")["metrics"]}
    assert kinds == {"reference loss"}
    assert not list((tmp_path / "small/cells/full-seed5/eval").rglob("trained/results.json"))
    assert list((tmp_path / "small/cells/full-seed5/eval").rglob("base/results.json"))  # the base model is the same


def test_run_shows_the_reference_loss_alone(folder, capsys):
    wanted = ["--set", "evaluate.measures=[reference_loss]", "--set", "name=alone"]
    assert main(["run", str(folder / "r.yaml"), "--runs-dir", str(folder / "alone"), *wanted]) == 0
    said = capsys.readouterr().out
    assert "bundled/seen:5: loss of the canonical programs, nats per token: base " in said
    assert "pass@1" not in said


def test_a_changed_arm_runs_again_and_the_others_do_not(done, folder, capsys):
    assert ablate(folder, "--set", "ablate.arms.full={train.kl_weight: 0.5}", "--limit", "3") == 0
    said = capsys.readouterr().err
    assert "4 of 4 runs to do" in said  # other tasks: all are evaluated again, but trained only where it matters
    assert said.count("train: done before") == 2


def test_a_dry_run_checks_all_arms_lists_the_runs_and_makes_none(folder, tmp_path, capsys):
    argv = ["ablate", str(folder / "r.yaml"), "--runs-dir", str(tmp_path), "--dry-run"]
    assert main(argv) == 0
    assert [line for line in capsys.readouterr().out.splitlines() if "to do" in line] == [
        f"{arm}-seed{seed}: to do" for seed in (5, 6) for arm in ("one-off", "full")
    ]
    assert not list(tmp_path.iterdir())
    assert main([*argv, "--set", "ablate.arms.full={model.device: cuda}", "-q"]) == 3
    assert "GPU" in capsys.readouterr().err


def test_a_wrong_arm_is_found_before_anything_is_run(folder, tmp_path, capsys):
    assert main(["ablate", str(folder / "r.yaml"), "--runs-dir", str(tmp_path), "--set", "ablate.arms.full={train.lr: 1}", "-q"]) == 2
    assert not list(tmp_path.rglob("reflections.jsonl"))
    assert "unknown key" in capsys.readouterr().err
