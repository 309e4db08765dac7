"""Runs contenders on one model and the same samples: forward and backward of an optimizer step, timed, counted and weighed."""

import contextlib
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from reflectioncoder.config.declarations import TrainConfig
from reflectioncoder.method.packing import PackedBatch
from reflectioncoder.method.plan import RunPlan
from reflectioncoder.train.engine import Engine

from .samples import rendered_sample


@dataclass(frozen=True)
class Contender:
    """A way to compute a step. `loss`: a reference's; None: ours. `rows`: samples of a forward of a reference."""

    loss: Callable | None = None
    rows: int = 1
    packed: bool = False
    checkpointing: bool = False
    compiled: bool = False  # the output layer
    layers_compiled: bool = False
    mixed: bool = False  # products in bfloat16 on a CPU too


@dataclass(frozen=True)
class Workload:
    """The samples of a step.

    Attributes:
        samples: their number.
        lengths: "typical": all alike; "varied": drawn around that.
        scale: factor of all lengths; at 1 a typical sample has 1,763 tokens.
        rate: mask rate.
        pack: tokens of a pack; 0: no packing.
        seed: of tokens and varied lengths.
    """

    samples: int
    lengths: str = "typical"
    scale: float = 1.0
    rate: float = 0.5
    pack: int = 0
    seed: int = 1


class Contest:
    """Contenders on one model, which is on its device and in training mode."""

    def __init__(self, model: Any, workload: Workload, contenders: Mapping[str, Contender]):
        self.model = model
        self.base = model.get_base_model() if hasattr(model, "get_base_model") else model
        self.device = next(model.parameters()).device
        rng = random.Random(workload.seed)
        varied = workload.lengths == "varied"
        scales = [rng.lognormvariate(-0.3, 0.6) if varied else 1.0 for _ in range(workload.samples)]
        samples = [rendered_sample(rng, model.config.vocab_size, min(scale, 2.5) * workload.scale) for scale in scales]
        train = {
            "epochs": 1,
            "global_batch_size": workload.samples,
            "mask_schedule": "constant",
            "mask_constant_rate": workload.rate,
            "mask_strategy": ("random_block",),
            "normalization": "per_sample",  # as the original at B = 1
        }
        self.plan = RunPlan(samples, TrainConfig(**train), seed=1)
        self.packed = RunPlan(samples, TrainConfig(**train, micro_batch_tokens=workload.pack), seed=1)
        self.visits = self.plan.visits(0)
        self.contenders = contenders
        self.compiled_layers: dict = {}

    def run(self, name: str) -> float:
        """Compute all samples, forward and backward; return the mean of the losses."""
        own = self.contenders[name]
        if own.checkpointing:
            self.model.gradient_checkpointing_enable({"use_reentrant": False})
        else:
            self.model.gradient_checkpointing_disable()
        for layer in self.base.model.layers:
            if own.layers_compiled and layer not in self.compiled_layers:
                layer.compile(dynamic=True)
                self.compiled_layers[layer] = layer._compiled_call_impl
            layer._compiled_call_impl = self.compiled_layers[layer] if own.layers_compiled else None
        with contextlib.closing(Engine(self.model, compiled=own.compiled)) if own.loss is None else contextlib.nullcontext() as engine:
            losses = []
            for part, share in self.parts(own):
                with torch.autocast(self.device.type, torch.bfloat16, enabled=own.mixed or self.device.type == "cuda"):
                    if engine is None:
                        assert own.loss is not None
                        loss = own.loss(self.base, self.plan, part, self.device) * share
                    else:
                        loss = engine.loss(self.model, part, self.device).loss
                loss.backward()
                losses.append(loss.detach())
        return torch.stack(losses).sum().item()

    def parts(self, own: Contender) -> list:
        """Return (what a forward takes, the share of its mean in the step's) for each forward."""
        if own.loss is None:
            return [(batch, 1.0) for batch in self.batches(own)]
        parts = [self.visits[start : start + own.rows] for start in range(0, len(self.visits), own.rows)]
        return [(part, len(part) / len(self.visits)) for part in parts]

    def batches(self, own: Contender) -> list[PackedBatch]:
        """Return the forwards of one of ours."""
        return (self.packed if own.packed else self.plan).batches(0)

    def seconds(self, name: str) -> float:
        """Return the process CPU time of a step on a CPU, its wall time on a GPU."""
        clock = time.process_time if self.device.type == "cpu" else time.perf_counter
        synchronize(self.device)
        began = clock()
        self.run(name)
        synchronize(self.device)
        return clock() - began

    def flops(self, name: str) -> int:
        """Return the counted operations; of attention over segments on a GPU there is no count."""
        with FlopCounterMode(display=False) as counter:
            self.run(name)
        return counter.get_total_flops()

    def useful_flops(self) -> float:
        """Return the operations of the tokens and rows that have to be computed, forward and backward, nothing twice.

        A frozen weight takes no gradient of its own: two products instead of three.
        """
        head, table = self.base.get_output_embeddings().weight, self.base.get_input_embeddings().weight
        in_trunk = [p for p in self.model.parameters() if p is not head and p is not table]
        config = self.model.config
        width = (
            config.num_hidden_layers
            * config.num_attention_heads
            * (getattr(config, "head_dim", 0) or config.hidden_size // config.num_attention_heads)
        )
        total = 0.0
        for batch in self.packed.batches(0):
            attention = width * sum(length**2 for length in batch.lengths)  # half of the square, two products
            total += sum(flops_of_weight(p) for p in in_trunk) * batch.num_tokens + flops_of_weight(head) * len(batch.rows)
            total += 6 * attention
        return total

    def num_tokens(self) -> int:
        """Return the tokens that have to be computed, teachers and students together."""
        return sum(batch.num_tokens for batch in self.packed.batches(0))

    def peak_bytes(self, name: str) -> int:
        """Return the peak beyond weights and gradients, which exist before."""
        for parameter in self.model.parameters():
            parameter.grad = torch.zeros_like(parameter)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            self.run(name)
            return torch.cuda.max_memory_allocated() - before
        before = status_bytes("VmRSS")
        self.run(name)
        return status_bytes("VmHWM") - before


def flops_of_weight(weight: torch.Tensor) -> int:
    """Return the operations that a weight takes for each token, forward and backward."""
    return (6 if weight.requires_grad else 4) * weight.numel()


def status_bytes(field: str) -> int:
    """Return a field of /proc/self/status, such as VmRSS."""
    with open("/proc/self/status") as handle:
        return next(int(line.split()[1]) * 1024 for line in handle if line.startswith(f"{field}:"))


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()
