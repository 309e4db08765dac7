"""Keeps activations in host memory instead of GPU memory until the backward: slower, and exact."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

_SMALLEST = 2**16  # elements; smaller tensors are not worth a transfer


@contextlib.contextmanager
def activations_in_host_memory(model: torch.nn.Module) -> Iterator[None]:
    """Move a forward's activations to host memory; the backward fetches them. Weights and their copies in another dtype stay.

    Both copies run on the current stream, so no memory is reused before it has been read.
    """
    shapes = [tuple(getattr(parameter, "ds_shape", parameter.shape)) for parameter in model.parameters()]
    weights = {*shapes, *(shape[::-1] for shape in shapes)}

    def pack(tensor: torch.Tensor) -> torch.Tensor | tuple[torch.device, torch.Tensor]:
        if tensor.numel() < _SMALLEST or tuple(tensor.shape) in weights:
            return tensor
        host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=tensor.is_cuda)
        return tensor.device, host.copy_(tensor, non_blocking=True)

    def unpack(packed: torch.Tensor | tuple[torch.device, torch.Tensor]) -> torch.Tensor:
        return packed if isinstance(packed, torch.Tensor) else packed[1].to(packed[0], non_blocking=True)

    with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
        yield
