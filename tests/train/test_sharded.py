"""What is spread over processes by accelerate (FSDP2, DeepSpeed ZeRO), end to end: training, checkpoints, resume, the saved model."""

import json
import os
import shutil
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from tests.conftest import make_model, make_tokenizer

# accelerate gives every process on a CPU the whole model (DDP) where FSDP is asked for; here it does as it is told.
SCRIPT = """
import json, sys
from pathlib import Path
import accelerate.state

plain_init = accelerate.state.AcceleratorState.__init__
def init(self, *args, fsdp_plugin=None, **kwargs):
    plain_init(self, *args, fsdp_plugin=fsdp_plugin, **kwargs)
    if fsdp_plugin is not None:
        self.distributed_type, self.fsdp_plugin = accelerate.state.DistributedType.FSDP, fsdp_plugin
accelerate.state.AcceleratorState.__init__ = init

from reflectioncoder.config.declarations import LoraConfig, ModelConfig, Recipe, TrainConfig
from reflectioncoder.models.sources import ModelSource
from reflectioncoder.train.sharding import leave
from reflectioncoder.train.run import train_model
from reflectioncoder.train.trainer import ReflectionTrainer
from tests.train.test_trainer import SAMPLES

model, run_dir, rendering, lora, sharding = sys.argv[1:]
if sharding == "fsdp2 in bfloat16":  # as on a GPU
    import reflectioncoder.train.trainer as trainer
    sharding, plain_arguments = "fsdp2", trainer.training_arguments
    trainer.training_arguments = lambda *args, **kwargs: plain_arguments(*args, **{**kwargs, "bf16": True})
plain_step = ReflectionTrainer.training_step
def step(self, model, *args, **kwargs):
    parameters = list(model.parameters())
    assert {type(p).__name__ for p in parameters} == {"DTensor" if sharding == "fsdp2" else "Parameter"}
    assert all(hasattr(p, "ds_tensor") for p in parameters) == (sharding == "zero3")
    assert ("ZeroOptimizer" in type(self.optimizer.optimizer).__name__) == sharding.startswith("zero"), type(self.optimizer.optimizer)
    return plain_step(self, model, *args, **kwargs)
ReflectionTrainer.training_step = step

config = TrainConfig(epochs=3, global_batch_size=5, learning_rate=1e-3, mask_strategy=("random_token",), save_steps=2,
                     keep_checkpoints=9, micro_batch_tokens=400, sharding=sharding, lora=LoraConfig(rank=4) if lora == "lora" else None)
recipe = Recipe("r", ModelConfig(model, rendering=rendering, dtype="float32", device="cpu"), train=config)
train_model(recipe, ModelSource(Path(model), "local"), SAMPLES, Path(run_dir))
leave(0)
"""  # fmt: skip


def model_dir(folder, tied):
    tokenizer = make_tokenizer()
    make_model("llama", len(tokenizer), tied=tied, dtype="float32").save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def trained(model_dir, run_dir, rendering, lora, sharding):
    run_dir.mkdir(exist_ok=True)
    script = run_dir / "script.py"
    script.write_text(SCRIPT)
    launch = [] if sharding == "none" else ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    argv = [sys.executable, *launch, str(script), str(model_dir), str(run_dir), rendering, lora, sharding]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.getcwd(), "DS_ACCELERATOR": "cpu"}
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False, timeout=250)
    assert done.returncode == 0, done.stderr[-20000:]
    rows = [json.loads(line) for line in (run_dir / "train" / "metrics.jsonl").read_text().splitlines()]
    return [row["loss"] for row in rows], load_file(run_dir / "model" / "model.safetensors")


@pytest.mark.long
@pytest.mark.parametrize(
    ("sharding", "rendering", "lora", "tied"),
    [
        ("fsdp2", "token", "full", True),
        ("fsdp2", "token", "lora", False),
        ("zero1", "chat", "full", True),
        ("zero3", "token", "full", True),
        *(
            pytest.param(*settings, marks=pytest.mark.slow)
            for settings in [
                ("fsdp2", "token", "full", False),
                ("fsdp2", "chat", "lora", True),
                ("zero3", "token", "full", False),
                ("zero3", "token", "lora", False),
            ]
        ),
    ],
)
def test_two_processes_that_share_a_model_train_what_one_trains_and_resume(tmp_path, sharding, rendering, lora, tied):
    if sharding.startswith("zero"):
        pytest.importorskip("deepspeed")
    base = model_dir(tmp_path / "base", tied)
    one_losses, one = trained(base, tmp_path / "one", rendering, lora, "none")
    losses, two = trained(base, tmp_path / "two", rendering, lora, sharding)
    assert losses == pytest.approx(one_losses, rel=1e-5)
    assert one.keys() == two.keys()
    for name, expected in one.items():
        torch.testing.assert_close(two[name], expected, rtol=1e-4, atol=1e-6, msg=name)
    shutil.rmtree(tmp_path / "two" / "model")
    shutil.rmtree(tmp_path / "two" / "train" / "checkpoint-5")
    resumed_losses, resumed = trained(base, tmp_path / "two", rendering, lora, sharding)
    assert resumed_losses == losses
    assert all(torch.equal(resumed[name], two[name]) for name in two)


@pytest.mark.long
def test_parameters_that_are_spread_train_in_bfloat16_with_a_loss_that_is_not_rounded(tmp_path):
    base = model_dir(tmp_path / "base", tied=True)
    one_losses, one = trained(base, tmp_path / "one", "chat", "full", "none")
    losses, two = trained(base, tmp_path / "two", "chat", "full", "fsdp2 in bfloat16")
    assert losses == pytest.approx(one_losses, rel=2e-2)
    assert any(loss != torch.tensor(loss).bfloat16().item() for loss in losses)
    assert {tensor.dtype for tensor in two.values()} == {torch.float32}
    assert one.keys() == two.keys()


def test_what_cannot_be_spread_is_refused(tmp_path, monkeypatch):
    from reflectioncoder.config.declarations import LoraConfig, ModelConfig, Recipe, TrainConfig
    from reflectioncoder.errors import UsageError
    from reflectioncoder.models.sources import ModelSource
    from reflectioncoder.train.prepare import prepare_model

    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    base = model_dir(tmp_path / "base", tied=True)
    recipe = Recipe("r", ModelConfig(str(base), rendering="token", device="cpu"), train=TrainConfig(lora=LoraConfig()))
    with pytest.raises(UsageError, match="cannot be spread"):
        prepare_model(recipe, ModelSource(base, "local"))
