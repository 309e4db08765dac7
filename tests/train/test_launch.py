"""`run` trains in several processes: its own, or those of torchrun; they end together, whatever happens to one."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

import psutil
import pytest

from reflectioncoder.cli import main
from reflectioncoder.config.loading import load_recipe
from reflectioncoder.data.files import read_json, write_jsonl
from reflectioncoder.data.problems import bundled_problems
from reflectioncoder.errors import MachineError, UsageError
from reflectioncoder.models.sources import ModelSource
from reflectioncoder.train import launch
from reflectioncoder.train.job import TrainingJob
from reflectioncoder.train.launch import training_processes
from tests.conftest import make_model, make_tokenizer, reflection_sample

RECIPE = """
name: {name}
seed: 5
model: {{name: {folder}/model, device: cpu}}
build: {{problems: [{folder}/problems.jsonl], samples_per_problem: 1, max_operator_share: 0.5}}
train: {{epochs: 1, generation_from_problems: true, global_batch_size: 4, learning_rate: 1e-3, save_steps: 2}}
generate: {{batch_size: 4, max_new_tokens: 8}}
evaluate: {{benchmarks: ["bundled/seen:3", "bundled/unseen:2"]}}
"""
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
ENDLESS = ["--set", "train.epochs=200", "--set", "train.processes=2"]


def write_recipe(folder, name):
    path = folder / f"{name}.yaml"
    path.write_text(RECIPE.format(name=name, folder=folder))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a model, a few problems and a recipe, `one`."""
    folder = tmp_path_factory.mktemp("world")
    tokenizer = make_tokenizer()
    make_model("llama", len(tokenizer), dtype="float32").save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    write_jsonl(folder / "problems.jsonl", [p.to_json() for p in bundled_problems("train")[:6]])
    write_recipe(folder, "one")
    return folder


@pytest.fixture(scope="module")
def world(folder):
    """The folder with a run of one process."""
    assert main(["run", str(folder / "one.yaml"), "--runs-dir", str(folder / "runs"), "-q"]) == 0
    return folder


def command(world, name, *options, launcher=()):
    recipe = write_recipe(world, name)
    return [sys.executable, *launcher, "-m", "reflectioncoder", "run", str(recipe), "--runs-dir", str(world / "runs"), *options]


ENV = {**os.environ, "OMP_NUM_THREADS": "1"}


def finished(argv):
    return subprocess.run(argv, env=ENV, capture_output=True, text=True, check=False, timeout=250)


def history(world, name):
    return read_json(world / "runs" / name / "train/train.json")["history"]


def prepared_run(world, name):
    """A run in which all before the training is done."""
    shutil.copytree(world / "runs/one", world / "runs" / name, ignore=shutil.ignore_patterns("train*", "model"))


def begun(world, name, *options):
    """Start a run, and wait until it has trained two steps."""
    prepared_run(world, name)
    argv = command(world, name, *ENDLESS, *options)
    log = world / f"{name}.log"
    with open(log, "w") as sink:
        process = subprocess.Popen(argv, env=ENV, stdout=sink, stderr=sink)
    metrics = world / "runs" / name / "train/metrics.jsonl"
    while process.poll() is None and not (metrics.is_file() and metrics.read_text().count("\n") >= 2):
        time.sleep(0.05)
    assert process.poll() is None, log.read_text()
    return process, log


def ranks_of(pid):
    """The processes that train, by rank."""
    found = [child for child in psutil.Process(pid).children() if "reflectioncoder.train.worker" in child.cmdline()]
    return {int(child.environ()["RANK"]): child for child in found}


def all_gone(ranks):
    return not psutil.wait_procs(list(ranks.values()), timeout=20)[1]


@pytest.mark.long
def test_a_run_of_two_processes_comes_to_the_losses_of_one_and_shares_its_base_evaluation(world):
    done = finished(command(world, "two", "--set", "train.processes=2"))
    assert done.returncode == 0, done.stderr[-3000:]
    assert "in 2 processes" in done.stderr
    ours, theirs = history(world, "two"), history(world, "one")
    assert len(ours) == len(theirs) >= 3
    for one, other in zip(ours, theirs, strict=True):
        assert one["loss"] == pytest.approx(other["loss"], abs=1e-6)
    logs = world / "runs/two/logs"
    assert "visits of" in (logs / "rank-0.log").read_text()
    assert (logs / "rank-1.log").is_file()
    assert not list(logs.glob("*-error.json"))
    assert len(re.findall(r"eval-bundled/(?:un)?seen-base: copied from", done.stderr)) == 2
    assert "generate bundled/seen trained" in done.stderr
    for name in ("completions.jsonl", "samples.jsonl", "results.json"):
        files = [world / "runs" / run / "eval/bundled/seen/base" / name for run in ("one", "two")]
        assert files[0].read_bytes() == files[1].read_bytes()
    # The number of processes is no setting of the result.
    again = finished(command(world, "two"))
    assert "train: done before" in again.stderr


@pytest.mark.long
@pytest.mark.parametrize("asked", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_run_that_is_asked_to_stop_saves_a_checkpoint_and_continues(world, asked):
    name = f"stopped-{asked.name}"
    process, log = begun(world, name, "--set", "train.save_steps=1000")
    ranks = ranks_of(process.pid)
    assert set(ranks) == {0, 1}
    process.send_signal(asked)
    assert process.wait(60) == 130, log.read_text()
    assert all_gone(ranks)
    said = log.read_text()
    (step,) = set(re.findall(r"stopped after step (\d+), its checkpoint is complete", said))
    assert f"to continue: reflectioncoder run {world}" in said
    assert [path.name for path in (world / "runs" / name / "train").glob("checkpoint-*")] == [f"checkpoint-{step}"]
    # The same command continues, in any number of processes.
    process = subprocess.Popen(command(world, name, *ENDLESS[:2]), env=ENV, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    assert any(f"continuing after step {step}" in line for line in process.stderr)
    process.kill()
    process.communicate()


@pytest.mark.long
def test_a_rank_that_is_killed_is_one_error_with_its_name_and_leaves_no_process(world):
    process, log = begun(world, "killed")
    ranks = ranks_of(process.pid)
    ranks[1].kill()
    assert process.wait(60) == 3, log.read_text()
    assert all_gone(ranks)
    said = log.read_text()
    assert said.count("error:") == 1
    assert "rank 1 of 2 was ended by SIGKILL" in said
    assert "rank-1.log" in said
    assert "Traceback" not in said


def test_what_a_killed_rank_has_started_ends_and_closes_its_output(tmp_path):
    program = "import os, signal, time\nif os.fork():\n    os.kill(os.getpid(), signal.SIGKILL)\ntime.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, start_new_session=True)
    assert process.wait(20) == -signal.SIGKILL
    launch._Rank(0, process, tmp_path / "rank-0.log").kill()
    began = time.monotonic()
    assert process.communicate()[0] == b""
    assert time.monotonic() - began < 20


@pytest.mark.long
def test_the_ranks_end_with_a_parent_that_is_killed(world):
    process, _ = begun(world, "orphans")
    ranks = ranks_of(process.pid)
    assert set(ranks) == {0, 1}
    process.kill()
    process.wait()
    assert all_gone(ranks)


@pytest.mark.long
def test_an_error_of_the_ranks_is_told_once_with_its_exit_code(world):
    """A learning rate after which a gradient is not finite: all ranks meet it."""
    prepared_run(world, "diverged")
    done = finished(command(world, "diverged", *ENDLESS, "--set", "train.learning_rate=1e30", "--set", "train.max_grad_norm=0"))
    assert done.returncode == 1, done.stderr[-3000:]
    assert done.stderr.count("error:") == 1
    assert re.search(r"error: the gradient of step \d+ is (nan|inf)", done.stderr)


@pytest.mark.long
def test_a_run_under_torchrun_does_everything_once_and_trains_together(world):
    done = finished(command(world, "launched", "--set", "train.processes=3", launcher=TORCHRUN))
    assert done.returncode == 0, done.stderr[-3000:]
    for one, other in zip(history(world, "launched"), history(world, "one"), strict=True):
        assert one["loss"] == pytest.approx(other["loss"], abs=1e-6)
    assert done.stderr.count("train.processes is 3, but 2 processes were started") == 1
    assert "in 2 processes" in done.stderr
    assert done.stdout.count("wrote ") == 3
    assert len(re.findall(r"filters: .*accepted", done.stderr)) == 1


@pytest.mark.long
def test_an_error_before_the_training_ends_all_processes_of_torchrun_with_one_message(world):
    done = finished(command(world, "refused", "--set", "evaluate.benchmarks=[no/such]", launcher=TORCHRUN))
    assert done.returncode != 0
    assert done.stderr.count("error: ") == 1, done.stderr[-3000:]
    assert "no/such" in done.stderr
    assert not (world / "runs/refused").exists()


TWICE = """
import sys
from pathlib import Path
from reflectioncoder.config.loading import load_recipe
from reflectioncoder.models.sources import ModelSource
from reflectioncoder.train import launch
from reflectioncoder.train.job import TrainingJob
from reflectioncoder.train.ranks import launched_team
from reflectioncoder.train.sharding import leave

folder = Path(sys.argv[1])
team = launched_team()
if not team.is_led_here:
    leave(team.follow())
recipe = load_recipe(folder / "one.yaml").recipe
with team.leading():
    for number in (1, 2):
        job = TrainingJob(recipe, ModelSource(folder / "model", "local"), folder / "samples.jsonl", folder / f"twice-{number}")
        print("loss", team.train(job, None)["history"][-1]["loss"], flush=True)
leave(0)
"""


@pytest.mark.long
@pytest.mark.parametrize("launcher", ["torchrun", pytest.param("environment", marks=pytest.mark.slow)])
def test_the_processes_of_a_launcher_join_one_training_after_the_other(folder, launcher):
    """As in `improve`; by torchrun, whose store outlives them, or by whatever sets torch's variables."""
    write_jsonl(folder / "samples.jsonl", [reflection_sample(number).to_json() for number in range(4)])
    (folder / "twice.py").write_text(TWICE)
    program = [str(folder / "twice.py"), str(folder)]
    if launcher == "torchrun":
        done = finished([sys.executable, *TORCHRUN, *program])
        said, codes = done.stdout, [done.returncode]
    else:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = str(free.getsockname()[1])
        world = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        envs = [{**ENV, **world, "RANK": rank, "LOCAL_RANK": rank} for rank in "01"]
        ranks = [subprocess.Popen([sys.executable, *program], env=env, stdout=subprocess.PIPE, text=True) for env in envs]
        said = "".join(rank.communicate(timeout=250)[0] for rank in ranks)
        codes = [rank.returncode for rank in ranks]
    assert set(codes) == {0}
    losses = [line for line in said.splitlines() if line.startswith("loss")]
    assert len(losses) == 2
    assert losses[0] == losses[1]


def test_a_job_is_the_same_training_in_another_process_and_holds_no_secret(folder):
    settings = ["build.endpoint.base_url=http://me:secret@host/v1", "build.endpoint.extra_body={token: secret}", "train.lora.rank=4"]
    recipe = load_recipe(folder / "one.yaml", settings).recipe
    write_jsonl(folder / "built.jsonl", [reflection_sample(number).to_json() for number in range(3)])
    job = TrainingJob(recipe, ModelSource(folder / "model", "local"), folder / "built.jsonl", folder / "x", 5, False)
    text = json.dumps(job.to_json())
    assert "secret" not in text
    other = TrainingJob.from_json(json.loads(text))
    assert (other.recipe.train, other.recipe.model, other.recipe.seed) == (recipe.train, recipe.model, recipe.seed)
    assert (other.source, other.run_dir, other.limit, other.resume) == (job.source, job.run_dir, 5, False)
    assert list(other.samples()) == list(job.samples())
    assert len(list(job.samples())) == 5


@pytest.mark.parametrize(("value", "allowed"), [("0", "1 to 1024"), ("-2", "1 to 1024"), ("many", "auto or a whole number")])
def test_an_impossible_number_of_processes_is_refused(folder, capsys, value, allowed):
    assert main(["run", str(folder / "one.yaml"), "--runs-dir", str(folder / "x"), "--set", f"train.processes={value}"]) == 2
    error = capsys.readouterr().err
    assert "train.processes" in error
    assert allowed in error


def test_each_process_needs_a_gpu_of_its_own(folder, monkeypatch):
    """On a machine with two GPUs, which this is not."""
    recipe = lambda *settings: load_recipe(folder / "one.yaml", ["model.device=cuda", *settings]).recipe  # noqa: E731
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(MachineError, match="sees no GPU"):
        training_processes(recipe())
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert training_processes(recipe()) == 2
    assert training_processes(recipe("train.global_batch_size=1")) == 1
    assert training_processes(recipe("train.processes=1")) == 1
    with pytest.raises(UsageError, match="1 to 2"):
        training_processes(recipe("train.processes=3"))
    assert training_processes(load_recipe(folder / "one.yaml").recipe) == 1  # on a CPU
