"""Computes causal attention inside the segments of one packed row, registered as an attention function of transformers.

Segment boundaries are explicit. transformers 5 would infer them from position ids, which is wrong for a student: its positions have
gaps. An attention function registered without a mask function gets no mask; it gets the keyword arguments of the model's forward,
also when gradient checkpointing recomputes a layer.
"""

from __future__ import annotations

import functools
import inspect
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 (the field's name for it)
from transformers import AttentionInterface

from reflectioncoder.errors import UsageError

NAME = "reflectioncoder_segments"


@dataclass(frozen=True)
class Segments:
    """The segments of a packed row.

    Attributes:
        lengths: tokens of each segment.
        offsets: the start of each segment, then the end of the row; int32 on the device.
        longest: the largest of the lengths.
        reach: the largest distance between two position ids of one segment.
    """

    lengths: tuple[int, ...]
    offsets: torch.Tensor
    longest: int
    reach: int

    @classmethod
    def of(cls, lengths: Sequence[int], position_ids: Sequence[int], device: torch.device) -> Segments:
        ends = list(itertools.accumulate(lengths))
        offsets = torch.tensor([0, *ends], device=device, dtype=torch.int32)
        # Positions ascend within a segment.
        reach = max(position_ids[end - 1] - position_ids[end - n] for n, end in zip(lengths, ends, strict=True))
        return cls(tuple(lengths), offsets, max(lengths), reach)


@functools.cache
def _varlen_attention() -> Callable[..., Any] | None:
    """Return torch's variable-length flash attention, grouped heads included; None if it lacks a needed argument (before 2.11)."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return None
    parameters = inspect.signature(varlen_attn).parameters
    if not {"scale", "window_size"} <= parameters.keys():
        return None
    # Before torch 2.12 the kernel accepts grouped heads without a flag.
    return functools.partial(varlen_attn, enable_gqa=True) if "enable_gqa" in parameters else varlen_attn


def segment_attention(
    module: torch.nn.Module,
    query_1HTD: torch.Tensor,
    key_1GTD: torch.Tensor,
    value_1GTD: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    segments: Segments | None = None,
    position_ids: torch.Tensor | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: torch.Tensor | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Compute causal attention over T tokens with H query heads and G key heads; return (output_1THD, None).

    A sliding window counts position ids, not tokens: the same window as if the hidden tokens were still in the row.

    Raises:
        UsageError: the architecture needs something that is not exact here.
    """
    if segments is None or attention_mask is not None or query_1HTD.shape[0] != 1:
        raise ValueError("segment attention takes one packed row, its segments, and no mask")
    if dropout or softcap is not None or s_aux is not None:
        what = "attention dropout" if dropout else "capped attention logits" if softcap is not None else "attention sinks"
        raise UsageError(f"{type(module).__name__}: {what} cannot be trained on packed segments")
    window = sliding_window if sliding_window is not None and segments.reach >= sliding_window else None
    if window is not None and position_ids is None:
        raise UsageError(f"{type(module).__name__}: a sliding window without positions cannot be trained on packed segments")
    if torch.is_autocast_enabled(query_1HTD.device.type):  # float32 rotary angles have promoted queries and keys
        dtype = torch.get_autocast_dtype(query_1HTD.device.type)
        query_1HTD, key_1GTD, value_1GTD = (x.to(dtype) for x in (query_1HTD, key_1GTD, value_1GTD))
    varlen = _varlen_attention() if query_1HTD.is_cuda and query_1HTD.dtype in (torch.bfloat16, torch.float16) else None
    if varlen is not None and window is None:
        query_THD, key_TGD, value_TGD = (x[0].transpose(0, 1) for x in (query_1HTD, key_1GTD, value_1GTD))
        offsets, longest = segments.offsets, segments.longest
        output_THD = varlen(query_THD, key_TGD, value_TGD, offsets, offsets, longest, longest, scale=scaling, window_size=(-1, 0))
        return output_THD[None], None
    groups = query_1HTD.shape[1] // key_1GTD.shape[1]
    if groups > 1:
        key_1GTD, value_1GTD = (x.repeat_interleave(groups, dim=1) for x in (key_1GTD, value_1GTD))
    outputs = []
    positions = position_ids[0].split(segments.lengths) if window is not None and position_ids is not None else None
    parts = zip(*(x.split(segments.lengths, dim=2) for x in (query_1HTD, key_1GTD, value_1GTD)), strict=True)
    for number, (query, key, value) in enumerate(parts):
        mask = None
        if positions is not None and window is not None:
            behind = positions[number][:, None] - positions[number][None, :]
            mask = (behind >= 0) & (behind < window)
        outputs.append(F.scaled_dot_product_attention(query, key, value, mask, is_causal=mask is None, scale=scaling))
    return torch.cat(outputs, dim=2).transpose(1, 2), None


AttentionInterface.register(NAME, segment_attention)
