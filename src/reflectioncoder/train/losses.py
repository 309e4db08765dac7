"""The loss of a micro-batch: sums of cross-entropy and KL over weighted rows. Pure functions of tensors.

Names carry shapes: B rows, T tokens of the longest row, N rows of logits with a term, M of these with a KL, V vocabulary.
The division by counts has been done in the weights (`plan`), so micro-batches simply add up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 (the field's name for it)

from reflectioncoder.data.render import IGNORE_INDEX
from reflectioncoder.train.plan import WeightedViews
from reflectioncoder.train.views import View


@dataclass(frozen=True)
class LossOutputs:
    """`loss` carries gradients; the rest are detached sums and counts for logging (nats, tokens)."""

    loss: torch.Tensor
    ce_sum: float
    kl_sum: float
    num_ce: int
    num_kl: int
    num_tokens: int


def cross_entropy_sum(logits_NV: torch.Tensor, targets_N: torch.Tensor) -> torch.Tensor:
    """Sum of -log p(target), in float32 at least."""
    return F.cross_entropy(_at_least_float32(logits_NV), targets_N, reduction="sum")


def kl_divergence_sum(teacher_logits_MV: torch.Tensor, student_logits_MV: torch.Tensor) -> torch.Tensor:
    """Sum of KL(p_teacher ‖ p_student) over M rows: full vocabulary, temperature 1, teacher detached (method, section 3)."""
    teacher_MV = F.log_softmax(_at_least_float32(teacher_logits_MV.detach()), dim=-1)
    student_MV = F.log_softmax(_at_least_float32(student_logits_MV), dim=-1)
    return F.kl_div(student_MV, teacher_MV, reduction="sum", log_target=True)


def _at_least_float32(x: torch.Tensor) -> torch.Tensor:
    return x if x.dtype == torch.float64 else x.float()


def _row_terms(view: View) -> list[int]:
    """Indices of the logits of a row that carry a term: those before a target, and those of the KL."""
    before_targets = {p - 1 for p in range(1, len(view.labels)) if view.labels[p] != IGNORE_INDEX}
    return sorted(before_targets | set(view.kl_rows))


def forward_rows(model: Any, views: Sequence[View], device: torch.device) -> list[tuple[list[int], torch.Tensor]]:
    """Logits where a row has a term: per view (row indices, logits_NV). Rows are padded to the longest one.

    The attention mask is always given: without it transformers would infer packed sequences from gaps in the position ids.
    The output layer runs only on the union of the rows' term indices.
    """
    terms = [_row_terms(view) for view in views]
    union = sorted(set().union(*terms))
    length = max(len(view.input_ids) for view in views)
    input_ids_BT = torch.zeros(len(views), length, dtype=torch.long)
    position_ids_BT = torch.zeros_like(input_ids_BT)
    attention_mask_BT = torch.zeros_like(input_ids_BT)
    for row, view in enumerate(views):
        size = len(view.input_ids)
        input_ids_BT[row, :size] = torch.tensor(view.input_ids)
        position_ids_BT[row, :size] = torch.tensor(view.position_ids)
        attention_mask_BT[row, :size] = 1
    logits_BUV = model(
        input_ids=input_ids_BT.to(device),
        position_ids=position_ids_BT.to(device),
        attention_mask=attention_mask_BT.to(device),
        logits_to_keep=torch.tensor(union, device=device),
        use_cache=False,
    ).logits
    if logits_BUV.shape[1] != len(union):
        raise ValueError(f"the model ignores logits_to_keep: {logits_BUV.shape[1]} rows of logits, {len(union)} asked for")
    place = {index: number for number, index in enumerate(union)}
    selected = []
    for row, indices in enumerate(terms):
        at = torch.tensor([place[index] for index in indices], device=device)
        selected.append((indices, logits_BUV[row, at]))
    return selected


def _ce_of_row(view: View, indices: list[int], logits_NV: torch.Tensor) -> tuple[torch.Tensor, int]:
    rows = [n for n, i in enumerate(indices) if i + 1 < len(view.labels) and view.labels[i + 1] != IGNORE_INDEX]
    targets_N = torch.tensor([view.labels[indices[n] + 1] for n in rows], device=logits_NV.device)
    return cross_entropy_sum(logits_NV[rows], targets_N), len(rows)


def micro_batch_loss(model: Any, batch: Sequence[WeightedViews], device: torch.device) -> LossOutputs:
    """Weighted loss of a micro-batch: all teachers in one forward, all students in another.

    Raises:
        ValueError: the model returned no logits at the asked rows.
    """
    teachers = forward_rows(model, [sample.teacher for sample in batch], device)
    with_student = [n for n, sample in enumerate(batch) if sample.student is not None]
    student_views = [student for sample in batch if (student := sample.student) is not None]
    students = forward_rows(model, student_views, device) if student_views else []

    terms: list[torch.Tensor] = []
    ce_sum = kl_sum = 0.0
    num_ce = num_kl = 0
    for sample, (indices, logits_NV) in zip(batch, teachers, strict=True):
        ce, count = _ce_of_row(sample.teacher, indices, logits_NV)
        terms.append(sample.ce_weight * ce)
        ce_sum, num_ce = ce_sum + ce.item(), num_ce + count
    for number, view, (indices, logits_NV) in zip(with_student, student_views, students, strict=True):
        sample, (teacher_indices, teacher_logits_NV) = batch[number], teachers[number]
        ce, count = _ce_of_row(view, indices, logits_NV)
        kl = kl_divergence_sum(
            teacher_logits_NV[[teacher_indices.index(i) for i in sample.teacher.kl_rows]],
            logits_NV[[indices.index(i) for i in view.kl_rows]],
        )
        terms.append(sample.ce_weight * ce + sample.kl_weight * kl)
        ce_sum, num_ce = ce_sum + ce.item(), num_ce + count
        kl_sum, num_kl = kl_sum + kl.item(), num_kl + len(view.kl_rows)
    num_tokens = sum(len(sample.teacher.input_ids) for sample in batch) + sum(len(v.input_ids) for v in student_views)
    return LossOutputs(torch.stack(terms).sum(), ce_sum, kl_sum, num_ce, num_kl, num_tokens)
