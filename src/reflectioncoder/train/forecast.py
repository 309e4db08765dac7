"""Forecasts the memory of a training step before anything is allocated.

The forward runs at full size on torch's fake tensors, which have shapes but no storage, and the tensors that autograd saves for the
backward are counted. So the forecast works for any architecture without a formula.
"""

from __future__ import annotations

import contextlib
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from reflectioncoder.method.packing import PackedBatch
from reflectioncoder.train.engine import Engine
from reflectioncoder.train.head import default_chunk_rows


@dataclass(frozen=True)
class MemoryForecast:
    """Bytes on one device during a run. `activations` are those of the largest forward."""

    parameters: int
    gradients: int
    optimizer: int
    activations: int
    output_layer: int

    @property
    def total(self) -> int:
        return sum(asdict(self).values())

    def to_json(self) -> dict[str, int]:
        return {**asdict(self), "total": self.total}


def forecast_memory(
    model: Any, batch: PackedBatch, device: str = "cpu", *, checkpointing: bool = False, autocast: torch.dtype | None = None
) -> MemoryForecast:
    """Forecast the memory of full fine-tuning or LoRA training with AdamW.

    Args:
        model: on the meta device, in its training dtype, with parameters frozen as in training. It cannot be used afterwards.
        batch: the largest forward.
        device: the device of the run; it need not exist on this machine.
        autocast: the compute dtype, if it differs from the parameters' dtype.
    """
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    _fake(model, mode, torch.device(device))
    parameters = list({id(p): p for p in model.parameters()}.values())
    trained = [p for p in parameters if p.requires_grad]
    gradients = sum(p.numel() * p.element_size() for p in trained)
    activations = _saved_bytes(model, batch, mode, checkpointing, autocast)
    if checkpointing:  # one layer is recomputed while the inputs of all layers are kept
        layers = max(1, getattr(model.config, "num_hidden_layers", 1))
        activations += _saved_bytes(model, batch, mode, False, autocast) // layers
    return MemoryForecast(
        parameters=sum(p.numel() * p.element_size() for p in parameters),
        gradients=gradients,
        optimizer=2 * gradients,
        activations=activations,
        output_layer=_output_layer_bytes(model, batch, autocast),
    )


def _output_layer_bytes(model: Any, batch: PackedBatch, autocast: torch.dtype | None) -> int:
    """Return the bytes of one chunk (logits, log-ratios, gradient), of the hidden and weight gradients, and of a weight cast."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    weight = base.get_output_embeddings().weight
    rows = min(default_chunk_rows(weight.device), len(batch.rows))
    compute = torch.empty((), dtype=autocast or weight.dtype).element_size()
    chunk = rows * weight.shape[0] * (4 + 4 // 2 + (compute if compute < 4 else 0))
    kept = len(batch.rows) * weight.shape[1] * compute
    of_weight = weight.numel() * (4 + (compute if compute < 4 else 0)) if weight.requires_grad else 0
    cast = weight.numel() * compute if compute != weight.element_size() else 0
    return chunk + kept + of_weight + cast


def _fake(model: torch.nn.Module, mode: FakeTensorMode, device: torch.device) -> None:
    """Move the parameters and buffers of a meta model to fake tensors on the target device: kernels differ by device."""
    made: dict[int, torch.Tensor] = {}

    def fake(tensor: torch.Tensor) -> torch.Tensor:
        if id(tensor) not in made:
            made[id(tensor)] = mode.fake_tensor_converter.from_meta_and_device(mode, tensor.detach(), device)
        return made[id(tensor)]

    parameters: dict[int, torch.nn.Parameter] = {}
    for module in model.modules():
        for name, tensor in module._parameters.items():
            if tensor is not None:
                if id(tensor) not in parameters:
                    parameters[id(tensor)] = torch.nn.Parameter(fake(tensor), requires_grad=tensor.requires_grad)
                module._parameters[name] = parameters[id(tensor)]
        for name, tensor in module._buffers.items():
            if tensor is not None:
                module._buffers[name] = fake(tensor)


def _saved_bytes(model: Any, batch: PackedBatch, mode: FakeTensorMode, checkpointing: bool, autocast: torch.dtype | None) -> int:
    own = {p.untyped_storage()._cdata for p in model.parameters()}
    kept: dict[int, Any] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            kept[storage._cdata] = storage  # keeps the storage alive, so that no other storage reuses its address
        return tensor

    model.train()
    if checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    device = next(model.parameters()).device
    try:
        with contextlib.ExitStack() as stack:
            stack.enter_context(mode)
            engine = stack.enter_context(contextlib.closing(Engine(model)))
            stack.enter_context(torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor))
            if autocast is not None:
                stack.enter_context(torch.autocast(device.type, autocast))
            engine.hidden_states(model, batch, device)
    finally:
        if checkpointing:
            model.gradient_checkpointing_disable()
    return sum(storage.nbytes() for storage in kept.values())
