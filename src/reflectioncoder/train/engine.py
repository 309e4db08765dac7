"""Runs packed batches through any Hugging Face causal language model: its own trunk, with attention and output layer replaced.

The model is prepared once (`Engine(model)`) and then called as usual, so its wrappers (DDP, FSDP, LoRA, autocast, checkpointing) keep
working: the attention function is selected by name, and the output layer returns the loss in place of logits. Outside
`Engine.loss` the output layer works as before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from reflectioncoder.errors import UsageError
from reflectioncoder.method.packing import PackedBatch
from reflectioncoder.train.attention import NAME, Segments
from reflectioncoder.train.head import weighted_loss


@dataclass(frozen=True)
class LossOutputs:
    """The outputs of one forward. `loss` carries gradients; the others are detached sums (nats) and counts (tokens) for logging."""

    loss: torch.Tensor
    ce_sum: torch.Tensor
    kl_sum: torch.Tensor
    num_ce: int
    num_kl: int
    num_tokens: int


class Engine:
    """Prepares a model: `loss` computes the loss; `close` restores the model's attention function and output layer.

    Args:
        model: a transformers causal language model, or a peft wrapper of one, before it is wrapped for several processes.
        vocab_size: output-layer rows that are tokens; None: all. The padding rows beyond them are excluded from the softmax.

    Raises:
        UsageError: the architecture cannot be trained on packed segments.
    """

    def __init__(self, model: Any, *, vocab_size: int | None = None, chunk_rows: int | None = None, compiled: bool = False):
        base = model.get_base_model() if hasattr(model, "get_base_model") else model
        if not getattr(base, "_supports_attention_backend", False) or base.get_output_embeddings() is None:
            raise UsageError(f"{type(base).__name__} cannot be trained: it does not let its attention be chosen: docs/exactness.md")
        self._base = base
        self._head = base.get_output_embeddings()
        self._attention = base.config._attn_implementation
        self._original_forward = self._head.forward
        self._vocab_size = vocab_size
        self._chunk_rows = chunk_rows
        self._compiled = compiled
        self._batch: tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None = None
        self._result: tuple[torch.Tensor, torch.Tensor] | None = None
        self._trusted = False
        base.set_attn_implementation(NAME)
        if base.config._attn_implementation != NAME:
            raise UsageError(f"{type(base).__name__} cannot be trained: it keeps its own attention")
        self._head.forward = self._head_forward

    def close(self) -> None:
        del self._head.forward  # restores the method of the class
        self._base.set_attn_implementation(self._attention)

    def loss(self, model: Any, batch: PackedBatch, device: torch.device) -> LossOutputs:
        """Return the weighted loss of one packed batch. `model` is the prepared model or its wrapper.

        Raises:
            UsageError: the model changes its logits after the output layer, or ignores `logits_to_keep`.
        """
        exact = torch.float64 if self._base.dtype == torch.float64 else torch.float32
        self._batch = (
            torch.tensor(batch.targets, device=device),
            torch.tensor(batch.ce_weights, device=device, dtype=exact),
            torch.tensor(batch.kl_weights, device=device, dtype=exact),
        )
        try:
            loss = self._forward(model, batch, device)
        finally:
            self._batch = None
        result, self._result = self._result, None
        if result is None or not self._is_the_loss(result[0].detach(), loss.detach()):
            raise UsageError(f"{type(self._base).__name__} cannot be trained: its logits are not those of its output layer")
        statistics = result[1]
        num_tokens = batch.num_tokens if batch.num_targets or batch.num_pairs else 0  # an idle batch only keeps the ranks in step
        return LossOutputs(loss, statistics[0], statistics[1], batch.num_targets, batch.num_pairs, num_tokens)

    def _is_the_loss(self, ours: torch.Tensor, returned: torch.Tensor) -> bool:
        """Tell whether the model returns exactly the loss of the output layer; one equal loss settles it for all later calls.

        Some architectures scale or cap their logits after the output layer, and then return something other than the loss.

        A non-finite loss decides nothing here; the trainer reports it.
        """
        self._trusted = self._trusted or torch.equal(ours, returned)
        return self._trusted or not bool(torch.isfinite(ours))

    def hidden_states(self, model: Any, batch: PackedBatch, device: torch.device) -> torch.Tensor:
        """Return the trunk's output, which is the input of the output layer, [1, R, H]."""
        self._head.forward = lambda hidden: hidden
        try:
            return self._forward(model, batch, device)
        finally:
            self._head.forward = self._head_forward

    def _forward(self, model: Any, batch: PackedBatch, device: torch.device) -> torch.Tensor:
        return model(
            input_ids=torch.tensor([batch.input_ids], device=device),
            position_ids=torch.tensor([batch.position_ids], device=device),
            segments=Segments.of(batch.lengths, batch.position_ids, device),
            logits_to_keep=torch.tensor(batch.rows, device=device),
            use_cache=False,
        ).logits

    def _head_forward(self, hidden: torch.Tensor) -> torch.Tensor:
        if self._batch is None:
            return self._original_forward(hidden)
        targets_R, ce_weights_R, kl_weights_P = self._batch
        hidden_RH = hidden.reshape(-1, hidden.shape[-1])
        if len(hidden_RH) != len(targets_R):
            raise UsageError(f"{type(self._base).__name__} cannot be trained: it ignores logits_to_keep")
        weight_VH, bias_V = head_weight(self._head)
        if self._vocab_size is not None:
            weight_VH, bias_V = weight_VH[: self._vocab_size], None if bias_V is None else bias_V[: self._vocab_size]
        self._result = weighted_loss(
            hidden_RH, weight_VH, bias_V, targets_R, ce_weights_R, kl_weights_P, self._chunk_rows, self._compiled
        )
        return self._result[0]


def head_weight(head: torch.nn.Module) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return (weight_VH, bias_V) of the output layer, including peft's additions.

    Raises:
        UsageError: the layer is of another kind.
    """
    if hasattr(head, "get_merged_weights"):  # peft, trainable_token_indices
        return head.get_merged_weights(head.active_adapters), head.get_base_layer().bias  # type: ignore[operator, union-attr]
    if hasattr(head, "token_adapter"):
        return head_weight(head.token_adapter)  # type: ignore[arg-type]
    if hasattr(head, "modules_to_save"):  # peft: a trained copy
        return head_weight(head.modules_to_save[head.active_adapter])  # type: ignore[index]
    if isinstance(head, torch.nn.Linear):
        return head.weight, head.bias
    raise UsageError(f"an output layer of type {type(head).__name__} cannot be trained")
