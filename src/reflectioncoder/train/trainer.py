"""Extends `transformers.Trainer` with the batching, views and loss of reflection self-distillation, and changes nothing else.

The run is planned before it starts (`plan`): item n of the data loader holds all forwards of this rank in optimizer step n, so
prefetching workers, the number of ranks and resuming cannot change what is trained.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset
from transformers import Trainer, TrainingArguments

from reflectioncoder.config.declarations import TrainConfig
from reflectioncoder.errors import CheckFailedError, require
from reflectioncoder.method.heldout import HeldOut
from reflectioncoder.method.packing import PackedBatch
from reflectioncoder.method.plan import RunPlan
from reflectioncoder.train.engine import Engine, LossOutputs
from reflectioncoder.train.offload import activations_in_host_memory


class PlannedSteps(Dataset):
    """A data set whose item n is one rank's work in optimizer step n."""

    def __init__(self, plan: RunPlan, rank: int, num_ranks: int):
        self.plan, self.rank, self.num_ranks = plan, rank, num_ranks

    def __len__(self) -> int:
        return self.plan.total_steps

    def __getitem__(self, step: int) -> dict[str, Any]:
        return {"step": step, "batches": self.plan.batches(step, self.rank, self.num_ranks)}


def _only(items: Sequence[Any]) -> Any:
    return items[0]


class ReflectionTrainer(Trainer):
    """`transformers.Trainer` for reflection self-distillation: batches, views and loss come from a plan; the Trainer does the rest.

    The model is called as usual, so LoRA, mixed precision, gradient checkpointing, DDP, FSDP and DeepSpeed work as they do elsewhere.
    Logged losses are in nats per token.

    Args:
        model: a transformers causal language model, with or without LoRA.
        args: made by `training_arguments`.
        plan: the batches of each optimizer step, for any number of processes.
        held_out: samples for the evaluation of one-off answers (`eval_loss`).
        vocab_size: output-layer rows that are tokens; None: all.
        kwargs: passed to `transformers.Trainer`.

    Raises:
        UsageError: the architecture cannot be trained on packed segments.
        CheckFailedError (from `train`): a gradient is not finite.

    Example:
        >>> from pathlib import Path
        >>> from transformers import LlamaConfig, LlamaForCausalLM
        >>> from reflectioncoder import Block, Message, ReflectionTrainer, Sample, render
        >>> from reflectioncoder.config.declarations import TrainConfig
        >>> from reflectioncoder.data.words import WordTokenizer
        >>> from reflectioncoder.method.plan import RunPlan
        >>> from reflectioncoder.train.trainer import training_arguments
        >>> reflect = Message("user", (Block("text", "Solve and test f."),))
        >>> sequence = Message("assistant", (Block("code", "def f(): ..."), Block("execution", "None"), Block("text", "Wrong.")))
        >>> ask, answer = Message("user", (Block("text", "Write f."),)), Message("assistant", (Block("text", "def f(): return 1"),))
        >>> sample = render(Sample((reflect, sequence, ask, answer)), WordTokenizer(), "token")
        >>> config = TrainConfig(epochs=2, global_batch_size=1)
        >>> plan = RunPlan([sample], config, seed=0)
        >>> sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
        >>> model = LlamaForCausalLM(LlamaConfig(vocab_size=64, **sizes))
        >>> args = training_arguments(config, plan, Path("train"), seed=0, use_cpu=True)
        >>> trainer = ReflectionTrainer(model, args, plan)
        >>> trainer.train().global_step
        {'loss': ..., 'ce': ..., 'kl': ..., 'mask_rate': '0.5', 'tokens': ...}
        {'loss': ..., 'ce': ..., 'kl': ..., 'mask_rate': '1', 'tokens': ...}
        {'train_runtime': ...}
        2
    """

    def __init__(
        self,
        model: Any,
        args: TrainingArguments,
        plan: RunPlan,
        *,
        held_out: HeldOut | None = None,
        vocab_size: int | None = None,
        **kwargs: Any,
    ):
        self.engine = Engine(model, vocab_size=vocab_size, compiled=plan.config.torch_compile)
        dataset = PlannedSteps(plan, args.process_index, args.world_size)
        super().__init__(model=model, args=args, train_dataset=dataset, eval_dataset=held_out, **kwargs)  # type: ignore[arg-type]
        if self.is_fsdp_enabled and args.bf16:
            from torch.distributed.fsdp import MixedPrecisionPolicy

            # accelerate's own policy would round the output layer's result, which is the loss, and reduce gradients in 16 bits.
            policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
            plugin: Any = self.accelerator.state.fsdp_plugin
            plugin.mixed_precision_policy = policy
        self.plan = plan
        self._held_out = held_out
        # The plan's weights already divide by the counts of the whole optimizer step.
        self.loss_is_scaled_for_ga = True
        self._pending: list[LossOutputs] = []  # from the optimizer steps since the last log
        self._pending_steps = 0
        self.num_tokens_seen = 0

    def get_train_dataloader(self) -> DataLoader:
        # Not prepared by accelerate, which would distribute the items over the ranks: each rank has its own share of every step.
        assert isinstance(self.train_dataset, PlannedSteps)
        workers = self.args.dataloader_num_workers
        return DataLoader(self.train_dataset, batch_size=1, shuffle=False, collate_fn=_only, num_workers=workers)

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> torch.Tensor:
        """Run all forwards and backwards of an optimizer step; gradients are reduced across ranks in the last backward only."""
        model.train()
        batches: list[PackedBatch] = inputs["batches"]
        self._pending_steps += 1
        total = torch.zeros((), device=self.args.device)
        for number, batch in enumerate(batches):
            last = number == len(batches) - 1
            if self.is_deepspeed_enabled:  # DeepSpeed steps its optimizer in the backward if told that this is the last one
                self.accelerator.gradient_state._set_sync_gradients(last)
            # Without the reduction FSDP would keep unsharded gradients on every rank.
            exchanges = last or self.is_deepspeed_enabled or self.is_fsdp_enabled
            with contextlib.nullcontext() if exchanges else self.accelerator.no_sync(model):
                with self.compute_loss_context_manager(), self._offload():
                    loss = self.compute_loss(model, {"batch": batch})
                # DDP averages gradients over the ranks; the plan's loss is a sum over them.
                loss = loss * self.args.world_size
                self.accelerator.backward(loss)
            total += loss.detach()
        return total

    def _offload(self) -> contextlib.AbstractContextManager[None]:
        if not self.plan.config.offload_activations or self.args.device.type == "cpu":
            return contextlib.nullcontext()
        assert self.model is not None
        return activations_in_host_memory(self.model)

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        """Return the gradient norm; the Trainer asks for it between the reduction of gradients and the optimizer's step.

        Raises:
            CheckFailedError: the norm is not finite, for example after a non-finite loss; no parameter has been changed.
        """
        norm: Any = super()._get_grad_norm(model, grad_norm)
        if not math.isfinite(norm):
            raise CheckFailedError(self._why_not_finite(float(norm)))
        return norm

    def _why_not_finite(self, norm: float) -> str:
        step = self.state.global_step
        names = ", ".join(self.plan.name_of(visit) for visit in self.plan.visits(step))
        losses = ", ".join(f"{float(outputs.loss):.3g}" for outputs in self._pending)
        if step == 0:
            hint = "nothing has been trained yet: look at the weights of the base model and at model.dtype"
        else:
            hint = "a lower train.learning_rate, a longer train.warmup_ratio; the last checkpoint is intact"
        return f"the gradient of step {step + 1} is {norm}\n  samples: {names}\n  losses:  {losses}\n  hint:    {hint}"

    def compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None) -> Any:
        outputs = self.engine.loss(model, inputs["batch"], self.args.device)
        self._pending.append(replace(outputs, loss=outputs.loss.detach()))  # without the graph
        return (outputs.loss, outputs) if return_outputs else outputs.loss

    def whole_weights(self) -> dict[str, torch.Tensor]:
        """Return the full weights of a model that is sharded, or kept in 16 bits by DeepSpeed, on the first process's CPU.

        Every process must call this. With DeepSpeed only the trained weights are returned, in float32.
        """
        weights: dict[str, Any] = {}
        if self.is_deepspeed_enabled:
            from transformers.integrations.deepspeed import unset_hf_deepspeed_config

            deepspeed = require("deepspeed.utils", "deepspeed")
            assert self.model is not None
            for name, parameter in self.model.named_parameters():
                if parameter.requires_grad:
                    whole = deepspeed.safe_get_full_fp32_param(parameter)
                    if self.is_world_process_zero() and whole is not None:
                        weights[name] = whole.detach().cpu().reshape(getattr(parameter, "ds_shape", parameter.shape))
            unset_hf_deepspeed_config()  # else the next loaded model would be sharded too
            return weights
        from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

        assert self.model is not None
        weights = get_model_state_dict(self.model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
        return {name: tensor for name, tensor in weights.items() if isinstance(tensor, torch.Tensor)}

    @torch.no_grad()
    def evaluate(self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval") -> dict[str, float]:
        """Measure `eval_loss`, the cross-entropy of the held-out one-off answers (nats per token), and `eval_perplexity`."""
        assert self._held_out is not None
        assert self.model is not None
        self.model.eval()
        sums = torch.zeros(2, dtype=torch.float64 if self.args.device.type != "mps" else torch.float32, device=self.args.device)
        for batch in self._held_out.batches(self.args.process_index, self.args.world_size):
            with self.compute_loss_context_manager():
                outputs = self.engine.loss(self.model_wrapped, batch, self.args.device)
            sums[0] += outputs.ce_sum
            sums[1] += outputs.num_ce
        ce_sum, num_ce = self.accelerator.reduce(sums).tolist()  # type: ignore[union-attr]
        loss = ce_sum / max(num_ce, 1)
        metrics = {f"{metric_key_prefix}_loss": loss, f"{metric_key_prefix}_perplexity": math.exp(min(loss, 700.0))}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Add mean CE and KL over all ranks (nats per token), the mask rate and the token count since the last log.

        The loss is summed again here because the Trainer's own sum is in float32 whatever the model's dtype.
        """
        if self._pending and "loss" in logs:
            sums = torch.tensor(
                [[float(o.loss), float(o.ce_sum), float(o.kl_sum), o.num_ce, o.num_kl, o.num_tokens] for o in self._pending],
                dtype=torch.float64 if self.args.device.type != "mps" else torch.float32,
                device=self.args.device,
            ).sum(0)
            total: Any = self.accelerator.reduce(sums)
            loss, ce_sum, kl_sum, num_ce, num_kl, num_tokens = total.tolist()
            logs["loss"] = loss / self._pending_steps
            logs["ce"] = ce_sum / max(num_ce, 1)
            logs["kl"] = kl_sum / max(num_kl, 1)
            logs["mask_rate"] = self.plan.rate(max(self.state.global_step - 1, 0))
            logs["tokens"] = round(num_tokens)
            self.num_tokens_seen += round(num_tokens)
            self._pending, self._pending_steps = [], 0
        super().log(logs, *args, **kwargs)


def training_arguments(config: TrainConfig, plan: RunPlan, output_dir: Path, seed: int, **overrides: Any) -> TrainingArguments:
    """Return the Trainer's arguments for a planned run: one pass over the planned steps."""
    values: dict[str, Any] = {
        "output_dir": str(output_dir),
        "max_steps": plan.total_steps,
        "per_device_train_batch_size": 1,  # one planned optimizer step
        "learning_rate": config.learning_rate,
        "lr_scheduler_type": config.lr_scheduler,
        "warmup_steps": math.ceil(config.warmup_ratio * plan.total_steps),  # rounded up, as transformers does with a ratio
        "weight_decay": config.weight_decay,
        "max_grad_norm": config.max_grad_norm,
        "dataloader_num_workers": config.dataloader_workers,
        "seed": seed,
        "save_steps": config.save_steps,
        "save_total_limit": config.keep_checkpoints,
        "logging_steps": 1,
        "eval_strategy": "steps" if config.eval_data else "no",
        "eval_steps": config.eval_steps,
        "report_to": list(config.report_to),
        "remove_unused_columns": False,
        "disable_tqdm": True,
        "optim": "adamw_torch",
        "ddp_find_unused_parameters": False,  # every forward uses all parameters
        "use_cache": True,  # for the saved configuration; the engine's forwards set it to False
    }
    arguments = TrainingArguments(**{**values, **overrides})
    arguments._n_gpu = min(1, arguments.n_gpu)  # several visible GPUs would mean nn.DataParallel, which splits rows
    return arguments


def resumable_checkpoint(output_dir: Path) -> Path | None:
    """Return the newest complete checkpoint in `output_dir`. Without a readable trainer state, written last, it is incomplete."""
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
