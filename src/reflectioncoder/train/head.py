"""Computes the output layer and all losses in one pass over the vocabulary, a chunk of rows at a time.

Shapes: R rows with a loss term, of which the first 2P are P teacher rows and the P student rows of the same tokens; H hidden size,
V vocabulary. Only one chunk of logits exists at a time; the forward computes the gradients, so the backward recomputes nothing.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import torch

from reflectioncoder.data.render import IGNORE_INDEX

CHUNK_ROWS, CHUNK_ROWS_ON_GPU = 256, 1024  # the GPU value is not measured: chunks big enough to be worth a kernel launch

# On CUDA: can a product of 16-bit factors be returned in float32, and (torch 2.10 and later) be added to a float32 tensor?
_KEEPS_PRODUCTS = "dtype" in torch.ops.aten.mm.overloads()
_KEEPS_SUMS = _KEEPS_PRODUCTS and tuple(map(int, torch.__version__.split(".")[:2])) >= (2, 10)


class _WeightedLoss(torch.autograd.Function):
    """forward(…, dtype of the products, rows per chunk, compiled?) → (loss, [ΣCE, ΣKL]); see `weighted_loss`."""

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
        compiled: bool,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        # Compute only the gradients that are needed: with a frozen head (LoRA) only the one of its input.
        wants_hidden, wants_weight, wants_bias = ctx.needs_input_grad[:3]
        exact = torch.float64 if dtype == torch.float64 else torch.float32
        ctx.dtypes = hidden_RH.dtype, weight_VH.dtype, bias_V.dtype if bias_V is not None else None
        hidden_RH, weight_VH = hidden_RH.to(dtype), weight_VH.to(dtype)
        grad_hidden_RH = torch.empty_like(hidden_RH) if wants_hidden else None
        grad_weight_VH = torch.zeros_like(weight_VH, dtype=exact) if wants_weight else None
        grad_bias_V = torch.zeros_like(bias_V, dtype=exact) if bias_V is not None and wants_bias else None
        sums = torch.zeros(3, dtype=exact, device=hidden_RH.device)  # loss, ΣCE, ΣKL
        losses_of_rows, losses_of_pairs = _compiled() if compiled else (_losses_of_rows, _losses_of_pairs)
        for rows, pairs in _chunks(len(hidden_RH), len(kl_weights_P), chunk_rows, hidden_RH.device):
            hidden_NH = hidden_RH[rows]
            logits_NV = _product(hidden_NH, weight_VH.T, exact)
            if bias_V is not None:
                logits_NV += bias_V
            if pairs is None:
                added, grad_NV = losses_of_rows(logits_NV, targets_R[rows], ce_weights_R[rows], dtype)
            else:
                added, grad_NV = losses_of_pairs(logits_NV, targets_R[rows], ce_weights_R[rows], kl_weights_P[pairs], dtype)
            sums += added
            del logits_NV  # frees memory before the next chunk
            if grad_bias_V is not None:
                grad_bias_V += grad_NV.sum(0, dtype=exact)
            if grad_hidden_RH is not None:
                grad_hidden_RH[rows] = grad_NV @ weight_VH
            if grad_weight_VH is not None:
                _add_product(grad_weight_VH, grad_NV.T, hidden_NH)
            del grad_NV
        ctx.save_for_backward(grad_hidden_RH, grad_weight_VH, grad_bias_V)
        ctx.used = False
        loss, statistics = sums[0].clone(), sums[1:].clone()
        ctx.mark_non_differentiable(statistics)
        return loss, statistics

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:  # type: ignore[override]
        if ctx.used:  # the largest gradient is scaled in place
            raise RuntimeError("the gradients of this loss have been taken already")
        ctx.used = True
        grad_loss = grads[0]
        hidden_RH, weight_VH, bias_V = ctx.saved_tensors
        hidden_dtype, weight_dtype, bias_dtype = ctx.dtypes
        return (
            (hidden_RH * grad_loss).to(hidden_dtype) if hidden_RH is not None else None,
            weight_VH.mul_(grad_loss).to(weight_dtype) if weight_VH is not None else None,
            (bias_V * grad_loss).to(bias_dtype) if bias_V is not None else None,
            *[None] * 6,
        )


def _chunks(num_rows: int, num_pairs: int, size: int, device: torch.device) -> Iterator[tuple[torch.Tensor | slice, slice | None]]:
    """Yield (rows, slice of pairs). A chunk has either whole pairs, all teachers before all students, or rows outside pairs."""
    half = max(1, size // 2)
    for start in range(0, num_pairs, half):
        end = min(start + half, num_pairs)
        teachers = torch.arange(start, end, device=device)
        yield torch.cat([teachers, teachers + num_pairs]), slice(start, end)
    for start in range(2 * num_pairs, num_rows, size):
        yield slice(start, min(start + size, num_rows)), None


def _losses_of_rows(
    logits_NV: torch.Tensor, targets_N: torch.Tensor, ce_weights_N: torch.Tensor, dtype: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return [loss, ΣCE, 0] and the gradient with respect to the logits in `dtype`, w (p - onehot). Overwrites the logits."""
    log_p_NV, ce_N, ce_weights_N, targets_N1 = _cross_entropies(logits_NV, targets_N, ce_weights_N)
    grad_NV = log_p_NV.exp_().mul_(ce_weights_N[:, None]).scatter_add_(1, targets_N1, -ce_weights_N[:, None])
    return torch.stack([(ce_weights_N * ce_N).sum(), ce_N.sum(), ce_N.new_zeros(())]), grad_NV.to(dtype)


def _losses_of_pairs(
    logits_NV: torch.Tensor, targets_N: torch.Tensor, ce_weights_N: torch.Tensor, kl_weights_M: torch.Tensor, dtype: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor]:
    """Do the same for M teacher and M student rows and add the KL; its gradient is w (p_student - p_teacher) in student rows."""
    log_p_NV, ce_N, ce_weights_N, targets_N1 = _cross_entropies(logits_NV, targets_N, ce_weights_N)
    num_pairs = len(kl_weights_M)
    ratio_MV = log_p_NV[:num_pairs] - log_p_NV[num_pairs:]
    p_NV = log_p_NV.exp_()
    teacher_MV, student_MV = p_NV[:num_pairs], p_NV[num_pairs:]
    kl_M = ratio_MV.mul_(teacher_MV).sum(-1)
    student_MV.mul_((ce_weights_N[num_pairs:] + kl_weights_M)[:, None]).addcmul_(teacher_MV, kl_weights_M[:, None], value=-1)
    teacher_MV.mul_(ce_weights_N[:num_pairs, None])
    grad_NV = p_NV.scatter_add_(1, targets_N1, -ce_weights_N[:, None])
    loss = (ce_weights_N * ce_N).sum() + (kl_weights_M * kl_M).sum()
    return torch.stack([loss, ce_N.sum(), kl_M.sum()]), grad_NV.to(dtype)


def _cross_entropies(
    logits_NV: torch.Tensor, targets_N: torch.Tensor, ce_weights_N: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return (log p in the logits' storage, cross-entropies, their weights, targets to gather with); no target: CE and weight are 0."""
    has_target_N = targets_N != IGNORE_INDEX
    targets_N1 = targets_N.clamp_min(0)[:, None]
    log_p_NV = logits_NV.sub_(logits_NV.logsumexp(-1, keepdim=True))
    ce_N = torch.where(has_target_N, -log_p_NV.gather(1, targets_N1)[:, 0], 0.0)
    return log_p_NV, ce_N, torch.where(has_target_N, ce_weights_N, 0.0), targets_N1


def _losses_of_rows_functional(
    logits_NV: torch.Tensor, targets_N: torch.Tensor, ce_weights_N: torch.Tensor, dtype: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute `_losses_of_rows` in a form for torch.compile: two reads of the logits, one write; wasteful if not compiled."""
    log_p_NV = logits_NV - logits_NV.logsumexp(-1, keepdim=True)
    ce_N, ce_weights_N, is_target_NV = _cross_entropies_functional(log_p_NV, targets_N, ce_weights_N)
    grad_NV = ce_weights_N[:, None] * (log_p_NV.exp() - is_target_NV.to(log_p_NV.dtype))
    return torch.stack([(ce_weights_N * ce_N).sum(), ce_N.sum(), ce_N.new_zeros(())]), grad_NV.to(dtype)


def _losses_of_pairs_functional(
    logits_NV: torch.Tensor, targets_N: torch.Tensor, ce_weights_N: torch.Tensor, kl_weights_M: torch.Tensor, dtype: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor]:
    log_p_NV = logits_NV - logits_NV.logsumexp(-1, keepdim=True)
    ce_N, ce_weights_N, is_target_NV = _cross_entropies_functional(log_p_NV, targets_N, ce_weights_N)
    (log_t_MV, log_s_MV), (is_target_t_MV, is_target_s_MV) = log_p_NV.chunk(2), is_target_NV.to(log_p_NV.dtype).chunk(2)
    weights_t_M1, weights_s_M1 = ce_weights_N[:, None].chunk(2)
    teacher_MV, student_MV = log_t_MV.exp(), log_s_MV.exp()
    kl_M = (teacher_MV * (log_t_MV - log_s_MV)).sum(-1)
    grad_t_MV = weights_t_M1 * (teacher_MV - is_target_t_MV)
    grad_s_MV = weights_s_M1 * (student_MV - is_target_s_MV) + kl_weights_M[:, None] * (student_MV - teacher_MV)
    loss = (ce_weights_N * ce_N).sum() + (kl_weights_M * kl_M).sum()
    return torch.stack([loss, ce_N.sum(), kl_M.sum()]), torch.cat([grad_t_MV, grad_s_MV]).to(dtype)


def _cross_entropies_functional(
    log_p_NV: torch.Tensor, targets_N: torch.Tensor, ce_weights_N: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    has_target_N = targets_N != IGNORE_INDEX
    is_target_NV = targets_N[:, None] == torch.arange(log_p_NV.shape[1], device=log_p_NV.device)
    ce_N = -torch.where(is_target_NV, log_p_NV, 0.0).sum(-1)
    return torch.where(has_target_N, ce_N, 0.0), torch.where(has_target_N, ce_weights_N, 0.0), is_target_NV


@functools.cache
def _compiled() -> tuple[Any, Any]:
    return torch.compile(_losses_of_rows_functional, dynamic=True), torch.compile(_losses_of_pairs_functional, dynamic=True)


def _product(a_NH: torch.Tensor, b_HV: torch.Tensor, exact: torch.dtype) -> torch.Tensor:
    """Return the product in `exact`; if the device can, without rounding it to the factors' dtype first."""
    if a_NH.dtype == exact:
        return a_NH @ b_HV
    if _KEEPS_PRODUCTS and a_NH.is_cuda:
        return torch.mm(a_NH, b_HV, out_dtype=exact)
    return (a_NH @ b_HV).to(exact)


def _add_product(sum_VH: torch.Tensor, a_VN: torch.Tensor, b_NH: torch.Tensor) -> None:
    """Add a @ b to the sum with the same care: the rounding errors of all chunks would accumulate."""
    if a_VN.dtype == sum_VH.dtype:
        sum_VH.addmm_(a_VN, b_NH)
    elif _KEEPS_SUMS and a_VN.is_cuda:
        torch.addmm(sum_VH, a_VN, b_NH, out_dtype=sum_VH.dtype, out=sum_VH)
    elif _KEEPS_PRODUCTS and a_VN.is_cuda:
        sum_VH += torch.mm(a_VN, b_NH, out_dtype=sum_VH.dtype)
    else:
        sum_VH += a_VN @ b_NH


def weighted_loss(
    hidden_RH: torch.Tensor,
    weight_VH: torch.Tensor,
    bias_V: torch.Tensor | None,
    targets_R: torch.Tensor,
    ce_weights_R: torch.Tensor,
    kl_weights_P: torch.Tensor,
    chunk_rows: int | None = None,
    compiled: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (Σ ce_weight · CE + Σ kl_weight · KL(p_teacher ‖ p_student), [ΣCE, ΣKL] unweighted and detached, nats).

    Full vocabulary, temperature 1, no gradient through the teacher's side of the KL (method, section 3). `targets_R` is IGNORE_INDEX
    where a row has no cross-entropy. Under autocast products use its dtype; sums and softmax use at least float32.
    """
    device = hidden_RH.device
    dtype = torch.get_autocast_dtype(device.type) if torch.is_autocast_enabled(device.type) else weight_VH.dtype
    exact = torch.float64 if dtype == torch.float64 else torch.float32
    if not torch.is_grad_enabled():  # else the function would compute the gradients anyway
        weight_VH, bias_V = weight_VH.detach(), bias_V.detach() if bias_V is not None else None
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
            compiled,
        )
    return loss, statistics


def default_chunk_rows(device: torch.device) -> int:
    return CHUNK_ROWS if device.type == "cpu" else CHUNK_ROWS_ON_GPU
