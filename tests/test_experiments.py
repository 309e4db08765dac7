"""The experiments for a machine with a GPU, tried out with tiny shapes on the CPU; units that fail, are killed or take too long."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from experiments import checks, gpu, grid, head, matmul, training
from experiments.runner import Group, Settings, opened, run_groups
from experiments.tables import summary
from reflectioncoder.ablation.design import design_of
from reflectioncoder.builder.authors.registry import check_author
from reflectioncoder.config.loading import load_recipe
from reflectioncoder.data.files import read_json
from reflectioncoder.errors import MachineError, UsageError
from tests.conftest import make_model, make_tokenizer

ROOT = Path(__file__).parent.parent
TINY = Settings(tiny=True)
# Of this package's own dependencies those that neither torch nor transformers brings, and TRL.
NOT_THERE = ("libcst", "markdown_it", "rensa", "rich", "trl")


def command(output, *more):
    return [sys.executable, str(ROOT / "experiments" / "gpu.py"), "--output", str(output), "--tiny", *more]


def rows_in(output):
    path = output / "results.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")] if path.is_file() else []


def expected_units(*stages):
    return [group.key(unit) for stage in stages for group in stage.groups(TINY) for unit in group.units]


@pytest.mark.long
@pytest.mark.timeout(900)
def test_all_stages_run_with_tiny_shapes_where_this_package_s_other_dependencies_are_missing(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(f"import sys\nsys.modules.update(dict.fromkeys({NOT_THERE}))\n")
    # Compilation takes half of the time; tests/train/test_compiled.py is about it.
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "TORCHDYNAMO_DISABLE": "1"}
    done = subprocess.run(command(tmp_path / "out"), capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    rows = {row["unit"]: row for row in rows_in(tmp_path / "out")}
    assert list(rows) == expected_units(checks, matmul, training, head)
    failed = {unit for unit, row in rows.items() if "failed" in row}
    assert failed == {unit for unit in rows if "TRL" in unit}
    assert all("'trl'" in rows[unit]["failed"] for unit in failed)
    for model in ("SmolLM2-135M", "DeepSeek-Coder-6.7B, LoRA"):
        losses = [rows[f"training/{model}/{name}"]["result"]["loss"] for name in ("original, B = 1", "original, B = 1, ckpt", "ours")]
        assert losses == pytest.approx([losses[0]] * 3, rel=1e-5)
    for table in ("| SmolLM2-135M | tokens/s |", "| output layer of SmolLM2-135M", "| test_float32_equals_the_original |"):
        assert table in done.stdout
    assert "several GPUs" in done.stdout


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_stage_that_was_killed_goes_on_and_repeats_nothing(tmp_path):
    argv = command(tmp_path, "--stage", "training")
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while len(rows_in(tmp_path)) < 3:
        assert process.poll() is None, process.stderr.read()  # type: ignore[union-attr]
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=20)  # the worker holds both pipes until it ends: with its parent
    with open(tmp_path / "results.jsonl", "a") as results:
        results.write('{"unit": "training/SmolLM2-135M/turn 2", "resu')
    before = rows_in(tmp_path)
    subprocess.run(argv, check=True, capture_output=True)
    rows = rows_in(tmp_path)
    assert rows[: len(before)] == before
    assert sorted(row["unit"] for row in rows) == sorted(expected_units(training))
    assert [row for row in rows if "failed" in row] == []


def start_allocating(settings, directory, group, rows):
    import torch

    def measure(unit):
        return {"bytes": torch.ones(round(float(unit) * 1e9), dtype=torch.uint8).numel()}

    return measure


def start_failing(settings, directory, group, rows):
    def measure(unit):
        if unit == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if unit == "raise":
            raise ValueError("a\nreason")
        if unit == "sleep":
            subprocess.run(["sleep", "600"], check=True)
        return {"process": os.getpid()}

    return measure


def outcomes(tmp_path, units, start, settings=TINY, limit_s=60.0):
    group = Group("stage/group", units, start)
    with opened(tmp_path, settings) as results:
        done = run_groups([group], settings, tmp_path, results, limit_s)
    return done, {row["unit"].rpartition("/")[2]: row.get("failed") or row["result"] for row in rows_in(tmp_path)}


@pytest.mark.long
def test_a_unit_that_needs_more_memory_than_is_allowed_is_a_row_and_the_next_goes_on(tmp_path):
    done, found = outcomes(tmp_path, ("0.01", "2", "1000000", "0.02"), start_allocating, Settings(tiny=True, memory_gb=0.5))
    assert done
    assert found["0.01"] == {"bytes": 10_000_000}
    assert found["2"].startswith("out of memory: ")
    assert found["1000000"].startswith("out of memory: ")
    assert found["0.02"] == {"bytes": 20_000_000}


def test_a_unit_that_raises_or_takes_its_process_with_it_is_a_row_and_the_next_goes_on(tmp_path):
    done, found = outcomes(tmp_path, ("one", "raise", "kill", "two", "three"), start_failing)
    assert done
    assert found["raise"] == "ValueError: a reason"
    assert found["kill"] == "the process ended with SIGKILL"
    assert found["one"] != found["two"] == found["three"]


@pytest.mark.long
def test_a_unit_that_meets_the_end_of_the_time_comes_first_in_the_next_call_and_then_is_a_row(tmp_path):
    units = ("one", "sleep", "two")
    done, found = outcomes(tmp_path, units, start_failing, limit_s=15.0)
    assert not done
    assert list(found) == ["one"]
    done, found = outcomes(tmp_path, units, start_failing, limit_s=1.0)
    assert not done
    assert found["sleep"] == "takes longer than the limit of 1 s"
    done, found = outcomes(tmp_path, units, start_failing)
    assert done
    assert list(found) == ["one", "sleep", "two"]


@pytest.mark.long
def test_a_unit_that_resumes_never_takes_too_long(tmp_path):
    group = Group("stage/group", ("sleep",), start_failing, resumes=True)
    with opened(tmp_path, TINY) as results:
        assert not run_groups([group], TINY, tmp_path, results, 1.0)
    assert rows_in(tmp_path) == []


def test_the_grid_for_a_gpu_is_the_recipe_with_more_tokens_more_seeds_and_other_models():
    on_cpu = design_of(load_recipe(grid.RECIPE))
    for name in ("smollm2", "qwen"):
        made = design_of(grid.recipe_of(name, "model", Settings()))
        assert made.arms.keys() == on_cpu.arms.keys()
        assert len(made.seeds) == 5
        tokens = [{cell.arm: cell.resolved.recipe.train.max_tokens or 0 for cell in design.cells} for design in (made, on_cpu)]
        assert all(tokens[1].values())
        assert tokens[0] == {arm: 10 * here for arm, here in tokens[1].items()}
        assert {cell.resolved.recipe.train.lora is None for cell in made.cells} == {name == "smollm2"}
        for cell in made.cells:
            check_author(cell.resolved.recipe.build)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_runs_of_the_grid_are_made_with_few_tokens_on_a_cpu_and_none_is_repeated(tmp_path, capfd):
    tokenizer = make_tokenizer()
    make_model("llama", len(tokenizer), dtype="float32").save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    out = tmp_path / "out"
    group = grid.group_of("smollm2", tmp_path / "model", TINY)
    assert len(group.units) == 7
    group = replace(group, units=("masked-seed1", "self-sampled-seed1"))
    for _ in range(2):
        with opened(out, TINY) as results:
            assert run_groups([group], TINY, out, results, 600.0)
    rows = rows_in(out)
    assert [row["unit"] for row in rows] == ["grid/smollm2/masked-seed1", "grid/smollm2/self-sampled-seed1"]
    for row in rows:
        cell = read_json(out / "runs/smollm2/cells" / row["unit"].rpartition("/")[2] / "cell.json")
        assert row["result"] == {**cell["train"], "duration_s": cell["duration_s"]}
        assert {(m["kind"], m["benchmark"], len(m["tasks"])) for m in cell["trained"]} >= {("pass@1", "bundled/seen", 3)}
    assert grid.main(["--output", str(out), "--tiny", "--smollm2", str(tmp_path / "model"), "--stage", "summary"]) == 0
    assert "2 of 7 runs finished" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("argv", "message"),
    [(["--stage", "qwen"], "--qwen FOLDER_OR_GGUF"), (["--smollm2", "none.gguf"], "or a GGUF file")],
)
def test_a_grid_without_its_model_is_refused(argv, message, tmp_path, capsys):
    assert grid.main(["--output", str(tmp_path), "--tiny", *argv]) == UsageError.exit_code
    assert message in capsys.readouterr().err


def test_results_belong_to_one_process_and_to_one_choice_of_settings(tmp_path):
    with opened(tmp_path, TINY), pytest.raises(MachineError, match="in use by another process"), opened(tmp_path, TINY):
        pass
    with pytest.raises(UsageError, match="other settings"), opened(tmp_path, Settings()):
        pass


def test_the_summary_shows_medians_shares_and_reasons():
    rows = {
        "matmul/square/4096": {"result": {"tflops": 500.0}},
        "training/M/original": {
            "result": {"loss": 1.0, "tokens": 1000, "useful_flops": 1e15, "peak_bytes": 2e9, "forecast_bytes": None}
        },
        "training/M/ours": {"result": {"loss": 1.0, "tokens": 1000, "useful_flops": 1e15, "peak_bytes": 1e9, "forecast_bytes": 1.1e9}},
        "training/M/huge": {"failed": "out of memory: too much"},
        **{
            f"training/M/turn {number}": {"result": {"seconds": {"original": 20.0 + wobble, "ours": 4.0 + wobble}}}
            for number, wobble in enumerate((0.0, -1.0, 3.0))
        },
    }
    table = summary(rows)
    assert "| original | 50 | 1.00 | 10.0 % | 2 GB |  | 1.00000 |" in table
    assert "| ours | 250 | 5.00 | 50.0 % | 1 GB | 1.1 GB | 1.00000 |" in table
    assert "| huge | out of memory: too much |" in table


def test_without_a_gpu_the_experiments_say_so(tmp_path, capsys):
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    assert gpu.main(["--output", str(tmp_path)]) == MachineError.exit_code
    assert "no GPU" in capsys.readouterr().err


def test_a_folder_without_a_model_is_refused(tmp_path, capsys):
    assert gpu.main(["--output", str(tmp_path), "--tiny", "--smollm2", str(tmp_path)]) == UsageError.exit_code
    assert "config.json" in capsys.readouterr().err
