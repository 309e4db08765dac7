"""`transformers.Trainer` with the batching, the views and the loss of reflection self-distillation, and nothing else changed.

The run is planned before it starts (`plan`): micro-batch n of the data loader is micro-batch n of the plan, so prefetching
workers, accumulation and resume cannot change what is trained.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset
from transformers import Trainer, TrainerCallback, TrainingArguments

from reflectioncoder.config import TrainConfig
from reflectioncoder.errors import UsageError
from reflectioncoder.train.losses import LossOutputs, micro_batch_loss
from reflectioncoder.train.plan import RunPlan, WeightedViews


class PlannedMicroBatches(Dataset):
    """Item n is micro-batch n of the plan."""

    def __init__(self, plan: RunPlan):
        self.plan = plan

    def __len__(self) -> int:
        return len(self.plan.micro_batches)

    def __getitem__(self, number: int) -> dict[str, Any]:
        return {"rows": self.plan.micro_batch(number), "step": self.plan.micro_batches[number][0].step}


def _only(items: Sequence[Any]) -> Any:
    return items[0]


class ReflectionTrainer(Trainer):
    """Trains `model` according to `plan`. Build `args` with `training_arguments`.

    Raises:
        UsageError: more than one process; the plan is for one.
    """

    def __init__(self, model: Any, args: TrainingArguments, plan: RunPlan, **kwargs: Any):
        super().__init__(model=model, args=args, train_dataset=PlannedMicroBatches(plan), **kwargs)
        if self.args.world_size > 1:
            raise UsageError("training on several processes is not supported yet; start one process")
        self.plan = plan
        # Our weights already divide by the counts of the whole optimizer step.
        self.loss_is_scaled_for_ga = True
        self._pending: list[LossOutputs] = []
        self.num_tokens_seen = 0

    def get_train_dataloader(self) -> DataLoader:
        assert isinstance(self.train_dataset, PlannedMicroBatches)
        loader = DataLoader(
            self.train_dataset,
            batch_size=1,
            shuffle=False,
            collate_fn=_only,
            num_workers=self.args.dataloader_num_workers,
            persistent_workers=False,
        )
        return self.accelerator.prepare(loader)

    def compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None) -> Any:
        rows: list[WeightedViews] = inputs["rows"]
        outputs = micro_batch_loss(model, rows, self.args.device)
        self._pending.append(outputs)
        self.num_tokens_seen += outputs.num_tokens
        return (outputs.loss, outputs) if return_outputs else outputs.loss

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Adds the mean CE and KL (nats per token), the mask rate and the token count since the last log."""
        if self._pending and "loss" in logs:
            num_ce = sum(o.num_ce for o in self._pending)
            num_kl = sum(o.num_kl for o in self._pending)
            logs["ce"] = sum(o.ce_sum for o in self._pending) / max(num_ce, 1)
            logs["kl"] = sum(o.kl_sum for o in self._pending) / max(num_kl, 1)
            logs["mask_rate"] = self.plan.rate(max(self.state.global_step - 1, 0))
            logs["tokens"] = sum(o.num_tokens for o in self._pending)
            self._pending = []
        super().log(logs, *args, **kwargs)


class StepCallback(TrainerCallback):
    """Tells `report(step, total_steps, latest log entry)` after each optimizer step."""

    def __init__(self, report: Callable[[int, int, dict[str, float]], None]):
        self._report = report

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.log_history and "loss" in state.log_history[-1]:
            self._report(state.global_step, state.max_steps, state.log_history[-1])


def training_arguments(config: TrainConfig, plan: RunPlan, output_dir: Path, seed: int, **overrides: Any) -> TrainingArguments:
    """The arguments of the Trainer for a planned run: one pass over the planned micro-batches."""
    values: dict[str, Any] = {
        "output_dir": str(output_dir),
        "max_steps": plan.total_steps,
        "gradient_accumulation_steps": plan.accumulation_steps,
        "per_device_train_batch_size": 1,  # one planned micro-batch
        "learning_rate": config.learning_rate,
        "lr_scheduler_type": config.lr_scheduler,
        "warmup_steps": round(config.warmup_ratio * plan.total_steps),
        "weight_decay": config.weight_decay,
        "max_grad_norm": config.max_grad_norm,
        "dataloader_num_workers": config.dataloader_workers,
        "seed": seed,
        "save_steps": config.save_steps,
        "save_total_limit": 2,
        "logging_steps": 1,
        "report_to": [],
        "remove_unused_columns": False,
        "disable_tqdm": True,
        "optim": "adamw_torch",
    }
    if config.gradient_checkpointing:
        values["gradient_checkpointing"] = True
    arguments = TrainingArguments(**{**values, **overrides})
    arguments._n_gpu = min(1, arguments.n_gpu)  # else several visible GPUs mean nn.DataParallel, which would split our rows
    return arguments


def resumable_checkpoint(output_dir: Path) -> Path | None:
    """The newest complete checkpoint in `output_dir`. The trainer state is written last: if it cannot be read, the save was cut off."""
    complete = [p for p in output_dir.glob("checkpoint-*") if _is_json(p / "trainer_state.json")]
    return max(complete, key=lambda p: int(p.name.rsplit("-", 1)[1]), default=None)


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return True


def seed_everything(seed: int) -> None:
    from transformers import set_seed

    set_seed(seed)
    torch.use_deterministic_algorithms(False)
