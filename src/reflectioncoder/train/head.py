"""The output layer and all losses in one pass over the vocabulary, a chunk of rows at a time.

Shapes: R rows with a term, of which the first 2P are P teacher rows and the P student rows of the same tokens; H hidden size,
V vocabulary. Logits exist for one chunk only; gradients are formed in the forward, so the backward has nothing to recompute.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from reflectioncoder.data.render import IGNORE_INDEX

CHUNK_ROWS, CHUNK_ROWS_ON_GPU = 256, 1024  # the second has not been measured: there each chunk is to be worth a launch


class _WeightedLoss(torch.autograd.Function):
    """forward(…, type of the products, rows of a chunk) → (loss, [ΣCE, ΣKL]); see `weighted_loss`."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden_RH: torch.Tensor,
        weight_VH: torch.Tensor,
        bias_V: torch.Tensor | None,
        targets_R: torch.Tensor,
        ce_weights_R: torch.Tensor,
        kl_weights_P: torch.Tensor,
        dtype: torch.dtype,
        chunk_rows: int,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        # Gradients are formed only where they are wanted: of a frozen head (LoRA) only those of its input.
        wants_hidden, wants_weight, wants_bias = ctx.needs_input_grad[:3]
        exact = torch.float64 if dtype == torch.float64 else torch.float32
        ctx.dtypes = hidden_RH.dtype, weight_VH.dtype, bias_V.dtype if bias_V is not None else None
        hidden_RH, weight_VH = hidden_RH.to(dtype), weight_VH.to(dtype)
        grad_hidden_RH = torch.empty_like(hidden_RH) if wants_hidden else None
        grad_weight_VH = torch.zeros_like(weight_VH, dtype=exact) if wants_weight else None
        grad_bias_V = torch.zeros_like(bias_V, dtype=exact) if bias_V is not None and wants_bias else None
        sums = torch.zeros(3, dtype=exact, device=hidden_RH.device)  # loss, ΣCE, ΣKL
        for rows, num_pairs, pairs in _chunks(len(hidden_RH), len(kl_weights_P), chunk_rows, hidden_RH.device):
            hidden_NH = hidden_RH[rows]
            logits_NV = (hidden_NH @ weight_VH.T).to(exact)
            if bias_V is not None:
                logits_NV += bias_V
            targets_N, ce_weights_N, kl_weights_M = targets_R[rows], ce_weights_R[rows], kl_weights_P[pairs]
            grad_logits_NV = _losses_of_chunk(logits_NV, targets_N, ce_weights_N, kl_weights_M, num_pairs, sums)
            if grad_bias_V is not None:
                grad_bias_V += grad_logits_NV.sum(0)
            grad_NV = grad_logits_NV.to(hidden_NH.dtype)
            if grad_hidden_RH is not None:
                grad_hidden_RH[rows] = grad_NV @ weight_VH
            if grad_weight_VH is not None:
                if grad_NV.dtype == exact:
                    grad_weight_VH.addmm_(grad_NV.T, hidden_NH)
                else:
                    grad_weight_VH += grad_NV.T @ hidden_NH
        ctx.save_for_backward(grad_hidden_RH, grad_weight_VH, grad_bias_V)
        ctx.used = False
        loss, statistics = sums[0].clone(), sums[1:].clone()
        ctx.mark_non_differentiable(statistics)
        return loss, statistics

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:  # type: ignore[override]
        if ctx.used:  # the largest of them is scaled in place
            raise RuntimeError("the gradients of this loss have been taken already")
        ctx.used = True
        grad_loss = grads[0]
        hidden_RH, weight_VH, bias_V = ctx.saved_tensors
        hidden_dtype, weight_dtype, bias_dtype = ctx.dtypes
        return (
            (hidden_RH * grad_loss).to(hidden_dtype) if hidden_RH is not None else None,
            weight_VH.mul_(grad_loss).to(weight_dtype) if weight_VH is not None else None,
            (bias_V * grad_loss).to(bias_dtype) if bias_V is not None else None,
            *[None] * 5,
        )


def _chunks(num_rows: int, num_pairs: int, size: int, device: torch.device) -> Iterator[tuple[torch.Tensor | slice, int, slice]]:
    """(rows, how many pairs they begin with, which pairs): a pair's two rows are always in one chunk."""
    half = max(1, size // 2)
    for start in range(0, num_pairs, half):
        end = min(start + half, num_pairs)
        teachers = torch.arange(start, end, device=device)
        yield torch.cat([teachers, teachers + num_pairs]), end - start, slice(start, end)
    for start in range(2 * num_pairs, num_rows, size):
        yield slice(start, min(start + size, num_rows)), 0, slice(0, 0)


def _losses_of_chunk(
    logits_NV: torch.Tensor,
    targets_N: torch.Tensor,
    ce_weights_N: torch.Tensor,
    kl_weights_M: torch.Tensor,
    num_pairs: int,
    sums: torch.Tensor,
) -> torch.Tensor:
    """Add the chunk's terms to `sums`; returns the gradient of the loss with respect to the logits (in their storage)."""
    has_target_N = targets_N != IGNORE_INDEX
    targets_N1 = targets_N.clamp_min(0)[:, None]
    ce_weights_N = torch.where(has_target_N, ce_weights_N, 0.0)
    log_p_NV = logits_NV.sub_(logits_NV.logsumexp(-1, keepdim=True))
    ce_N = torch.where(has_target_N, -log_p_NV.gather(1, targets_N1)[:, 0], 0.0)
    sums[0] += (ce_weights_N * ce_N).sum()
    sums[1] += ce_N.sum()
    ratio_MV = log_p_NV[:num_pairs] - log_p_NV[num_pairs : 2 * num_pairs]
    p_NV = log_p_NV.exp_()
    teacher_MV, student_MV = p_NV[:num_pairs], p_NV[num_pairs : 2 * num_pairs]
    kl_M = ratio_MV.mul_(teacher_MV).sum(-1)
    sums[0] += (kl_weights_M * kl_M).sum()
    sums[2] += kl_M.sum()
    # Cross-entropy: w (p - onehot). KL, the teacher detached: w (p_student - p_teacher), in the student's rows.
    student_MV.mul_((ce_weights_N[num_pairs : 2 * num_pairs] + kl_weights_M)[:, None])
    student_MV.addcmul_(teacher_MV, kl_weights_M[:, None], value=-1)
    teacher_MV.mul_(ce_weights_N[:num_pairs, None])
    p_NV[2 * num_pairs :].mul_(ce_weights_N[2 * num_pairs :, None])
    return p_NV.scatter_add_(1, targets_N1, -ce_weights_N[:, None])


def weighted_loss(
    hidden_RH: torch.Tensor,
    weight_VH: torch.Tensor,
    bias_V: torch.Tensor | None,
    targets_R: torch.Tensor,
    ce_weights_R: torch.Tensor,
    kl_weights_P: torch.Tensor,
    chunk_rows: int | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """(Σ ce_weight · CE + Σ kl_weight · KL(p_teacher ‖ p_student), [ΣCE, ΣKL] unweighted and detached, nats).

    Full vocabulary, temperature 1, no gradient through the teacher's side of the KL (method, section 3). `targets_R`: IGNORE_INDEX
    where a row has no cross-entropy. Under autocast the products are taken in its type; sums and softmax in float32 at least.
    """
    device = hidden_RH.device
    dtype = torch.get_autocast_dtype(device.type) if torch.is_autocast_enabled(device.type) else weight_VH.dtype
    exact = torch.float64 if dtype == torch.float64 else torch.float32
    with torch.autocast(device.type, enabled=False):
        loss, statistics = _WeightedLoss.apply(  # type: ignore[misc]
            hidden_RH,
            weight_VH,
            bias_V,
            targets_R,
            ce_weights_R.to(exact),
            kl_weights_P.to(exact),
            dtype,
            chunk_rows or default_chunk_rows(device),
        )
    return loss, statistics


def default_chunk_rows(device: torch.device) -> int:
    return CHUNK_ROWS if device.type == "cpu" else CHUNK_ROWS_ON_GPU
