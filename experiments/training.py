"""Stage `training`: optimizer steps of the original formulation, of TRL's parts and of ours, on models of three sizes.

Forward and backward in bfloat16 arithmetic over float32 weights, and AdamW's step (with a learning rate of 0, so that all see the same
weights). Tokens per second count the tokens that have to be computed, teachers and students; MFU their operations, nothing twice.
"""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

from experiments import turns
from experiments.runner import Group, Measure, Rows, Settings

SHAPES: dict[str, dict[str, Any]] = {
    "SmolLM2-135M": {
        "model_type": "llama", "vocab_size": 49_152, "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30,
        "num_attention_heads": 9, "num_key_value_heads": 3, "max_position_embeddings": 8192, "tie_word_embeddings": True,
    },
    "Qwen2.5-Coder-1.5B": {
        "model_type": "qwen2", "vocab_size": 151_936, "hidden_size": 1536, "intermediate_size": 8960, "num_hidden_layers": 28,
        "num_attention_heads": 12, "num_key_value_heads": 2, "max_position_embeddings": 32_768, "tie_word_embeddings": True,
    },
    "DeepSeek-Coder-6.7B": {
        "model_type": "llama", "vocab_size": 32_256, "hidden_size": 4096, "intermediate_size": 11_008, "num_hidden_layers": 32,
        "num_attention_heads": 32, "num_key_value_heads": 32, "max_position_embeddings": 16_384, "tie_word_embeddings": False,
    },
}  # fmt: skip
_TINY = {"vocab_size": 512, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
         "num_key_value_heads": 2}  # fmt: skip
LORA = ", LoRA"  # behind a model's name: rank 16 on all linear layers
MODELS = ("SmolLM2-135M", "Qwen2.5-Coder-1.5B", f"DeepSeek-Coder-6.7B{LORA}", "DeepSeek-Coder-6.7B")
_TINY_MODELS = ("SmolLM2-135M", f"DeepSeek-Coder-6.7B{LORA}")

# Fields of benchmarks.steps.contest.Contender; `loss` names a function of benchmarks.steps.losses.
CONTENDERS: dict[str, dict[str, Any]] = {
    "original, B = 1": {"loss": "original_loss"},
    "original, B = 1, ckpt": {"loss": "original_loss", "checkpointing": True},
    "original, B = 4": {"loss": "original_loss", "rows": 4},
    "original, B = 4, ckpt": {"loss": "original_loss", "rows": 4, "checkpointing": True},
    "TRL's parts, B = 4": {"loss": "trl_loss", "rows": 4},
    "TRL's parts, B = 4, ckpt": {"loss": "trl_loss", "rows": 4, "checkpointing": True},
    "ours": {"packed": True},
    "ours, ckpt": {"packed": True, "checkpointing": True},
    "ours, compiled": {"packed": True, "compiled": True},
    "ours, compiled, ckpt": {"packed": True, "compiled": True, "checkpointing": True},
}


def names(settings: Settings) -> tuple[str, ...]:
    """Return the contenders; with tiny shapes none is compiled, which would take longer than all the rest."""
    return tuple(name for name, it in CONTENDERS.items() if not (settings.tiny and it.get("compiled")))


def groups(settings: Settings) -> list[Group]:
    models = _TINY_MODELS if settings.tiny else MODELS
    return [Group(f"training/{model}", turns.units(settings, names(settings)), start) for model in models]


def start(settings: Settings, directory: Path, group: str, rows: Rows) -> Measure:
    model = group.removeprefix("training/")
    return turns.measuring(OptimizerSteps(settings, model), names(settings), group, rows)


class OptimizerSteps:
    """Optimizer steps of all contenders on one model and the same samples."""

    def __init__(self, settings: Settings, name: str):
        import torch

        from benchmarks.steps import losses
        from benchmarks.steps.contest import Contender, Contest, Workload

        own = {name: {**it, "loss": getattr(losses, it["loss"]) if "loss" in it else None} for name, it in CONTENDERS.items()}
        samples, pack, scale = (4, 512, 0.1) if settings.tiny else (8 if "6.7B" in name else 16, 8192, 1.0)
        self.settings, self.name = settings, name
        self.model = make_model(settings, name)
        workload = Workload(samples, "varied", scale, pack=pack)
        self.contest = Contest(self.model, workload, {name: Contender(**it) for name, it in own.items()})
        trained = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, lr=0.0, weight_decay=0.0, fused=True)

    def check(self, name: str) -> dict[str, Any]:
        self._free()
        loss = self._step(name)  # makes the optimizer's state and compiles
        return {
            "loss": loss,
            "tokens": self.contest.num_tokens(),
            "useful_flops": self.contest.useful_flops(),
            "peak_bytes": self._peak_bytes(name),
            "forecast_bytes": self._forecast_bytes(name),
        }

    def seconds(self, name: str) -> float:
        import time

        from benchmarks.steps.contest import synchronize

        synchronize(self.contest.device)
        began = time.perf_counter()
        self._step(name)
        synchronize(self.contest.device)
        return time.perf_counter() - began

    def _step(self, name: str) -> float:
        loss = self.contest.run(name)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss

    def _free(self) -> None:
        """Let go of what a step that failed has left."""
        import torch

        self.optimizer.zero_grad()
        gc.collect()
        torch.cuda.empty_cache()

    def _peak_bytes(self, name: str) -> int | None:
        """Return the peak of a whole step, weights and optimizer included; None on a CPU."""
        import torch

        if self.contest.device.type != "cuda":
            return None
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        self._step(name)
        return torch.cuda.max_memory_allocated()

    def _forecast_bytes(self, name: str) -> int | None:
        """Return this project's forecast of that peak; None for a reference."""
        import torch

        from reflectioncoder.train.forecast import forecast_memory

        own = self.contest.contenders[name]
        if own.loss is not None:
            return None
        device = self.contest.device.type
        largest = max(self.contest.batches(own), key=lambda batch: batch.num_tokens)
        autocast = torch.bfloat16 if device == "cuda" else None
        blank = make_model(self.settings, self.name, on="meta")
        return forecast_memory(blank, largest, device, checkpointing=own.checkpointing, autocast=autocast).total


def make_model(settings: Settings, name: str, on: str | None = None) -> Any:
    """Return the model in float32 on its device, or on `on`, with a LoRA if its name says so, in training mode."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    base, lora = name.removesuffix(LORA), name.endswith(LORA)
    shape = {**SHAPES[base], **(_TINY if settings.tiny else {})}
    torch.manual_seed(0)
    if settings.smollm2 and base == "SmolLM2-135M" and on != "meta":
        model: Any = AutoModelForCausalLM.from_pretrained(settings.smollm2, dtype=torch.float32)
        model.to(settings.device)
    else:
        with torch.device(on or settings.device):
            model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**shape), dtype=torch.float32)
    if lora:
        from peft import LoraConfig, TaskType, get_peft_model

        adapter = LoraConfig(task_type=TaskType.CAUSAL_LM, r=16, lora_alpha=32, lora_dropout=0.0, target_modules="all-linear")
        with torch.device(on or settings.device):
            model = get_peft_model(model, adapter)
    return model.train()
