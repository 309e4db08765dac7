"""Several processes train as one does: real processes, gloo, torchrun."""

import json
import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from tests.conftest import make_model, make_tokenizer

LAUNCH = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
SCRIPT = """
import sys
from pathlib import Path
from reflectioncoder.config.declarations import ModelConfig, Recipe, TrainConfig
from reflectioncoder.models.sources import ModelSource
from reflectioncoder.train.sharding import leave
from reflectioncoder.train.run import train_model
from tests.train.test_trainer import SAMPLES
model, run_dir, micro_batch_tokens = sys.argv[1:]
config = TrainConfig(
    epochs=3, global_batch_size=5, learning_rate=1e-3, mask_strategy=("random_token",), micro_batch_tokens=int(micro_batch_tokens)
)
recipe = Recipe("r", ModelConfig(model, dtype="float64", device="cpu"), train=config)
train_model(recipe, ModelSource(Path(model), "local"), SAMPLES, Path(run_dir))
leave(0)
"""


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory):
    path = tmp_path_factory.mktemp("model")
    tokenizer = make_tokenizer()
    make_model("llama", len(tokenizer)).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def trained(model_dir, run_dir, num_ranks, micro_batch_tokens):
    run_dir.mkdir()
    script = run_dir / "script.py"
    script.write_text(SCRIPT)
    launch = [*LAUNCH, str(num_ranks)] if num_ranks > 1 else []
    argv = [sys.executable, *launch, str(script), str(model_dir), str(run_dir), str(micro_batch_tokens)]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.getcwd()}
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr[-3000:]
    rows = [json.loads(line) for line in (run_dir / "train" / "metrics.jsonl").read_text().splitlines()]
    return rows, load_file(run_dir / "model" / "model.safetensors")


@pytest.mark.parametrize("micro_batch_tokens", [0, pytest.param(400, marks=pytest.mark.slow)])
def test_two_processes_come_to_the_losses_gradients_and_weights_of_one(model_dir, tmp_path, micro_batch_tokens):
    """5 steps of 5 samples in two processes: unequal shares, and at the end a step of 4."""
    one_rows, one = trained(model_dir, tmp_path / "one", 1, micro_batch_tokens)
    two_rows, two = trained(model_dir, tmp_path / "two", 2, micro_batch_tokens)
    assert len(one_rows) == len(two_rows) == 5
    for ours, theirs in zip(two_rows, one_rows, strict=True):
        for name in ("loss", "grad_norm", "ce", "kl", "mask_rate", "tokens"):
            assert ours[name] == pytest.approx(theirs[name], rel=1e-9), name
    assert one.keys() == two.keys()
    for name, expected in one.items():
        torch.testing.assert_close(two[name], expected, rtol=1e-7, atol=1e-9)


GUEST = (
    SCRIPT.replace(
        "train_model(recipe,",
        """import torch.distributed as dist
dist.init_process_group("gloo")
train_model(recipe,""",
    )
    .replace(
        "leave(0)",
        """one = torch.ones(1)
dist.all_reduce(one)
print(f"still {int(one)} of us\\n", end="", flush=True)  # in one write, for two processes share the output
leave(0)""",
    )
    .replace("import sys\n", "import sys\nimport torch\n", 1)
)


@pytest.mark.long
def test_a_process_group_of_the_caller_outlives_a_training(model_dir, tmp_path):
    (tmp_path / "script.py").write_text(GUEST)
    argv = [sys.executable, *LAUNCH, "2", str(tmp_path / "script.py"), str(model_dir), str(tmp_path), "0"]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.getcwd()}
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("still 2 of us") == 2


SHARDED = """
import json, sys
import torch
import torch.distributed as dist
from torch.distributed.fsdp import fully_shard
from reflectioncoder.config.declarations import TrainConfig
from reflectioncoder.data.render import TokenRenderer
from reflectioncoder.models.tokens import add_tokens_to
from reflectioncoder.train.engine import Engine
from reflectioncoder.method.plan import RunPlan
from reflectioncoder.train.sharding import leave
from tests.conftest import make_model, make_tokenizer
from tests.train.test_trainer import SAMPLES

tied, checkpointing = json.loads(sys.argv[1])
dist.init_process_group("gloo")
rank, num_ranks = dist.get_rank(), dist.get_world_size()
tokenizer = make_tokenizer()
add_tokens_to(tokenizer)
renderer = TokenRenderer(tokenizer)
config = TrainConfig(global_batch_size=8, epochs=1, mask_schedule="constant", mask_constant_rate=0.5)
plan = RunPlan([renderer.render(sample) for sample in SAMPLES], config, seed=1)

def gradients(model, called, rank, num_ranks):
    model.train()
    if checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    engine = Engine(model)
    loss = torch.zeros((), dtype=torch.float64)
    for batch in plan.batches(0, rank, num_ranks):
        part = engine.loss(called(model), batch, torch.device("cpu")).loss
        (part * num_ranks).backward()
        loss += part.detach()
    return loss, {name: p.grad for name, p in model.named_parameters()}

def sharded(model):
    if not hasattr(model, "set_requires_gradient_sync"):
        for layer in model.model.layers:
            fully_shard(layer)
        fully_shard(model)
    return model

plain_loss, plain = gradients(make_model("llama", len(tokenizer), tied=tied), lambda model: model, 0, 1)
loss, ours = gradients(make_model("llama", len(tokenizer), tied=tied), sharded, rank, num_ranks)
dist.all_reduce(loss)
assert abs(loss - plain_loss) <= 1e-12 * abs(plain_loss), (loss, plain_loss)
for name, expected in plain.items():
    found = ours[name].full_tensor()
    error = (found - expected).norm() / expected.norm()
    assert error <= 1e-10, (name, error)
    assert ours[name].to_local().numel() < expected.numel()
print("equal", flush=True)
dist.barrier()
dist.destroy_process_group()
leave(0)
"""


@pytest.mark.long
@pytest.mark.parametrize(
    ("tied", "checkpointing"),
    [(True, True), *(pytest.param(*flags, marks=pytest.mark.slow) for flags in ((False, False), (True, False), (False, True)))],
)
def test_parameters_sharded_over_processes_get_the_gradients_of_whole_ones(tmp_path, tied, checkpointing):
    """FSDP2 as torch has it (`fully_shard`): the output layer is gathered like any other module, because it is called like one."""
    (tmp_path / "script.py").write_text(SHARDED)
    argv = [sys.executable, *LAUNCH, "2", str(tmp_path / "script.py"), json.dumps([tied, checkpointing])]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.getcwd()}
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("equal") == 2


DECIDING = """
import sys
from pathlib import Path
import torch
from accelerate import PartialState
from reflectioncoder.config.declarations import ModelConfig, Recipe
from reflectioncoder.models.sources import ModelSource
from reflectioncoder.models.load import load_tokenizer
from reflectioncoder.train import prepare
from reflectioncoder.train.sharding import leave
from reflectioncoder.train.data import plan_run
from tests.train.test_trainer import SAMPLES

model, first, second = sys.argv[1:]
state = PartialState(cpu=True)
prepare.device_bytes = lambda *_: float([first, second][state.process_index])
recipe = Recipe("r", ModelConfig(model, device="cpu"))
tokenizer = load_tokenizer(Path(model))
plan, _ = plan_run(recipe, Path(), tokenizer, SAMPLES)
decided = prepare.decide_checkpointing(recipe, ModelSource(Path(model), "local"), tokenizer, plan, 2)
print(f"decided {decided}\\n", end="", flush=True)  # in one write, for two processes share the output
state.wait_for_everyone()
leave(0)
"""


@pytest.mark.long
@pytest.mark.parametrize(
    ("first", "second", "decision"), [("1e3", "1e15", True), pytest.param("1e15", "1e3", False, marks=pytest.mark.slow)]
)
def test_whether_activations_are_computed_again_is_decided_once(model_dir, tmp_path, first, second, decision):
    """Processes that find different amounts of memory free."""
    (tmp_path / "script.py").write_text(DECIDING)
    argv = [sys.executable, *LAUNCH, "2", str(tmp_path / "script.py"), str(model_dir), first, second]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.getcwd()}
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count(f"decided {decision}") == 2
